package ssotest

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// opStyle is the only thing these pages load; it is allowed by its hash.
const opStyle = `:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:Canvas;color:CanvasText}
main{box-sizing:border-box;width:min(24rem,100%);padding:1.5rem}
h1{font-size:1.4rem;margin:0 0 .25rem}
p{margin:0 0 1rem}
label{display:block;font-weight:600;margin:.75rem 0 .25rem}
input{box-sizing:border-box;width:100%;font:inherit;padding:.6rem;border:1px solid GrayText;border-radius:.4rem;background:Field;color:FieldText}
button{font:inherit;width:100%;margin-top:1rem;padding:.7rem;border:1px solid transparent;border-radius:.4rem;background:#1d4ed8;color:#fff;cursor:pointer}
button.quiet{background:none;color:inherit;border-color:GrayText;margin-top:.5rem}
:focus-visible{outline:3px solid #f59e0b;outline-offset:2px}
.error{border-left:4px solid #dc2626;padding:.5rem .75rem}`

const opPageText = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{{.Title}}</title><style>{{.Style}}</style></head>
<body><main>
<h1>{{.Title}}</h1>
<p>{{.Lead}}</p>
{{with .Form}}<form method="post" action="{{$.Base}}/sign-in">
{{if .Error}}<p class="error" role="alert" id="error">{{.Error}}</p>{{end}}
<input type="hidden" name="request" value="{{.Request}}">
<label for="username">User name</label>
<input id="username" name="username" value="{{.User}}" autocomplete="username" autocapitalize="none" spellcheck="false" required{{if not .User}} autofocus{{end}}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{{if .User}} autofocus{{end}}{{if .Error}} aria-describedby="error"{{end}}>
<button type="submit">Sign in</button>
<button type="submit" class="quiet" name="cancel" value="1" formnovalidate>Cancel</button>
</form>{{end}}
{{if .Logout}}<form method="post" action="{{$.Base}}/end_session">
{{range .Fields}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">{{end}}
<button type="submit" name="confirm" value="1">Sign out</button>
</form>{{end}}
</main></body></html>
`

// opForm is what the sign-in form shows.
type opForm struct{ Request, User, Error string }

type opField struct{ Name, Value string }

type opPage struct {
	Base   string
	Title  string
	Lead   string
	Style  template.CSS
	Form   *opForm
	Logout bool
	Fields []opField
}

func opStyleHash() string {
	sum := sha256.Sum256([]byte(opStyle))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func noStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
}

func urlEscape(s string) string { return url.QueryEscape(s) }

// page writes one page. Chromium applies form-action to the whole redirect
// chain that follows a form, so the client's origin must be named beside 'self';
// naming nothing else is what real providers do, and what ssogate must survive.
func (op *OP) page(w http.ResponseWriter, status int, p opPage) {
	p.Base, p.Style = op.opts.Issuer, template.CSS(opStyle)
	targets := []string{"'self'"}
	for _, list := range [][]string{op.opts.RedirectURIs, op.opts.PostLogoutRedirectURIs} {
		for _, s := range list {
			if u, err := url.Parse(s); err == nil && !slices.Contains(targets, u.Scheme+"://"+u.Host) {
				targets = append(targets, u.Scheme+"://"+u.Host)
			}
		}
	}
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src "+op.style+"; form-action "+strings.Join(targets, " "))
	w.WriteHeader(status)
	t, err := template.New("page").Parse(opPageText)
	if err == nil {
		_ = t.Execute(w, p) // the browser went away: nothing to tell it
	}
}

func (op *OP) formPage(w http.ResponseWriter, status int, q opRequest, f opForm) {
	f.Request = q.raw
	op.page(w, status, opPage{Title: "Sign in", Lead: "OpenID Connect provider at " + op.issuer.Host + ".", Form: &f})
}

func (op *OP) failPage(w http.ResponseWriter, status int, why string) {
	op.page(w, status, opPage{Title: "This sign-in cannot go on", Lead: why})
}

func (op *OP) logoutPage(w http.ResponseWriter, s opSession, form url.Values) {
	p := opPage{Title: "Sign out?", Lead: "You are signed in here as " + s.person.User + ".", Logout: true}
	for _, name := range []string{"post_logout_redirect_uri", "state"} {
		if v := form.Get(name); v != "" {
			p.Fields = append(p.Fields, opField{name, v})
		}
	}
	op.page(w, http.StatusOK, p)
}

func (op *OP) donePage(w http.ResponseWriter) {
	op.page(w, http.StatusOK, opPage{Title: "Signed out", Lead: "You are signed out at " + op.issuer.Host + "."})
}

// home says who is signed in at this provider, so that a person trying the demo
// can see that its session is another one than the gateway's.
func (op *OP) home(w http.ResponseWriter, r *http.Request) {
	s, ok := op.session(r)
	if !ok {
		op.page(w, http.StatusOK, opPage{Title: "OpenID Connect provider", Lead: "Nobody is signed in here in this browser."})
		return
	}
	op.page(w, http.StatusOK, opPage{Title: "OpenID Connect provider", Lead: "Signed in here as " + s.person.User + ".", Logout: true})
}
