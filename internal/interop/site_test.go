//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const (
	samlID, samlName = "ssp", "SimpleSAMLphp"
	oidcID, oidcName = "node", "Node OpenID"

	// simplesaml is where Debian's package puts it.
	simplesaml = "/usr/share/simplesamlphp"
	recheck    = 15 * time.Minute
)

// wanted finds what a test needs, as it is for every real program: see
// [testserver.Missing].
func wanted(t *testing.T, program string, files ...string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		testserver.Missing(t, program)
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			testserver.Missing(t, f)
		}
	}
}

// site is a gateway between an application and the provider under test.
type site struct {
	*run.Demo
	t     *testing.T
	clock *clock.Manual
	log   *logBuffer
	ports struct{ gateway, provider int }
	dir   string // of the provider's files

	running testserver.Running // the provider
	mark    int                // how much had been logged when the flow at hand began
}

// prepare chooses ports, so that each side knows the other's before either runs.
func prepare(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, clock: &clock.Manual{}, log: &logBuffer{}, dir: t.TempDir()}
	var err error
	if s.ports.provider, err = testserver.Port(); err != nil {
		t.Fatal(err)
	}
	for s.ports.gateway == 0 {
		p, err := testserver.Port()
		if err != nil {
			t.Fatal(err)
		}
		if free(p+1) && free(p+2) && free(p+3) && free(p+4) {
			s.ports.gateway = p
		}
	}
	return s
}

func free(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// provider is the origin of the provider under test. It is on 127.0.0.1 and the
// gateway on localhost: two sites, as in real life.
func (s *site) provider() string { return fmt.Sprintf("http://127.0.0.1:%d", s.ports.provider) }

func (s *site) gateway() string { return fmt.Sprintf("http://localhost:%d", s.ports.gateway+1) }

// start runs the gateway with this provider and no other.
func (s *site) start(p config.Provider) {
	t := s.t
	t.Helper()
	o := run.DemoOptions{
		Port: s.ports.gateway, Now: s.clock.Now,
		Log: slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Adjust: func(c *config.Config) {
			c.Providers = append(c.Providers, p)
			c.Outbound.Allow = append(c.Outbound.Allow, strings.TrimPrefix(s.provider(), "http://"))
		},
	}
	d, err := run.NewDemo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Demo = d
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.Serve(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("gateway:\n%s", s.log.tail(12000))
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatalf("did not start: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready after 30 s")
	}
}

// fetch reads a page of the gateway without a browser.
func (s *site) fetch(u string) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, u, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %v", u, resp.Status, err)
	}
	return b
}

// write puts a file into the provider's directory.
func (s *site) write(name string, content []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) writeJSON(name string, v any) {
	s.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(name, b)
}

// in is the same site for a sub-test.
func (s *site) in(t *testing.T) *site {
	c := *s
	c.t, c.mark = t, len(s.log.String())
	return &c
}

// logged waits until the gateway has logged every one of the words on one line,
// since the sub-test began.
func (s *site) logged(words ...string) {
	s.t.Helper()
	s.eventually("logged: "+strings.Join(words, " "), func() bool {
	lines:
		for line := range strings.Lines(s.log.String()[s.mark:]) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return true
		}
		return false
	})
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("never: %s", what)
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail(n int) string {
	all := l.String()
	return all[max(0, len(all)-n):]
}

// keyPair is a signing key as PEM files.
func keyPair(t *testing.T) (key, cert []byte) {
	t.Helper()
	k, c, err := ssotest.NewSAMLKey("interop")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// jwk is a private signing key for the OpenID provider.
func jwk(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Algorithm: "RS256", Use: "sig"}
}
