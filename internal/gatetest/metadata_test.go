package gatetest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// samlSite is a gateway in this process that can be restarted on its database,
// with a SAML provider whose metadata is fetched.
type samlSite struct {
	t       *testing.T
	cfg     *config.Config
	idp     *ssotest.SAMLIdP
	private string
	log     *logBuffer
	stop    func()
}

func newSAMLSite(t *testing.T, change ...func(*config.Config)) *samlSite {
	t.Helper()
	in := &samlSite{t: t, log: &logBuffer{}, stop: func() {}}
	idpServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { in.idp.ServeHTTP(w, r) }))
	t.Cleanup(idpServer.Close)
	var err error
	if in.idp, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: idpServer.URL, People: demo.People()}); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(demo.App())
	t.Cleanup(upstream.Close)
	public := in.listen("127.0.0.1:0")
	_, port, _ := net.SplitHostPort(public.Addr().String())
	c := config.Default()
	c.URL, c.Listen, c.PrivateListen = "http://localhost:"+port, public.Addr().String(), "127.0.0.1:0"
	c.Organization = config.Organization{Slug: "acme", Name: "Acme"}
	keys := make([]byte, 96)
	_, _ = rand.Read(keys)
	c.Secrets.CookieKey, c.Secrets.SealKey = base64.StdEncoding.EncodeToString(keys[:64]), base64.StdEncoding.EncodeToString(keys[64:])
	c.Database.URL = "sqlite:" + filepath.Join(t.TempDir(), "ssogate.db")
	c.Providers = []config.Provider{{ID: "okta", Name: "Acme SAML", Protocol: config.ProtocolSAML, Join: config.JoinIDP, MetadataURL: idpServer.URL + "/metadata"}}
	c.Routes = []config.Route{{Name: "app", Origins: []string{"http://app.localhost:" + port}, Upstream: upstream.URL}}
	c.Outbound.Allow = []string{strings.TrimPrefix(idpServer.URL, "http://")}
	for _, f := range change {
		f(c)
	}
	c.ApplyDefaults()
	if faults := c.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	in.cfg = c
	in.start(public)
	t.Cleanup(func() {
		in.stop()
		if t.Failed() {
			t.Logf("log:\n%s", in.log.tail(4000))
		}
	})
	return in
}

func (in *samlSite) listen(addr string) net.Listener {
	in.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		in.t.Fatal(err)
	}
	return l
}

func (in *samlSite) start(public net.Listener) {
	in.t.Helper()
	private := in.listen("127.0.0.1:0")
	in.private = "http://" + private.Addr().String()
	s, err := run.New(in.t.Context(), run.Options{
		Config: in.cfg, Log: slog.New(slog.NewJSONHandler(in.log, nil)), Listeners: []net.Listener{public}, PrivateListener: private,
	})
	if err != nil {
		in.t.Fatal(err)
	}
	xml, err := s.SAMLMetadata("okta")
	if err != nil {
		in.t.Fatal(err)
	}
	if err := in.idp.RegisterMetadata(xml); err != nil {
		in.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	in.stop = func() {
		cancel()
		if err := <-done; err != nil {
			in.t.Error(err)
		}
		in.stop = func() {}
	}
}

func (in *samlSite) restart() {
	in.t.Helper()
	in.stop()
	in.start(in.listen(in.cfg.Listen))
}

// control asks the running process, as the commands do.
func (in *samlSite) control(do func(*run.Control) error) {
	in.t.Helper()
	c, err := run.OpenControl(in.t.Context(), in.cfg)
	if err != nil {
		in.t.Fatal(err)
	}
	if err := errors.Join(do(c), c.Close()); err != nil {
		in.t.Fatal(err)
	}
}

func (in *samlSite) changes() (list []saml.Change) {
	in.t.Helper()
	in.control(func(c *run.Control) (err error) {
		list, err = c.Providers.Changes(in.t.Context())
		return err
	})
	return list
}

// signsIn reports whether somebody arrives at the application.
func (in *samlSite) signsIn() error {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "app.localhost:") { // no resolver knows it
			addr = in.cfg.Listen
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	_, err := demo.NewVisitor().Through(&http.Transport{DialContext: dial, DisableKeepAlives: true}).SignIn(in.t.Context(), in.cfg.Routes[0].Origins[0]+"/", "okta", demo.People()[0])
	return err
}

// Row S31 through the whole product: a new signing key is believed on the word of an
// operator, by the running process and after a restart; metrics of faults 10 and 11.
func TestNewSigningKeyWaitsForTheOperatorS31(t *testing.T) {
	t.Parallel()
	in := newSAMLSite(t)
	if err := in.signsIn(); err != nil {
		t.Fatal(err)
	}
	for _, metric := range []string{`idp_cert_expiry_seconds{provider="okta"} [1-9]`, `metadata_age_seconds{provider="okta"} [0-9]`} {
		if !regexp.MustCompile(`(?m)^` + metric).MatchString(in.metrics()) {
			t.Errorf("no metric %s", metric)
		}
	}
	if list := in.changes(); len(list) != 0 {
		t.Fatalf("changes %+v", list)
	}
	key, cert, err := ssotest.NewSAMLKey("next")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.idp.RotateKey(key, cert); err != nil {
		t.Fatal(err)
	}
	in.restart() // which reads the metadata again at once
	eventually(t, "the change waits", func() bool { return len(in.changes()) == 1 })
	if !strings.Contains(in.log.tail(1<<20), "provider.change_pending") {
		t.Error("the log does not say that something waits")
	}
	if err := in.signsIn(); err == nil {
		t.Fatal("a key that nobody approved signs people in")
	}
	change := in.changes()[0]
	decide := func(digest string, approve bool) (err error) {
		in.control(func(c *run.Control) error {
			err = c.Providers.Decide(t.Context(), run.ChangeDecision{Actor: "cli:test", Provider: "okta", Digest: digest, Approve: approve})
			return nil
		})
		return err
	}
	if err := decide("0"+change.Digest[1:]+"0", true); err == nil {
		t.Error("approved a change that does not exist")
	}
	if err := decide(change.Digest, true); err != nil {
		t.Fatal(err)
	}
	if err := in.signsIn(); err != nil {
		t.Errorf("approved, and not used by the running process: %v", err)
	}
	in.restart()
	if err := in.signsIn(); err != nil {
		t.Errorf("approved, and forgotten by a restart: %v", err)
	}
	if err := decide(change.Digest, false); err == nil {
		t.Error("rejected what does not wait any more")
	}
}

// An IdP that takes messages by POST only, through the whole product.
func TestSignInByPostBinding(t *testing.T) {
	t.Parallel()
	in := newSAMLSite(t, func(c *config.Config) { c.Providers[0].Binding = "post" })
	if err := in.signsIn(); err != nil {
		t.Error(err)
	}
}

func (in *samlSite) metrics() string {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodGet, in.private+"/metrics", nil)
	if err != nil {
		in.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(body)
}
