package mail

import (
	htmltemplate "html/template"
	"strings"
)

// KindNotice tells a [Notice] from an [Invitation] in the outbox.
const KindNotice = "notice"

// Notice is a letter in plain words about something that has happened, with at most
// one link.
type Notice struct {
	Kind       string   `json:"kind"` // KindNotice
	To         string   `json:"to"`
	Subject    string   `json:"subject"`
	Paragraphs []string `json:"paragraphs"`     // above the link; a line each
	Link       string   `json:"link,omitempty"` // may hold a token: a secret
	After      []string `json:"after,omitempty"`
	Support    string   `json:"support,omitempty"`
}

// Letter writes the notice. What it says may hold names and addresses that others
// chose: each paragraph is one line, and text in HTML.
func (n Notice) Letter(id string) (Letter, error) {
	if err := Address(n.To); err != nil {
		return Letter{}, err
	}
	var text, html strings.Builder
	html.WriteString("<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>" + htmltemplate.HTMLEscapeString(oneLine(n.Subject)) + "</title></head>\n<body>\n")
	say := func(lines []string) {
		for _, p := range lines {
			p = oneLine(p)
			text.WriteString(p + "\n\n")
			html.WriteString("<p>" + htmltemplate.HTMLEscapeString(p) + "</p>\n")
		}
	}
	say(n.Paragraphs)
	if n.Link != "" {
		link := oneLine(n.Link)
		text.WriteString("  " + link + "\n\n")
		escaped := htmltemplate.HTMLEscapeString(link)
		html.WriteString("<p><a href=\"" + escaped + "\">" + escaped + "</a></p>\n")
	}
	say(n.After)
	if n.Support != "" {
		say([]string{"Questions: " + n.Support})
	}
	html.WriteString("</body>\n</html>\n")
	return Letter{ID: id, To: n.To, Subject: oneLine(n.Subject), Text: text.String(), HTML: html.String()}, nil
}
