package identity

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestFromHeaders(t *testing.T) {
	u, err := FromHeaders(headers(HeaderUser, "m_123", HeaderPreferredUsername, "ada", HeaderEmail, "a+b@example.com", HeaderName, "Ad%C3%A9la%20100%25", HeaderGroups, "finance,a%2Cb"))
	if err != nil {
		t.Fatal(err)
	}
	if u.ID != "m_123" || u.PreferredUsername != "ada" || u.Email != "a+b@example.com" || u.Name != "Adéla 100%" || !slices.Equal(u.Groups, []string{"finance", "a,b"}) {
		t.Errorf("%+v", u)
	}
	if !u.Member("a,b") || u.Member("a") || u.Member("") {
		t.Error("Member compares whole slugs")
	}
	if u, err := FromHeaders(headers(HeaderUser, "m_1")); err != nil || u.ID != "m_1" || u.Groups != nil || u.Member("") {
		t.Errorf("an id is enough: %+v, %v", u, err)
	}
}

func TestFromHeadersRefusesWhatTheGatewayNeverSends(t *testing.T) {
	for _, h := range []http.Header{{}, headers(HeaderEmail, "a@example.com"), headers(HeaderUser, "")} {
		if u, err := FromHeaders(h); !errors.Is(err, ErrNoUser) || u.ID != "" {
			t.Errorf("%v: %+v, %v", h, u, err)
		}
	}
	for why, h := range map[string]http.Header{
		"two users":           headers(HeaderUser, "a", HeaderUser, "b"),
		"two e-mails":         headers(HeaderUser, "a", HeaderEmail, "a@x", HeaderEmail, "b@x"),
		"not encoded":         headers(HeaderUser, "a", HeaderName, "Adéla"),
		"bad percent":         headers(HeaderUser, "a", HeaderName, "100%"),
		"line break":          headers(HeaderUser, "a\r\nb"),
		"too long":            headers(HeaderUser, strings.Repeat("a", maxValue+1)),
		"empty group":         headers(HeaderUser, "a", HeaderGroups, "a,,b"),
		"thousands of groups": headers(HeaderUser, "a", HeaderGroups, strings.Repeat("a,", maxGroups)+"a"),
	} {
		if u, err := FromHeaders(h); err == nil || u.ID != "" {
			t.Errorf("%s: %+v, %v", why, u, err)
		}
	}
}

func FuzzFromHeaders(f *testing.F) {
	f.Add("m_1", "a,b%2C")
	f.Add("%", ",")
	f.Fuzz(func(t *testing.T, user, groups string) {
		u, err := FromHeaders(http.Header{HeaderUser: {user}, HeaderGroups: {groups}})
		if (err == nil) == (u.ID == "") {
			t.Errorf("%q %q: %+v, %v", user, groups, u, err)
		}
		if u.Member("") {
			t.Error("a member of no team")
		}
	})
}
