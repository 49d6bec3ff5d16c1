package run

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/outbound"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/sso/oauth"
)

// openOutbound makes the one client for whatever ssogate calls by itself.
func (s *Server) openOutbound(context.Context) (err error) {
	s.outbound, err = outbound.New(outbound.Options{Allow: s.cfg.Outbound.Allow})
	return err
}

func (s *Server) makeMachines(context.Context) (err error) {
	s.machines, err = machine.NewAdmitter(machine.Options{Tokens: s.db, Cutoff: s.cutoff, Now: s.now, Log: s.log})
	if err == nil {
		s.background = append(s.background, s.machines.Run)
	}
	return err
}

// machineIssuer is one issuer with what it was made of.
type machineIssuer struct {
	*oauth.MachineIssuer
	from config.MachineIssuer
}

// issuersFrom makes the issuers of a config. One about which nothing has changed stays
// the same one: it keeps its keys, and who it vouched for goes on.
func (s *Server) issuersFrom(c *config.Config) (map[string]*machineIssuer, error) {
	out := map[string]*machineIssuer{}
	for _, m := range c.MachineIssuers {
		if old := s.issuers[m.Name]; old != nil && reflect.DeepEqual(old.from, m) {
			out[m.Name] = old
			continue
		}
		o := oauth.MachineOptions{
			Name: m.Name, Issuer: m.Issuer, Audience: m.Audience, JWKS: m.JWKSURL, Algorithms: m.Algorithms, Subject: m.Subject,
			TeamsClaim: m.TeamsClaim, MaxLifetime: m.MaxLifetime, HTTP: s.outbound, Now: s.now,
		}
		for _, t := range m.Teams {
			o.Teams = append(o.Teams, oauth.TeamOf(t))
		}
		iss, err := oauth.NewMachineIssuer(o)
		if err != nil {
			return nil, err
		}
		out[m.Name] = &machineIssuer{iss, m}
	}
	return out, nil
}

func (s *Server) compileRoutes(context.Context) (err error) {
	s.routes, s.issuers, err = s.compile(s.cfg)
	return err
}

// compile makes the routes of a config, with their issuers.
func (s *Server) compile(c *config.Config) (*proxy.Routes, map[string]*machineIssuer, error) {
	issuers, err := s.issuersFrom(c)
	if err != nil {
		return nil, nil, err
	}
	routes, err := routesFrom(c, func(name string) proxy.Issuer {
		if i := issuers[name]; i != nil {
			return i
		}
		return nil
	})
	return routes, issuers, err
}

// absentIssuer stands for one where nothing is verified, as in "ssogate explain".
type absentIssuer string

// Name implements proxy.Issuer.
func (a absentIssuer) Name() string { return string(a) }

// Verify implements proxy.Issuer.
func (a absentIssuer) Verify(context.Context, string) (machine.Vouched, error) {
	return machine.Vouched{}, errors.New("run: nothing verifies tokens here")
}

func machinesFrom(r *config.Route, issuer func(string) proxy.Issuer) proxy.MachineSpec {
	s := proxy.MachineSpec{Tokens: r.Machines.Tokens}
	for _, name := range r.Machines.Issuers {
		s.Issuers = append(s.Issuers, issuer(name)) // nil for an unknown one, which compiling refuses
	}
	return s
}

// takesTokens names the routes of a config that take service tokens.
func takesTokens(c *config.Config) (out []string) {
	for i := range c.Routes {
		if c.Routes[i].Machines.Tokens {
			out = append(out, c.Routes[i].Name)
		}
	}
	return out
}

// CheckTokenRoutes refuses routes that would never take a service token.
func CheckTokenRoutes(c *config.Config, names []string) error {
	takes := takesTokens(c)
	for _, name := range names {
		known := false
		for _, t := range takes {
			known = known || t == name
		}
		switch {
		case known:
		case len(takes) == 0:
			return errors.New("no route takes service tokens: set machines.tokens of one in the config file")
		default:
			return fmt.Errorf("no route %q takes service tokens; these do: %q", name, takes)
		}
	}
	return nil
}
