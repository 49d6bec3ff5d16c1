package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/identity"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/session"
)

// keyStore keeps sealed keys in memory.
type keyStore struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (k *keyStore) SealedKey(_ context.Context, name string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v, ok := k.m[name]; ok {
		return v, nil
	}
	return nil, member.ErrNotFound
}

func (k *keyStore) PutSealedKeyIfAbsent(_ context.Context, name string, sealed []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string][]byte{}
	}
	k.m[name] = sealed
	return sealed, nil
}

func (k *keyStore) ReplaceSealedKey(_ context.Context, _ member.Actor, _, name string, _, sealed []byte) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m[name] = sealed
	return 1, nil
}

func newRing(t testing.TB, now clock.Func, algorithms ...assertion.Algorithm) *assertion.Ring {
	t.Helper()
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	r := &assertion.Ring{Store: &keyStore{}, Sealer: sealer, Now: now}
	if err := r.Ensure(t.Context(), algorithms...); err != nil {
		t.Fatal(err)
	}
	return r
}

// rig with one route at / that introduces people so, with keys, and a clock.
func introducing(t *testing.T, id IdentitySpec, more ...RouteSpec) (*rig, *clock.Manual) {
	t.Helper()
	c := &clock.Manual{}
	specs := append([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Public: []string{"/public/*"}, Identity: id}}, more...)
	r := newRig(t, func(rc *rigConfig) {
		rc.specs, rc.now = specs, c.Now
		rc.assertions = newRing(t, c.Now, assertion.ES256, assertion.RS256)
	})
	for _, p := range r.sessions.by {
		p.Remember()
	}
	return r, c
}

func headersOf(pairs ...string) (out []header.Spec) {
	for i := 0; i < len(pairs); i += 3 {
		out = append(out, header.Spec{Name: pairs[i], Value: pairs[i+1], Encoding: header.Encoding(pairs[i+2])})
	}
	return out
}

var full = member.Member{
	ID: "m-full", UserName: "ada", Email: "ada@example.com", DisplayName: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace é",
	Role: member.RoleManager, Wish: true, Accepted: true,
}

func TestIdentityHeadersByTemplate(t *testing.T) {
	r, _ := introducing(t, IdentitySpec{Headers: headersOf(
		"REMOTE_USER", `CORP\{user_name}`, "plain",
		"X-Mail", "{email}", "",
		"X-Person", "{given_name} {family_name}", "percent",
		"X-Star", "{name} {family_name}", "rfc8187",
		"X-Base", "{family_name}", "base64",
		"X-Ascii", "{family_name}", "plain",
		"X-All", "{teams}", "",
		"X-All-Base", "{teams}", "base64",
		"X-Sum", "{role}@{provider}:{id}", "plain",
		"X-Fixed", "yes", "",
		"X-Mixed", "t={teams};u={user_name}", "",
	)})
	r.sessions.by["full"] = principal("full", full, "a,b", "c")
	r.sessions.by["two"] = principal("two", full, "a", "c")
	r.get("/", as("full"))
	h := r.one().header
	for name, want := range map[string]string{
		"Remote_user": `CORP\ada`, "X-Mail": "ada@example.com", "X-Person": "Ada Lovelace %C3%A9", "X-Star": "UTF-8''Ada%20Lovelace%20Lovelace%20%C3%A9",
		"X-Base": base64.StdEncoding.EncodeToString([]byte("Lovelace é")), "X-Ascii": "", "X-All": "a%2Cb,c", "X-All-Base": "", "X-Sum": "manager@okta:m-full",
		"X-Fixed": "yes", "X-Mixed": "t=a%2Cb,c;u=ada",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") && !slices.Contains([]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port"}, name) {
			t.Errorf("%s is sent beside what the route asks for", name)
		}
	}
	r.app.reset()
	r.get("/", as("two"))
	if got := r.one().header.Get("X-All-Base"); got != "YSxj" {
		t.Errorf("X-All-Base is %q", got)
	}
}

