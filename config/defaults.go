package config

import (
	"slices"
	"time"
)

// Values that are written in more than one place.
const (
	RequireSSOOn      = "on"      // every app request needs a session made by SSO
	RequireSSOOff     = "off"     //
	RequireSSOConsole = "console" // an owner decides in the console

	ProtocolSAML   = "saml"
	ProtocolOIDC   = "oidc"
	ProtocolGitHub = "github"

	PresetOkta     = "okta"
	PresetEntra    = "entra"
	PresetAuth0    = "auth0"
	PresetOneLogin = "onelogin"
	PresetGoogle   = "google"
	PresetGitHub   = "github"

	GroupsTeams = "teams"

	BindingRedirect = "redirect"
	BindingPost     = "post"

	googleIssuer = "https://accounts.google.com"
	gitHubURL    = "https://github.com"

	JoinIDP        = "idp"
	JoinSCIM       = "scim"
	JoinInvitation = "invitation"

	ActivationInvitation  = "invitation"
	ActivationFirstSignIn = "first_sign_in"
	ActivationImmediate   = "immediate"

	MatchUserName   = "userName"
	MatchExternalID = "externalId"

	ProfileAuto   = "auto"
	ProfileStrict = "strict"

	MailSTARTTLS = "starttls"
	MailTLS      = "tls"
	MailNone     = "none"

	AllowPublic  = "public"
	AllowMembers = "members"
	AllowNobody  = "nobody"

	AuthorizationPass  = "pass"
	AuthorizationStrip = "strip"

	UnverifiedEmailRefuse = "refuse"
	UnverifiedEmailDrop   = "drop"
)

// Default is a Config with every key at its default and nothing that has none:
// it does not pass [Config.Validate].
func Default() *Config {
	return &Config{
		PrivateListen: "127.0.0.1:9090",
		Organization:  Organization{Slug: "default"},
		RequireSSO:    RequireSSOConsole,
		Database:      Database{URL: "sqlite:ssogate.db"},
		Session:       Session{Idle: 8 * time.Hour, Absolute: 24 * time.Hour},
		SCIM:          SCIM{Activation: ActivationInvitation, Rate: 200, Burst: 500, TokenLifetime: time.Hour, LogDays: 30},
		Mail:          Mail{TLS: MailSTARTTLS, Rate: 60},
		Streams:       Streams{LeaseGrace: 10 * time.Second, PerSession: 200, Total: 20000},
		Limits: Limits{
			HeaderBytes:    64 << 10,
			PendingSignIns: 20000,
			UpstreamDial:   3 * time.Second,
			UpstreamHeader: 60 * time.Second,
		},
		Log: Log{Level: "info", Format: "json"},
	}
}

// ApplyDefaults fills every key that is still zero, for a Config made in code
// (the demo, tests). [Load] has done it already, and tells a written 0, which
// Validate refuses, from an absent key.
func (c *Config) ApplyDefaults() {
	d := Default()
	or(&c.PrivateListen, d.PrivateListen)
	or(&c.Organization.Slug, d.Organization.Slug)
	or(&c.RequireSSO, d.RequireSSO)
	if c.Database.URLFile == "" {
		or(&c.Database.URL, d.Database.URL)
	}
	or(&c.Session.Idle, d.Session.Idle)
	or(&c.Session.Absolute, d.Session.Absolute)
	or(&c.SCIM.Activation, d.SCIM.Activation)
	or(&c.SCIM.Rate, d.SCIM.Rate)
	or(&c.SCIM.Burst, d.SCIM.Burst)
	or(&c.SCIM.TokenLifetime, d.SCIM.TokenLifetime)
	or(&c.SCIM.LogDays, d.SCIM.LogDays)
	or(&c.Mail.TLS, d.Mail.TLS)
	or(&c.Mail.Rate, d.Mail.Rate)
	or(&c.Streams.LeaseGrace, d.Streams.LeaseGrace)
	or(&c.Streams.PerSession, d.Streams.PerSession)
	or(&c.Streams.Total, d.Streams.Total)
	or(&c.Limits.HeaderBytes, d.Limits.HeaderBytes)
	or(&c.Limits.PendingSignIns, d.Limits.PendingSignIns)
	or(&c.Limits.UpstreamDial, d.Limits.UpstreamDial)
	or(&c.Limits.UpstreamHeader, d.Limits.UpstreamHeader)
	or(&c.Log.Level, d.Log.Level)
	or(&c.Log.Format, d.Log.Format)
	c.derive()
}

// derive fills what depends on other keys, and the elements of lists.
func (c *Config) derive() {
	if c.TLS.CertFile != "" {
		or(&c.Listen, ":8443")
	}
	// Plain HTTP belongs behind a TLS front on this host unless told otherwise.
	or(&c.Listen, "127.0.0.1:8081")
	or(&c.Organization.Name, c.Organization.Slug)
	for i := range c.Providers {
		p := &c.Providers[i]
		or(&p.Name, p.ID)
		or(&p.Protocol, presetProtocol(p.Preset))
		or(&p.Join, c.defaultJoin(p))
		switch {
		case p.Protocol == ProtocolSAML:
			or(&p.Binding, BindingRedirect)
		case p.Preset == PresetGoogle:
			or(&p.Issuer, googleIssuer)
		case p.Protocol == ProtocolGitHub:
			or(&p.BaseURL, gitHubURL)
		}
		if p.Protocol == ProtocolOIDC && len(p.Scopes) == 0 {
			p.Scopes = []string{"openid", "profile", "email"}
		}
		if p.Protocol == ProtocolOIDC {
			or(&p.UnverifiedEmail, UnverifiedEmailRefuse)
		}
	}
	for i := range c.SCIM.Connections {
		or(&c.SCIM.Connections[i].Match, MatchUserName)
		or(&c.SCIM.Connections[i].Profile, ProfileAuto)
	}
	or(&c.Mail.FromName, c.Organization.Name)
	for i := range c.MachineIssuers {
		or(&c.MachineIssuers[i].Subject, "sub")
		or(&c.MachineIssuers[i].MaxLifetime, 2*time.Hour)
	}
	for i := range c.Routes {
		or(&c.Routes[i].PathPrefix, "/")
		for j := range c.Routes[i].Access {
			or(&c.Routes[i].Access[j].Allow, AllowMembers)
		}
	}
}

// defaultJoin follows the rule of the product: "scim" where SCIM is enabled, so
// that unassigning a person at the IdP is final; "idp" where the provider is
// bound to one organisation, which SAML metadata is and an OpenID Connect issuer
// need not be; else "invitation".
func (c *Config) defaultJoin(p *Provider) string {
	if slices.ContainsFunc(c.SCIM.Connections, func(s SCIMConnection) bool { return s.Provider == p.ID }) {
		return JoinSCIM
	}
	if p.Protocol == ProtocolSAML || p.oneOrganization() {
		return JoinIDP
	}
	return JoinInvitation
}

// oneOrganization reports a provider for everybody that is held to the people of
// named organisations (Google's hosted domains, GitHub's organisations and teams).
func (p *Provider) oneOrganization() bool {
	return len(p.HostedDomains) > 0 || len(p.Organizations) > 0 || len(p.Teams) > 0
}

// presetProtocol is how a product speaks, "" without a preset.
func presetProtocol(preset string) string {
	switch preset {
	case PresetOkta, PresetEntra, PresetAuth0, PresetOneLogin:
		return ProtocolSAML
	case PresetGoogle:
		return ProtocolOIDC
	case PresetGitHub:
		return ProtocolGitHub
	}
	return ""
}

func or[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
