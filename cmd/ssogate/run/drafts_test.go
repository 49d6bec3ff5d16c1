package run

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
	"github.com/ssogate/ssogate/store/sql"
)

// What a test reads of a draft's IdP is not what an operator has approved of the live
// one of the same id: kept there, it would be forgotten which certificates may be
// believed, and the next start would trust whatever the metadata says by then.
func TestADraftLeavesTheApprovedMetadataAlone(t *testing.T) {
	idp, err := ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: "https://idp.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		raw, _ := idp.Metadata()
		_, _ = w.Write(raw)
	}))
	t.Cleanup(srv.Close)
	db, err := sql.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ssogate.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	client, err := outbound.New(outbound.Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	at := &clock.Manual{}
	s := &Server{
		cfg: &config.Config{URL: "https://sso.example.com"}, db: db, sealer: sealer, outbound: client, now: at.Now,
		settings: &settings.Live{}, providers: newProviderSet(), log: slog.New(slog.DiscardHandler),
		versions: &settings.Manager{
			Store: db, Sealer: sealer, Revoker: &membertest.Revoker{}, Now: at.Now,
			File:    func() ([]settings.Provider, error) { return nil, nil },
			Managed: func() (bool, bool) { return false, false },
		},
	}
	p := settings.Provider{ID: "okta", Name: "Okta", Protocol: settings.SAML, SAML: settings.SAMLProvider{MetadataURL: srv.URL}}
	if _, err := s.versions.Save(t.Context(), member.Actor{Name: "cli"}, 0, "", func(st *settings.Stored) error {
		st.Providers = append(st.Providers, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	find := func() bool {
		got, _, ok := s.testProvider("okta", settings.Digest(p))
		return ok && got != nil
	}
	if !find() || asked.Load() != 1 {
		t.Fatalf("a draft cannot be tested, %d questions", asked.Load())
	}
	if _, _, err := db.ProviderMetadata(t.Context(), "okta"); !errors.Is(err, member.ErrNotFound) {
		t.Errorf("a test wrote into what is approved of the live provider: %v", err)
	}
	if s.providers.get("okta") != nil {
		t.Error("S30: a draft is live")
	}
	// One run asks twice, at its beginning and its end; whoever tests again after a
	// correction at the IdP gets what it says now.
	if !find() || asked.Load() != 1 {
		t.Errorf("%d questions for one run", asked.Load())
	}
	at.Advance(2 * draftFresh)
	if !find() || asked.Load() != 2 {
		t.Errorf("%d questions: what was corrected meanwhile is not seen", asked.Load())
	}
	if _, _, ok := s.testProvider("okta", "sha256:none"); ok {
		t.Error("another configuration was found")
	}
}