// Row H01, for names of a route.
func TestH01EverySpellingOfARoutesNamesIsRemoved(t *testing.T) {
	id := IdentitySpec{Headers: headersOf("X-Legacy-User", "{user_name}", "plain", "dept.name", "{given_name}", ""), Assertion: AssertionSpec{Algorithm: assertion.ES256, Header: "X-Proof"}}
	// The second route leads to the same application and says nothing of it; the third
	// application has its own use for the name.
	other := &app{}
	elsewhere := httptest.NewServer(other)
	defer elsewhere.Close()
	r, _ := introducing(t, id,
		RouteSpec{Name: "api", Origins: []string{"https://" + appHost}, PathPrefix: "/api"},
		RouteSpec{Name: "else", Origins: []string{"https://" + appHost}, PathPrefix: "/else", Upstream: elsewhere.URL})
	var lines []string
	for _, name := range []string{"X-Legacy-User", "Dept-Name", "X-Proof"} {
		for _, sep := range []string{"-", "_", ".", "~", "", "--", "-_", "!", "*", "'", "|", "^", "`", "+", "#", "$", "%", "&"} {
			spelled := strings.ReplaceAll(name, "-", sep)
			lines = append(lines, spelled+": evil", strings.ToLower(spelled)+": evil", strings.ToUpper(spelled)+": evil")
		}
		lines = append(lines, name+": evil", name+": evil2", name+":")
	}
	for _, at := range []string{"/ ana", "/public/x ana", "/public/x", "/api/x ana"} {
		target, who, _ := strings.Cut(at, " ")
		for start := 0; start < len(lines); start += 60 {
			batch := lines[start:min(start+60, len(lines))]
			if who != "" {
				batch = append([]string{as(who)}, batch...)
			}
			r.app.reset()
			if res := r.get(target, batch...); res.StatusCode == 400 {
				continue // net/http refused a spelling outright
			}
			for name, vals := range r.one().header {
				if slices.ContainsFunc(vals, func(v string) bool { return strings.HasPrefix(v, "evil") }) {
					t.Errorf("%s: the application sees %s: %q", at, name, vals)
				}
			}
		}
	}
	r.get("/else/x", as("ana"), "X-Legacy-User: theirs")
	if got := other.requests(); len(got) != 1 || got[0].header.Get("X-Legacy-User") != "theirs" {
		t.Errorf("benign: another application lost a header of its own: %+v", got)
	}
	r.app.reset()
	r.get("/", as("ana"), "X-Legacy-Users: kept", "X-Legacy: kept", "Dept: kept")
	if h := r.one().header; h.Get("X-Legacy-Users") != "kept" || h.Get("X-Legacy") != "kept" || h.Get("Dept") != "kept" || h.Get("X-Legacy-User") != "ana@example.com" {
		t.Errorf("benign: %v", h)
	}
}

// Row H02: trailers of the application say nothing of who asks, and no page sees the token.
func TestH02AnswersDoNotEchoWhoAsks(t *testing.T) {
	r, _ := introducing(t, IdentitySpec{Headers: headersOf("X-Legacy-User", "{user_name}", "plain"), Assertion: AssertionSpec{Algorithm: assertion.ES256}})
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Trailer", "X-Legacy-User, X_legacy_user, X-Ssogate-Assertion, X-Checksum")
		w.Header().Set("X-Ssogate-Assertion", q.Header.Get("X-Ssogate-Assertion"))
		_, _ = io.WriteString(w, "body")
		for _, n := range []string{"X-Legacy-User", "X_legacy_user", "X-Ssogate-Assertion", "X-Checksum"} {
			w.Header().Set(n, "x")
		}
	}
	res := r.raw("GET / HTTP/1.1\r\nHost: " + appHost + "\r\n" + as("ana") + "\r\nTE: trailers\r\nConnection: close\r\n\r\n")
	if r.one().header.Get("X-Ssogate-Assertion") == "" {
		t.Fatal("benign: no token")
	}
	if len(res.Header["X-Ssogate-Assertion"]) > 0 {
		t.Error("the token reaches the browser, and its scripts")
	}
	if len(res.Trailer) != 1 || res.Trailer.Get("X-Checksum") != "x" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

