package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// withMachines is a good config in which the second route takes every kind of machine.
func withMachines() *Config {
	c := benign()
	c.MachineIssuers = []MachineIssuer{
		{
			Name: "ci", Issuer: "https://token.example.com", Audience: "https://sso.example.com", Algorithms: []string{"RS256"},
			TeamsClaim: "repository", Teams: []MachineTeam{{"example/reports", "finance"}},
		},
		{Name: "cluster", Issuer: "https://k8s.example.com", JWKSURL: "https://k8s.example.com/openid/v1/jwks", Audience: "ssogate", Subject: "kubernetes.io/sub", MaxLifetime: time.Hour},
	}
	rule(c, Rule{Machines: []string{"deploy", "ci/*", "cluster/system:serviceaccount:a:b"}, Teams: []string{"finance"}})
	c.Routes[1].Machines = RouteMachines{Tokens: true, Issuers: []string{"ci", "cluster"}}
	c.Routes[1].Authorization = AuthorizationStrip
	c.ApplyDefaults()
	return c
}

func TestMachinesAreAccepted(t *testing.T) {
	c := withMachines()
	if fs := c.Validate(); len(fs) > 0 {
		t.Fatalf("refused: %v", fs)
	}
	if m := c.MachineIssuers[0]; m.Subject != "sub" || m.MaxLifetime != 2*time.Hour {
		t.Errorf("defaults: %+v", m)
	}
	c.Routes[1].Authorization = AuthorizationPass
	c.Routes[1].Access[0].Allow, c.Routes[1].Access[0].Machines, c.Routes[1].Access[0].Roles = AllowMembers, nil, []string{"owner"}
	if fs := c.Validate(); len(fs) > 0 {
		t.Errorf("a rule for people on a route that takes machines: %v", fs)
	}
}

func TestUnsafeMachinesAreRefused(t *testing.T) {
	const iss, route = "machine_issuers[0].", "routes[1]."
	for _, tc := range []struct {
		name, key, why string
		change         func(*Config)
	}{
		{"name with a slash", iss + "name", "ci/x would be a machine of ci", func(c *Config) { c.MachineIssuers[0].Name = "ci/x" }},
		{"name twice", "machine_issuers[1].name", "two machines of one name", func(c *Config) { c.MachineIssuers[1].Name = "ci" }},
		{"plain http issuer", iss + "issuer", "the network could swap the keys", func(c *Config) { c.MachineIssuers[0].Issuer = "http://token.example.com" }},
		{"no issuer", iss + "issuer", "anybody's tokens", func(c *Config) { c.MachineIssuers[0].Issuer = "" }},
		{"issuer with a query", iss + "issuer", "it is no issuer", func(c *Config) { c.MachineIssuers[0].Issuer += "?a" }},
		{"plain http keys", "machine_issuers[1].jwks_url", "the network could swap them", func(c *Config) { c.MachineIssuers[1].JWKSURL = "http://k8s.example.com/jwks" }},
		{"no audience", iss + "audience", "a token for any service would open this one", func(c *Config) { c.MachineIssuers[0].Audience = "" }},
		{"one audience in two entries", "machine_issuers[1].audience", "one machine with two names", func(c *Config) {
			c.MachineIssuers[1].Issuer, c.MachineIssuers[1].Audience = c.MachineIssuers[0].Issuer, c.MachineIssuers[0].Audience
		}},
		{"O04 symmetric algorithm", iss + "algorithms[0]", "whoever verifies can make", func(c *Config) { c.MachineIssuers[0].Algorithms[0] = "HS256" }},
		{"O04 no algorithm", iss + "algorithms[0]", "unsigned", func(c *Config) { c.MachineIssuers[0].Algorithms[0] = "none" }},
		{"subject with a space", iss + "subject", "no claim", func(c *Config) { c.MachineIssuers[0].Subject = "a b" }},
		{"teams without a claim", iss + "teams_claim", "they would never be given", func(c *Config) { c.MachineIssuers[0].TeamsClaim = "" }},
		{"claim without teams", iss + "teams", "the issuer would name our teams", func(c *Config) { c.MachineIssuers[0].Teams = nil }},
		{"empty value", iss + "teams[0].value", "would match what is not there", func(c *Config) { c.MachineIssuers[0].Teams[0].Value = "" }},
		{"team that is no slug", iss + "teams[0].team", "no rule can ask for it", func(c *Config) { c.MachineIssuers[0].Teams[0].Team = "Finance" }},
		{"lifetime of a year", iss + "max_lifetime", "nothing takes a token back", func(c *Config) { c.MachineIssuers[0].MaxLifetime = 365 * 24 * time.Hour }},
		{"hundreds of issuers", "machine_issuers", "each is asked", func(c *Config) {
			for i := range 20 {
				m := c.MachineIssuers[0]
				m.Name, m.Issuer = fmt.Sprint("ci", i), fmt.Sprintf("https://%d.example.com", i)
				c.MachineIssuers = append(c.MachineIssuers, m)
			}
		}},
		{"unknown issuer", route + "machines.issuers[1]", "a typing mistake", func(c *Config) { c.Routes[1].Machines.Issuers[1] = "cluter" }},
		{"issuer twice", route + "machines.issuers[1]", "one of them is a mistake", func(c *Config) { c.Routes[1].Machines.Issuers[1] = "ci" }},
		{"authorization of another word", route + "authorization", "it would be passed", func(c *Config) { c.Routes[1].Authorization = "drop" }},
		{"machine that is no name", route + "access[0].machines[0]", "nobody has it", func(c *Config) { c.Routes[1].Access[0].Machines[0] = "De ploy" }},
		{"long machine", route + "access[0].machines[0]", "no token can have it", func(c *Config) { c.Routes[1].Access[0].Machines[0] = strings.Repeat("a", 64) }},
		{"issuer without a subject", route + "access[0].machines[1]", "nobody is called so", func(c *Config) { c.Routes[1].Access[0].Machines[1] = "ci/" }},
		{"issuer that the route does not take", route + "access[0].machines[1]", "it would never match", func(c *Config) { c.Routes[1].Machines.Issuers = []string{"cluster"} }},
		{"token where none is taken", route + "access[0].machines[0]", "it would never match", func(c *Config) { c.Routes[1].Machines.Tokens = false }},
		{"person and machine", route + "access[0].machines", "nobody is both", func(c *Config) { c.Routes[1].Access[0].Members = []string{"ana"} }},
		{"machine that showed credentials", route + "access[0].machines", "none does", func(c *Config) { c.Routes[1].Access[0].MaxAge = time.Hour }},
		{"public for a machine", route + "access[0]", "which is meant?", func(c *Config) { c.Routes[1].Access[0].Allow, c.Routes[1].Access[0].Teams = AllowPublic, nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := withMachines()
			tc.change(c)
			if fs := c.Validate(); !has(fs, tc.key) {
				t.Fatalf("accepted, or blamed another key (%s): %v", tc.why, fs)
			}
		})
	}
}
