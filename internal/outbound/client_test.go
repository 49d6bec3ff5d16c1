package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// names is a resolver whose answers a test decides, one list per look-up.
type names struct {
	answers map[string][][]string
	asked   atomic.Int64
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	lists := n.answers[host]
	if len(lists) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	i := min(int(n.asked.Add(1))-1, len(lists)-1)
	var out []netip.Addr
	for _, s := range lists[i] {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

// target is a TLS server that counts the connections it sees: "refused" must
// mean that not even a SYN arrived.
type target struct {
	*httptest.Server
	conns atomic.Int64
	roots *x509.CertPool
	port  string
}

func newTarget(t *testing.T, tls bool, h http.HandlerFunc) *target {
	t.Helper()
	tg := &target{roots: x509.NewCertPool()}
	tg.Server = httptest.NewUnstartedServer(h)
	tg.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			tg.conns.Add(1)
		}
	}
	tg.Config.ErrorLog = nil
	if tls {
		tg.StartTLS()
		tg.roots.AddCert(tg.Certificate())
	} else {
		tg.Start()
	}
	t.Cleanup(tg.Close)
	_, tg.port, _ = net.SplitHostPort(tg.Listener.Addr().String())
	return tg
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

func newClient(t *testing.T, o Options) *http.Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, u string) (string, error) {
	t.Helper()
	resp, err := c.Get(u)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func mustRefuse(t *testing.T, err error, why string) {
	t.Helper()
	if _, ok := errors.AsType[*RefusedError](err); !ok {
		t.Errorf("got %v, want a *RefusedError: %s", err, why)
	}
}

// TestF01AllowedPrivateHostWorks is the benign twin of every refusal below: the
// same server, the same name, with the operator's word.
func TestF01AllowedPrivateHostWorks(t *testing.T) {
	tg := newTarget(t, true, ok)
	res := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}, "other.example": {{"127.0.0.1"}}}}
	u := "https://example.com:" + tg.port + "/"
	for _, allow := range []string{"example.com", "EXAMPLE.com.", "example.com:" + tg.port, "127.0.0.0/8", "127.0.0.1/32", "127.0.0.1", "::ffff:127.0.0.1"} {
		c := newClient(t, Options{Allow: []string{allow}, RootCAs: tg.roots, Resolver: res})
		if body, err := get(t, c, u); err != nil || body != "fine" {
			t.Errorf("allow %q: got %q, %v", allow, body, err)
		}
	}
	before := tg.conns.Load()
	for name, allow := range map[string][]string{
		"nothing allowed":         nil,
		"another host":            {"other.example"},
		"another port":            {"example.com:1"},
		"another network":         {"10.0.0.0/8"},
		"a parent domain":         {"com"},
		"a name as prefix":        {"example.co"},
		"the address, other port": {"127.0.0.1:1"},
	} {
		c := newClient(t, Options{Allow: allow, RootCAs: tg.roots, Resolver: res})
		_, err := get(t, c, u)
		mustRefuse(t, err, name)
	}
	if n := tg.conns.Load(); n != before {
		t.Errorf("%d connections were made although refused", n-before)
	}
}

func TestF01Addresses(t *testing.T) {
	r := newRules()
	none := func(netip.Addr) bool { return false }
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.1", "192.0.1.1", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1"} {
		if why := r.verdict(netip.MustParseAddr(s), none); why != "" {
			t.Errorf("public address %s refused: %s", s, why)
		}
	}
	for s, why := range map[string]string{
		"127.0.0.1": "loopback", "127.255.255.254": "all of 127/8 is loopback", "0.0.0.0": "Linux connects it to loopback", "0.1.2.3": "this network",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "169.254.1.1": "link-local",
		"100.64.0.1": "CGNAT", "100.127.255.255": "CGNAT", "224.0.0.1": "multicast", "255.255.255.255": "broadcast", "240.0.0.1": "reserved", "198.18.0.1": "benchmark",
		"192.0.2.1": "documentation", "::": "unspecified", "::1": "loopback", "::ffff:127.0.0.1": "IPv4-mapped loopback", "::ffff:10.0.0.1": "IPv4-mapped private",
		"::127.0.0.1": "IPv4-compatible", "64:ff9b::7f00:1": "NAT64 loopback", "64:ff9b::808:808": "NAT64 is decided by the operator", "64:ff9b:1::a00:1": "local NAT64",
		"2002:7f00:1::": "6to4 loopback", "2002:a00:1::1": "6to4 private", "2001:0:1::1": "Teredo", "fc00::1": "unique local", "fd12:3456::1": "unique local",
		"fe80::1": "link-local", "fe80::1%eth0": "zone", "ff02::1": "multicast", "2001:db8::1": "documentation", "fec0::1": "old site-local", "5f00::1": "segment routing ids", "100::1": "discard",
	} {
		if r.verdict(netip.MustParseAddr(s), none) == "" {
			t.Errorf("%s was not refused: %s", s, why)
		}
	}
}