// Row H02: what Connection names is gone before ours is set.
func TestH02ConnectionCannotRemoveARoutesHeaders(t *testing.T) {
	r, _ := introducing(t, IdentitySpec{Headers: headersOf("X-Legacy-User", "{user_name}", ""), Basic: BasicSpec{User: "{user_name}", Password: "p"}})
	r.get("/", as("ana"), "Connection: close, X-Legacy-User, Authorization, Cookie")
	if h := r.one().header; h.Get("X-Legacy-User") != "ana@example.com" || h.Get("Authorization") == "" {
		t.Errorf("%v", h)
	}
}

// Rows H05 and H06, for every encoding.
func TestH05H06ValuesSurviveOrAreLeftOut(t *testing.T) {
	specs := headersOf(
		"X-Percent", "{name}", "percent", "X-Star", "{name}", "rfc8187", "X-Base", "{name}", "base64", "X-Plain", "{name}", "plain",
		"X-Both", "{given_name}{name}", "", "X-Teams", "{teams}", "", "X-Teams-Plain", "{teams}", "plain")
	read := map[string]func(string) (string, error){
		"X-Percent": url.PathUnescape,
		"X-Star":    func(s string) (string, error) { return url.PathUnescape(strings.TrimPrefix(s, "UTF-8''")) },
		"X-Base": func(s string) (string, error) {
			b, err := base64.StdEncoding.DecodeString(s)
			return string(b), err
		},
		"X-Plain": func(s string) (string, error) { return s, nil },
	}
	for _, c := range []struct{ name, value, absent string }{
		{"benign", "Ana", ""},
		{"line break", "Ana\r\nX-Evil: 1", "X-Plain"},
		{"NUL", "a\x00b", "X-Plain"},
		{"accents", "Anaïs Ω", "X-Plain"},
		{"not UTF-8", "a\xffb", "X-Plain"},
		{"spaces at the ends", " a ", "X-Plain"},
		{"percent", "100%41", ""},
		{"9 KB", strings.Repeat("a", 9<<10), "X-Percent X-Star X-Base X-Plain"},
		{"too long once encoded", strings.Repeat("\n", 700), "X-Percent X-Star X-Plain"},
		{"absent", "", "X-Percent X-Star X-Base X-Plain"},
	} {
		r, _ := introducing(t, IdentitySpec{Headers: specs, Assertion: AssertionSpec{Algorithm: assertion.ES256}, Cookie: CookieSpec{Name: "WHO", Value: "{name}"}})
		m := ana
		m.DisplayName, m.GivenName = c.value, ""
		r.sessions.by["odd"] = principal("odd", m, slices.Repeat([]string{"a-team"}, 2000)...)
		if res := r.get("/", as("odd"), "X-Both: evil", "X-Plain: evil", "X-Teams: evil", "Cookie: WHO=evil"); res.StatusCode != 200 {
			t.Fatalf("%s: an odd name locked its owner out: %d", c.name, res.StatusCode)
		}
		h := r.one().header
		for name, decode := range read {
			v := h[name]
			if strings.Contains(" "+c.absent+" ", " "+name+" ") {
				if len(v) > 0 {
					t.Errorf("%s: %s is %q", c.name, name, v)
				}
				continue
			}
			if len(v) != 1 {
				t.Errorf("%s: %s is %q", c.name, name, v)
				continue
			}
			if got, err := decode(v[0]); err != nil || got != strings.ToValidUTF8(c.value, "\ufffd") {
				t.Errorf("%s: %s %q reads as %q, %v", c.name, name, v[0], got, err)
			}
		}
		if len(h["X-Both"])+len(h["X-Teams"])+len(h["X-Teams-Plain"]) > 0 || h.Get("X-Evil") != "" || strings.Contains(h.Get("Cookie"), "evil") {
			t.Errorf("%s: %v", c.name, h)
		}
		if n := len(h.Get("X-Ssogate-Assertion")); n == 0 || n > 8<<10 {
			t.Errorf("%s: a token of %d bytes", c.name, n)
		}
	}
}

