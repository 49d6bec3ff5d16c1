package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// formField is the one field of the form that sends a kept one.
const formField = "ssogate-form="

// atForms is the route of the pages about kept forms: whoever is signed in may see his own.
var atForms = &Route{name: "ssogate"}

// formWaits answers a form that was kept: signing in comes next.
func (x *exchange) formWaits(r *http.Request) {
	x.g.metrics.forms.WithLabelValues("kept").Inc()
	web.Annotate(r.Context(), "form", "kept")
	setChallenge(x.Header(), x.st, x.g.o.GatewayURL, false)
	web.WritePage(x.ResponseWriter, r, web.Page{
		Status: http.StatusUnauthorized, Title: "Sign in to send your form", Support: x.g.o.Support,
		Lead:    "Your sign-in had run out. What you filled in is kept for ten minutes: sign in again as the same person, and you will be asked whether to send it.",
		Actions: []web.Action{{Label: "Sign in", URL: web.FormPath}},
	})
}

// forms serves [web.FormPath]: what waits, and to throw it away.
func (g *Gate) forms(w http.ResponseWriter, r *http.Request, q canonical.Request, st *site) {
	x := &exchange{ResponseWriter: w, g: g, q: q, st: st, rt: atForms, client: clientAddr(r), sendsForm: true, d: Decision{Rule: "kept form"}}
	p, err := g.o.Sessions.Admit(r.Context(), r)
	if err != nil {
		g.refuse(w, r, x, withoutSession(x.d, err), nil)
		return
	}
	t, ok := ticketOf(r, st)
	if !ok || g.o.Forms == nil {
		x.noForm(r)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		x.showForm(r, p, t)
	case http.MethodPost:
		if !sameOrigin(r, st) {
			g.refuse(w, r, x, Decision{Verdict: Deny, Rule: x.d.Rule, Reason: "origin"}, p)
			return
		}
		x.dropForm(r, t)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		g.answer(w, r, web.Page{Status: http.StatusMethodNotAllowed, Title: "This cannot be done here"})
	}
}

func (x *exchange) showForm(r *http.Request, p *session.Principal, t formTicket) {
	value, err := x.g.o.Forms.Get(r.Context(), t.id)
	if err != nil {
		x.formFailed(r, err)
		return
	}
	h, _, err := t.open(value, p, x.g.o.Now())
	if err != nil || h.Origin != x.st.origin {
		x.othersForm(r, p)
		return
	}
	path, _, _ := strings.Cut(h.Target, "?")
	web.WritePage(x.ResponseWriter, r, web.Page{
		Status: http.StatusOK, Title: "Send your form now?", Account: p.Member.UserName, Support: x.g.o.Support, Onward: true,
		Lead: "You are signed in again. This is what you were about to send. If you have sent it in the meantime, do not send it twice.",
		Facts: []web.Fact{
			{Label: "Application", Value: x.st.host},
			{Label: "Page", Value: path},
			{Label: "Filled in", Value: time.UnixMilli(h.At).UTC().Format("15:04 UTC, 2 January 2006")},
			{Label: "Size", Value: bytesText(h.Size)},
		},
		Actions: []web.Action{
			// To the address of the form itself, so that what the application answers stands where it belongs.
			{Label: "Send it", URL: h.Target, Method: http.MethodPost, Fields: []web.Field{{Name: strings.TrimSuffix(formField, "="), Value: t.id.String()}}},
			{Label: "Do not send it", URL: web.FormPath, Method: http.MethodPost, Quiet: true},
		},
	})
}

func bytesText(n int) string {
	if n < 1024 {
		return strconv.Itoa(n) + " bytes"
	}
	return strconv.Itoa((n+1023)/1024) + " KiB"
}

func (x *exchange) dropForm(r *http.Request, t formTicket) {
	if _, err := x.g.o.Forms.Take(r.Context(), t.id); err != nil && !errors.Is(err, ErrNoForm) {
		x.formFailed(r, err)
		return
	}
	x.g.metrics.forms.WithLabelValues("dropped").Inc()
	setTicket(x.ResponseWriter, x.st, "", -1)
	web.WritePage(x.ResponseWriter, r, web.Page{
		Status: http.StatusOK, Title: "Your form was not sent", Lead: "What you had filled in was deleted.",
		Actions: []web.Action{{Label: "Go to the application", URL: "/"}},
	})
}

