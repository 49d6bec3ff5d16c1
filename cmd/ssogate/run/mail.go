package run

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// keepMail is how long what became of a letter, and an invitation that ended, can
// be looked up.
const keepMail = 90 * 24 * time.Hour

// smtpOf is the server of a config, which has one.
func smtpOf(c *config.Config) (*mail.SMTP, error) {
	host, port, ok := c.Mail.SMTPServer()
	if !ok {
		return nil, errors.New("mail.server is not a host name with or without a port")
	}
	o := mail.SMTPOptions{
		Host: host, Port: port, TLS: mail.TLSMode(c.Mail.TLS), User: c.Mail.User, Password: c.Mail.Password,
		From: c.Mail.From, FromName: c.Mail.FromName,
	}
	if c.Mail.CAFile != "" {
		pem, err := os.ReadFile(c.Mail.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mail.ca_file: %w", err)
		}
		if o.RootCAs = x509.NewCertPool(); !o.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("mail.ca_file: no certificate in it")
		}
	}
	return mail.NewSMTP(o)
}

// makeMail lets the directory write letters and starts the worker that sends
// them. Without a server there are neither.
func (s *Server) makeMail(context.Context) error {
	if s.cfg.Mail.Server == "" {
		return nil
	}
	sender, err := smtpOf(s.cfg)
	if err != nil {
		return err
	}
	s.directory.Letters = letters{cfg: s.cfg, sealer: s.sealer}
	w, err := mail.NewWorker(mail.WorkerOptions{
		Outbox: s.db, Sender: sender, Open: letters{cfg: s.cfg, sealer: s.sealer}.open, Rate: s.cfg.Mail.Rate,
		Now: s.now, Log: s.log, Registry: s.registry,
	})
	if err != nil {
		return err
	}
	s.background = append(s.background, w.Run)
	s.sweepers = append(s.sweepers, func(ctx context.Context) error {
		_, err := s.db.SweepMail(ctx, s.now().Add(-keepMail))
		return err
	})
	return nil
}

// letters write and open what is in the outbox.
type letters struct {
	cfg    *config.Config
	sealer *secret.Sealer
}

// Invitation implements member.Letters.
func (l letters) Invitation(m member.Member, i member.Invitation, token string) (*member.Mail, error) {
	if mail.Address(i.Email) != nil {
		return nil, nil //nolint:nilnil,nilerr // none can be written; he accepts at his first sign-in
	}
	name := m.GivenName
	if name == "" {
		name = m.DisplayName
	}
	b, err := json.Marshal(mail.Invitation{
		To: i.Email, Name: name, Organization: l.cfg.Organization.Name, Link: l.cfg.URL + "/invite/" + token,
		Expires: i.Expires, Support: l.cfg.Organization.Support,
	})
	if err != nil {
		return nil, fmt.Errorf("run: letter: %w", err)
	}
	id := secret.NewToken()
	return &member.Mail{
		ID: id, Member: m.ID, Invitation: i.Token, Sealed: l.sealer.Seal(b, mail.SealContext(id)), Created: i.Created,
	}, nil
}

func (l letters) open(r mail.Row) (mail.Letter, error) {
	b, err := l.sealer.Open(r.Sealed, mail.SealContext(r.ID))
	if err != nil {
		return mail.Letter{}, fmt.Errorf("run: letter: %w", err)
	}
	var kind struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(b, &kind); err == nil && kind.Kind == mail.KindNotice {
		var n mail.Notice
		if err := json.Unmarshal(b, &n); err != nil {
			return mail.Letter{}, fmt.Errorf("run: letter: %w", err)
		}
		return n.Letter(r.ID)
	}
	var i mail.Invitation
	if err := json.Unmarshal(b, &i); err != nil {
		return mail.Letter{}, fmt.Errorf("run: letter: %w", err)
	}
	return i.Letter(r.ID)
}

// SendTestMail sends a letter to somebody at once, past the outbox. It answers
// where it went.
func SendTestMail(ctx context.Context, c *config.Config, to string) (server string, err error) {
	if c.Mail.Server == "" {
		return "", errors.New("no mail server is configured: set mail.server and mail.from")
	}
	if err := mail.Address(to); err != nil {
		return "", fmt.Errorf("%q is not an e-mail address", to)
	}
	s, err := smtpOf(c)
	if err != nil {
		return "", err
	}
	host, port, _ := c.Mail.SMTPServer()
	server = fmt.Sprintf("%s:%d (%s)", host, port, c.Mail.TLS)
	return server, s.Send(ctx, mail.Test(to, c.Organization.Name))
}
