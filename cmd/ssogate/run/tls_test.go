package run

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ssogate/ssogate/config"
)

// pairFor writes a certificate for names and its key.
func pairFor(t *testing.T, names ...string) config.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := config.Certificate{CertFile: filepath.Join(dir, "c.pem"), KeyFile: filepath.Join(dir, "k.pem")}
	for file, block := range map[string]*pem.Block{c.CertFile: {Type: "CERTIFICATE", Bytes: der}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestEachHostGetsTheCertificateThatNamesIt(t *testing.T) {
	first := pairFor(t, "sso.example.com")
	c := &config.Config{URL: "https://sso.example.com", TLS: config.TLS{
		CertFile: first.CertFile, KeyFile: first.KeyFile,
		Certificates: []config.Certificate{pairFor(t, "app.example.com", "www.example.com"), pairFor(t, "*.apps.example.com")},
	}, Routes: []config.Route{{Origins: []string{"https://app.example.com", "https://*.apps.example.com", "https://other.example.com"}}}}
	list, err := readCertificates(c)
	if err != nil {
		t.Fatal(err)
	}
	var cs certificates
	if _, err := cs.get(&tls.ClientHelloInfo{}); err == nil {
		t.Error("none was loaded, and one was given out")
	}
	cs.list.Store(&list)
	for name, want := range map[string]string{
		"sso.example.com": "sso.example.com", "app.example.com": "app.example.com", "www.example.com": "app.example.com", "a.apps.example.com": "*.apps.example.com",
		"unknown.example.com": "sso.example.com", "": "sso.example.com", "a.b.apps.example.com": "sso.example.com",
	} {
		if got := handshake(t, &cs, name); got != want {
			t.Errorf("%q got the certificate of %s, want %s", name, got, want)
		}
	}
	if got := uncovered(c, list); !slices.Equal(got, []string{"https://other.example.com"}) {
		t.Errorf("not covered: %q", got)
	}
	if got := uncovered(c, nil); got != nil {
		t.Errorf("behind a TLS front nothing is known: %q", got)
	}
	c.TLS.Certificates[0].KeyFile = c.TLS.KeyFile
	if _, err := readCertificates(c); err == nil {
		t.Error("a key of another certificate was taken")
	}
}

// handshake is whose certificate a client that asks for name is shown.
func handshake(t *testing.T, cs *certificates, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		_ = tls.Server(server, cs.config()).Handshake()
		_ = server.Close()
	}()
	c := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // it looks at the certificate itself
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}
