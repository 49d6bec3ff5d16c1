package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/ssogate/ssogate/sso/ssotest"
)

// Limits of a Visitor.
const (
	maxSteps    = 25 // pages, refreshes and forms on the way to an application
	maxPageSize = 1 << 20
)

// Visitor is a person with a browser that has no script: it keeps cookies,
// follows redirects and meta refreshes, reads pages and submits forms. `ssogate
// demo --check` and the whole-product tests walk the real pages with it. Not safe
// for concurrent use.
type Visitor struct {
	client *http.Client
	Header http.Header // added to every request
}

// NewVisitor is a browser that has never been anywhere.
func NewVisitor() *Visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cookiejar.New fails for no input
	}
	return &Visitor{
		client: &http.Client{Jar: jar, Timeout: 15 * time.Second},
		Header: http.Header{"Accept": {"text/html,application/xhtml+xml"}, "Sec-Fetch-Mode": {"navigate"}},
	}
}

// Through makes the visitor reach the network by rt, for servers whose names
// only a test knows.
func (v *Visitor) Through(rt http.RoundTripper) *Visitor {
	v.client.Transport = rt
	return v
}

// Jar holds the visitor's cookies.
func (v *Visitor) Jar() http.CookieJar { return v.client.Jar }

// Sheet is one page as a person without script sees it.
type Sheet struct {
	URL     *url.URL
	Status  int
	Header  http.Header
	Body    string
	Title   string
	Refresh string // where a meta refresh leads, absolute, or ""
	Forms   []Form
	Links   []Link
}

// Form is a form with its values; Fields keeps what the page filled in.
type Form struct {
	Action, Method string
	Fields         url.Values
	Password       string // name of the password field, or ""
	Text           string // name of the first text or e-mail field, or ""
}

// Link is an anchor.
type Link struct{ Label, URL string }

// Open loads a page, following redirects but not refreshes.
func (v *Visitor) Open(ctx context.Context, u string) (*Sheet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fmt.Errorf("demo: open: %w", err)
	}
	return v.do(req)
}

// Submit sends a form as the page at from would.
func (v *Visitor) Submit(ctx context.Context, from *Sheet, f Form) (*Sheet, error) {
	if !strings.EqualFold(f.Method, http.MethodPost) {
		u, err := url.Parse(f.Action)
		if err != nil {
			return nil, fmt.Errorf("demo: form action: %w", err)
		}
		u.RawQuery = f.Fields.Encode()
		return v.Open(ctx, u.String())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Action, strings.NewReader(f.Fields.Encode()))
	if err != nil {
		return nil, fmt.Errorf("demo: submit: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", from.URL.Scheme+"://"+from.URL.Host)
	return v.do(req)
}

func (v *Visitor) do(req *http.Request) (*Sheet, error) {
	for k, vals := range v.Header {
		if req.Header.Get(k) == "" {
			req.Header[k] = vals
		}
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPageSize))
	if err != nil {
		return nil, fmt.Errorf("demo: read page: %w", err)
	}
	s := &Sheet{URL: resp.Request.URL, Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	if strings.Contains(resp.Header.Get("Content-Type"), "html") {
		// Without script, as promised: the content of noscript is markup then.
		root, err := html.ParseWithOptions(strings.NewReader(s.Body), html.ParseOptionEnableScripting(false))
		if err != nil {
			return nil, fmt.Errorf("demo: parse page: %w", err)
		}
		s.read(root, -1)
	}
	return s, nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}

func (s *Sheet) abs(ref string) string {
	u, err := s.URL.Parse(ref)
	if err != nil {
		return ""
	}
	return u.String()
}

// read collects what a person can act on; form is the index of the enclosing form, or -1.
func (s *Sheet) read(n *html.Node, form int) {
	if n.Type == html.ElementNode {
		switch n.Data {
		case "title":
			s.Title = text(n)
		case "meta":
			if strings.EqualFold(attr(n, "http-equiv"), "refresh") {
				if _, u, ok := strings.Cut(attr(n, "content"), "url="); ok {
					s.Refresh = s.abs(strings.Trim(u, `'" `))
				}
			}
		case "a":
			s.Links = append(s.Links, Link{Label: text(n), URL: s.abs(attr(n, "href"))})
		case "form":
			s.Forms = append(s.Forms, Form{Action: s.abs(attr(n, "action")), Method: attr(n, "method"), Fields: url.Values{}})
			form = len(s.Forms) - 1
		case "input":
			if form >= 0 {
				s.input(n, &s.Forms[form])
			}
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		s.read(c, form)
	}
}

func (s *Sheet) input(n *html.Node, f *Form) {
	name := attr(n, "name")
	if name == "" {
		return
	}
	switch attr(n, "type") {
	case "password":
		f.Password = name
	case "hidden":
		f.Fields.Add(name, attr(n, "value"))
	case "submit", "button":
	default:
		if f.Text == "" {
			f.Text = name
		}
	}
}

// RefusedError is the error of a walk that ended on a page other than the one wanted.
type RefusedError struct{ Page *Sheet }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("demo: arrived at %s%s with status %d: %q", e.Page.URL.Host, e.Page.URL.Path, e.Page.Status, e.Page.Title)
}

// SignIn opens a page of an application and does what a person would do until
// the page is there: choose the provider by a word of its name, type user name and password,
// accept an invitation. It ends with *RefusedError when a page offers no way on.
func (v *Visitor) SignIn(ctx context.Context, page, provider string, p ssotest.Person) (*Sheet, error) {
	want, err := url.Parse(page)
	if err != nil {
		return nil, fmt.Errorf("demo: sign in: %w", err)
	}
	s, err := v.Open(ctx, page)
	for range maxSteps {
		if err != nil {
			return nil, err
		}
		if s.URL.Host == want.Host && !strings.HasPrefix(s.URL.Path, "/.sso/") {
			if s.Status != http.StatusOK {
				return s, &RefusedError{s}
			}
			return s, nil
		}
		var moved bool
		if s, moved, err = v.step(ctx, s, provider, p); err == nil && !moved {
			return s, &RefusedError{s}
		}
	}
	return nil, errors.New("demo: sign in: went in circles")
}

// step does the one thing a page asks for.
func (v *Visitor) step(ctx context.Context, s *Sheet, provider string, p ssotest.Person) (*Sheet, bool, error) {
	if s.Refresh != "" {
		n, err := v.Open(ctx, s.Refresh)
		return n, true, err
	}
	for _, f := range s.Forms {
		switch {
		case f.Fields.Has("SAMLResponse"), f.Fields.Has("SAMLRequest"), strings.HasSuffix(f.Action, "/complete/accept"):
		case f.Password != "" && !strings.Contains(s.Body, "data-failed"):
			f.Fields.Set(f.Text, p.User)
			f.Fields.Set(f.Password, p.Password)
		default:
			continue
		}
		n, err := v.Submit(ctx, s, f)
		return n, true, err
	}
	for _, l := range s.Links {
		if s.Status == http.StatusOK && strings.Contains(l.Label, provider) {
			n, err := v.Open(ctx, l.URL)
			return n, true, err
		}
	}
	return s, false, nil
}
