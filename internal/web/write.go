package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its stylesheet
	"encoding/base64"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// Limits of what a page shows. Titles and facts carry text from identity
// providers and from the person being refused (U02, O09).
const (
	maxTitle   = 200
	maxText    = 1000
	maxFacts   = 24
	maxActions = 50
	maxItems   = 100 // of one list
	maxLines   = 8   // of one item
)

// look is the parsed template with the hash that lets its stylesheet through
// the page's own Content-Security-Policy. It is derived from embedded constants
// only, once, on first use.
type look struct {
	page   *template.Template
	styles string
}

var theLook = sync.OnceValue(func() look {
	sum := sha256.Sum256([]byte(pageCSS))
	return look{
		page:   template.Must(template.New("page").Parse(pageHTML)),
		styles: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
})

// view is a Page made fit to be shown.
type view struct {
	Page
	CSS     template.CSS // our own embedded file, never anything from outside
	Mark    string       // which sign stands at the top: "ok", "stop" or "fault"
	Meta    string       // content of the refresh element
	Script  string       // URL of fragment.js or post.js
	Contact string       // href for Support, "" when it is plain text
	Forms   bool
	Or      bool   // there is another way than the form
	target  string // of its forms, for form-action
}

// WritePage shows p to a person. A Status that is not 200..599 becomes 500.
// Every string is escaped, stripped of control characters and bounded; links
// are http, https or rooted paths, others are left out. The page loads nothing
// (fragment.js or post.js excepted, on request), is never cached, framed or
// referred from. Its forms go to this origin only, or with Post to that one only.
//
// Chromium applies a page's CSP form-action to the whole redirect chain of a
// submitted form (W1), and form-action here is 'self': a handler behind one of
// our forms answers with a page that has Refresh, not with a redirect to
// another origin.
//
// Headers set before, cookies among them, are kept, except those that described
// another body.
func WritePage(w http.ResponseWriter, r *http.Request, p Page) {
	status := p.Status
	if status < 200 || status > 599 {
		status = http.StatusInternalServerError
	}
	v := present(p, status)
	if v.Reference == "" {
		v.Reference = RequestID(r.Context())
	}
	var buf bytes.Buffer
	if err := theLook().page.Execute(&buf, v); err != nil {
		// The template is ours and the view has no methods that fail; should it
		// happen all the same, a bare refusal goes out rather than half a page.
		WriteProblem(w, r, http.StatusInternalServerError, "page could not be rendered", "")
		return
	}
	h := w.Header()
	secureHeaders(h, r)
	policy := "default-src 'none'; style-src " + theLook().styles + "; form-action " + v.target + "; frame-ancestors 'none'; base-uri 'none'"
	if p.Onward {
		policy = strings.Replace(policy, "; form-action "+v.target, "", 1)
	}
	if v.Script != "" {
		policy += "; script-src 'self'"
	}
	h.Set("Content-Security-Policy", policy)
	if v.Forms {
		// With no-referrer a browser sends "Origin: null" on a form POST (Fetch
		// standard, "append a request Origin header"), and our own CSRF check
		// refuses null. same-origin keeps the address from everybody else.
		h.Set("Referrer-Policy", "same-origin")
	}
	if p.Retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(p.Retry.Seconds())), 10))
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(buf.Bytes()) // the client is gone if this fails; the record says so
	}
}

// secureHeaders are on every answer that is ours (K10, U03).
func secureHeaders(h http.Header, r *http.Request) {
	// A refusal may come after headers of an upstream's answer were copied.
	for _, k := range []string{"Content-Encoding", "Content-Disposition", "Content-Language", "Content-Location", "Content-Range", "Accept-Ranges", "Refresh", "Etag", "Last-Modified", "Expires", "Trailer", "Transfer-Encoding"} {
		h.Del(k)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for what does not know frame-ancestors
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if x := exchangeOf(r.Context()); r.TLS != nil || x != nil && x.secure {
		// This host only: what its sub-domains and neighbours serve is not ours.
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func present(p Page, status int) view {
	v := view{Page: p, CSS: template.CSS(pageCSS), Mark: "ok", target: "'self'"} //nolint:gosec // embedded constant
	switch {
	case status >= 500:
		v.Mark = "fault"
	case status >= 400:
		v.Mark = "stop"
	}
	v.Title, v.Lead = clean(p.Title, maxTitle), clean(p.Lead, maxText)
	v.Account, v.Support = clean(p.Account, maxTitle), clean(p.Support, maxTitle)
	v.Reference = clean(p.Reference, 64)
	v.Facts = nil
	for _, f := range p.Facts[:min(len(p.Facts), maxFacts)] {
		v.Facts = append(v.Facts, Fact{clean(f.Label, maxTitle), clean(f.Value, maxText)})
	}
	v.Actions = nil
	for _, a := range p.Actions[:min(len(p.Actions), maxActions)] {
		if !safeLink(a.URL) {
			continue
		}
		a.Label = clean(a.Label, maxTitle)
		v.Forms = v.Forms || a.Method == http.MethodPost
		v.Actions = append(v.Actions, a)
	}
	if v.Form = nil; p.Form != nil && safeLink(p.Form.URL) {
		v.Form, v.Forms = fitForm(*p.Form), true
		v.Or = slices.ContainsFunc(v.Actions, func(a Action) bool { return !a.Quiet })
	}
	v.Lists = nil
	for _, l := range p.Lists {
		v.Lists = append(v.Lists, fit(l))
		v.Forms = v.Forms || slices.ContainsFunc(l.Items, func(i Item) bool { return i.Action != nil })
	}
	v.Refresh = ""
	if safeLink(p.Refresh) {
		v.Refresh, v.Meta = p.Refresh, "0;url="+p.Refresh
	}
	if p.Fragment {
		v.Script = fragmentScript.url()
	}
	if v.Post = nil; p.Post != nil {
		if origin := foreignOrigin(p.Post.URL); origin != "" {
			v.Post, v.target, v.Script = p.Post, origin, postScript.url()
		}
	}
	v.Contact = contact(v.Support)
	return v
}

// fitForm is the form as it may be shown.
func fitForm(f Form) *Form {
	f.Button = clean(f.Button, maxTitle)
	inputs := f.Inputs
	f.Inputs = nil
	for _, i := range inputs[:min(len(inputs), maxFacts)] {
		i.Label, i.Help, i.Fault = clean(i.Label, maxTitle), clean(i.Help, maxText), clean(i.Fault, maxText)
		if i.Value = clean(i.Value, maxText); i.Type == "password" {
			i.Value = ""
		}
		if i.Max == 0 {
			i.Max = 254
		}
		f.Inputs = append(f.Inputs, i)
	}
	return &f
}

// fit is the list as it may be shown.
func fit(l List) List {
	out := List{Title: clean(l.Title, maxTitle)}
	for _, i := range l.Items[:min(len(l.Items), maxItems)] {
		item := Item{Title: clean(i.Title, maxTitle), Mark: clean(i.Mark, maxTitle), Hidden: clean(i.Hidden, maxTitle)}
		for _, line := range i.Lines[:min(len(i.Lines), maxLines)] {
			item.Lines = append(item.Lines, clean(line, maxText))
		}
		if i.Action != nil && safeLink(i.Action.URL) {
			a := *i.Action
			a.Label = clean(a.Label, maxTitle)
			item.Action = &a
		}
		out.Items = append(out.Items, item)
	}
	return out
}
