package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Limits of the files that a config names.
const (
	maxSecretFile   = 16 << 10
	maxMetadataFile = 4 << 20 // federations publish large ones; the parser has its own limits
	maxCertFile     = 256 << 10
)

// readFiles resolves every file key of c in place: secrets into the field
// beside them, other paths to absolute ones that are known to be readable now.
// What it finds wrong it returns; c is then never used.
func readFiles(c *Config, base string) faults {
	r := &fileReader{base: base}
	s := &c.Secrets
	r.secret("secrets.cookie_key", &s.CookieKey, &s.CookieKeyFile)
	r.secret("secrets.cookie_key_previous", &s.CookieKeyPrevious, &s.CookieKeyPreviousFile)
	r.secret("secrets.seal_key", &s.SealKey, &s.SealKeyFile)
	r.secret("secrets.seal_key_previous", &s.SealKeyPrevious, &s.SealKeyPreviousFile)
	if c.Database.URLFile != "" && c.Database.URL == Default().Database.URL {
		c.Database.URL = "" // the default, not a second value
	}
	r.secret("database.url", &c.Database.URL, &c.Database.URLFile)
	r.secret("redis.url", &c.Redis.URL, &c.Redis.URLFile)
	r.secret("redis.sentinel_password", &c.Redis.SentinelPassword, &c.Redis.SentinelPasswordFile)
	if c.Redis.CAFile != "" {
		r.certificates("redis.ca_file", &c.Redis.CAFile)
	}
	for i := range c.Providers {
		p, at := &c.Providers[i], index("providers", i)
		r.secret(join(at, "client_secret"), &p.ClientSecret, &p.ClientSecretFile)
		r.metadata(join(at, "metadata_file"), &p.MetadataFile)
		r.serviceAccount(join(at, "directory_key_file"), &p.DirectoryKeyFile)
		for j := range p.CertificateFiles {
			r.certificates(index(join(at, "certificate_files"), j), &p.CertificateFiles[j])
		}
	}
	for i := range c.SCIM.Connections {
		for j := range c.SCIM.Connections[i].Tokens {
			t := &c.SCIM.Connections[i].Tokens[j]
			r.secret(join(index(join(index("scim.connections", i), "tokens"), j), "token"), &t.Token, &t.TokenFile)
		}
	}
	r.secret("mail.password", &c.Mail.Password, &c.Mail.PasswordFile)
	if c.Mail.CAFile != "" {
		r.certificates("mail.ca_file", &c.Mail.CAFile)
	}
	r.tls(&c.TLS)
	r.backends(c.Routes)
	r.identities(c.Routes)
	r.sqlite(&c.Database.URL)
	return r.faults
}

type fileReader struct {
	base   string
	faults faults
}

// absolute makes a path of the file independent of the working directory.
func (r *fileReader) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(r.base, path)
}

// secret reads the *_file form of a secret and clears it, so that exactly one
// field holds the value from then on.
func (r *fileReader) secret(key string, plain, file *string) {
	if *file == "" {
		return
	}
	fileKey := key + "_file"
	if *plain != "" {
		r.faults.add(fileKey, "given twice, as "+key+" and as a file", "keep one of the two")
		return
	}
	path := r.absolute(*file)
	data, info, err := readLimited(path, maxSecretFile)
	if err != nil {
		r.unreadable(fileKey, path, err)
		return
	}
	if problem := readableByOthers(info); problem != "" {
		r.faults.add(fileKey, problem, "chmod 600 "+path)
		return
	}
	// Editors and "echo" end a file with a line break that is not the secret's.
	value := strings.TrimSpace(string(data))
	switch {
	case value == "":
		r.faults.add(fileKey, path+" is empty", "write the secret into it")
	case strings.ContainsFunc(value, isControl) && !wrapped(value):
		r.faults.add(fileKey, path+" holds control characters", "write the secret as one line of text")
	default:
		*plain, *file = strings.NewReplacer("\r", "", "\n", "").Replace(value), ""
	}
}

// wrapped reports base64 broken into lines, as "openssl rand -base64 64" does.
func wrapped(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n", r)
	})
}

// readableByOthers refuses a secret that other users of the host can read or
// change. Reading through the group is allowed only where the file belongs to
// somebody else, because then the group is the one way to hand it to us (a
// Kubernetes secret under fsGroup is root's with mode 0440).
func readableByOthers(info os.FileInfo) string {
	mode := info.Mode().Perm()
	if mode&0o077 == 0 || (mode&0o037 == 0 && !ours(info)) {
		return ""
	}
	return fmt.Sprintf("has mode %04o: others on this host can read it", mode)
}

