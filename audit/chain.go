package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of an event's strings, in bytes. What is longer is cut: an attacker
// who chooses a user name must not choose how large the log grows.
const (
	maxWord   = 64  // Kind, Outcome, Provider, RequestID, Address
	maxString = 256 // Actor, Target, Reason and values of Detail
	maxDetail = 16  // entries of Detail, the first by key
)

// Clean is e as it is written: strings bounded, and stripped of control
// characters and direction marks, so that a name can neither forge a second
// line nor repaint a terminal (C11). Time is cut to the precision stores keep.
func (e Event) Clean() Event {
	e.Time = e.Time.UTC().Truncate(1e6) // a millisecond
	if e.Outcome == "" {
		e.Outcome = Denied
	}
	e.Outcome = Outcome(clean(string(e.Outcome), maxWord))
	e.Kind = clean(e.Kind, maxWord)
	e.Provider = clean(e.Provider, maxWord)
	e.RequestID = clean(e.RequestID, maxWord)
	e.Address = clean(e.Address, maxWord)
	e.Actor = clean(e.Actor, maxString)
	e.Target = clean(e.Target, maxString)
	e.Reason = clean(e.Reason, maxString)
	if len(e.Detail) == 0 {
		e.Detail = nil
		return e
	}
	d := make(map[string]string, min(len(e.Detail), maxDetail))
	for i, k := range keys(e.Detail) {
		if i == maxDetail {
			break
		}
		d[clean(k, maxWord)] = clean(e.Detail[k], maxString)
	}
	e.Detail = d
	return e
}

func keys(m map[string]string) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func clean(s string, most int) string {
	// Cut first: cleaning a megabyte that is thrown away is work for an attacker.
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point) {
			return -1
		}
		return r
	}, s)
	if len(s) > most {
		n := most
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return s
}

// Hash links e, as returned by [Event.Clean] and with its Seq, to the hash of
// the event before it ("" for the first): SHA-256 over length-prefixed fields,
// in hexadecimal. Prefixes keep two different events from having one encoding.
//
// The chain shows that an event was altered, removed, inserted or moved by
// somebody who could not rewrite everything after it. Who can write the whole
// table can recompute it; against him, ship the log elsewhere.
func Hash(previous string, e Event) string {
	h := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n)) //nolint:gosec // the bits, not the value, are hashed
		h.Write(b[:])
	}
	text := func(s string) {
		number(int64(len(s)))
		h.Write([]byte(s))
	}
	text("ssogate audit 1")
	text(previous)
	number(e.Seq)
	number(e.Time.UnixMilli())
	for _, s := range []string{
		e.Kind, string(e.Outcome), e.Actor, e.Target, e.Provider, e.RequestID, e.Address, e.Reason,
	} {
		text(s)
	}
	number(int64(len(e.Detail)))
	for _, k := range keys(e.Detail) {
		text(k)
		text(e.Detail[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ErrBroken means the log is not what was written.
var ErrBroken = errors.New("audit: chain is broken")

// Verifier walks a log from its first event. The zero value is ready to use.
// Not safe for concurrent use.
type Verifier struct {
	seq  int64
	hash string
}

// Add checks the next event and the hash stored with it, or answers ErrBroken
// with the number at which the log stops being true.
func (v *Verifier) Add(e Event, hash string) error {
	if e.Seq != v.seq+1 {
		return fmt.Errorf("%w at %d: expected number %d, found %d", ErrBroken, v.seq+1, v.seq+1, e.Seq)
	}
	if Hash(v.hash, e) != hash {
		return fmt.Errorf("%w at %d: the event is not the one that was written", ErrBroken, e.Seq)
	}
	v.seq, v.hash = e.Seq, hash
	return nil
}

// End compares the walk with the head kept beside the log, so that events cut
// off its end are missed.
func (v *Verifier) End(seq int64, hash string) error {
	if v.seq != seq || v.hash != hash {
		return fmt.Errorf("%w at %d: the log ends here, its head is at %d", ErrBroken, min(v.seq, seq)+1, seq)
	}
	return nil
}

// Count is how many events were checked.
func (v *Verifier) Count() int { return int(v.seq) }
