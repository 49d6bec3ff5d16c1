package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	netmail "net/mail"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
)

// Letter is one e-mail.
type Letter struct {
	ID      string // of the outbox row; part of the Message-ID
	To      string // a bare address, see [Address]
	Subject string
	Text    string
	HTML    string
}

// ErrAddress means text that is not one plain e-mail address.
var ErrAddress = errors.New("mail: not an e-mail address")

// Address checks that s is one bare address that can stand in a header and in an
// SMTP command: no name, no list, no quotes, no white space or control characters.
func Address(s string) error {
	if len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || !unicode.IsPrint(r) }) ||
		strings.ContainsAny(s, `"<>(),;:\`) {
		return ErrAddress
	}
	a, err := netmail.ParseAddress(s)
	if err != nil || a.Address != s {
		return ErrAddress
	}
	return nil
}

// SealContext is what the content of a row is sealed in.
func SealContext(id string) string { return "outbox letter " + id }

//go:embed letters
var letters embed.FS

var (
	textLetters = texttemplate.Must(texttemplate.ParseFS(letters, "letters/*.txt"))
	htmlLetters = htmltemplate.Must(htmltemplate.ParseFS(letters, "letters/*.html"))
)

// Invitation is what the letter to a new member says.
type Invitation struct {
	To           string    `json:"to"`
	Name         string    `json:"name"` // of the person, or ""
	Organization string    `json:"organization"`
	Link         string    `json:"link"` // holds the token: a secret
	Expires      time.Time `json:"expires"`
	Support      string    `json:"support"`
}

// Until is the last day on which the link works, for people.
func (i Invitation) Until() string { return i.Expires.UTC().Format("2 January 2006") }

// Letter writes the invitation. Names come from an identity provider: they are
// one line, and text in HTML.
func (i Invitation) Letter(id string) (Letter, error) {
	if err := Address(i.To); err != nil {
		return Letter{}, err
	}
	i.Name, i.Organization, i.Support = oneLine(i.Name), oneLine(i.Organization), oneLine(i.Support)
	l := Letter{ID: id, To: i.To, Subject: "You are invited to " + i.Organization}
	var text, html bytes.Buffer
	if err := textLetters.ExecuteTemplate(&text, "invitation.txt", i); err != nil {
		return Letter{}, fmt.Errorf("mail: invitation: %w", err)
	}
	if err := htmlLetters.ExecuteTemplate(&html, "invitation.html", i); err != nil {
		return Letter{}, fmt.Errorf("mail: invitation: %w", err)
	}
	l.Text, l.HTML = text.String(), html.String()
	return l, nil
}

// Test is the letter of `ssogate mail test`.
func Test(to, organization string) Letter {
	text := "This is a test of ssogate's e-mail for " + oneLine(organization) + ".\n\nIt was asked for on the command line. Nothing needs to be done.\n"
	return Letter{
		ID: "test", To: to, Subject: "Test of ssogate's e-mail", Text: text,
		HTML: "<p>" + htmltemplate.HTMLEscapeString(strings.ReplaceAll(strings.TrimSpace(text), "\n\n", " ")) + "</p>\n",
	}
}

// addresses finds what looks like an e-mail address.
var addresses = regexp.MustCompile(`<?[^\s<>]+@[^\s<>]+>?`)

// oneLine makes text fit for one line of a letter or a header.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200])
	}
	return strings.TrimSpace(s)
}