func (r *fileReader) unreadable(key, path string, err error) {
	r.faults.add(key, path+": "+reason(err), "check that the file exists and that the user ssogate runs as may read it")
}

func (r *fileReader) metadata(key string, path *string) {
	if *path == "" {
		return
	}
	*path = r.absolute(*path)
	data, _, err := readLimited(*path, maxMetadataFile)
	switch {
	case err != nil:
		r.unreadable(key, *path, err)
	case len(strings.TrimSpace(string(data))) == 0:
		r.faults.add(key, *path+" is empty", "download the metadata of the identity provider again")
	}
}

// serviceAccount checks that a file is a Google key file, without repeating any of
// it: it is a secret that reads the whole company's groups.
func (r *fileReader) serviceAccount(key string, path *string) {
	if *path == "" {
		return
	}
	*path = r.absolute(*path)
	data, info, err := readLimited(*path, maxSecretFile)
	if err != nil {
		r.unreadable(key, *path, err)
		return
	}
	if problem := readableByOthers(info); problem != "" {
		r.faults.add(key, problem, "chmod 600 "+*path)
		return
	}
	var account struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &account) != nil || account.Type != "service_account" {
		r.faults.add(key, *path+" is not the JSON key file of a service account", "make a key of type JSON for the service account in the Google Cloud console")
	}
}

// certificates checks that a file holds what signatures will be verified with.
// A private key beside it is refused: it was pasted by mistake, and IdP keys
// have no business on this host.
func (r *fileReader) certificates(key string, path *string) {
	if *path == "" {
		r.faults.add(key, "is empty", "name a PEM file")
		return
	}
	*path = r.absolute(*path)
	data, _, err := readLimited(*path, maxCertFile)
	if err != nil {
		r.unreadable(key, *path, err)
		return
	}
	found := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			r.faults.addf(key, "keep only the CERTIFICATE blocks", "%s holds a %q block", *path, printable(block.Type))
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			r.faults.add(key, *path+" holds a certificate that cannot be parsed", "export it again as PEM (Base64)")
			return
		}
		found++
	}
	if found == 0 {
		r.faults.add(key, *path+" holds no PEM certificate", `export it as PEM (Base64); it begins with "-----BEGIN CERTIFICATE-----"`)
	}
}

// tls checks that each pair loads and belongs together, before the listener does.
func (r *fileReader) tls(t *TLS) {
	r.pair("tls", &t.CertFile, &t.KeyFile)
	for i := range t.Certificates {
		p := &t.Certificates[i]
		r.pair(index("tls.certificates", i), &p.CertFile, &p.KeyFile)
	}
}

func (r *fileReader) pair(at string, certFile, keyFile *string) {
	if *certFile == "" || *keyFile == "" {
		return // Validate names the missing half
	}
	*certFile, *keyFile = r.absolute(*certFile), r.absolute(*keyFile)
	cert, _, err := readLimited(*certFile, maxCertFile)
	if err != nil {
		r.unreadable(join(at, "cert_file"), *certFile, err)
	}
	key, info, keyErr := readLimited(*keyFile, maxCertFile)
	if keyErr != nil {
		r.unreadable(join(at, "key_file"), *keyFile, keyErr)
	}
	if err != nil || keyErr != nil {
		return
	}
	if problem := readableByOthers(info); problem != "" {
		r.faults.add(join(at, "key_file"), problem, "chmod 600 "+*keyFile)
	}
	// The error of the pair may quote neither file; say what it means instead.
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		r.faults.add(at, "certificate and key do not load as a pair", "check that both are PEM and that the key belongs to the first certificate")
	}
}

// backends pins the files of upstreams and checks that they are what they should be.
func (r *fileReader) backends(routes []Route) {
	for i := range routes {
		t, at := &routes[i].Backend.TLS, join(index("routes", i), "backend.tls")
		if t.CAFile != "" {
			r.certificates(join(at, "ca_file"), &t.CAFile)
		}
		r.pair(at, &t.CertFile, &t.KeyFile)
	}
}

// sqlite pins the database file to the directory of the config.
func (r *fileReader) sqlite(url *string) {
	if path, ok := strings.CutPrefix(*url, "sqlite:"); ok && path != "" && !strings.HasPrefix(path, ":") {
		*url = "sqlite:" + r.absolute(path)
	}
}
