package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// TLSMode is how the way to the server is protected.
type TLSMode string

// Modes. The zero value is none of them and refused.
const (
	STARTTLS TLSMode = "starttls" // plain until the upgrade, which must succeed (port 587)
	TLS      TLSMode = "tls"      // from the first byte (port 465)
	// None is for a server on this very machine only: an invitation's link on the
	// wire is an invitation for whoever reads it.
	None TLSMode = "none"
)

// Limits of one delivery.
const (
	dialTime = 10 * time.Second
	sendTime = 60 * time.Second // from the first byte to the server's last answer
)

// ErrSettings means [NewSMTP] cannot work with its options; the message says why.
var ErrSettings = errors.New("mail: settings")

// PermanentError is a refusal that another try would meet again.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the server's answer.
func (e *PermanentError) Unwrap() error { return e.Err }

// SMTPOptions say where and how to send. Host, Port, TLS and From are required.
type SMTPOptions struct {
	Host     string
	Port     int
	TLS      TLSMode
	User     string // "" = no authentication
	Password string
	From     string // a bare address
	FromName string
	RootCAs  *x509.CertPool // nil: the system's
}

// SMTP delivers letters to one server, each over a connection of its own. Safe
// for concurrent use.
type SMTP struct{ o SMTPOptions }

// NewSMTP checks the options; it does not connect.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	switch {
	case o.Host == "" || strings.ContainsAny(o.Host, " \r\n\t/"):
		return nil, fmt.Errorf("%w: the host is missing or malformed", ErrSettings)
	case o.Port < 1 || o.Port > 65535:
		return nil, fmt.Errorf("%w: the port is missing", ErrSettings)
	case Address(o.From) != nil:
		return nil, fmt.Errorf("%w: from is not an e-mail address", ErrSettings)
	case o.TLS != STARTTLS && o.TLS != TLS && o.TLS != None:
		return nil, fmt.Errorf("%w: tls must be starttls, tls or none", ErrSettings)
	case o.TLS == None && !loopback(o.Host):
		return nil, fmt.Errorf("%w: without TLS only a server on this machine can be used: invitations could be read on the way", ErrSettings)
	case (o.User == "") != (o.Password == ""):
		return nil, fmt.Errorf("%w: user and password go together", ErrSettings)
	}
	o.FromName = oneLine(o.FromName)
	return &SMTP{o}, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Send delivers one letter: nil when the server has taken it, *[PermanentError]
// when it refuses this letter for good, anything else when another try may help.
func (s *SMTP) Send(ctx context.Context, l Letter) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime+sendTime)
	defer cancel()
	msg, err := s.message(l)
	if err != nil {
		return &PermanentError{err}
	}
	client, err := s.client(ctx)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return classify(err)
	}
	return nil
}

// classify tells what concerns this letter from what concerns the server: a
// wrong password or a full disk must not lose the invitations of everybody.
func classify(err error) error {
	var e *gomail.SendError
	if errors.As(err, &e) && e.ErrorCode() >= 500 {
		switch e.Reason {
		case gomail.ErrSMTPRcptTo, gomail.ErrSMTPData, gomail.ErrSMTPDataClose:
			return &PermanentError{fmt.Errorf("mail: %w", err)}
		}
	}
	return fmt.Errorf("mail: %w", err)
}

func (s *SMTP) message(l Letter) (*gomail.Msg, error) {
	if err := Address(l.To); err != nil {
		return nil, err
	}
	m := gomail.NewMsg()
	if err := m.FromFormat(s.o.FromName, s.o.From); err != nil {
		return nil, fmt.Errorf("mail: from: %w", err)
	}
	if err := m.To(l.To); err != nil {
		return nil, fmt.Errorf("mail: to: %w", err)
	}
	m.Subject(oneLine(l.Subject))
	m.SetMessageIDWithValue(l.ID + "@" + s.o.From[strings.LastIndexByte(s.o.From, '@')+1:])
	m.SetDate()
	// No answers of machines to a machine (RFC 3834 section 5).
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetBodyString(gomail.TypeTextPlain, l.Text)
	m.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	return m, nil
}

func (s *SMTP) client(ctx context.Context) (*gomail.Client, error) {
	conf := &tls.Config{ServerName: s.o.Host, MinVersion: tls.VersionTLS12, RootCAs: s.o.RootCAs}
	opts := []gomail.Option{
		gomail.WithPort(s.o.Port), gomail.WithTimeout(sendTime), gomail.WithTLSConfig(conf),
		gomail.WithHELO(s.o.From[strings.LastIndexByte(s.o.From, '@')+1:]), gomail.WithoutNoop(),
	}
	switch s.o.TLS {
	case TLS:
		opts = append(opts, gomail.WithSSL())
	case STARTTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	default:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	opts = append(opts, gomail.WithDialContextFunc(func(dctx context.Context, network, address string) (net.Conn, error) {
		return s.dial(ctx, dctx, network, address, conf)
	}))
	if s.o.User != "" {
		auth := gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover)
		if s.o.TLS != STARTTLS {
			// The library does not know that our dial has encrypted the connection
			// already (or that it never leaves this machine, see NewSMTP).
			auth = gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc)
		}
		opts = append(opts, auth, gomail.WithUsername(s.o.User), gomail.WithPassword(s.o.Password))
	}
	return gomail.NewClient(s.o.Host, opts...)
}

// dial connects with one deadline for the whole delivery, whatever is set later:
// a server that answers each command just in time must not hold the worker for
// hours. The connection ends with ctx too.
func (s *SMTP) dial(ctx, dctx context.Context, network, address string, conf *tls.Config) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTime}).DialContext(dctx, network, address)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(sendTime)
	if err := c.SetDeadline(until); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	context.AfterFunc(ctx, func() { _ = c.Close() }) // at the end of Send at the latest
	var out net.Conn = &deadlined{c, until}
	if s.o.TLS != TLS {
		return out, nil
	}
	t := tls.Client(out, conf)
	if err := t.HandshakeContext(dctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// deadlined is a connection whose deadline cannot be moved out.
type deadlined struct {
	net.Conn
	until time.Time
}

func (d *deadlined) SetDeadline(t time.Time) error {
	if t.IsZero() || t.After(d.until) {
		t = d.until
	}
	return d.Conn.SetDeadline(t)
}
