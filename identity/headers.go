package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// The headers that ssogate sets. Absent means that there is no value.
const (
	HeaderUser              = "X-Forwarded-User"               // the member's immutable id
	HeaderPreferredUsername = "X-Forwarded-Preferred-Username" // may change
	HeaderEmail             = "X-Forwarded-Email"              // may change, and may pass to another person
	HeaderGroups            = "X-Forwarded-Groups"             // team slugs, separated by commas
	HeaderName              = "X-Forwarded-Name"               // for display only
)

// Limits. ssogate sends far less; more than this did not come from it.
const (
	maxValue  = 16 << 10
	maxGroups = 2000
)

// ErrNoUser means that the request carries no identity: it was forwarded on a
// public path, or did not come through ssogate.
var ErrNoUser = errors.New("identity: no user")

// User is who asks. Key accounts by ID and nothing else: names and addresses
// change, and an address may belong to another person next year.
type User struct {
	ID                string
	PreferredUsername string
	Email             string
	Name              string
	Groups            []string // team slugs, in the order sent
}

// FromHeaders reads the identity headers of a request that ssogate forwarded.
// It answers ErrNoUser when there is none, and another error when the headers
// cannot be ssogate's: one of them twice, an encoding it does not use, a value
// beyond its limits. Treat every error as "nobody is signed in".
func FromHeaders(h http.Header) (User, error) {
	var u User
	for _, f := range []struct {
		name string
		to   *string
	}{
		{HeaderUser, &u.ID}, {HeaderPreferredUsername, &u.PreferredUsername}, {HeaderEmail, &u.Email}, {HeaderName, &u.Name},
	} {
		raw, err := single(h, f.name)
		if err != nil {
			return User{}, err
		}
		if *f.to, err = decode(f.name, raw); err != nil {
			return User{}, err
		}
	}
	if u.ID == "" {
		return User{}, ErrNoUser
	}
	raw, err := single(h, HeaderGroups)
	if err != nil {
		return User{}, err
	}
	if u.Groups, err = splitGroups(raw); err != nil {
		return User{}, err
	}
	return u, nil
}

// Member reports whether the user belongs to a team, by its slug.
func (u User) Member(team string) bool {
	for _, g := range u.Groups {
		if g == team && team != "" {
			return true
		}
	}
	return false
}

// single wants a header once: with two values, two readers may each believe
// another one.
func single(h http.Header, name string) (string, error) {
	v := h.Values(name)
	switch {
	case len(v) > 1:
		return "", fmt.Errorf("identity: header %s is there %d times", name, len(v))
	case len(v) == 0:
		return "", nil
	case len(v[0]) > maxValue:
		return "", fmt.Errorf("identity: header %s is too long", name)
	}
	return v[0], nil
}

// decode reverses the gateway's encoding: printable ASCII stands for itself,
// everything else, and the percent sign, is percent-encoded UTF-8. A plus sign
// is a plus sign.
func decode(name, s string) (string, error) {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return "", fmt.Errorf("identity: header %s is not encoded", name)
		}
	}
	out, err := url.PathUnescape(s)
	if err != nil {
		return "", fmt.Errorf("identity: header %s: bad percent-encoding", name)
	}
	return out, nil
}

// splitGroups takes the list apart before decoding it: an encoded comma is part
// of a name.
func splitGroups(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	if len(parts) > maxGroups {
		return nil, fmt.Errorf("identity: header %s has more than %d values", HeaderGroups, maxGroups)
	}
	for i, p := range parts {
		g, err := decode(HeaderGroups, p)
		if err != nil {
			return nil, err
		}
		if g == "" {
			return nil, fmt.Errorf("identity: header %s has an empty value", HeaderGroups)
		}
		parts[i] = g
	}
	return parts, nil
}
