package scim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/schema"
	"github.com/ssogate/ssogate/settings"
)

// Mount is the path under which the handler answers: Mount + slug + "/scim/v2/...".
const Mount = "/api/0/organizations/"

// Limits of one request and one connection.
const (
	MaxBody        = 16 << 20 // bytes
	HandlingTime   = 30 * time.Second
	DefaultRate    = 200 // requests a second of one connection
	DefaultBurst   = 500
	defaultCount   = 100
	maxCount       = 1000
	scanLimit      = 10_000 // resources looked at for a filter the store cannot answer
	scanPage       = 500
	maxUserOps     = 1000 // operations of a PATCH on a user
	barrierRetryIn = 5    // seconds, Retry-After of a 503
	pausedRetryIn  = 60
)

// Members changes members in one connection's scope. [member.Directory] is the
// real one; its contract says which errors mean what.
type Members interface {
	Create(ctx context.Context, a member.Actor, c member.Connection, draft member.Member) (member.Member, error)
	Get(ctx context.Context, c member.Connection, id member.ID) (member.Member, []member.Team, error)
	Update(ctx context.Context, a member.Actor, c member.Connection, id member.ID, ifVersion int64, change func(*member.Member) error) (member.Member, error)
	Delete(ctx context.Context, a member.Actor, c member.Connection, id member.ID, ifVersion int64) error
}

// Teams changes teams in one connection's scope. [member.Directory] is the real one.
type Teams interface {
	CreateTeam(ctx context.Context, a member.Actor, c member.Connection, t member.Team, ids []member.ID) (member.Team, error)
	GetTeam(ctx context.Context, c member.Connection, id member.ID) (member.Team, error)
	UpdateTeam(ctx context.Context, a member.Actor, c member.Connection, id member.ID, ifVersion int64, ch member.TeamChange) (member.Team, error)
	DeleteTeam(ctx context.Context, a member.Actor, c member.Connection, id member.ID, ifVersion int64) error
}

// Sealer encrypts and authenticates what a client carries for us.
// [secret.Sealer] is the real one.
type Sealer interface {
	Seal(plain []byte, context string) []byte
	Open(sealed []byte, context string) ([]byte, error)
}

// Options are what the handler is made of. All are required except Now, Log,
// Metrics, Rate, Burst, TokenLife, Recorder and Sessions.
type Options struct {
	BaseURL  string // gateway origin, e.g. https://sso.example.com
	Org      string // organisation slug; another slug is 404
	Members  Members
	Teams    Teams
	Searcher Searcher
	Access   Access
	Live     *settings.Live // connections and the tokens declared in the config file
	Audit    audit.Recorder // refused tokens; changes are audited with the change
	Sealer   Sealer         // of cursors and access tokens; the same keys on every node
	Now      clock.Func
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// Rate and Burst bound the requests a second of each connection on this node;
	// 0 is the default.
	Rate, Burst int
	// TokenLife is how long an OAuth 2.0 access token is good, between MinTokenLife
	// and MaxTokenLife; 0 is MinTokenLife.
	TokenLife time.Duration
	// Recorder keeps the flight recorder; nil keeps none.
	Recorder *Recorder
	// Sessions counts a member's sessions, for the flight recorder; nil counts none.
	Sessions func(context.Context, member.ID) (int, error)
}

// Handler is the service provider. Safe for concurrent use.
type Handler struct {
	o        Options
	base     string // SCIM base URL without a trailing slash
	registry *schema.Registry
	routes   []route
	limiters *limiters
	denials  *denials
	metrics  *metrics
	// strangers bounds the requests without a valid token that the flight recorder
	// keeps: 20 at once, then one a second.
	strangers *rate.Limiter
}