// TestF01MetadataIsNeverReached opens everything there is to open.
func TestF01MetadataIsNeverReached(t *testing.T) {
	r := newRules()
	all := func(netip.Addr) bool { return true }
	if why := r.verdict(netip.MustParseAddr("10.1.2.3"), all); why != "" {
		t.Fatalf("an allowed private address must work: %s", why)
	}
	for _, s := range []string{
		"169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "64:ff9b:1:a9fe:a9:fe00::",
		"2001:0:1:1:1:1:5601:5601", "fe80::5efe:a9fe:a9fe", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
	} {
		if r.verdict(netip.MustParseAddr(s), all) == "" {
			t.Errorf("%s must stay refused even when allowed", s)
		}
	}
	c := newClient(t, Options{
		Allow:    []string{"0.0.0.0/0", "::/0", "169.254.169.254", "metadata.example"},
		Resolver: &names{answers: map[string][][]string{"metadata.example": {{"169.254.169.254"}}}},
	})
	for _, u := range []string{"http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "https://metadata.example/"} {
		_, err := get(t, c, u)
		mustRefuse(t, err, u)
	}
}

func TestF01Spellings(t *testing.T) {
	tg := newTarget(t, true, ok)
	c := newClient(t, Options{RootCAs: tg.roots})
	for _, host := range []string{
		"127.0.0.1", "0x7f000001", "0X7F000001", "2130706433", "127.1", "0177.0.0.1", "0x7f.1", "127.0.0.0x1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::1]", "[::]", "0", "0.0.0.0", "localhost",
		"[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[fe80::1%25lo]",
	} {
		_, err := get(t, c, "https://"+host+":"+tg.port+"/")
		if err == nil {
			t.Errorf("%s was connected to", host)
		}
	}
	for _, u := range []string{"file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/", "http://example.com/", "https://user:pw@example.com/", "https:///x", "unix:///run/x", "data:,x", "HTTP://example.com/", "//example.com/"} {
		_, err := get(t, c, u)
		if err == nil {
			t.Errorf("%s was fetched", u)
		}
	}
	if n := tg.conns.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestF01Rebinding: the name is public when asked first and internal when asked
// again; and a list of which one address is internal.
func TestF01Rebinding(t *testing.T) {
	tg := newTarget(t, true, ok)
	res := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}, {"127.0.0.1"}, {"::1", "127.0.0.1", "::ffff:127.0.0.1"}}}}
	c := newClient(t, Options{RootCAs: tg.roots, Resolver: res})
	for range 4 {
		_, err := get(t, c, "https://example.com:"+tg.port+"/")
		mustRefuse(t, err, "the address of the socket decides, at each connection")
	}
	if n := tg.conns.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestF01Redirects(t *testing.T) {
	inner := newTarget(t, false, ok)
	var to atomic.Pointer[string]
	var hops atomic.Int64
	front := newTarget(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			ok(w, r)
			return
		}
		if r.URL.Path == "/loop" {
			hops.Add(1)
		}
		http.Redirect(w, r, *to.Load(), http.StatusFound)
	})
	res := &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}, "inner.example": {{"127.0.0.1"}}}}
	c := newClient(t, Options{Allow: []string{"example.com:" + front.port}, RootCAs: front.roots, Resolver: res})
	start := "https://example.com:" + front.port + "/start"
	set := func(s string) { to.Store(&s) }

	set("/end")
	if body, err := get(t, c, start); err != nil || body != "fine" {
		t.Fatalf("a redirect that stays is followed: %q, %v", body, err)
	}
	for _, loc := range []string{
		"http://169.254.169.254/latest/", "https://169.254.169.254/", "https://127.0.0.1:" + inner.port + "/", "http://inner.example:" + inner.port + "/",
		"http://example.com:" + front.port + "/end", "file:///etc/passwd", "https://[::1]:" + inner.port + "/", "https://u:p@example.com:" + front.port + "/end", "https://0x7f000001:" + inner.port + "/",
	} {
		set(loc)
		_, err := get(t, c, start)
		if err == nil {
			t.Errorf("redirect to %s was followed", loc)
		}
	}
	if n := inner.conns.Load(); n != 0 {
		t.Errorf("%d connections reached the inner server", n)
	}
	set("/loop")
	_, err := get(t, c, "https://example.com:"+front.port+"/loop")
	mustRefuse(t, err, "a redirect loop ends")
	if n := hops.Load(); n > MaxRedirects+1 {
		t.Errorf("%d requests of a loop were sent, want at most %d", n, MaxRedirects+1)
	}
}

func TestPlainHTTPOnlyToAllowedHosts(t *testing.T) {
	tg := newTarget(t, false, ok)
	res := &names{answers: map[string][][]string{"idp.internal": {{"127.0.0.1"}}}}
	byName := "http://idp.internal:" + tg.port + "/"
	byAddress := "http://127.0.0.1:" + tg.port + "/"
	for _, c := range []struct {
		allow, url string
		want       bool
	}{
		{"idp.internal", byName, true},
		{"idp.internal:" + tg.port, byName, true},
		{"127.0.0.1", byAddress, true},
		{"127.0.0.1:" + tg.port, byAddress, true},
		{"127.0.0.0/8", byAddress, true},
		{"127.0.0.0/8", byName, false}, // the name was not vouched for: its plain text could be anyone's
		{"127.0.0.1", byName, false},
		{"127.0.0.1:1", byAddress, false},
	} {
		_, err := get(t, newClient(t, Options{Allow: []string{c.allow}, Resolver: res}), c.url)
		if (err == nil) != c.want {
			t.Errorf("allow %s, get %s: %v, want success %v", c.allow, c.url, err, c.want)
		}
	}
}

