package demo

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ssogate/ssogate/sso/ssotest"
)

// Options of [SCIMClient].
type Options struct {
	BaseURL string           // SCIM base URL, e.g. http://localhost:8081/api/0/organizations/demo/scim/v2/
	Token   string           // bearer token; stays on the server side of the page
	People  []ssotest.Person // normally [People]
	HTTP    *http.Client     // nil is a client of its own; every call has a deadline of 20 s
	Log     *slog.Logger     // nil discards
}

// historySize is how many exchanges the page shows.
const historySize = 6

// Client is the page of an imaginary identity provider's provisioning: it
// deactivates and re-activates people through the gateway's public SCIM API and
// shows each request, its answer and the time it took. Safe for concurrent use.
type Client struct {
	api    api
	people []ssotest.Person
	page   *template.Template
	log    *slog.Logger
	mux    http.Handler

	mu      sync.Mutex
	history []exchange // newest first
}

// SCIMClient makes the page; it serves on an origin of its own. Call
// [Client.Seed] once the gateway listens.
//
// Whoever can post to it can deactivate the demo's people, so it answers only
// to a loopback Host (a name somebody points at 127.0.0.1 is none: DNS
// rebinding) and refuses forms from other origins.
func SCIMClient(o Options) *Client {
	c := &Client{
		api:    api{base: strings.TrimSuffix(o.BaseURL, "/"), token: o.Token, http: o.HTTP},
		people: o.People,
		page:   template.Must(template.ParseFS(assets, "assets/scim.html")),
		log:    o.Log,
	}
	if c.api.http == nil {
		c.api.http = &http.Client{Timeout: callTimeout}
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.home)
	mux.HandleFunc("POST /people/{user}", c.change)
	mux.Handle("GET /assets/", asset("scim.css"))
	c.mux = loopbackOnly(http.NewCrossOriginProtection().Handler(mux))
	return c
}

// ServeHTTP implements http.Handler.
func (c *Client) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Seed makes every person and group exist and be active over SCIM, as an
// identity provider does when an administrator assigns them. Idempotent.
func (c *Client) Seed(ctx context.Context) error {
	var names []string // in the order they appear: what is shown must not change between runs
	members := map[string][]string{}
	for _, p := range c.people {
		id, err := c.api.ensure(ctx, p)
		if err != nil {
			return err
		}
		for _, g := range p.Groups {
			if members[g] == nil {
				names = append(names, g)
			}
			members[g] = append(members[g], id)
		}
	}
	for _, g := range names {
		if err := c.api.ensureGroup(ctx, g, members[g]); err != nil {
			return err
		}
	}
	return nil
}

// row is one person as the page shows it.
type row struct {
	Name, User, Initials string
	Path                 string // where its form posts
	State                string // "active", "deactivated", "absent" or "unknown"
	Label                string // of the button
	Do                   string // what the button does
}

func (c *Client) home(w http.ResponseWriter, r *http.Request) {
	var rows []row
	var trouble string
	for _, p := range c.people {
		v := row{Name: p.DisplayName, User: p.User, Initials: initials(p), Path: "/people/" + url.PathEscape(p.User)}
		got, ok, err := c.api.find(r.Context(), "/Users", "userName", p.User)
		switch {
		case err != nil:
			v.State, trouble = "unknown", err.Error()
		case !ok:
			v.State, v.Label, v.Do = "absent", "Create", "create"
		case got.isActive():
			v.State, v.Label, v.Do = "active", "Deactivate", "deactivate"
		default:
			v.State, v.Label, v.Do = "deactivated", "Re-activate", "reactivate"
		}
		rows = append(rows, v)
	}
	c.mu.Lock()
	history := append([]exchange(nil), c.history...)
	c.mu.Unlock()
	writePage(w, c.page, map[string]any{"People": rows, "Trouble": trouble, "History": history, "Base": c.api.base})
}

func (c *Client) change(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	p, ok := ssotest.FindPerson(c.people, r.PathValue("user"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	x, err := c.do(r.Context(), p, r.PostFormValue("do"))
	if errors.Is(err, errUnknownAction) {
		http.Error(w, "unknown action", http.StatusBadRequest)
		return
	}
	if err != nil {
		c.log.WarnContext(r.Context(), "scim call", "error", err)
		if x.Response == "" {
			x.Response = err.Error() // a call that never got an answer is shown too
		}
	}
	c.mu.Lock()
	c.history = append([]exchange{x}, c.history[:min(len(c.history), historySize-1)]...)
	c.mu.Unlock()
	// 303, so that a reload of the page repeats nothing.
	http.Redirect(w, r, "/#last", http.StatusSeeOther)
}

var errUnknownAction = errors.New("demo: unknown action")

// do performs one button. Finding the person first keeps the page free of
// state: it goes on working when the gateway was restarted with other ids.
func (c *Client) do(ctx context.Context, p ssotest.Person, action string) (exchange, error) {
	switch action {
	case "create":
		x, _, err := c.api.create(ctx, p)
		return x, err
	case "deactivate", "reactivate":
		got, ok, err := c.api.find(ctx, "/Users", "userName", p.User)
		x := exchange{When: time.Now(), Method: http.MethodPatch, Path: "/Users/?", Status: "not sent"}
		if err != nil {
			return x, err
		}
		if !ok {
			return x, errors.New("demo: scim: " + p.User + " does not exist any more")
		}
		return c.api.setActive(ctx, got.ID, action == "reactivate")
	default:
		return exchange{}, errUnknownAction
	}
}

func initials(p ssotest.Person) string {
	var s string
	for _, n := range []string{p.GivenName, p.FamilyName} {
		for _, r := range n {
			s += string(r)
			break
		}
	}
	return s
}

// Milliseconds is the time of an exchange as the page shows it.
func (x exchange) Milliseconds() string {
	return strconv.FormatFloat(float64(x.Took)/float64(time.Millisecond), 'f', 1, 64) + " ms"
}

// Clock is when it was sent.
func (x exchange) Clock() string { return x.When.Format("15:04:05") }

// loopbackOnly answers 421 to any Host that is not this machine.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		a, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if !strings.EqualFold(host, "localhost") && (err != nil || !a.IsLoopback()) {
			http.Error(w, "this page answers on localhost only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var _ http.Handler = (*Client)(nil)
