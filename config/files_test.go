package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair makes a self-signed certificate and its key as PEM.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestFilesBecomeAbsolute(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t)
	write(t, dir, "tls.crt", cert)
	write(t, dir, "tls.key", key)
	write(t, dir, "idp.xml", "<EntityDescriptor/>")
	text := minimal() + `
tls: {cert_file: tls.crt, key_file: ./tls.key}
providers:
  - {id: a, protocol: saml, metadata_file: idp.xml}
  - {id: b, protocol: saml, entity_id: "urn:b", sso_url: "https://b.example.com/sso", certificate_files: [tls.crt]}
`
	c := mustLoad(t, write(t, dir, "c.yaml", text))
	for got, want := range map[string]string{
		c.TLS.CertFile: "tls.crt", c.TLS.KeyFile: "tls.key", c.Providers[0].MetadataFile: "idp.xml", c.Providers[1].CertificateFiles[0]: "tls.crt",
	} {
		if got != filepath.Join(dir, want) {
			t.Errorf("got %s, want %s beside the config", got, want)
		}
	}
	if c.Listen != ":8443" {
		t.Errorf("listen is %s", c.Listen)
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	cert, key := pair(t)
	other, _ := pair(t)
	for _, tc := range []struct {
		name, yaml, key, why string
		files                map[string]string
	}{
		{"metadata missing", "metadata_file: m.xml", "providers[0].metadata_file", "no trust anchor", nil},
		{"metadata empty", "metadata_file: m.xml", "providers[0].metadata_file", "no trust anchor", map[string]string{"m.xml": " \n"}},
		{
			"S05 certificate missing", `entity_id: e, sso_url: "https://i.example.com", certificate_files: [c.pem]`,
			"providers[0].certificate_files[0]", "nothing to verify against", nil,
		},
		{
			"S05 no certificate inside", `entity_id: e, sso_url: "https://i.example.com", certificate_files: [c.pem]`,
			"providers[0].certificate_files[0]", "nothing to verify against",
			map[string]string{"c.pem": "hello"},
		},
		{
			"S05 broken certificate", `entity_id: e, sso_url: "https://i.example.com", certificate_files: [c.pem]`,
			"providers[0].certificate_files[0]", "nothing to verify against",
			map[string]string{"c.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		},
		{
			"key beside the certificate", `entity_id: e, sso_url: "https://i.example.com", certificate_files: [c.pem]`,
			"providers[0].certificate_files[0]", "the IdP's key has no business here",
			map[string]string{"c.pem": cert + key},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tc.files {
				write(t, dir, name, content)
			}
			fs := faultsOf(t, write(t, dir, "c.yaml", minimal()+"providers: [{id: a, protocol: saml, "+tc.yaml+"}]\n"))
			if len(fs) != 1 || fs[0].Key != tc.key {
				t.Errorf("%s: %v", tc.why, fs)
			}
		})
	}
	t.Run("TLS key of another certificate", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "c.pem", other)
		write(t, dir, "k.pem", key)
		fs := faultsOf(t, write(t, dir, "c.yaml", minimal()+"tls: {cert_file: c.pem, key_file: k.pem}\n"))
		if len(fs) != 1 || fs[0].Key != "tls" {
			t.Errorf("the listener would fail later: %v", fs)
		}
	})
	t.Run("TLS key that others can read", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "c.pem", cert)
		if err := os.Chmod(write(t, dir, "k.pem", key), 0o644); err != nil {
			t.Fatal(err)
		}
		fs := faultsOf(t, write(t, dir, "c.yaml", minimal()+"tls: {cert_file: c.pem, key_file: k.pem}\n"))
		if len(fs) != 1 || fs[0].Key != "tls.key_file" || !strings.Contains(fs[0].Fix, "chmod 600") {
			t.Errorf("anyone on the host could be the gateway: %v", fs)
		}
	})
}

func TestPipeIsNotWaitedFor(t *testing.T) {
	// /dev/zero never ends and /dev/tty may block: only regular files are read.
	if fs := faultsOf(t, "/dev/zero"); !strings.Contains(fs[0].Problem, "not a regular file") {
		t.Errorf("got %v", fs)
	}
}

// The key of a service account reads the whole company's groups: it is checked like
// a secret, and never repeated.
func TestServiceAccountFiles(t *testing.T) {
	const google = "providers: [{id: g, preset: google, client_id: c, client_secret: Zk3v0Qw8RtYu1PlMn5Bs, hosted_domains: [example.com], groups: teams, directory_key_file: k.json, directory_admin: a@example.com}]\n"
	for _, tc := range []struct {
		why, content string
		mode         os.FileMode
		refused      bool
	}{
		{"benign", `{"type":"service_account","private_key":"x"}`, 0o600, false},
		{"readable by others", `{"type":"service_account","private_key":"x"}`, 0o644, true},
		{"a user's credentials", `{"type":"authorized_user"}`, 0o600, true},
		{"not JSON", "-----BEGIN PRIVATE KEY-----", 0o600, true},
		{"missing", "", 0, true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			dir := t.TempDir()
			if tc.content != "" {
				if err := os.WriteFile(filepath.Join(dir, "k.json"), []byte(tc.content), tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			path := write(t, dir, "c.yaml", minimal()+google)
			c, err := Load(path, nil)
			if (err != nil) != tc.refused {
				t.Fatal(err)
			}
			if err == nil && c.Providers[0].DirectoryKeyFile != filepath.Join(dir, "k.json") {
				t.Errorf("path %s: a file is found beside the config", c.Providers[0].DirectoryKeyFile)
			}
			if err != nil && (!strings.Contains(err.Error(), "directory_key_file") || strings.Contains(err.Error(), "BEGIN")) {
				t.Errorf("%v", err)
			}
		})
	}
}