// Row H08: with credentials of a route's own, the client's never pass.
func TestH08CredentialsOfARouteReplaceTheClients(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ana@example.com:s3cret"))
	for _, c := range []struct {
		name string
		id   IdentitySpec
		want string
	}{
		{"basic", IdentitySpec{Basic: BasicSpec{User: "{user_name}", Password: "s3cret"}}, basic},
		{"bearer", IdentitySpec{Bearer: "t0ken"}, "Bearer t0ken"},
	} {
		r, _ := introducing(t, c.id)
		for _, lines := range [][]string{{}, {"Authorization: Basic cm9vdDpyb290"}, {"Authorization: a", "authorization: b"}, {"Author_ization: x"}} {
			r.app.reset()
			r.get("/", append(lines, as("ana"))...)
			h := r.one().header
			if got := h["Authorization"]; len(got) != 1 || got[0] != c.want || len(h["Author_ization"]) > 0 {
				t.Errorf("%s with %q: %q", c.name, lines, got)
			}
			r.app.reset()
			r.get("/public/x", append(lines, as("ana"))...)
			if got := r.one().header["Authorization"]; len(got) > 0 {
				t.Errorf("%s on a public path with %q: %q", c.name, lines, got)
			}
		}
	}
	for _, c := range []IdentitySpec{{Basic: BasicSpec{User: "{user_name}", Password: "s3cret"}}, {Bearer: "t0ken"}} { // row L01
		r, _ := introducing(t, c)
		r.app.handler = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		if r.get("/", as("ana")); strings.Contains(r.log.String(), "s3cret") || strings.Contains(r.log.String(), "t0ken") || strings.Contains(r.log.String(), basic[6:]) {
			t.Errorf("credentials are in the log: %s", r.log)
		}
	}
	// A name that Basic cannot write is absent, never half of it.
	r, _ := introducing(t, IdentitySpec{Basic: BasicSpec{User: "{user_name}", Password: "s3cret"}})
	for _, name := range []string{"a:b", "a\nb", ""} {
		m := ana
		m.UserName = name
		r.sessions.by["odd"] = principal("odd", m)
		r.app.reset()
		if r.get("/", as("odd")); len(r.one().header["Authorization"]) > 0 {
			t.Errorf("user %q: %q", name, r.one().header["Authorization"])
		}
	}
	// Without them, Authorization is the application's own.
	r = newRig(t)
	r.get("/", as("ana"), "Authorization: Basic x")
	if got := r.one().header.Get("Authorization"); got != "Basic x" {
		t.Errorf("benign: %q", got)
	}
}

func TestH07CookieOfARouteReplacesTheClients(t *testing.T) {
	r, _ := introducing(t, IdentitySpec{Cookie: CookieSpec{Name: "app_user", Value: "{user_name}"}},
		RouteSpec{Name: "api", Origins: []string{"https://" + appHost}, PathPrefix: "/api"})
	const ours = "app_user=ana@example.com"
	for _, c := range []struct{ sent, want string }{
		{"", ours},
		{"a=1; b=2", "a=1; b=2; " + ours},
		{"app_user=root", ours},
		{"a=1; app_user=root;b=2", "a=1;b=2; " + ours},
		{"APP_USER=root; app.user=root; app user=root; appuser=root; app-user=root", ours},
		{"app_user[0]=root; app%5fuser=root; %61pp_user=root; =app_user=root; $app_user=root; \"app_user\"=root; app_user", ours},
		{"a=app_user; my_app_user=1; app_users=2", "a=app_user; my_app_user=1; app_users=2; " + ours},
	} {
		lines := []string{as("ana")}
		if c.sent != "" {
			lines = append(lines, "Cookie: "+c.sent)
		}
		r.app.reset()
		r.get("/", lines...)
		if got := strings.Join(r.one().header["Cookie"], "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.sent, got, c.want)
		}
		for _, target := range []string{"/public/x", "/api/x"} {
			r.app.reset()
			r.get(target, lines...)
			if got := strings.Join(r.one().header["Cookie"], "|"); got != strings.TrimSuffix(strings.TrimSuffix(c.want, ours), "; ") {
				t.Errorf("%s %q: %q", target, c.sent, got)
			}
		}
	}
	m := ana
	m.UserName = "a;b, \"c\"\\\r\n=é%"
	r.sessions.by["odd"] = principal("odd", m)
	r.app.reset()
	r.get("/", as("odd"))
	cookies := (&http.Request{Header: r.one().header}).Cookies()
	if len(cookies) != 1 || cookies[0].Name != "app_user" {
		t.Fatalf("%q", r.one().header["Cookie"])
	}
	if got, err := url.PathUnescape(cookies[0].Value); err != nil || got != m.UserName {
		t.Errorf("%q reads as %q, %v", cookies[0].Value, got, err)
	}
}