// New checks the options and makes the handler. Mount it at [Mount], where no
// ServeMux cleans the path: a tenant URL pasted with a trailing slash makes
// clients ask for ".../v2//Users", and a redirect would lose a POST.
func New(o Options) (*Handler, error) {
	u, err := url.Parse(o.BaseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("scim: base URL: %w", err)
	case u.Scheme == "" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, errors.New("scim: base URL must be an origin")
	case !plainID(o.Org):
		return nil, errors.New("scim: organisation slug is missing or malformed")
	case o.Members == nil || o.Teams == nil || o.Searcher == nil || o.Access == nil || o.Live == nil || o.Audit == nil || o.Sealer == nil:
		return nil, errors.New("scim: Members, Teams, Searcher, Access, Live, Audit and Sealer are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rate == 0 {
		o.Rate = DefaultRate
	}
	if o.Burst == 0 {
		o.Burst = DefaultBurst
	}
	if o.TokenLife == 0 {
		o.TokenLife = MinTokenLife
	}
	switch {
	case o.Rate < 1 || o.Burst < 1:
		return nil, errors.New("scim: Rate and Burst must be positive")
	case o.TokenLife < MinTokenLife || o.TokenLife > MaxTokenLife:
		return nil, errors.New("scim: TokenLife must lie between 60 and 360 minutes")
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	h := &Handler{
		o:         o,
		base:      u.Scheme + "://" + u.Host + Mount + o.Org + "/scim/v2",
		registry:  schema.NewRegistry(),
		limiters:  newLimiters(o.Rate, o.Burst),
		denials:   newDenials(o.Audit),
		strangers: rate.NewLimiter(1, 20),
		metrics:   m,
	}
	h.routes = h.table()
	return h, nil
}

// call is one request on its way to a reply.
type call struct {
	h       *Handler
	r       *http.Request
	ctx     context.Context //nolint:containedctx // a call IS the request; it does not outlive it
	conn    settings.Connection
	bearer  bearerOf
	profile client.Profile
	notes   client.Notes
	id      member.ID // last path segment of a single-resource route
	name    string    // the same, as text, for discovery

	// An operation of a bulk request is a call of its own.
	inBulk bool
	given  map[string]any // its data, in place of a body
	newID  member.ID      // what a POST of a user gets as id, where it is known before
	inner  []*call        // of a bulk request: the operations that were run

	// For the flight recorder.
	did       did
	kind      string
	presented string            // the token, to keep it out of the record
	params    map[string]string // of a list
	parsed    any               // the body
	size      int               // of the body, in bytes
	answered  any
	fault     *fault
}

func (c *call) actor() member.Actor {
	return member.Actor{
		Name:      "scim:" + c.conn.ID,
		RequestID: web.RequestID(c.ctx),
		Address:   clientAddress(c.ctx),
	}
}

// ServeHTTP answers one request. Whatever happens, the client gets a SCIM body.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := h.o.Now()
	ctx, cancel := context.WithTimeout(r.Context(), HandlingTime)
	defer cancel()
	// A client that sends its body by the byte must not hold the request
	// longer than the handling limit either. Not every writer has deadlines
	// (tests): then the server's own limits hold.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(HandlingTime))
	c := &call{h: h, r: r.WithContext(ctx), ctx: ctx}
	c.kind = "unknown"
	rep, err := h.guard(c.serve)
	status, sent := h.write(w, c, rep, err)
	h.metrics.observe(c.kind, r.Method, status, h.o.Now().Sub(started), c.notes.Rules())
	h.note(c, status, sent, started)
	if rules := c.notes.Rules(); len(rules) > 0 {
		web.Annotate(ctx, "scim_tolerated", strings.Join(rules, ","))
	}
}

// guard turns a panic into a 500 that tells the client nothing.
func (h *Handler) guard(do func() (reply, error)) (rep reply, err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // net/http's sentinel is compared by identity
			panic(v)
		}
		h.metrics.panics.Inc()
		err = &fault{
			Status: http.StatusInternalServerError, Detail: "internal error",
			// The value of the panic could repeat what the client sent; its
			// type and the stack cannot.
			Err: fmt.Errorf("scim: panic: %T\n%s", v, debug.Stack()),
		}
	}()
	return do()
}

// serve authenticates, limits and routes. Authentication comes before
// everything else, so that every answer before it is the same.
func (c *call) serve() (reply, error) {
	if err := c.authenticate(); err != nil {
		return reply{}, err
	}
	web.Annotate(c.ctx, "scim_connection", c.conn.ID)
	if c.profile = client.Auto; c.conn.Strict {
		c.profile = client.Strict
	}
	if err := c.h.limit(c); err != nil {
		return reply{}, err
	}
	if err := c.working(); err != nil {
		return reply{}, err
	}
	rt, err := c.route(&c.kind)
	if err != nil {
		return reply{}, err
	}
	return rt(c)
}

// clientAddress is the client's address as trusted hops tell it, or "".
func clientAddress(ctx context.Context) string {
	if a := web.ClientAddr(ctx); a.IsValid() {
		return a.String()
	}
	return ""
}

// plainID reports what every id and slug of ours looks like. Anything else in
// a path cannot name a resource, and never reaches a store or a log.
func plainID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// origin is the gateway's own.
func (h *Handler) origin() string { return strings.TrimSuffix(h.base, Mount+h.o.Org+"/scim/v2") }
