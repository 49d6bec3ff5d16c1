package ssotest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
)

// samlScript sends the response page's only form. The button is not called
// "submit", which would hide the method of that name.
const samlScript = `document.forms[0].submit()`

const samlPageText = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{{.Title}}</title><style>{{.Style}}</style></head>
<body><main>
<h1>{{.Title}}</h1>
<p>{{.Lead}}</p>
{{with .Form}}<form method="post" action="/sign-in">
{{if .Error}}<p class="error" role="alert" id="error">{{.Error}}</p>{{end}}
<input type="hidden" name="ticket" value="{{.Ticket}}">
<label for="username">User name</label>
<input id="username" name="username" value="{{.User}}" autocomplete="username" autocapitalize="none" spellcheck="false" required{{if not .User}} autofocus{{end}}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{{if .User}} autofocus{{end}}{{if .Error}} aria-describedby="error"{{end}}>
<button type="submit">Sign in</button>
</form>{{end}}
{{with .Message}}<form method="post" action="{{.ACS}}">
<input type="hidden" name="SAMLResponse" value="{{.SAMLResponse}}">
{{if .RelayState}}<input type="hidden" name="RelayState" value="{{.RelayState}}">{{end}}
<button type="submit">Continue</button>
</form>
<script>{{$.Script}}</script>{{end}}
{{with .Tiles}}<ul>{{range .}}<li><a href="{{.URL}}">{{.Name}}</a></li>{{end}}</ul>{{end}}
{{if .Logout}}<form method="post" action="/logout"><button type="submit">Sign out</button></form>{{end}}
</main></body></html>
`

// samlForm is what the sign-in form shows.
type samlForm struct{ Ticket, SP, User, Error string }

type samlTile struct{ Name, URL string }

type samlPage struct {
	Title   string
	Lead    string
	Style   template.CSS
	Script  template.JS
	Form    *samlForm
	Message *samlMessage
	Tiles   []samlTile
	Logout  bool
}

// samlPages writes the IdP's pages.
type samlPages struct {
	text                    *template.Template
	styleHash, scriptPolicy string
}

func newSAMLPages() (*samlPages, error) {
	t, err := template.New("page").Parse(samlPageText)
	if err != nil {
		return nil, fmt.Errorf("ssotest: page: %w", err)
	}
	sum := sha256.Sum256([]byte(samlScript))
	return &samlPages{
		text: t, styleHash: opStyleHash(),
		scriptPolicy: "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}, nil
}

// write sends a page that loads nothing. formAction is all that its forms may
// be sent to, which in Chromium includes every redirect that follows.
func (p *samlPages) write(w http.ResponseWriter, status int, formAction string, v samlPage) {
	v.Style, v.Script = template.CSS(opStyle), template.JS(samlScript) //nolint:gosec // constants
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src " + p.styleHash + "; form-action " + formAction
	if v.Message != nil {
		policy += p.scriptPolicy
	}
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	_ = p.text.Execute(w, v) // the browser went away: nothing to tell it
}

func (p *samlPages) form(w http.ResponseWriter, status int, f samlForm) {
	lead := "SAML identity provider"
	if u, err := url.Parse(f.SP); err == nil && u.Host != "" {
		lead += ", for " + u.Host
	}
	p.write(w, status, "'self'", samlPage{Title: "Sign in", Lead: lead + ".", Form: &f})
}

func (p *samlPages) response(w http.ResponseWriter, m samlMessage) {
	p.write(w, http.StatusOK, m.ACS, samlPage{Title: "Signing you in", Lead: "One moment.", Message: &m})
}

func (p *samlPages) signedIn(w http.ResponseWriter, title, user string, tiles []samlTile) {
	p.write(w, http.StatusOK, "'self'", samlPage{Title: title, Lead: "You are signed in here as " + user + ".", Tiles: tiles, Logout: true})
}

func (p *samlPages) plain(w http.ResponseWriter, status int, title, lead string) {
	p.write(w, status, "'none'", samlPage{Title: title, Lead: lead})
}

func (p *samlPages) fail(w http.ResponseWriter, status int, why string) {
	p.plain(w, status, "This sign-in cannot go on", why)
}
