package saml_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// keeper is a saml.Store in memory.
type keeper struct {
	mu      sync.Mutex
	value   []byte
	version int64
	events  []string
	down    error
	before  func() // runs before a write, once
}

func (k *keeper) ProviderMetadata(context.Context, string) ([]byte, int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down != nil {
		return nil, 0, k.down
	}
	if k.version == 0 {
		return nil, 0, member.ErrNotFound
	}
	return slices.Clone(k.value), k.version, nil
}

func (k *keeper) PutProviderMetadata(_ context.Context, _ string, value []byte, version int64, events ...audit.Event) error {
	k.mu.Lock()
	before := k.before
	k.before = nil
	k.mu.Unlock()
	if before != nil {
		before()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down != nil {
		return k.down
	}
	if k.version != version {
		return member.ErrConflict
	}
	k.value, k.version = slices.Clone(value), version+1
	for _, e := range events {
		k.events = append(k.events, e.Actor+" "+e.Kind)
	}
	return nil
}

// byURL is a fixture whose provider reads its metadata from a server.
type byURL struct {
	*fixture
	server *metadataServer
	store  *keeper
	set    settings.Provider
}

func newByURL(t testing.TB, change ...func(*settings.Provider)) *byURL {
	f := &byURL{fixture: newFixture(t), server: newMetadataServer(t), store: &keeper{}}
	f.set = settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataURL: f.server.URL}}
	for _, c := range change {
		c(&f.set)
	}
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}}})
	f.restart()
	return f
}

func (f *byURL) publish(d descriptor) { f.server.answer(200, d.xml()) }

// restart makes the provider anew: another process, or another node.
func (f *byURL) restart() {
	f.t.Helper()
	p, err := saml.New(saml.Options{
		Provider: f.set, URL: gateway, Keys: []saml.KeyPair{{Key: f.k.sp, Cert: f.k.spCert}}, HTTP: f.server.Client(), Store: f.store,
		Now: func() time.Time { return f.now },
	})
	f.ok(err)
	f.p = p
}

func (f *byURL) refresh() {
	f.t.Helper()
	f.ok(f.p.Refresh(context.Background()))
}

func (f *byURL) pending() *saml.Change {
	f.t.Helper()
	c, err := saml.Pending(context.Background(), f.store, "okta")
	f.ok(err)
	return c
}

// signsIn wants what the key of this certificate signs to be believed, or not.
func (f *byURL) signsIn(want bool, why string) {
	f.t.Helper()
	l := f.login()
	if want {
		f.accept(l, f.respond(l))
		return
	}
	f.refuse(l, f.respond(l), why, "signature")
}

func redirectTo(location string) string {
	return `<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + location + `"/>`
}

// Row S31: whoever gets hold of a metadata URL must not get the accounts behind it.
func TestChangedMetadataWaitsForApprovalS31(t *testing.T) {
	f := newByURL(t)
	ctx := context.Background()
	f.signsIn(true, "")
	if f.pending() != nil {
		t.Fatal("the first reading needs no approval")
	}
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}, {"signing", f.k.other}}, sso: redirectTo("https://evil.example.com/sso")})
	f.refresh()
	f.signsIn(true, "")
	if l := f.login(); !strings.HasPrefix(l.Start.URL, "https://idp.example.com/sso?") {
		t.Errorf("browsers are sent to %s before anybody approved it", l.Start.URL)
	}
	f.ok(f.idp.RotateKey(f.k.stranger, f.k.other))
	f.signsIn(false, "a certificate that nobody approved")
	c := f.pending()
	if c == nil || !c.Seen.Equal(f.now) || len(c.Differences) != 2 ||
		!strings.HasPrefix(c.Differences[0].New, "SHA-256 ") || c.Differences[0].Old != "" ||
		c.Differences[1].Old != "https://idp.example.com/sso" || c.Differences[1].New != "https://evil.example.com/sso" {
		t.Fatalf("change %+v", c)
	}
	if f.p.Health().Pending != c.Digest {
		t.Error("health does not say that something waits")
	}
	f.restart()
	f.signsIn(false, "a restart approved it")
	f.refresh()
	f.signsIn(false, "a second reading approved it")
	if again := f.pending(); again.Digest != c.Digest {
		t.Error("the same metadata has two digests")
	}
	by := member.Actor{Name: "cli:ana"}
	for _, digest := range []string{"", c.Digest[1:], strings.ToUpper(c.Digest)} {
		if err := saml.Approve(ctx, f.store, by, "okta", digest, f.now); !errors.Is(err, saml.ErrNoChange) {
			t.Errorf("approved %q: %v", digest, err)
		}
	}
	before := f.login()
	response := f.respond(before)
	f.ok(saml.Approve(ctx, f.store, by, "okta", c.Digest, f.now))
	f.ok(f.p.Reload(ctx))
	f.accept(before, response)
	if l := f.login(); !strings.HasPrefix(l.Start.URL, "https://evil.example.com/sso?") {
		t.Errorf("approved, and browsers are sent to %s", l.Start.URL)
	}
	if f.pending() != nil || f.p.Health().Pending != "" {
		t.Error("approved, and it waits still")
	}
	if want := []string{"system provider.metadata_trusted", "system provider.change_pending", "cli:ana provider.change_approved"}; !slices.Equal(f.store.events, want) {
		t.Errorf("events %v", f.store.events)
	}
}

