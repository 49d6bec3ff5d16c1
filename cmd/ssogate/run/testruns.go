package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/oauth"
	"github.com/ssogate/ssogate/sso/saml"
)

// testProvider is what a test of a digest tests: the active provider, if its settings
// are still those, else one of a saved version, which nobody signs in through.
func (s *Server) testProvider(id, digest string) (sso.Provider, settings.Provider, bool) {
	if p, ok := s.settings.Load().Provider(id); ok && settings.Digest(p) == digest {
		provider := s.provider(id)
		return provider, p, provider != nil
	}
	return s.drafts.find(s, id, digest)
}

// drafts are providers made of saved versions, for tests alone. The zero value is
// ready. Safe for concurrent use.
type drafts struct {
	mu   sync.Mutex
	made map[string]madeDraft // by digest
}

type madeDraft struct {
	*runningProvider
	at time.Time
}

const (
	// maxDrafts bounds what is kept of them; one that is needed again is made again.
	maxDrafts = 16
	// draftFresh is for how long one is used: whoever has corrected something at the
	// identity provider and tests again wants to see what it says now.
	draftFresh = 10 * time.Second
	// draftTime bounds reading versions and metadata for a draft.
	draftTime = 15 * time.Second
)

func (d *drafts) find(s *Server, id, digest string) (sso.Provider, settings.Provider, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.made[digest]
	if !ok || s.now().Sub(r.at).Abs() > draftFresh {
		made, err := s.makeDraft(id, digest)
		if err != nil {
			s.log.Warn("a saved provider cannot be tested", "provider", id, "err", err)
		}
		if made == nil {
			return nil, settings.Provider{}, false
		}
		if d.made == nil || len(d.made) >= maxDrafts {
			d.made = map[string]madeDraft{}
		}
		r = madeDraft{made, s.now()}
		d.made[digest] = r
	}
	return r.Provider, r.settings, r.settings.ID == id
}

// makeDraft makes a provider of a saved version, or nil where there is none. What it
// reads of the IdP is kept nowhere: kept under the id of the live one it would take
// the place of what an operator has approved there.
func (s *Server) makeDraft(id, digest string) (*runningProvider, error) {
	ctx, cancel := context.WithTimeout(context.Background(), draftTime)
	defer cancel()
	p, ok, err := s.versions.Find(ctx, id, digest)
	if err != nil || !ok {
		return nil, err
	}
	p.Active = true // a test asks what would be if it were
	if p.Protocol != settings.SAML {
		return s.makeProvider(ctx, p)
	}
	r := &runningProvider{settings: p}
	return r, s.makeSAML(ctx, r, nil)
}

// TestAdmin begins tests of identity providers and reads their reports.
type TestAdmin interface {
	// Begin answers a link for a browser. The configuration tested is that of the
	// running ssogate if it has this digest.
	Begin(ctx context.Context, q TestQuestion) (sso.TestStart, error)
	// Report is the report of a run, ended or not.
	Report(ctx context.Context, id string) (sso.Report, error)
}

// TestQuestion names what to test.
type TestQuestion struct {
	Actor    string `json:"actor"`
	Provider string `json:"provider"`
	Digest   string `json:"digest"`
}

// errNotRunning is the answer where no browser could come back to anything.
var errNotRunning = errors.New(`ssogate is not running: start "ssogate serve", or look at what needs no browser with --offline`)

var (
	askTestBegin  = endpoint[TestQuestion, sso.TestStart]{"/test/begin"}
	askTestReport = endpoint[string, sso.Report]{"/test/report"}
)

func (c *Control) serveTests(mux *http.ServeMux) {
	askTestBegin.serve(mux, c.Tests.Begin)
	askTestReport.serve(mux, c.Tests.Report)
}

// ownTests are those of the running process. A digest that it does not have is
// refused at once: whoever edited the file has forgotten to restart it.
type ownTests struct{ s *Server }

func (t ownTests) Begin(ctx context.Context, q TestQuestion) (sso.TestStart, error) {
	if _, _, ok := t.s.testProvider(q.Provider, q.Digest); !ok {
		return sso.TestStart{}, fmt.Errorf("the running ssogate has another configuration of provider %q than this file: restart it", q.Provider)
	}
	return t.s.flow.Tests().Begin(ctx, q.Actor, q.Provider, q.Digest)
}

