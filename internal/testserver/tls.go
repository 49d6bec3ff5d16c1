package testserver

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
	"testing"
	"time"
)

// TLSFiles are a private CA and a certificate of loopback signed by it, as PEM
// files that end with the test.
type TLSFiles struct {
	CAFile   string
	CertFile string
	KeyFile  string

	client *tls.Config // trusts the CA
}

// NewTLS makes a CA of its own and a certificate for hosts, or for 127.0.0.1
// and localhost when none is named.
func NewTLS(t testing.TB, hosts ...string) *TLSFiles {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ssogate test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ssogate test server"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		// Servers of a cluster are clients of one another.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, h)
		}
	}
	caKey, caPEM := certificate(t, ca, ca, nil)
	key, certPEM := certificate(t, leaf, ca, caKey)
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatalf("testserver: tls: %v", err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatalf("testserver: tls: %v", err)
		}
		return path
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	return &TLSFiles{
		CAFile: write("ca.pem", caPEM), CertFile: write("cert.pem", certPEM),
		KeyFile: write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})),
		client:  &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ServerName: hosts[0]},
	}
}

// certificate makes a key and a certificate for it; signer nil signs itself.
func certificate(t testing.TB, c, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("testserver: tls: %v", err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatalf("testserver: tls: %v", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// args make redis-server use the files, without asking clients for a certificate.
func (f *TLSFiles) args() []string {
	return []string{
		"--tls-cert-file", f.CertFile, "--tls-key-file", f.KeyFile, "--tls-ca-cert-file", f.CAFile,
		"--tls-auth-clients", "no", "--tls-replication", "yes",
	}
}

// StartRedisTLS starts a redis-server that speaks TLS only.
func StartRedisTLS(t testing.TB, files *TLSFiles, args ...string) *RedisServer {
	t.Helper()
	return startRedis(t, files, nil, args...)
}
