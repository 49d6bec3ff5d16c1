package session

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ssogate/ssogate/member"
)

// Limits of a [Record]. They bound what one session costs a store and what a
// store will read back; an IdP or a browser chooses some of these strings.
const (
	maxRecordWord = 256                    // member, provider, address
	maxRecordText = member.MaxSessionIndex // and of a User-Agent
)

// Check reports why r cannot be a session. Stores call it before writing, and
// after reading: there a fault means that the record was truncated or written
// by a later version, and is answered as [ErrMismatch] (row K09). The zero
// Record is refused.
func (r Record) Check() error {
	switch {
	case r.Version != RecordVersion:
		return fmt.Errorf("session: record version %d, want %d", r.Version, RecordVersion)
	case r.Hash.IsZero():
		return fmt.Errorf("session: record without id")
	case r.Member == "":
		return fmt.Errorf("session: record without member")
	case r.Issued.IsZero() || r.LastSeen.IsZero() || !r.Expires.After(r.Issued):
		return fmt.Errorf("session: record without a life time")
	case len(r.Member) > maxRecordWord, len(r.Provider) > maxRecordWord, len(r.Address) > maxRecordWord,
		len(r.SessionIndex) > maxRecordText, len(r.UserAgent) > maxRecordText:
		return fmt.Errorf("session: record too large")
	case !isText(string(r.Member)) || !isText(r.Provider) || !isText(r.SessionIndex) || !isText(r.Address):
		// Not every store keeps such bytes, and none must change a key silently.
		return fmt.Errorf("session: record with bytes that are not text")
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Stored is r as every store keeps it: times in UTC and whole milliseconds, so
// that a record reads the same from each of them. The User-Agent is a label
// that a client chooses freely: bytes that are not text are replaced, so that
// nobody is refused a sign-in because of it.
func (r Record) Stored() Record {
	r.Issued = storedTime(r.Issued)
	r.LastSeen = storedTime(r.LastSeen)
	r.Expires = storedTime(r.Expires)
	if !r.AuthTime.IsZero() {
		r.AuthTime = storedTime(r.AuthTime)
	}
	if !isText(r.UserAgent) {
		r.UserAgent = strings.ToValidUTF8(strings.ReplaceAll(r.UserAgent, "\x00", "?"), "?")
	}
	return r
}

func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
