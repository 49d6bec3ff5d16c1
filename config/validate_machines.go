package config

import (
	"slices"
	"strings"
	"time"
)

const (
	// maxIssuers bounds how many are asked about one token.
	maxIssuers = 16
	// maxMachineTeams bounds the table of one issuer.
	maxMachineTeams = 1000
)

// jwtAlgorithms are the asymmetric ones: with a symmetric key whoever can verify can
// also make (row O04).
var jwtAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (c *Config) validateMachineIssuers(fs *faults) {
	if len(c.MachineIssuers) > maxIssuers {
		fs.addf("machine_issuers", "keep those that routes name", "more than %d", maxIssuers)
	}
	names, pairs := map[string]bool{}, map[string]bool{}
	for i := range c.MachineIssuers {
		m, at := &c.MachineIssuers[i], index("machine_issuers", i)
		switch {
		case !slug(m.Name):
			fs.add(join(at, "name"), "not a slug", slugFix)
		case names[m.Name]:
			fs.add(join(at, "name"), "used by two issuers", "choose another: machines are called by it")
		}
		names[m.Name] = true
		c.endpoint(fs, join(at, "issuer"), m.Issuer)
		if strings.Contains(m.Issuer, "?") {
			fs.add(join(at, "issuer"), "carries a query", "write it exactly as the iss claim of its tokens")
		}
		if m.JWKSURL != "" {
			c.endpoint(fs, join(at, "jwks_url"), m.JWKSURL)
		}
		switch {
		case m.Audience == "" || len(m.Audience) > 512 || strings.ContainsFunc(m.Audience, isControl):
			// Without one, a token made for any other service would open this one.
			fs.add(join(at, "audience"), "is not set, or no audience", "write what tokens for this gateway carry as aud, e.g. "+c.URL)
		case pairs[m.Issuer+"\n"+m.Audience]:
			fs.add(join(at, "audience"), "is that of another entry with this issuer: one machine would have two names", "keep one entry")
		}
		pairs[m.Issuer+"\n"+m.Audience] = true
		m.validate(fs, at)
	}
}

func (m *MachineIssuer) validate(fs *faults, at string) {
	for j, a := range m.Algorithms {
		if !slices.Contains(jwtAlgorithms, a) {
			fs.add(index(join(at, "algorithms"), j), "no asymmetric algorithm", "use "+strings.Join(jwtAlgorithms, ", "))
		}
	}
	fs.unique(join(at, "algorithms"), m.Algorithms)
	if !claim(m.Subject) {
		fs.add(join(at, "subject"), "no name of a claim", "write it as it stands in the token, e.g. sub")
	}
	switch {
	case m.TeamsClaim == "" && len(m.Teams) > 0:
		fs.add(join(at, "teams_claim"), "is not set, but teams are", "name the claim that holds these values")
	case m.TeamsClaim != "" && len(m.Teams) == 0:
		fs.add(join(at, "teams"), "is empty, but teams_claim is set", "list which value means which team: an issuer does not name teams of its own accord")
	case m.TeamsClaim != "" && !claim(m.TeamsClaim):
		fs.add(join(at, "teams_claim"), "no name of a claim", "write it as it stands in the token, e.g. groups")
	case len(m.Teams) > maxMachineTeams:
		fs.addf(join(at, "teams"), "use fewer, wider values", "more than %d", maxMachineTeams)
	}
	for j, t := range m.Teams {
		here := index(join(at, "teams"), j)
		if t.Value == "" || len(t.Value) > 256 || strings.ContainsFunc(t.Value, isControl) {
			fs.add(join(here, "value"), "no value of a claim", "write it as it stands in the token")
		}
		if !teamSlug(t.Team) {
			fs.add(join(here, "team"), "not a team slug", "use a-z, 0-9, - _ and . as shown in the console")
		}
	}
	fs.between(join(at, "max_lifetime"), m.MaxLifetime, time.Minute, 24*time.Hour)
}

func claim(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// validateMachines refuses what could never let a machine in, or would let in another
// one than was meant.
func (c *Config) validateMachines(fs *faults, at string, r *Route) {
	for j, name := range r.Machines.Issuers {
		if !slices.ContainsFunc(c.MachineIssuers, func(m MachineIssuer) bool { return m.Name == name }) {
			fs.add(index(join(join(at, "machines"), "issuers"), j), "no such issuer", "name one that is declared under machine_issuers")
		}
	}
	fs.unique(join(join(at, "machines"), "issuers"), r.Machines.Issuers)
	if r.Authorization != "" {
		fs.oneOf(join(at, "authorization"), r.Authorization, AuthorizationPass, AuthorizationStrip)
	}
	for i := range r.Access {
		r.validateRuleMachines(fs, join(index(join(at, "access"), i), "machines"), &r.Access[i])
	}
}

func (r *Route) validateRuleMachines(fs *faults, at string, u *Rule) {
	if len(u.Machines) > 0 && (len(u.Roles)+len(u.Members)+len(u.EmailDomains)+len(u.Providers) > 0 || u.MaxAge != 0) {
		fs.add(at, "stands beside what only a person can be: the rule would let nobody in", "write two rules, or give the machine a team")
	}
	for j, name := range u.Machines {
		issuer, subject, vouched := strings.Cut(name, "/")
		switch {
		case vouched && (subject == "" || len(subject) > 255 || strings.ContainsFunc(subject, isControl)), !vouched && !machineName(name):
			fs.add(index(at, j), "names no machine", `write the NAME of a token, "ISSUER/subject", or "ISSUER/*" for all of an issuer's`)
		case vouched && !slices.Contains(r.Machines.Issuers, issuer):
			fs.add(index(at, j), "is of an issuer that the route does not take", "add it to machines.issuers of the route")
		case !vouched && !r.Machines.Tokens:
			fs.add(index(at, j), "is a machine with a service token, which the route does not take", "set machines.tokens of the route")
		}
	}
	fs.unique(at, u.Machines)
}

// machineName is what "ssogate machine-token create" takes as a name.
func machineName(s string) bool { return len(s) <= 63 && teamSlug(s) }
