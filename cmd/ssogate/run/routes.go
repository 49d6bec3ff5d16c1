package run

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/settings"
)

// routesFrom compiles what an operator wrote about routes. Errors name each fault.
func routesFrom(c *config.Config, issuer func(name string) proxy.Issuer) (*proxy.Routes, error) {
	specs := make([]proxy.RouteSpec, 0, len(c.Routes))
	for i := range c.Routes {
		s := routeFrom(c, &c.Routes[i])
		s.Machines = machinesFrom(&c.Routes[i], issuer)
		specs = append(specs, s)
	}
	return proxy.Compile(specs, c.URL)
}

func routeFrom(c *config.Config, r *config.Route) proxy.RouteSpec {
	s := proxy.RouteSpec{
		Name: r.Name, Origins: r.Origins, PathPrefix: r.PathPrefix, Methods: r.Methods, Lenient: r.Allow, To: upstreamFrom(c, r),
		Public: r.Public, Teams: r.Teams, Host: r.Host, PreserveHost: r.PreserveHost,
		StripPrefix: r.StripPrefix, AddPrefix: r.AddPrefix, BodyLimit: int64(r.BodyLimit), KeepForms: r.KeepPosts,
		NoWebSockets: r.NoWebSockets, WSOrigins: r.WSOrigins, CORS: proxy.CORS(r.CORS), SharedCache: r.SharedCache, HSTS: r.HSTS,
		Identity: identityFrom(&r.Identity), Logout: proxy.LogoutSpec(r.Logout),
		Authorization: r.Authorization,
	}
	for _, h := range r.Answers {
		s.Answers = append(s.Answers, proxy.ResponseHeader(h))
	}
	for j := range r.Access {
		s.Access = append(s.Access, ruleFrom(&r.Access[j]))
	}
	return s
}

func upstreamFrom(c *config.Config, r *config.Route) upstream.Spec {
	b := &r.Backend
	s := upstream.Spec{
		URLs: r.Upstreams, TLS: upstream.TLS(b.TLS), Balance: b.Balance, Health: upstream.Health(b.Health),
		Times:       upstream.Times{Dial: b.Dial, Header: b.Header, Idle: b.Idle, Silence: b.Silence},
		Concurrency: b.Concurrency, Queue: b.Queue, QueueWait: b.QueueWait, NoRetries: b.NoRetries, Transport: b.Transport,
	}
	if len(s.URLs) == 0 {
		s.URLs = []string{r.Upstream}
	}
	if s.Times.Dial == 0 {
		s.Times.Dial = c.Limits.UpstreamDial
	}
	if s.Times.Header == 0 {
		s.Times.Header = c.Limits.UpstreamHeader
	}
	return s
}

func ruleFrom(u *config.Rule) proxy.RuleSpec {
	s := proxy.RuleSpec{
		Name: u.Name, Paths: u.Paths, Methods: u.Methods, Teams: u.Teams, Members: u.Members,
		EmailDomains: u.EmailDomains, Providers: u.Providers, MaxAge: u.MaxAge, Machines: u.Machines,
	}
	switch u.Allow { // anything else is nobody
	case config.AllowPublic:
		s.Allow = proxy.AllowPublic
	case config.AllowMembers:
		s.Allow = proxy.AllowMembers
	}
	for _, r := range u.Roles {
		s.Roles = append(s.Roles, member.Role(r))
	}
	for _, a := range u.Addresses {
		// The config is validated. The zero prefix of an unreadable one holds no address.
		p, _ := netip.ParsePrefix(a)
		s.Addresses = append(s.Addresses, p)
	}
	return s
}

// home is where a sign-in ends that no application asked for: the first origin that
// is a name.
func home(c *config.Config) string {
	for i := range c.Routes {
		for _, o := range c.Routes[i].Origins {
			if !strings.Contains(o, "*") {
				return strings.TrimSuffix(o, "/")
			}
		}
	}
	return ""
}

// isOrigin reports whether an origin is one of our app origins, by the routes of now.
func (s *Server) isOrigin(origin string) bool { return s.gate.OwnsOrigin(origin) }

// ownsDomain answers whether a provider is configured to own an e-mail domain.
func ownsDomain(live *settings.Settings) func(provider, domain string) bool {
	return func(provider, domain string) bool {
		p, ok := live.Provider(provider)
		return ok && slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	}
}

// prefixes reads networks of the config. The error names the key.
func prefixes(key string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out = append(out, p)
	}
	return out, nil
}