func verifierOf(t *testing.T, ring *assertion.Ring, audience string, now clock.Func) *identity.Verifier {
	t.Helper()
	srv := httptest.NewServer(ring)
	t.Cleanup(srv.Close)
	v, err := identity.NewVerifier("https://sso.example.com", audience, identity.Options{KeysURL: srv.URL, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Row H09: the application can verify who asks, another one cannot use it, and it is
// signed every 30 s, never for every request, and never nearly over.
func TestH09SignedAssertion(t *testing.T) {
	for _, a := range assertion.Algorithms() {
		r, c := introducing(t, IdentitySpec{Assertion: AssertionSpec{Algorithm: a}},
			RouteSpec{Name: "api", Origins: []string{"https://" + appHost}, PathPrefix: "/api", Identity: IdentitySpec{Assertion: AssertionSpec{Algorithm: a, Audience: "urn:api", Header: "X-Proof"}}})
		ring, _ := r.gate.o.Assertions.(*assertion.Ring)
		app, api := verifierOf(t, ring, "app", c.Now), verifierOf(t, ring, "urn:api", c.Now)
		sent := func(target, name string) string {
			r.app.reset()
			r.get(target, as("ana"), "X-Ssogate-Assertion: evil", "X_Ssogate_Assertion: evil", "X-Proof: evil")
			h := r.one().header
			if len(h[name]) != 1 || len(h["X_ssogate_assertion"]) > 0 {
				t.Fatalf("%v", h)
			}
			return h[name][0]
		}
		first := sent("/", "X-Ssogate-Assertion")
		u, err := app.Verify(t.Context(), first)
		if err != nil || u.ID != "m-ana" || u.Email != "ana@example.com" || u.Name != "Ana" || !slices.Equal(u.Groups, []string{"sales"}) {
			t.Errorf("%s: %+v, %v", a, u, err)
		}
		other := sent("/api/x", "X-Proof")
		if u, err := api.Verify(t.Context(), other); err != nil || u.ID != "m-ana" {
			t.Errorf("%s: %+v, %v", a, u, err)
		}
		if u, err := api.Verify(t.Context(), first); err == nil || u.ID != "" {
			t.Errorf("%s: replayed to the other application: %+v", a, u)
		}
		if u, err := app.Verify(t.Context(), other); err == nil || u.ID != "" {
			t.Errorf("%s: replayed to the other application: %+v", a, u)
		}
		c.Advance(25 * time.Second)
		if sent("/", "X-Ssogate-Assertion") != first {
			t.Errorf("%s: signed again within 30 s", a)
		}
		c.Advance(6 * time.Second)
		next := sent("/", "X-Ssogate-Assertion")
		if next == first {
			t.Errorf("%s: not renewed after 30 s", a)
		}
		c.Advance(45 * time.Second)
		if u, err := app.Verify(t.Context(), first); err == nil || u.ID != "" {
			t.Errorf("%s: good after its life: %+v", a, u)
		}
		// A token of a key that was withdrawn is not sent any more, however new it is.
		last := sent("/", "X-Ssogate-Assertion")
		if _, _, err := ring.Rotate(t.Context(), assertion.Rotation{Algorithm: a, AtOnce: true}); err != nil {
			t.Fatal(err)
		}
		if err := ring.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sent("/", "X-Ssogate-Assertion") == last {
			t.Errorf("%s: a token of a withdrawn key is sent", a)
		}
		r.app.reset()
		r.get("/public/x", as("ana"), "X-Ssogate-Assertion: evil")
		if v := r.one().header["X-Ssogate-Assertion"]; len(v) > 0 {
			t.Errorf("%s: a public path has no identity, the application sees %q", a, v)
		}
	}
}

// While one request makes the next token, others send the one before; nobody sends one
// that is nearly over.
func TestOneRequestSignsWhileOthersSendTheOneBefore(t *testing.T) {
	c := &clock.Manual{}
	now := c.Now().Truncate(time.Second)
	ring := newRing(t, func() time.Time { return now }, assertion.ES256)
	k := ring.Signer(assertion.ES256, now)
	td := &told{}
	first, err := td.signed(k, now)
	if err != nil {
		t.Fatal(err)
	}
	td.mu.Lock() // somebody is signing
	for _, after := range []time.Duration{0, 30*time.Second - 1, 30 * time.Second, 40*time.Second - 1} {
		if got, err := td.signed(k, now.Add(after)); err != nil || &got[0] != &first[0] {
			t.Errorf("after %s: %v", after, err)
		}
	}
	done := make(chan []string)
	go func() {
		got, _ := td.signed(k, now.Add(40*time.Second))
		done <- got
	}()
	var got []string
	select {
	case got = <-done:
	case <-time.After(20 * time.Millisecond):
	}
	td.mu.Unlock()
	if got == nil {
		got = <-done
	}
	if got[0] == first[0] {
		t.Error("a token that lives for less than 20 s more was sent")
	}
	if got, err := td.signed(k, now.Add(-time.Minute)); err != nil || got[0] == first[0] {
		t.Errorf("the clock was set back, and a token of the future is sent: %v", err)
	}
	if _, err := td.signed(nil, now); !errors.Is(err, errNoKey) {
		t.Errorf("%v", err)
	}
}

func TestWithoutAKeyTheRouteIsUnavailable(t *testing.T) {
	for _, none := range []Assertions{nil, &assertion.Ring{}} {
		r, _ := introducing(t, IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}},
			RouteSpec{Name: "api", Origins: []string{"https://" + appHost}, PathPrefix: "/api"})
		r.gate.o.Assertions = none
		res := r.get("/", as("ana"))
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		r.none("without the assertion that it relies on")
		if res := r.get("/api/x", as("ana")); res.StatusCode != 200 {
			t.Errorf("another route: %d", res.StatusCode)
		}
		if !strings.Contains(r.log.String(), "an application cannot be told who asks") {
			t.Error("nothing in the log")
		}
	}
}

// What an application is told changes with the routes and with the principal at once.
func TestAReloadOrANewReadingIsNeverToldTheOldWay(t *testing.T) {
	r, _ := introducing(t, IdentitySpec{Headers: headersOf("X-Who", "{user_name}", "")})
	who := func() string {
		r.app.reset()
		r.get("/", as("ana"))
		return r.one().header.Get("X-Who")
	}
	if got := who(); got != "ana@example.com" {
		t.Fatalf("%q", got)
	}
	next, err := Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Identity: IdentitySpec{Headers: headersOf("X-Who", "{id}", "")}}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(next)
	if got := who(); got != "m-ana" {
		t.Errorf("after a reload: %q", got)
	}
	m := ana
	m.ID = "m-other"
	r.sessions.change(func() { r.sessions.by["ana"] = principal("ana", m).Remember() })
	if got := who(); got != "m-other" {
		t.Errorf("after a new reading: %q", got)
	}
	// What was made is used again: the same strings, not equal ones.
	x := &exchange{g: r.gate, rt: next.all[0], p: r.sessions.by["ana"]}
	if err := x.introduce(); err != nil {
		t.Fatal(err)
	}
	y := &exchange{g: r.gate, rt: next.all[0], p: x.p}
	if err := y.introduce(); err != nil || x.told != y.told {
		t.Errorf("made twice: %v", err)
	}
	// A principal that nothing remembers is told all the same.
	z := &exchange{g: r.gate, rt: next.all[0], p: &session.Principal{Member: full}}
	if err := z.introduce(); err != nil || len(z.told.fields) != 1 || z.told.fields[0].value[0] != "m-full" {
		t.Errorf("%+v, %v", z.told, err)
	}
}

