package web

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"net/netip"
	"strings"
	"sync"
)

// exchange is what the middleware knows about one request. It travels in the
// context, so that a refusal deep inside another package can name the same
// reference as the access record.
type exchange struct {
	m      *middleware
	id     string
	addr   netip.Addr
	secure bool // people reach this gateway by https

	mu    sync.Mutex // annotations come from streams and their handler at once
	notes []note
	room  [8]note // for the first of them

	later bool   // Detach was called
	ended bool   // Detached.End was called
	end   func() // writes the record; set when the handler of a detached exchange has returned
}

type note struct{ key, value string }

// Limits of an access record: it is one line, whatever the client sent.
const (
	maxNotes     = 24
	maxNoteValue = 256
)

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// RequestID is the reference shown to people and written to every record of
// this request: 16 letters and digits, random, never the client's. It is ""
// outside [Handler].
func RequestID(ctx context.Context) string {
	if x := exchangeOf(ctx); x != nil {
		return x.id
	}
	return ""
}

// ClientAddr is the client's address as far as trusted hops vouch for it, or
// the zero Addr outside [Handler] and on sockets without addresses.
func ClientAddr(ctx context.Context) netip.Addr {
	if x := exchangeOf(ctx); x != nil {
		return x.addr
	}
	return netip.Addr{}
}

// Annotate adds a fact to the access record of this request; the same key
// again replaces the value. Keys are fixed words of the calling package, values
// may be hostile: they are cut at 256 bytes and stripped of control characters.
// Never annotate a cookie, code, token or query. Safe for concurrent use;
// without effect outside [Handler] and once the record is written.
func Annotate(ctx context.Context, key, value string) {
	x := exchangeOf(ctx)
	if x == nil {
		return
	}
	x.annotate(key, value)
}

func (x *exchange) annotate(key, value string) {
	value = clean(value, maxNoteValue)
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.notes {
		if x.notes[i].key == key {
			x.notes[i].value = value
			return
		}
	}
	if len(x.notes) < maxNotes {
		x.notes = append(x.notes, note{key, value})
	}
}

// newID is 80 random bits in 16 characters without look-alikes: people read
// references aloud, so no upper case, no 0/o and no 1/l.
func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails on Go 1.24 and later
	var out [16]byte
	idLetters.Encode(out[:], b[:])
	return string(out[:])
}

var idLetters = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789")

// clean makes untrusted text fit for one line of a log or page: valid UTF-8,
// at most max bytes, without control characters (line injection, terminal
// escapes; C11) and without bidirectional overrides, which make "a@evil" read
// as something else.
func clean(s string, limit int) string {
	if plain(s, limit) {
		return s
	}
	cut := len(s) > limit
	if cut {
		s = s[:limit] // a split rune becomes U+FFFD below
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029:
			return -1
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x61c:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if cut {
		s += "…"
	}
	return s
}

// plain reports printable ASCII, which is all there is in most records.
func plain(s string, limit int) bool {
	if len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
