package proxy

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Whatever a person is called, every encoding of it is one header value, or one cookie,
// that reads back as the name, or is absent.
func FuzzRender(f *testing.F) {
	for _, s := range []string{"Ana", "a\r\nb", " x ", "%41", "é", "\xff", "a,b", `"\;`} {
		f.Add(s)
	}
	read := map[header.Encoding]func(string) (string, error){
		header.Percent: url.PathUnescape,
		header.RFC8187: func(s string) (string, error) { return url.PathUnescape(strings.TrimPrefix(s, "UTF-8''")) },
		header.Base64: func(s string) (string, error) {
			b, err := base64.StdEncoding.DecodeString(s)
			return string(b), err
		},
		header.Plain: func(s string) (string, error) { return s, nil },
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := &session.Principal{Member: member.Member{ID: "m", DisplayName: name}, Teams: []string{name, "b"}}
		want := strings.ToValidUTF8(name, "\ufffd")
		for e, decode := range read {
			h := &header.Header{Name: "X", Parts: []header.Part{{Text: "<"}, {Field: header.Name}, {Text: ">"}}, Encoding: e}
			v := render(h, p)
			if !httpguts.ValidHeaderFieldValue(v) || v != strings.TrimSpace(v) {
				t.Fatalf("%s: %q became %q", e, name, v)
			}
			if got, err := decode(v); v != "" && (err != nil || got != "<"+want+">") {
				t.Fatalf("%s: %q became %q, which reads as %q (%v)", e, name, v, got, err)
			}
			if name == "" && v != "" {
				t.Fatalf("%s: an absent name became %q", e, v)
			}
			if e == header.RFC8187 {
				continue
			}
			v = renderCookie(h, p)
			cookies := (&http.Request{Header: http.Header{"Cookie": {"a=1; who=" + v + "; b=2"}}}).Cookies()
			if len(cookies) != 3 || cookies[1].Value != v {
				t.Fatalf("%s: %q as a cookie became %q", e, name, v)
			}
			if got, err := decode(v); v != "" && (err != nil || got != "<"+want+">") {
				t.Fatalf("%s: %q as a cookie became %q, which reads as %q (%v)", e, name, v, got, err)
			}
		}
		list := render(&header.Header{Parts: []header.Part{{Field: header.Teams}}, Encoding: header.Percent}, p)
		if parts := strings.Split(list, ","); list != "" && len(parts) != 2 {
			t.Fatalf("team %q is %d teams: %q", name, len(parts)-1, list)
		}
	})
}

// No parser that we know finds a cookie of a route's in what the client sent.
func FuzzToldCookie(f *testing.F) {
	for _, s := range []string{"a=1; who=2", "WHO=x;w-h-o", "=who=1", "%77ho=1", "who[a]=1", "$who; \"who\"=2", "==who"} {
		f.Add(s)
	}
	in := introduction{cookies: map[string]struct{}{"who": {}}}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		in.dropCookies(h)
		for _, c := range (&http.Request{Header: h}).Cookies() {
			if name, err := url.PathUnescape(c.Name); strings.EqualFold(c.Name, "who") || err == nil && strings.EqualFold(name, "who") {
				t.Fatalf("%q leaves %q", line, c.Name)
			}
		}
		again := http.Header{"Cookie": {strings.Join(h["Cookie"], "; ")}}
		in.dropCookies(again)
		if strings.Join(again["Cookie"], "; ") != strings.Join(h["Cookie"], "; ") {
			t.Fatalf("%q: %q changes when it is done twice", line, h["Cookie"])
		}
	})
}