// What an operator approves is what he has looked at, though the metadata changes
// while he looks.
func TestApprovalIsOfOneChangeOnly(t *testing.T) {
	f := newByURL(t)
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}}, sso: redirectTo("https://new.example.com/sso")})
	f.refresh()
	seen := f.pending()
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}}, sso: redirectTo("https://evil.example.com/sso")})
	f.refresh()
	if err := saml.Approve(context.Background(), f.store, member.Actor{}, "okta", seen.Digest, f.now); !errors.Is(err, saml.ErrNoChange) {
		t.Errorf("approved what was not looked at: %v", err)
	}
	// The other node's refresh between reading and writing an approval.
	digest := f.pending().Digest
	f.store.before = func() { f.publish(descriptor{keys: []key{{"", f.k.other}}}); f.refresh() }
	if err := saml.Approve(context.Background(), f.store, member.Actor{}, "okta", digest, f.now); !errors.Is(err, saml.ErrNoChange) {
		t.Errorf("approved over a change: %v", err)
	}
	f.signsIn(true, "")
}

func TestRejectedMetadataIsNotAskedAboutAgain(t *testing.T) {
	f := newByURL(t)
	ctx := context.Background()
	f.publish(descriptor{keys: []key{{"signing", f.k.other}}})
	f.refresh()
	f.ok(saml.Reject(ctx, f.store, member.Actor{Name: "cli:ana"}, "okta", f.pending().Digest, f.now))
	f.refresh()
	if c := f.pending(); c != nil {
		t.Errorf("asked again: %+v", c)
	}
	f.signsIn(true, "")
	f.publish(descriptor{keys: []key{{"signing", f.k.other}}, sso: redirectTo("https://new.example.com/sso")})
	f.refresh()
	if f.pending() == nil {
		t.Error("other metadata than the rejected one does not wait")
	}
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}}})
	f.refresh()
	if f.pending() != nil {
		t.Error("withdrawn, and it waits still")
	}
}

func TestWithdrawnCertificateIsDroppedAtOnce(t *testing.T) {
	f := newByURL(t, func(*settings.Provider) {})
	f.store = &keeper{}
	f.publish(descriptor{keys: []key{{"", f.k.idpCert}, {"", f.k.other}}})
	f.restart()
	f.signsIn(true, "")
	f.publish(descriptor{keys: []key{{"", f.k.other}}})
	f.refresh()
	f.signsIn(false, "the IdP called this key back")
	if f.pending() != nil {
		t.Error("a removal waits for approval")
	}
	f.ok(f.idp.RotateKey(f.k.stranger, f.k.other))
	f.signsIn(true, "")
	if last := f.store.events[len(f.store.events)-1]; last != "system provider.metadata_narrowed" {
		t.Errorf("audited as %q", last)
	}
	f.publish(descriptor{keys: []key{{"", f.k.idpCert}}}) // all replaced: nothing would be left
	f.refresh()
	f.signsIn(true, "")
	f.ok(f.idp.RotateKey(f.k.idp, f.k.idpCert))
	f.signsIn(false, "a dropped certificate comes back only with approval")
}

