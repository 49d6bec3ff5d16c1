package local

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// Paths of the pages.
const (
	SetupPath    = "/setup/" // followed by a token
	FallbackPath = "/fallback"
	ResetPath    = "/password/reset"
	OwnPath      = "/password"
)

// maxForm bounds what a page of ours sends.
const maxForm = 8 << 10

// Sessions are those of fallback owners. A *session.Manager made for them is the real one.
type Sessions interface {
	Start(ctx context.Context, s session.Start) (id string, rec session.Record, err error)
	AdmitGateway(ctx context.Context, r *http.Request) (*session.Principal, error)
	End(ctx context.Context, by member.Actor, p *session.Principal, reason string) error
	Cookies() *session.Cookies
}

// PageOptions are what [NewPages] works with. All are required except Log.
type PageOptions struct {
	Service  *Service
	Fallback Sessions // of fallback owners
	// Members tells which member a request is from, to set his own password.
	Members interface {
		AdmitGateway(ctx context.Context, r *http.Request) (*session.Principal, error)
	}
	Live    *settings.Live
	Console string // where a fallback owner goes on
	Log     *slog.Logger
}

// Pages are the pages of local sign-in, on the gateway origin. Safe for concurrent use.
type Pages struct {
	PageOptions
	handler http.Handler
}

// NewPages makes them.
func NewPages(o PageOptions) (*Pages, error) {
	if o.Service == nil || o.Fallback == nil || o.Members == nil || o.Live == nil || o.Console == "" {
		return nil, errors.New("local: pages need all of their parts")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pages{PageOptions: o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+SetupPath+"{token}", p.setup)
	mux.HandleFunc("POST "+SetupPath+"{token}", p.set)
	mux.HandleFunc("GET "+FallbackPath, p.fallback)
	mux.HandleFunc("POST "+FallbackPath, p.signIn)
	mux.HandleFunc("GET "+ResetPath, p.reset)
	mux.HandleFunc("POST "+ResetPath, p.askReset)
	mux.HandleFunc("GET "+OwnPath, p.own)
	mux.HandleFunc("POST "+OwnPath, p.setOwn)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.page(w, r, web.Page{Status: http.StatusNotFound, Title: textNothing, Lead: textNothingLead})
	})
	p.handler = web.SameOrigin(mux, p.page)
	return p, nil
}

// ServeHTTP serves [SetupPath], [FallbackPath], [ResetPath] and [OwnPath].
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

func (p *Pages) page(w http.ResponseWriter, r *http.Request, page web.Page) {
	if page.Support == "" {
		page.Support = p.Live.Load().Organization.Support
	}
	web.WritePage(w, r, page)
}

// client is where a request comes from.
func client(r *http.Request) Client {
	return Client{Address: web.ClientAddr(r.Context()), RequestID: web.RequestID(r.Context())}
}

// form reads what a page of ours sent, or has refused it.
func (p *Pages) form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.page(w, r, web.Page{Status: http.StatusBadRequest, Title: textIncomplete, Lead: textIncompleteLead})
		return false
	}
	return true
}

// failed answers what is nobody's fault: slowed, busy, or a store that cannot tell.
func (p *Pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	var slow *SlowError
	switch {
	case errors.As(err, &slow):
		web.Annotate(r.Context(), "reason", "slowed")
		p.page(w, r, web.Page{Status: http.StatusTooManyRequests, Title: textSlow, Lead: textSlowLead(slow.Wait), Retry: slow.Wait})
	case errors.Is(err, ErrBusy):
		web.Annotate(r.Context(), "reason", "busy")
		p.page(w, r, web.Page{Status: http.StatusServiceUnavailable, Title: textSlow, Lead: textBusyLead, Retry: 5 * time.Second})
	default:
		p.Log.ErrorContext(r.Context(), "local sign-in unavailable", "request", web.RequestID(r.Context()), "err", err)
		web.Annotate(r.Context(), "reason", "store_unavailable")
		p.page(w, r, web.Page{Status: http.StatusServiceUnavailable, Title: textDown, Lead: textDownLead, Retry: 5 * time.Second})
	}
}

// fallback is the plain page of the break-glass way in.
func (p *Pages) fallback(w http.ResponseWriter, r *http.Request) {
	p.fallbackForm(w, r, http.StatusOK, "", "")
}

func (p *Pages) fallbackForm(w http.ResponseWriter, r *http.Request, status int, user, fault string) {
	p.page(w, r, web.Page{
		Status: status, Title: textFallback, Lead: textFallbackLead,
		Form: &web.Form{URL: FallbackPath, Button: textSignIn, Inputs: []web.Input{
			{Label: textUserName, Name: "user", Type: "text", Hint: "username", Value: user, Max: member.MaxUserName, Fault: fault},
			{Label: textPassword, Name: "password", Type: "password", Hint: "current-password", Max: MaxPassword},
			{Label: textCode, Name: "code", Type: "text", Hint: "one-time-code", Help: textCodeHelp, Max: maxCode},
		}},
		Actions: []web.Action{{Label: textUsual, URL: "/login", Quiet: true}},
	})
}

// signIn lets a fallback owner in: a session of half an hour, in a cookie that no app
// origin knows.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	user, ctx := r.PostForm.Get("user"), r.Context()
	m, err := p.Service.SignInFallback(ctx, user, r.PostForm.Get("password"), r.PostForm.Get("code"), client(r))
	switch {
	case errors.Is(err, ErrWrong):
		web.Annotate(ctx, "reason", "wrong_credentials")
		p.fallbackForm(w, r, http.StatusUnprocessableEntity, user, textWrong)
		return
	case err != nil:
		p.failed(w, r, err)
		return
	}
	id, _, err := p.Fallback.Start(ctx, session.Start{
		Member: m, Provider: session.FallbackProvider, AuthTime: p.Service.Now(), Address: client(r).address(), UserAgent: r.UserAgent(),
	})
	if err == nil {
		err = p.Fallback.Cookies().SetSession(w, session.Fallback, r.Host, id)
	}
	if err != nil {
		p.failed(w, r, err)
		return
	}
	web.Annotate(ctx, "member", string(m.ID))
	http.Redirect(w, r, p.Console, http.StatusSeeOther)
}

// SignOut ends the session of a fallback owner before next does the usual: his is
// not one that the sign-in flow knows.
func (p *Pages) SignOut(next http.Handler) http.Handler {
	return web.SameOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := p.Fallback.AdmitGateway(r.Context(), r)
		switch {
		case err == nil && r.Method == http.MethodPost:
			by := member.Actor{Name: who.Actor(), RequestID: client(r).RequestID, Address: client(r).address()}
			if err := p.Fallback.End(r.Context(), by, who, "logout"); err != nil {
				p.failed(w, r, err)
				return
			}
			p.Fallback.Cookies().ClearSession(w, session.Fallback)
			p.page(w, r, web.Page{Status: http.StatusOK, Title: textOut, Lead: textOutLead, Actions: []web.Action{{Label: textUsual, URL: "/login", Quiet: true}}})
			return
		case session.Reason(err) == "store_unavailable":
			p.failed(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	}), p.page)
}
