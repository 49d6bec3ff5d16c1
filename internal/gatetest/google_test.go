package gatetest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Row O13 and the group look-up through everything: configuration, token, Directory
// API, teams.
func TestGoogleThroughTheWholeProduct(t *testing.T) {
	key := filepath.Join(t.TempDir(), "sa.json")
	w := start(t, func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) {
			p := &c.Providers[1]
			if err := os.WriteFile(key, directoryKey(t, p.Issuer+"/token"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.Preset, p.HostedDomains, p.Groups = config.PresetGoogle, []string{"partner.example"}, config.GroupsTeams
			p.DirectoryKeyFile, p.DirectoryAdmin = key, "admin@partner.example"
		}
	})
	var down atomic.Bool
	hooks := func(hd string) ssotest.OPHooks {
		return ssotest.OPHooks{
			Claims: func(c map[string]any) {
				if hd != "" {
					c["hd"] = hd
				}
			},
			Serve: func(rw http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token" && r.ParseForm() == nil && strings.HasSuffix(r.PostForm.Get("grant_type"), "jwt-bearer"):
					rw.Header().Set("Content-Type", "application/json")
					_, _ = fmt.Fprint(rw, `{"access_token":"ya29.x","token_type":"Bearer","expires_in":3599}`)
				case r.URL.Path == "/admin/directory/v1/groups" && down.Load():
					rw.WriteHeader(http.StatusServiceUnavailable)
				case r.URL.Path == "/admin/directory/v1/groups":
					_, _ = fmt.Fprint(rw, `{"kind":"admin#directory#groups","groups":[{"email":"finance@partner.example"}]}`)
				default:
					return false
				}
				return true
			},
		}
	}
	signIn := func() (*demo.Visitor, error) {
		v := demo.NewVisitor()
		_, err := v.SignIn(t.Context(), w.Facts.App+"/", "OpenID", w.ben())
		return v, err
	}
	for name, hd := range map[string]string{"another organisation, our address": "evil.example", "a private account": ""} {
		w.OP.SetHooks(hooks(hd))
		if _, err := signIn(); err == nil {
			t.Errorf("O13: %s signed in", name)
		}
	}
	w.OP.SetHooks(hooks("partner.example"))
	v, err := signIn()
	if err != nil {
		t.Fatal(err)
	}
	if who := w.api(v, "/.sso/whoami").Body; !strings.Contains(who, "finance") {
		t.Errorf("his groups are not his teams: %s", who)
	}
	down.Store(true)
	if _, err := signIn(); err == nil {
		t.Error("groups that cannot be told: signed in with none of them")
	}
	if a := w.api(v, "/"); a.Status != http.StatusOK {
		t.Errorf("a session that exists: %d", a.Status)
	}
}

// directoryKey is a service account's key as the Google Cloud console gives it.
func directoryKey(t *testing.T, tokenURI string) []byte {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "groups@harbour.iam.gserviceaccount.com", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