// noForm is for somebody who comes too late, or twice.
func (x *exchange) noForm(r *http.Request) {
	x.g.metrics.forms.WithLabelValues("gone").Inc()
	web.WritePage(x.ResponseWriter, r, web.Page{
		Status: http.StatusGone, Title: "No form waits here", Support: x.g.o.Support,
		Lead:    "It was sent already, or it waited for more than ten minutes and was deleted. Look in the application whether it arrived before you fill it in again.",
		Actions: []web.Action{{Label: "Go to the application", URL: "/"}},
	})
}

// othersForm does not say whose it was.
func (x *exchange) othersForm(r *http.Request, p *session.Principal) {
	x.g.metrics.forms.WithLabelValues("other_person").Inc()
	x.g.note(r, x.rt, Decision{Verdict: Deny, Rule: x.d.Rule, Reason: "form_of_another"}, p)
	setTicket(x.ResponseWriter, x.st, "", -1)
	web.WritePage(x.ResponseWriter, r, web.Page{
		Status: http.StatusForbidden, Title: "This form is not yours", Account: p.Member.UserName, Support: x.g.o.Support,
		Lead:    "A form waits in this browser that another account filled in. It was not sent.",
		Actions: []web.Action{{Label: "Go to the application", URL: "/"}},
	})
}

func (x *exchange) formFailed(r *http.Request, err error) {
	if errors.Is(err, ErrNoForm) {
		x.noForm(r)
		return
	}
	x.g.formStoreFailed(r, err)
	x.g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "form_store"}, nil)
}

func (g *Gate) formStoreFailed(r *http.Request, err error) {
	g.metrics.forms.WithLabelValues("failed").Inc()
	if g.denials.mayLog("form_store") {
		g.o.Log.LogAttrs(r.Context(), slog.LevelWarn, "kept forms", slog.String("error", err.Error()), slog.String("request_id", web.RequestID(r.Context())))
	}
}

// formSent looks whether the request is the button of showForm. Any other body is put
// back as it was. Only a browser that holds a ticket is looked at.
func (x *exchange) formSent(r *http.Request) (t formTicket, is bool) {
	if !x.rt.keepForms || x.g.o.Forms == nil || r.Method != http.MethodPost ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return t, false
	}
	t, ok := ticketOf(r, x.st)
	want := formField + t.id.String()
	if !ok || r.ContentLength != int64(len(want)) {
		return t, false
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(r.Body, got)
	if err == nil && string(got) == want {
		return t, true
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(got[:n]), r.Body), r.Body}
	return t, false
}

// sendForm sends a kept form as the new request that it is: read, routed and decided
// about anew. It is taken out of the store before, so it is sent once or not at all.
func (x *exchange) sendForm(r *http.Request, t formTicket) {
	x.sendsForm = true
	if !sameOrigin(r, x.st) {
		x.g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Deny, Rule: x.rt.name + ": kept form", Reason: "origin"}, nil)
		return
	}
	x.d.Rule = x.rt.name + ": kept form"
	p, err := x.g.o.Sessions.Admit(r.Context(), r)
	if err != nil {
		if d := withoutSession(x.d, err); d.Verdict != NeedSession {
			x.g.refuse(x.ResponseWriter, r, x, d, nil)
			return
		}
		x.formWaits(r) // it still does
		return
	}
	if d := x.rt.decide(x.q, p, x.facts()); d.Verdict != Admit && d.Verdict != Public {
		x.g.refuse(x.ResponseWriter, r, x, d, p) // and it waits on: another sign-in may do
		return
	}
	value, err := x.g.o.Forms.Take(r.Context(), t.id)
	if err != nil {
		x.formFailed(r, err)
		return
	}
	h, body, err := t.open(value, p, x.g.o.Now())
	if err != nil || h.Origin != x.st.origin || h.Target != x.q.Target() || h.Route != x.rt.name {
		x.othersForm(r, p)
		return
	}
	x.g.metrics.forms.WithLabelValues("sent").Inc()
	web.Annotate(r.Context(), "form", "sent")
	in := r.WithContext(r.Context())
	in.Header = r.Header.Clone()
	in.Header["Content-Type"] = []string{h.Type}
	in.Header["Content-Length"] = []string{fmt.Sprint(len(body))}
	in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if again, in := x.g.read(x.ResponseWriter, in); again != nil {
		again.sendsForm = true
		again.pass(in)
	}
}
