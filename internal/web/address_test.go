package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/web"
)

func addrOf(remote string, trusted []string, forwarded ...string) string {
	var o web.Options
	for _, p := range trusted {
		o.Trusted = append(o.Trusted, netip.MustParsePrefix(p))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	r.Header["X-Forwarded-For"] = forwarded
	r.Header.Set("X-Real-Ip", "6.6.6.6")
	r.Header.Set("Forwarded", "for=6.6.6.6")
	var got netip.Addr
	web.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = web.ClientAddr(r.Context()) }), o).
		ServeHTTP(httptest.NewRecorder(), r)
	if !got.IsValid() {
		return ""
	}
	return got.String()
}

func TestH03ClientAddress(t *testing.T) {
	front := []string{"10.0.0.0/8"}
	for _, c := range []struct {
		name, remote string
		trusted      []string
		forwarded    []string
		want, why    string
	}{
		{"benign: trusted front names the client", "10.0.0.1:1", front, []string{"203.0.113.9"}, "203.0.113.9", "a trusted proxy vouches for what it appended"},
		{"benign: two trusted hops", "10.0.0.1:1", front, []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9", "trusted hops are walked through"},
		{"benign: hops on two lines", "10.0.0.1:1", front, []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9", "several lines are one list"},
		{"benign: IPv6 client", "10.0.0.1:1", front, []string{"2001:db8::7"}, "2001:db8::7", ""},
		{"benign: with a port", "10.0.0.1:1", front, []string{"203.0.113.9:4711"}, "203.0.113.9", "some balancers append the port"},
		{"benign: IPv6 with a port", "10.0.0.1:1", front, []string{"[2001:db8::7]:4711"}, "2001:db8::7", ""},
		{"benign: bracketed IPv6", "10.0.0.1:1", front, []string{"[2001:db8::7]"}, "2001:db8::7", ""},
		{"benign: mapped client", "10.0.0.1:1", front, []string{"::ffff:203.0.113.9"}, "203.0.113.9", "one client must not have two addresses"},
		{"benign: mapped socket of a trusted front", "[::ffff:10.0.0.1]:1", front, []string{"203.0.113.9"}, "203.0.113.9", "a dual-stack socket reports mapped addresses"},
		{"benign: mapped trusted prefix", "10.0.0.1:1", []string{"::ffff:10.0.0.0/104"}, []string{"203.0.113.9"}, "203.0.113.9", ""},
		{"benign: no header", "10.0.0.1:1", front, nil, "10.0.0.1", ""},
		{"benign: all hops trusted", "10.0.0.1:1", front, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", "the furthest hop is the client"},
		{"untrusted peer", "198.51.100.1:1", front, []string{"10.0.0.9"}, "198.51.100.1", "anybody can send the header"},
		{"nobody is trusted by default", "127.0.0.1:1", nil, []string{"203.0.113.9"}, "127.0.0.1", "an empty list trusts nobody, loopback included"},
		{"forged left part", "10.0.0.1:1", front, []string{"127.0.0.1, 10.0.0.5, 203.0.113.9"}, "203.0.113.9", "left of the first untrusted hop is the client's own writing"},
		{"forged first line", "10.0.0.1:1", front, []string{"127.0.0.1", "203.0.113.9"}, "203.0.113.9", "a proxy may append a line of its own"},
		{"a word", "10.0.0.1:1", front, []string{"a"}, "10.0.0.1", "malformed: nothing of the chain is believed"},
		{"a word behind a trusted hop", "10.0.0.1:1", front, []string{"203.0.113.9, a, 10.0.0.2"}, "10.0.0.1", ""},
		{"unknown", "10.0.0.1:1", front, []string{"unknown"}, "10.0.0.1", ""},
		{"empty", "10.0.0.1:1", front, []string{""}, "10.0.0.1", ""},
		{"empty element", "10.0.0.1:1", front, []string{"203.0.113.9,"}, "10.0.0.1", ""},
		{"IPv6 zone", "10.0.0.1:1", front, []string{"fe80::1%eth0"}, "10.0.0.1", "a zone names somebody else's interface"},
		{"IPv6 zone with port", "10.0.0.1:1", front, []string{"[fe80::1%25eth0]:80"}, "10.0.0.1", ""},
		{"octal", "10.0.0.1:1", front, []string{"010.0.0.1"}, "10.0.0.1", "readers disagree about leading zeros"},
		{"number", "10.0.0.1:1", front, []string{"2130706433"}, "10.0.0.1", ""},
		{"bracketed IPv4", "10.0.0.1:1", front, []string{"[203.0.113.9]"}, "10.0.0.1", ""},
		{"half a bracket", "10.0.0.1:1", front, []string{"2001:db8::7]"}, "10.0.0.1", "malformed is malformed"},
		{"other half", "10.0.0.1:1", front, []string{"[2001:db8::7"}, "10.0.0.1", ""},
		{"newline", "10.0.0.1:1", front, []string{"203.0.113.9\n"}, "10.0.0.1", ""},
		{"1000 trusted hops", "10.0.0.1:1", front, []string{strings.Repeat("10.0.0.2,", 999) + "10.0.0.2"}, "10.0.0.1", "no real chain is that long"},
		{"1000 hops written by the client, then the real one", "10.0.0.1:1", front, []string{strings.Repeat("1.1.1.1,", 1000) + "203.0.113.9"}, "203.0.113.9", "they are never read"},
		{"unix socket", "@", front, []string{"203.0.113.9"}, "", "no address, and nothing is trusted for it"},
		{"socket with a zone", "[fe80::1%lo]:1", front, nil, "fe80::1", ""},
	} {
		if got := addrOf(c.remote, c.trusted, c.forwarded...); got != c.want {
			t.Errorf("H03 %s: got %q, want %q; %s", c.name, got, c.want, c.why)
		}
	}
}

func FuzzForwardedFor(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.2")
	f.Add("[::1]:1,fe80::1%x,,a")
	f.Fuzz(func(t *testing.T, s string) {
		if got := addrOf("198.51.100.1:1", []string{"10.0.0.0/8"}, s); got != "198.51.100.1" {
			t.Fatalf("H03: %q from an untrusted peer made the client %s", s, got)
		}
		// Whatever stands left of what the trusted proxy appended has no effect.
		if got := addrOf("10.0.0.1:1", []string{"10.0.0.0/8"}, s+",203.0.113.9"); got != "203.0.113.9" {
			t.Fatalf("H03: %q left of the real client made it %s", s, got)
		}
	})
}