func (t ownTests) Report(ctx context.Context, id string) (sso.Report, error) {
	return t.s.flow.Tests().Report(ctx, id)
}

// storedTests work on the store that the nodes share. Without such a store only a
// running process can be asked.
type storedTests struct{ stores *beside }

func (t storedTests) tests(ctx context.Context) (*sso.Tests, error) {
	if socketPath(t.stores.cfg.Database.URL) != "" {
		return nil, errNotRunning
	}
	p, err := t.stores.pending(ctx)
	if err != nil {
		return nil, err
	}
	return sso.NewTests(t.stores.cfg.URL, p, nil), nil
}

func (t storedTests) Begin(ctx context.Context, q TestQuestion) (sso.TestStart, error) {
	tests, err := t.tests(ctx)
	if err != nil {
		return sso.TestStart{}, err
	}
	return tests.Begin(ctx, q.Actor, q.Provider, q.Digest)
}

func (t storedTests) Report(ctx context.Context, id string) (sso.Report, error) {
	tests, err := t.tests(ctx)
	if err != nil {
		return sso.Report{}, err
	}
	return tests.Report(ctx, id)
}

// remoteTests ask the running process.
type remoteTests struct{ client *http.Client }

func (t remoteTests) Begin(ctx context.Context, q TestQuestion) (sso.TestStart, error) {
	return askTestBegin.ask(ctx, t.client, q)
}

func (t remoteTests) Report(ctx context.Context, id string) (sso.Report, error) {
	return askTestReport.ask(ctx, t.client, id)
}

// Inspected is a provider of a config file, looked at from this host.
type Inspected struct {
	Digest string
	Checks []sso.Check
}

// Inspect looks at a provider of a config without a browser and without a running
// ssogate: its endpoints, documents, certificates and clock. It makes calls.
func Inspect(ctx context.Context, c *config.Config, id string) (Inspected, error) {
	set, err := settingsFrom(c)
	if err != nil {
		return Inspected{}, err
	}
	p, ok := set.Provider(id)
	if !ok {
		var known []string
		for _, p := range set.Providers {
			known = append(known, p.ID)
		}
		return Inspected{}, fmt.Errorf("no provider %q is configured; there are %q", id, known)
	}
	client, err := outbound.New(outbound.Options{Allow: c.Outbound.Allow})
	if err != nil {
		return Inspected{}, err
	}
	defer client.CloseIdleConnections()
	out := Inspected{Digest: settings.Digest(p)}
	provider, err := inspectable(p, c.URL, client)
	if err != nil {
		out.Checks = sso.Explain([]sso.Check{{Name: "configuration", Verdict: sso.Fail, Evidence: err.Error(), Fix: `Correct the provider in the config; "ssogate check" names the keys.`}}, p.Preset)
		return out, nil
	}
	out.Checks = []sso.Check{{Name: "configuration", Verdict: sso.Pass, Evidence: "can be used"}}
	if i, ok := provider.(sso.Inspector); ok {
		out.Checks = append(out.Checks, i.Inspect(ctx)...)
	}
	out.Checks = sso.Explain(out.Checks, p.Preset)
	return out, nil
}

// inspectable makes a provider that nobody signs in through: a SAML one gets a key
// of its own, for the real one is sealed in the database.
func inspectable(p settings.Provider, url string, client *http.Client) (sso.Provider, error) {
	switch p.Protocol {
	case settings.SAML:
		keyPEM, certPEM, err := saml.NewKey()
		if err != nil {
			return nil, err
		}
		key, cert, err := saml.ParseKey(keyPEM, certPEM)
		if err != nil {
			return nil, err
		}
		return saml.New(saml.Options{Provider: p, URL: url, Keys: []saml.KeyPair{{Key: key, Cert: cert}}, HTTP: client})
	case settings.OIDC:
		return oauth.New(oauth.Options{Provider: p, URL: url, HTTP: client})
	case settings.GitHub:
		return oauth.NewGitHub(oauth.Options{Provider: p, URL: url, HTTP: client})
	}
	return nil, fmt.Errorf("unknown protocol %q", p.Protocol)
}

// Interface guards.
var (
	_ TestAdmin = ownTests{}
	_ TestAdmin = storedTests{}
	_ TestAdmin = remoteTests{}
)

// Tests begins tests of this process's providers.
func (s *Server) Tests() TestAdmin { return ownTests{s} }
