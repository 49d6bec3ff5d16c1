package mail_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/internal/testserver"
)

func letter(t *testing.T) mail.Letter {
	t.Helper()
	l, err := mail.Invitation{
		To: "ana@example.com", Name: "Ana Ñuñez", Organization: "Example & Söhne", Link: "https://sso.example.com/invite/abc",
		Expires: time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC), Support: "it@example.com",
	}.Letter("letter-1")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func options(s *testserver.SMTPServer) mail.SMTPOptions {
	return mail.SMTPOptions{Host: "127.0.0.1", Port: s.Port, TLS: mail.STARTTLS, From: "sso@example.com", FromName: "Example", RootCAs: s.Roots}
}

// parts reads a message as a mail program does.
func parts(t *testing.T, raw string) (netmail.Header, map[string]string) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v", kind, err)
	}
	out := map[string]string{}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m.Header, out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		out[kind] = string(b)
	}
}

func TestLettersArriveOverRealSMTP(t *testing.T) {
	for name, c := range map[string]struct {
		server testserver.SMTPOptions
		client func(*mail.SMTPOptions)
	}{
		"STARTTLS":          {testserver.SMTPOptions{}, func(*mail.SMTPOptions) {}},
		"STARTTLS and auth": {testserver.SMTPOptions{User: "u", Password: "p"}, func(o *mail.SMTPOptions) { o.User, o.Password = "u", "p" }},
		"TLS and auth":      {testserver.SMTPOptions{Implicit: true, User: "u", Password: "p"}, func(o *mail.SMTPOptions) { o.TLS, o.User, o.Password = mail.TLS, "u", "p" }},
		"none on loopback":  {testserver.SMTPOptions{Plain: true}, func(o *mail.SMTPOptions) { o.TLS = mail.None }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testserver.SMTP(t, c.server)
			o := options(srv)
			c.client(&o)
			s, err := mail.NewSMTP(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(t.Context(), letter(t)); err != nil {
				t.Fatal(err)
			}
			got := srv.Taken()
			if len(got) != 1 {
				t.Fatalf("%d letters", len(got))
			}
			h, p := parts(t, got[0])
			subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
			if err != nil || subject != "You are invited to Example & Söhne" {
				t.Errorf("subject %q, %v", subject, err)
			}
			if h.Get("Message-Id") != "<letter-1@example.com>" || !strings.Contains(h.Get("From"), "<sso@example.com>") || h.Get("Auto-Submitted") != "auto-generated" || h.Get("Date") == "" {
				t.Errorf("header %v", h)
			}
			for kind, want := range map[string][]string{
				"text/plain": {"Hello Ana Ñuñez,", "https://sso.example.com/invite/abc", "24 December 2026", "Example & Söhne"},
				"text/html":  {"Hello Ana Ñuñez,", `href="https://sso.example.com/invite/abc"`, "Example &amp; Söhne"},
			} {
				for _, w := range want {
					if !strings.Contains(p[kind], w) {
						t.Errorf("%s lacks %q:\n%s", kind, w, p[kind])
					}
				}
			}
		})
	}
}

func TestWhatTheServerRefusesIsToldFromWhatPasses(t *testing.T) {
	refuse := func(code int) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no mailbox for ana@example.com here"}
	}
	for name, c := range map[string]struct {
		server    testserver.SMTPOptions
		client    func(*mail.SMTPOptions)
		permanent bool
	}{
		"unknown mailbox":        {testserver.SMTPOptions{Rcpt: func(string) error { return refuse(550) }}, nil, true},
		"mailbox busy":           {testserver.SMTPOptions{Rcpt: func(string) error { return refuse(450) }}, nil, false},
		"content refused":        {testserver.SMTPOptions{Data: func(int, string) error { return refuse(554) }}, nil, true},
		"disk full":              {testserver.SMTPOptions{Data: func(int, string) error { return refuse(452) }}, nil, false},
		"wrong password":         {testserver.SMTPOptions{User: "u", Password: "p"}, func(o *mail.SMTPOptions) { o.User, o.Password = "u", "x" }, false},
		"password not given":     {testserver.SMTPOptions{User: "u", Password: "p"}, nil, false},
		"STARTTLS not offered":   {testserver.SMTPOptions{Plain: true}, nil, false},
		"unknown certificate":    {testserver.SMTPOptions{}, func(o *mail.SMTPOptions) { o.RootCAs = nil }, false},
		"nobody listens":         {testserver.SMTPOptions{}, func(o *mail.SMTPOptions) { o.Port = 1 }, false},
		"plain where TLS is due": {testserver.SMTPOptions{Plain: true}, func(o *mail.SMTPOptions) { o.TLS = mail.TLS }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testserver.SMTP(t, c.server)
			o := options(srv)
			if c.client != nil {
				c.client(&o)
			}
			s, err := mail.NewSMTP(o)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Send(t.Context(), letter(t))
			var p *mail.PermanentError
			if err == nil || errors.As(err, &p) != c.permanent || len(srv.Taken()) != 0 {
				t.Errorf("%v, permanent wanted: %v, taken %d", err, c.permanent, len(srv.Taken()))
			}
		})
	}
}