// TestProxyEnvironmentIsIgnored looks at the field: net/http reads the
// environment once per process, so setting it here would prove nothing.
func TestProxyEnvironmentIsIgnored(t *testing.T) {
	tr, isOurs := newClient(t, Options{}).Transport.(*transport)
	if !isOurs || tr.next.Proxy != nil {
		t.Error("a proxy would connect where nobody looks")
	}
}

func TestTooLargeStays(t *testing.T) {
	b := &limitedBody{ReadCloser: io.NopCloser(strings.NewReader("12345")), left: 4}
	if got, err := io.ReadAll(b); string(got) != "1234" || !errors.Is(err, ErrTooLarge) {
		t.Errorf("%q, %v", got, err)
	}
	if n, err := b.Read(make([]byte, 8)); n != 0 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("a second Read: %d, %v; a cut body must not end like a whole one", n, err)
	}
}

func TestBodiesAndHeadersAreBounded(t *testing.T) {
	const limit = 1000
	var body atomic.Pointer[http.HandlerFunc]
	tg := newTarget(t, false, func(w http.ResponseWriter, r *http.Request) { (*body.Load())(w, r) })
	c := newClient(t, Options{Allow: []string{"127.0.0.1"}, MaxBody: limit})
	try := func(h http.HandlerFunc) (string, error) { body.Store(&h); return get(t, c, tg.URL) }

	exact := strings.Repeat("x", limit)
	if got, err := try(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, exact) }); err != nil || got != exact {
		t.Errorf("a body of exactly the limit: %d bytes, %v", len(got), err)
	}
	for name, h := range map[string]http.HandlerFunc{
		"declared length": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, exact+"x") },
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			for range limit + 1 {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
			}
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(make([]byte, 100*limit))
			_ = z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(b.Bytes())
		},
	} {
		if got, err := try(h); !errors.Is(err, ErrTooLarge) || len(got) > limit {
			t.Errorf("%s: %d bytes, %v, want ErrTooLarge", name, len(got), err)
		}
	}
	if _, err := try(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("h", 2*maxHeaderBytes))
	}); err == nil {
		t.Error("a header of 128 KiB was accepted")
	}
}

func TestDeadlineCoversTheBody(t *testing.T) {
	done := make(chan struct{})
	tg := newTarget(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush()
		select { // a server that drips for ever
		case <-r.Context().Done():
		case <-done:
		}
	})
	defer close(done)
	start := time.Now()
	_, err := get(t, newClient(t, Options{Allow: []string{"127.0.0.1"}, Timeout: 200 * time.Millisecond}), tg.URL)
	if err == nil || time.Since(start) > 3*time.Second {
		t.Errorf("got %v after %s, want a time-out", err, time.Since(start))
	}
}

func TestAllowEntriesAreReadStrictly(t *testing.T) {
	for _, good := range []string{"idp.example", "idp.example:8443", "10.0.0.0/8", "10.1.2.3", "10.1.2.3:80", "::1", "[::1]:80", "[::1]", "fd00::/8"} {
		if _, err := New(Options{Allow: []string{good}}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "https://idp.example", "10.0.0.0/33", "idp.example/path", "idp.example:0", "idp.example:http", "idp.example:99999", "a:b:c", "user@idp.example", "fe80::1%eth0"} {
		if _, err := New(Options{Allow: []string{bad}}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := New(Options{Timeout: -1}); err == nil {
		t.Error("a negative deadline was accepted")
	}
}

// TestErrorsDoNotShowQueries: codes and tokens travel in queries; the refusal
// ends up in logs.
func TestErrorsDoNotShowQueries(t *testing.T) {
	c := newClient(t, Options{})
	_, err := get(t, c, "https://127.0.0.1/?code=hunter2")
	refused, isRefused := errors.AsType[*RefusedError](err)
	if !isRefused || strings.Contains(refused.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func FuzzHostsNeverPanicOrConnectInside(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "0x7f000001", "[::1]", "2130706433", "a.b", "127.1", "[::ffff:169.254.169.254]", "1.2.3.4:80", "é.example"} {
		f.Add(s)
	}
	t0 := &transport{}
	rules := newRules()
	f.Fuzz(func(t *testing.T, host string) {
		u, err := url.Parse("https://" + host + "/")
		if err != nil || t0.check(u) != nil {
			return
		}
		// What passes is a name to be resolved, or an address netip reads alike.
		a, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			if looksNumeric(u.Hostname()) {
				t.Errorf("%q passed although some resolver reads it as an address", host)
			}
			return
		}
		if a.Unmap().IsLoopback() && rules.verdict(a, func(netip.Addr) bool { return false }) == "" {
			t.Errorf("%q is loopback and would be connected to", host)
		}
	})
}