func TestCompileRefusesIdentity(t *testing.T) {
	for why, id := range map[string]IdentitySpec{
		"hop-by-hop name":            {Headers: headersOf("Connection", "{id}", "")},
		"framing":                    {Headers: headersOf("Content-Length", "{id}", "")},
		"the host":                   {Headers: headersOf("Host", "{id}", "")},
		"credentials":                {Headers: headersOf("Authorization", "{id}", "")},
		"twice":                      {Headers: headersOf("X-User", "{id}", "", "x_user", "{email}", "")},
		"an expression":              {Headers: headersOf("X-User", "{id.upper}", "")},
		"an encoding":                {Headers: headersOf("X-User", "{id}", "rot13")},
		"X-Forwarded-User otherwise": {Headers: headersOf("X-Forwarded-User", "{email}", "")},
		"too many":                   {Headers: slices.Repeat(headersOf("X-User", "{id}", ""), 33)},
		"algorithm":                  {Assertion: AssertionSpec{Algorithm: "none"}},
		"assertion's header":         {Assertion: AssertionSpec{Algorithm: assertion.ES256, Header: "Cookie"}},
		"assertion's header twice":   {Headers: headersOf("X-Ssogate-Assertion", "{id}", ""), Assertion: AssertionSpec{Algorithm: assertion.ES256}},
		"no password":                {Basic: BasicSpec{User: "{id}"}},
		"no user":                    {Basic: BasicSpec{Password: "p"}},
		"two lines":                  {Basic: BasicSpec{User: "{id}", Password: "a\r\nb"}},
		"two credentials":            {Basic: BasicSpec{User: "{id}", Password: "p"}, Bearer: "b"},
		"bearer of two lines":        {Bearer: "a\r\nX-Evil: b"},
		"our cookie":                 {Cookie: CookieSpec{Name: cookieName, Value: "{id}"}},
		"cookie's value":             {Cookie: CookieSpec{Name: "a", Value: "{"}},
		"cookie's encoding":          {Cookie: CookieSpec{Name: "a", Value: "{id}", Encoding: header.RFC8187}},
	} {
		_, err := Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: "http://127.0.0.1:1", Identity: id}}, "https://sso.example.com")
		if err == nil || !strings.Contains(err.Error(), "identity") {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// Rows H01, H06, H09 through another proxy: it is answered what the route tells, to
// copy, and no request is passed on in which something else could be taken for that.
func TestH01ForwardAuthAnswersWhatTheRouteTells(t *testing.T) {
	c := &clock.Manual{}
	ring := newRing(t, c.Now, assertion.ES256)
	r := newRig(t, asking, func(rc *rigConfig) {
		rc.now, rc.assertions = c.Now, ring
		rc.specs = []RouteSpec{
			{Name: "app", Origins: []string{"https://" + appHost}, Public: []string{"/public/*"}, Identity: IdentitySpec{
				Headers: headersOf("REMOTE_USER", "{user_name}", "plain", "X-Dept", "{given_name}", ""), Assertion: AssertionSpec{Algorithm: assertion.ES256},
				Basic: BasicSpec{User: "{user_name}", Password: "p"}, Cookie: CookieSpec{Name: "WHO", Value: "{user_name}"},
			}},
			{Name: "api", Origins: []string{"https://" + appHost}, PathPrefix: "/api"},
		}
	})
	v := verifierOf(t, ring, "app", c.Now)
	for name := range fronts {
		res := r.ask(name, "GET", appHost, "/x", as("ana"), "Cookie: a=1; who=root", "Remote-User: root", "Authorization: Basic x")
		if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: an alias of REMOTE_USER passes: %d", name, res.StatusCode)
		}
		res = r.ask(name, "GET", appHost, "/x", as("ana"), "Cookie: a=1; who=root", "X-Dept: root", "Authorization: Basic x", "X-Ssogate-Assertion: evil")
		h := res.Header
		if res.StatusCode != 200 || h.Get("Remote_user") != "ana@example.com" && h.Get("REMOTE_USER") != "ana@example.com" || h.Get("Authorization") != "Basic YW5hQGV4YW1wbGUuY29tOnA=" {
			t.Errorf("%s: %d %v", name, res.StatusCode, h)
		}
		if got := h.Get("Cookie"); got != "a=1; WHO=ana@example.com" {
			t.Errorf("%s: Cookie %q", name, got)
		}
		if u, err := v.Verify(t.Context(), h.Get("X-Ssogate-Assertion")); err != nil || u.ID != "m-ana" {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		blank := h["X-Dept"]
		if wantBlank := fronts[name].blank; wantBlank != (len(blank) == 1 && blank[0] == "") || len(blank) > 0 && blank[0] != "" {
			t.Errorf("%s: an absent value is %q", name, blank)
		}
		// The other route leads to the same application and overwrites nothing.
		if res := r.ask(name, "GET", appHost, "/api/x", as("ana"), "X-Dept: root"); res.StatusCode/100 == 2 {
			t.Errorf("%s: another route passes a header that means somebody to the application: %d", name, res.StatusCode)
		}
		if res := r.ask(name, "GET", appHost, "/api/x", as("ana"), "X-Depth: 1"); res.StatusCode != 200 {
			t.Errorf("%s: benign: %d", name, res.StatusCode)
		}
		if res := r.ask(name, "GET", appHost, "/public/x", "Cookie: who=root; b=2"); res.StatusCode != 200 || res.Header.Get("Cookie") != "b=2" || strings.Trim(res.Header.Get("Authorization")+res.Header.Get("X-Ssogate-Assertion"), "") != "" {
			t.Errorf("%s: a public path: %d %v", name, res.StatusCode, res.Header)
		}
	}
}

// An address can pass to another person, and two can have the same one: what tells them
// apart is the id, in every form.
func TestPeopleWithTheSameAddressHaveDifferentIDs(t *testing.T) {
	r, c := introducing(t, IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}})
	ring, _ := r.gate.o.Assertions.(*assertion.Ring)
	v := verifierOf(t, ring, "app", c.Now)
	next := ana
	next.ID = "m-next"
	r.sessions.by["next"] = principal("next", next).Remember()
	ids := map[string]bool{}
	for _, who := range []string{"ana", "next"} {
		r.app.reset()
		r.get("/", as(who))
		h := r.one().header
		u, err := v.Verify(t.Context(), h.Get(identity.HeaderAssertion))
		if err != nil || u.ID != h.Get(identity.HeaderUser) || u.Email != "ana@example.com" || h.Get(identity.HeaderEmail) != "ana@example.com" {
			t.Errorf("%s: %+v, %v: %v", who, u, err, h)
		}
		ids[u.ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("ids %v", ids)
	}
}