// TestASilentServerIsGivenUp: the caller's deadline holds, whatever the server does.
func TestASilentServerIsGivenUp(t *testing.T) {
	srv := testserver.SMTP(t, testserver.SMTPOptions{Hang: true})
	s, err := mail.NewSMTP(options(srv))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Send(ctx, letter(t)) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a letter nobody took was sent")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting for a server that says nothing")
	}
}

func TestSettingsThatWouldLeakOrFailAreRefused(t *testing.T) {
	good := mail.SMTPOptions{Host: "smtp.example.com", Port: 587, TLS: mail.STARTTLS, From: "sso@example.com"}
	if _, err := mail.NewSMTP(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*mail.SMTPOptions){
		"no host": func(o *mail.SMTPOptions) { o.Host = "" }, "host with a line": func(o *mail.SMTPOptions) { o.Host = "a\r\nb" },
		"no port": func(o *mail.SMTPOptions) { o.Port = 0 }, "no TLS": func(o *mail.SMTPOptions) { o.TLS = "" },
		"plain to another machine": func(o *mail.SMTPOptions) { o.TLS = mail.None }, "no from": func(o *mail.SMTPOptions) { o.From = "" },
		"from with a name": func(o *mail.SMTPOptions) { o.From = "A <a@b.example>" }, "user alone": func(o *mail.SMTPOptions) { o.User = "u" },
	} {
		o := good
		change(&o)
		if _, err := mail.NewSMTP(o); !errors.Is(err, mail.ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingIsInjectedIntoALetter: names come from an identity provider, addresses
// from a directory that others fill.
func TestNothingIsInjectedIntoALetter(t *testing.T) {
	srv := testserver.SMTP(t, testserver.SMTPOptions{})
	s, err := mail.NewSMTP(options(srv))
	if err != nil {
		t.Fatal(err)
	}
	l, err := mail.Invitation{
		To: "ana@example.com", Name: "Ana\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>", Organization: "Ex\nSubject: x",
		Link: "https://sso.example.com/invite/abc", Expires: time.Now(), Support: "\u202e",
	}.Letter("id")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	h, p := parts(t, srv.Taken()[0])
	if h.Get("Bcc") != "" || strings.ContainsAny(h.Get("Subject"), "\r\n") || strings.Contains(p["text/html"], "<script>") {
		t.Errorf("header %v\n%s", h, p["text/html"])
	}
	for _, to := range []string{
		"", "ana", "ana@", "@example.com", "a@b.example\r\nRCPT TO:<x@y.example>", "a@b.example,c@d.example", "A <a@b.example>", `"a b"@c.example`, "a@b.example ", "a@b\x00.example",
		"<a@b.example>", strings.Repeat("a", 300) + "@b.example", "a@b.example\u2028",
	} {
		if err := mail.Address(to); !errors.Is(err, mail.ErrAddress) {
			t.Errorf("address %q: %v", to, err)
		}
		bad := l
		bad.To = to
		var permanent *mail.PermanentError
		if err := s.Send(t.Context(), bad); !errors.As(err, &permanent) {
			t.Errorf("sent to %q: %v", to, err)
		}
	}
	for _, to := range []string{"ana@example.com", "a.b+c@d-e.example", "o'neil@example.com", "ana@bücher.example"} {
		if err := mail.Address(to); err != nil {
			t.Errorf("address %q: %v", to, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"ana@example.com", "a@b\r\nc", `"a"@b`, "ü@ü", "a@[127.0.0.1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mail.Address(s) == nil && (strings.ContainsAny(s, "\r\n\x00 <>,;") || strings.Count(s, "@") == 0) {
			t.Errorf("%q passed as an address", s)
		}
	})
}