func TestAutoAcceptUsesChangesAtOnce(t *testing.T) {
	f := newByURL(t, func(p *settings.Provider) { p.SAML.AutoAccept = true })
	l := f.login()
	old := f.respond(l)
	f.accept(l, old)
	f.publish(descriptor{keys: []key{{"signing", f.k.other}}})
	f.refresh()
	f.refuse(l, old, "signed with a certificate that was withdrawn", "signature")
	f.ok(f.idp.RotateKey(f.k.stranger, f.k.other))
	f.signsIn(true, "")
	if f.pending() != nil || f.store.events[len(f.store.events)-1] != "system provider.change_accepted" {
		t.Errorf("events %v", f.store.events)
	}
}

// auto_accept that is switched on takes what waits, although the IdP says that
// nothing has changed since.
func TestAutoAcceptSwitchedOnLater(t *testing.T) {
	f := newByURL(t)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		_, _ = w.Write([]byte(descriptor{keys: []key{{"", f.k.other}}}.xml()))
	})
	f.server.serve.Store(&h)
	f.refresh()
	f.refresh()
	f.signsIn(true, "")
	f.set.SAML.AutoAccept = true
	f.restart()
	f.refresh()
	f.signsIn(false, "withdrawn, and the new one accepted")
	if f.pending() != nil {
		t.Error("it waits still")
	}
}

// The last good copy survives a restart while the IdP is down, also an approval.
func TestLastGoodMetadataSurvivesARestart(t *testing.T) {
	f := newByURL(t)
	f.server.answer(503, "")
	calls := f.server.calls.Load()
	f.restart()
	if f.server.calls.Load() != calls {
		t.Error("the start waits for an IdP although there is a copy")
	}
	f.signsIn(true, "")
	if err := f.p.Refresh(context.Background()); err == nil {
		t.Error("no error of an IdP that is down")
	}
	f.signsIn(true, "")
	// Another URL in the config is another provider's word: nothing of the old copy is used.
	f.set.SAML.MetadataURL = f.server.URL + "/other"
	f.restart()
	if _, err := f.p.Begin(context.Background(), sso.Login{ID: "x"}); !errors.Is(err, saml.ErrNoMetadata) {
		t.Errorf("begin with the copy of another URL: %v", err)
	}
}

func TestStoreThatIsDownChangesNothing(t *testing.T) {
	f := newByURL(t, func(p *settings.Provider) { p.SAML.AutoAccept = true })
	f.store.down = errors.New("down")
	f.publish(descriptor{keys: []key{{"signing", f.k.other}}})
	if err := f.p.Refresh(context.Background()); !errors.Is(err, f.store.down) {
		t.Errorf("refresh: %v", err)
	}
	f.signsIn(true, "")
	if err := saml.Approve(context.Background(), f.store, member.Actor{}, "okta", "x", f.now); !errors.Is(err, f.store.down) {
		t.Errorf("approve: %v", err)
	}
}

func TestTwoNodesRefreshTogether(t *testing.T) {
	f := newByURL(t)
	first := f.p
	f.restart()
	f.publish(descriptor{keys: []key{{"signing", f.k.idpCert}, {"", f.k.other}}})
	f.store.before = func() { f.ok(first.Refresh(context.Background())) }
	f.refresh()
	if n := strings.Count(strings.Join(f.store.events, " "), "change_pending"); n != 1 {
		t.Errorf("audited %d times", n)
	}
	if first.Health().Pending == "" || first.Health().Pending != f.p.Health().Pending {
		t.Error("the nodes differ")
	}
}

func TestConditionalRequests(t *testing.T) {
	f := newByURL(t)
	var asked []string
	until := f.now.Add(time.Hour).UTC().Format(time.RFC3339)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("If-None-Match")+"|"+r.Header.Get("If-Modified-Since"))
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = w.Write([]byte(descriptor{keys: []key{{"", f.k.idpCert}}, attributes: `validUntil="` + until + `"`}.xml()))
	})
	f.server.serve.Store(&h)
	f.refresh()
	f.now = f.now.Add(10 * time.Minute)
	f.restart() // the validators survive too
	f.refresh()
	if want := []string{"|", `"v1"|Mon, 02 Jan 2006 15:04:05 GMT`}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	if h := f.p.Health(); !h.MetadataRead.Equal(f.now) || h.MetadataUntil.IsZero() {
		t.Errorf("health %+v", h)
	}
	f.now = f.now.Add(time.Hour)
	if err := f.p.Refresh(context.Background()); !errors.Is(err, saml.ErrMetadataExpired) {
		t.Errorf("\"not modified\" made expired metadata good: %v", err)
	}
	// Nobody asked for 304: it is no answer.
	f.store = &keeper{}
	f.server.answer(http.StatusNotModified, "")
	f.restart()
	if err := f.p.Refresh(context.Background()); err == nil || f.store.version != 0 {
		t.Error("304 without a condition was taken for metadata")
	}
}

