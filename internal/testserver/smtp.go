package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SMTPOptions change how a test server behaves. All functions may be nil.
type SMTPOptions struct {
	Implicit bool   // TLS from the first byte instead of STARTTLS
	Plain    bool   // no TLS at all
	User     string // asked for when set
	Password string
	Rcpt     func(to string) error             // what RCPT TO is answered
	Data     func(n int, message string) error // what DATA is answered; n counts from 1
	Hang     bool                              // accept connections and say nothing
}

// SMTPServer is a real SMTP server on loopback that keeps what it takes.
type SMTPServer struct {
	Port  int
	Roots *x509.CertPool
	CA    []byte // PEM of its certificate

	mu       sync.Mutex
	taken    []string
	seen     int
	sessions []net.Conn
}

// Taken are the messages that were accepted, in order.
func (s *SMTPServer) Taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.taken...)
}

// SMTP starts a server of the test's own.
func SMTP(t testing.TB, o SMTPOptions) *SMTPServer {
	t.Helper()
	cert, ca, pool := smtpCertificate(t)
	s := &SMTPServer{Roots: pool, CA: ca}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Port = l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
	if o.Hang {
		go s.hang(l)
		t.Cleanup(func() { _ = l.Close() })
		return s
	}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &smtpSession{s: s, o: o}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth, srv.MaxMessageBytes = "localhost", o.Plain, 1<<20
	srv.ReadTimeout, srv.WriteTimeout = 20*time.Second, 20*time.Second
	srv.ErrorLog = log.New(io.Discard, "", 0)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	switch {
	case o.Implicit:
		l = tls.NewListener(l, conf)
	case !o.Plain:
		srv.TLSConfig = conf
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return s
}

func (s *SMTPServer) hang(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions = append(s.sessions, c) // kept open
		s.mu.Unlock()
	}
}

type smtpSession struct {
	s      *SMTPServer
	o      SMTPOptions
	authed bool
}

func (c *smtpSession) AuthMechanisms() []string {
	if c.o.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *smtpSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != c.o.User || password != c.o.Password {
			return errors.New("wrong password")
		}
		c.authed = true
		return nil
	}), nil
}

func (c *smtpSession) Mail(string, *smtp.MailOptions) error {
	if c.o.User != "" && !c.authed {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (c *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if c.o.Rcpt != nil {
		return c.o.Rcpt(to)
	}
	return nil
}

func (c *smtpSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.s.mu.Lock()
	c.s.seen++
	n := c.s.seen
	c.s.mu.Unlock()
	if c.o.Data != nil {
		if err := c.o.Data(n, string(b)); err != nil {
			return err
		}
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.taken = append(c.s.taken, strings.ReplaceAll(string(b), "\r\n", "\n"))
	return nil
}

func (c *smtpSession) Reset() {}

func (c *smtpSession) Logout() error { return nil }

func smtpCertificate(t testing.TB) (tls.Certificate, []byte, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca, pool
}