// A token is not older when it is sent than a request may wait for its turn.
func TestH09ATokenIsRenewedWhenItsRequestHadToWait(t *testing.T) {
	r, c := introducing(t, IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}}, RouteSpec{
		Name: "busy", Origins: []string{"https://" + appHost}, PathPrefix: "/busy", To: upstream.Spec{Concurrency: 1, QueueWait: time.Minute},
		Identity: IdentitySpec{Assertion: AssertionSpec{Algorithm: assertion.ES256}},
	})
	ring, _ := r.gate.o.Assertions.(*assertion.Ring)
	v := verifierOf(t, ring, "busy", c.Now)
	var once sync.Once
	started, leave := make(chan struct{}), make(chan struct{})
	r.app.handler = func(http.ResponseWriter, *http.Request) {
		once.Do(func() {
			close(started)
			<-leave
		})
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.get("/busy/1", as("ana")) })
	<-started
	wg.Go(func() { r.get("/busy/2", as("ana")) })
	eventually(t, "one waits", func() bool {
		_, waiting, _ := r.gate.routes.Load().all[1].pool.Load()
		return waiting == 1
	})
	c.Advance(90 * time.Second)
	close(leave)
	wg.Wait()
	got := r.app.requests()
	if len(got) != 2 || got[1].target != "/busy/2" {
		t.Fatalf("%+v", got)
	}
	if _, err := v.Verify(t.Context(), got[0].header.Get(identity.HeaderAssertion)); err == nil {
		t.Error("benign: the clock did not move")
	}
	if u, err := v.Verify(t.Context(), got[1].header.Get(identity.HeaderAssertion)); err != nil || u.ID != "m-ana" {
		t.Errorf("after waiting: %+v, %v", u, err)
	}
}