// Fault 11: one line for each threshold, and the reason of a refusal.
func TestCertificateExpiryIsToldOnceForEachThreshold(t *testing.T) {
	f := newFixture(t)
	end := f.now.Add(40 * 24 * time.Hour)
	c, err := ssotest.SelfSigned(f.k.idp, "expiring", f.now.Add(-time.Hour), end)
	f.ok(err)
	f = newFixture(t, withMetadata(descriptor{keys: []key{{"", c}}}.xml()))
	for _, step := range []struct {
		left time.Duration
		want string
	}{
		{40 * 24 * time.Hour, ""},
		{30 * 24 * time.Hour, "certificate_expiring"},
		{29 * 24 * time.Hour, ""},
		{7 * 24 * time.Hour, "certificate_expiring"},
		{25 * time.Hour, ""},
		{time.Hour, "certificate_expiring"},
		{time.Minute, ""},
		{-time.Minute, "certificate_expired"},
		{-time.Hour, ""},
	} {
		f.now = end.Add(-step.left)
		got := ""
		for _, n := range f.p.Notices() {
			got += n.Kind
			if n.Detail["not_after"] != end.UTC().Format(time.RFC3339) || len(n.Detail["certificate"]) != 95 {
				t.Errorf("detail %v", n.Detail)
			}
		}
		if got != step.want {
			t.Errorf("%s before the end: %q, want %q", step.left, got, step.want)
		}
	}
	l := f.login()
	f.refuse(l, f.respond(l), "an expired certificate", "certificate_expired")
}

// Fault 10.
func TestAgingMetadataIsTold(t *testing.T) {
	f := newFixture(t)
	until := f.now.Add(10 * time.Hour)
	f = newFixture(t, withMetadata(descriptor{keys: []key{{"", f.k.idpCert}}, attributes: `validUntil="` + until.UTC().Format(time.RFC3339) + `"`}.xml()))
	for _, step := range []struct {
		age  time.Duration
		want string
	}{{5 * time.Hour, ""}, {6 * time.Hour, "metadata_aging"}, {7 * time.Hour, ""}, {10 * time.Hour, "metadata_expired"}, {11 * time.Hour, ""}} {
		f.now = until.Add(-10*time.Hour + step.age)
		got := ""
		for _, n := range f.p.Notices() {
			got += n.Kind
		}
		if got != step.want {
			t.Errorf("after %s: %q, want %q", step.age, got, step.want)
		}
	}
}

func TestTransientOnlyMetadataIsTold(t *testing.T) {
	for format, want := range map[string]bool{"transient": true, "persistent": false} {
		d := descriptor{keys: []key{{"", testKeys().idpCert}}}
		d.sso = `<md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:` + format + `</md:NameIDFormat>` + redirectTo("https://idp.example.com/sso")
		p, err := create(withMetadata(d.xml()))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Notices()); strings.Contains(got, "name_id_transient") != want {
			t.Errorf("%s: %s", format, got)
		}
	}
}

// Row F01: a metadata URL that leads inside is refused before anything connects,
// unless the operator has said that the host is meant.
func TestMetadataURLMayNotLeadInsideF01(t *testing.T) {
	f := newByURL(t)
	for allowed, list := range map[bool][]string{false: nil, true: {strings.TrimPrefix(f.server.URL, "http://")}} {
		client, err := outbound.New(outbound.Options{Allow: list})
		f.ok(err)
		calls := f.server.calls.Load()
		p, err := saml.New(saml.Options{
			Provider: f.set, URL: gateway, Keys: []saml.KeyPair{{Key: f.k.sp, Cert: f.k.spCert}}, HTTP: client, Now: func() time.Time { return f.now },
		})
		f.ok(err)
		if read := p.Health().Err == nil; read != allowed || (f.server.calls.Load() > calls) != allowed {
			t.Errorf("allowed %v: read %v (%v)", allowed, read, p.Health().Err)
		}
	}
}
