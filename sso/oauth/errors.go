package oauth

import (
	"errors"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/sso"
)

// UnavailableError means that the provider could not be asked, or answered
// something that is not the protocol. Nothing is known about the person then:
// the page says "try again", and the operator looks at the provider.
type UnavailableError struct {
	Step   string // "discovery", "keys", "token", "userinfo" or "authorization"
	Status int    // HTTP status, 0 if there was none
	Code   string // the error code of RFC 6749 section 5.2, "" if there was none
	Err    error  // never contains a response body: those hold tokens and people's data
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	b.WriteString("oauth: " + e.Step)
	if e.Status != 0 {
		b.WriteString(": status " + strconv.Itoa(e.Status))
	}
	if e.Code != "" {
		b.WriteString(": " + e.Code)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// refuse makes the error for an answer that is not believed.
func refuse(reason string, err error) error { return &sso.VerifyError{Reason: reason, Err: err} }

// bounded keeps a library's error from carrying the provider's or the browser's
// text into a log unbounded: JSON and JWT errors quote their input.
func bounded(err error) error { return errors.New(printable(err.Error(), 300)) }

// printable makes a provider's text fit for a log line: printable ASCII, no
// quotes or backslashes (RFC 6749 section 5.2 allows no others), bounded.
func printable(s string, limit int) string {
	out := make([]byte, 0, min(len(s), limit))
	for i := 0; i < len(s) && len(out) < limit; i++ {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			c = '.'
		}
		out = append(out, c)
	}
	return string(out)
}
