package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/store/sql"
)

// Explainer says what the gate would decide about a request, and why.
type Explainer interface {
	Explain(ctx context.Context, q ExplainQuestion) (Explained, error)
}

// ExplainQuestion is a request that has not been made. Everything but the URL may be empty.
type ExplainQuestion struct {
	Method   string        `json:"method"`
	URL      string        `json:"url"`
	Who      string        `json:"who"`      // id or user name; "" = nobody who is signed in
	Machine  string        `json:"machine"`  // instead: name of a machine with a service token, or id of the token
	Provider string        `json:"provider"` // of the session; "" = the first one linked
	Address  string        `json:"address"`  // of the client
	Age      time.Duration `json:"age"`      // since credentials were shown
}

// Explained is the answer, as a command shows it.
type Explained struct {
	Request  string   `json:"request"`
	Member   string   `json:"member,omitempty"`
	Teams    []string `json:"teams,omitempty"`
	Role     string   `json:"role,omitempty"`
	Provider string   `json:"provider,omitempty"`
	Route    string   `json:"route,omitempty"`
	Rule     string   `json:"rule"`
	Verdict  string   `json:"verdict"`
	Reason   string   `json:"reason,omitempty"`
	Because  string   `json:"because"`
	Asks     []string `json:"asks,omitempty"`
}

var askExplain = endpoint[ExplainQuestion, Explained]{"/explain"}

func (c *Control) serveExplain(mux *http.ServeMux) { askExplain.serve(mux, c.Explain.Explain) }

// explainer answers by a table of routes and the member list.
type explainer struct {
	db     *sql.DB
	dir    *member.Directory
	routes func() (func(proxy.Question) proxy.Explanation, error)
	live   func(context.Context) (*settings.Settings, error)
	now    func() time.Time
}

// Explain implements Explainer.
func (x explainer) Explain(ctx context.Context, q ExplainQuestion) (Explained, error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return Explained{}, fmt.Errorf("%q is not the address of a page: write it like https://app.example.com/reports", q.URL)
	}
	// As a client sends it: without the fragment, every other byte as it was written.
	target := u.EscapedPath()
	if target == "" {
		target = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		target += "?" + u.RawQuery
	}
	live, err := x.live(ctx)
	if err != nil {
		return Explained{}, err
	}
	pq := proxy.Question{Method: q.Method, Host: u.Host, Target: target, Now: x.now(), Owns: ownsDomain(live)}
	if pq.Method == "" {
		pq.Method = http.MethodGet
	}
	if q.Address != "" {
		if pq.Address, err = netip.ParseAddr(q.Address); err != nil {
			return Explained{}, fmt.Errorf("%q is not an address of a client", q.Address)
		}
	}
	out := Explained{Request: pq.Method + " " + u.Scheme + "://" + u.Host + target}
	if q.Who != "" || q.Machine != "" {
		if pq.Principal, err = x.principal(ctx, q, pq.Now); err != nil {
			return Explained{}, err
		}
		out.Member, out.Teams = pq.Principal.Member.UserName, pq.Principal.Teams
		out.Role, out.Provider = string(pq.Principal.Member.Role), pq.Principal.Provider
		if pq.Principal.Machine != nil {
			out.Member = pq.Principal.Subject()
		}
	}
	explain, err := x.routes()
	if err != nil {
		return Explained{}, err
	}
	e := explain(pq)
	out.Route, out.Rule, out.Verdict, out.Reason, out.Because, out.Asks = e.Route, e.Rule, string(e.Verdict), e.Reason, e.Because, e.Asked
	if e.Verdict == proxy.Deny {
		out.Verdict = "deny"
	}
	return out, nil
}

// principal is the member as a session of his would be seen.
func (x explainer) principal(ctx context.Context, q ExplainQuestion, now time.Time) (*session.Principal, error) {
	if q.Machine != "" {
		return x.machine(ctx, q.Machine, now)
	}
	m, err := findMember(ctx, x.db, q.Who)
	if err != nil {
		return nil, err
	}
	snap, err := x.dir.Snapshot(ctx, m.ID, member.SessionRef{})
	if err != nil {
		return nil, err
	}
	p := &session.Principal{
		Session: secret.Hash{}, Member: snap.Member, Teams: snap.Teams, Provider: q.Provider,
		Issued: now.Add(-q.Age), AuthTime: now.Add(-q.Age),
	}
	if p.Provider == "" {
		ids, err := x.dir.Identities(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			p.Provider = ids[0].Provider
		}
	}
	return p, nil
}

// machine is whom a token with this id lets in, or the newest one of this machine.
func (x explainer) machine(ctx context.Context, name string, now time.Time) (*session.Principal, error) {
	list, err := x.db.ListMachineTokens(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range slices.Backward(list) {
		if t.ID != name && t.Name != name {
			continue
		}
		if t.Expired(now) {
			return nil, fmt.Errorf("token %s of %q has expired: it lets nobody in", t.ID, t.Name)
		}
		p := t.Principal()
		return &p, nil
	}
	return nil, fmt.Errorf("no machine or token is called %q; \"ssogate machine-token list\" shows them", name)
}

// storedExplainer answers by the config file, where nothing runs that could be asked.
func storedExplainer(c *config.Config, db *sql.DB, dir *member.Directory, versions *settings.Manager) Explainer {
	live := func(ctx context.Context) (*settings.Settings, error) {
		file, err := settingsFrom(c)
		if err != nil {
			return nil, err
		}
		v, err := versions.Current(ctx)
		if err != nil {
			return nil, err
		}
		return settings.Merge(*file, nil, v), nil
	}
	return explainer{db: db, dir: dir, now: time.Now, live: live, routes: func() (func(proxy.Question) proxy.Explanation, error) {
		t, err := routesFrom(c, func(name string) proxy.Issuer { return absentIssuer(name) })
		if err != nil {
			return nil, errors.Join(errors.New("run: the routes of the config file cannot be used"), err)
		}
		return t.Explain, nil
	}}
}

// ownExplainer answers by what this process decides by.
func (s *Server) ownExplainer() Explainer {
	live := func(context.Context) (*settings.Settings, error) { return s.settings.Load(), nil }
	return explainer{db: s.db, dir: s.directory, now: s.now, live: live, routes: func() (func(proxy.Question) proxy.Explanation, error) {
		return s.gate.Explain, nil
	}}
}

// remoteExplainer asks the running process.
type remoteExplainer struct{ client *http.Client }

// Explain implements Explainer.
func (r remoteExplainer) Explain(ctx context.Context, q ExplainQuestion) (Explained, error) {
	return askExplain.ask(ctx, r.client, q)
}
