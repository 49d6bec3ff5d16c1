package oauth

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// Limits of single claims.
const (
	maxText   = 1024
	maxList   = 2000 // groups; Entra and Keycloak send hundreds
	maxMember = 256  // bytes of one group
)

// claims are the members of an ID token or userinfo answer by their exact names.
// encoding/json would take "SUB" for "sub", and the last of two "sub" members
// for the only one; go-jose's reader does neither.
type claims map[string]json.RawMessage

func parseClaims(b []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("claims: %w", bounded(err))
	}
	if c == nil {
		return nil, errors.New("claims: not an object")
	}
	return c, nil
}

// has reports whether a claim says anything: null is no value (Core section 5.3.2).
func (c claims) has(name string) bool {
	raw, ok := c[name]
	return ok && string(raw) != "null"
}

func (c claims) without(names ...string) claims {
	out := maps.Clone(c)
	for _, n := range names {
		delete(out, n)
	}
	return out
}

// text reads a string claim; "" if there is none. A value of another type, with
// control characters or beyond the limit is an error, not an absence.
func (c claims) text(name string) (string, error) {
	if !c.has(name) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(c[name], &s); err != nil {
		return "", fmt.Errorf("claim %s is not a string", printable(name, 60))
	}
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("claim %s is too long or has control characters", printable(name, 60))
	}
	return s, nil
}

// truth reads a boolean. The string "true" is not one (row O11): who writes
// "false" as a string would be believed by a reader that takes any string.
func (c claims) truth(name string) bool { return string(c[name]) == "true" }

// list reads a claim that is a string or an array of strings.
func (c claims) list(name string) ([]string, error) {
	if !c.has(name) {
		return nil, nil
	}
	var one string
	if json.Unmarshal(c[name], &one) == nil {
		return checkList(name, []string{one})
	}
	var many []string
	if err := json.Unmarshal(c[name], &many); err != nil {
		return nil, fmt.Errorf("claim %s is not a list of strings", printable(name, 60))
	}
	return checkList(name, many)
}

func checkList(name string, list []string) ([]string, error) {
	if len(list) > maxList {
		return nil, fmt.Errorf("claim %s has %d values, at most %d are read", printable(name, 60), len(list), maxList)
	}
	for _, s := range list {
		if s == "" || len(s) > maxMember || strings.ContainsFunc(s, unicode.IsControl) {
			return nil, fmt.Errorf("claim %s has an empty, long or unprintable value", printable(name, 60))
		}
	}
	return list, nil
}

// when reads a NumericDate (RFC 7519 section 2): a JSON number of seconds. The
// zero time means that there is none. Far dates are refused rather than wrapped.
func (c claims) when(name string) (time.Time, error) {
	if !c.has(name) {
		return time.Time{}, nil
	}
	f, err := strconv.ParseFloat(string(c[name]), 64)
	if err != nil || f <= 0 || f > 1<<40 {
		return time.Time{}, fmt.Errorf("claim %s is not a date", name)
	}
	return time.Unix(int64(f), 0), nil
}
