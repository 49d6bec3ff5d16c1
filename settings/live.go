package settings

import (
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/member"
)

// Protocol is how a provider speaks.
type Protocol string

// Protocols.
const (
	SAML   Protocol = "saml"
	OIDC   Protocol = "oidc"
	GitHub Protocol = "github" // OAuth 2.0 and GitHub's own API
)

// Preset is a product whose names and habits are known. The zero value is any other.
type Preset string

// Presets.
const (
	Okta      Preset = "okta"
	Entra     Preset = "entra"
	Auth0     Preset = "auth0"
	OneLogin  Preset = "onelogin"
	Google    Preset = "google"
	GitHubApp Preset = "github"
)

// GroupsUse is what groups in an assertion do. The zero value: nothing.
type GroupsUse string

// GroupsTeams makes them the member's teams.
const GroupsTeams GroupsUse = "teams"

// Binding is how an AuthnRequest travels.
type Binding string

// Bindings. The zero value is redirect.
const (
	RedirectBinding Binding = "redirect"
	PostBinding     Binding = "post"
)

// Provider is one identity provider, as decided. A field tagged `cosmetic` cannot
// change what a sign-in ends in, and is no part of [Digest]; every other one is. One
// tagged `secret` is sealed at rest and never shown, not even in a [Diff].
type Provider struct {
	ID       string // slug in URLs; fixed at first save
	Name     string `cosmetic:"yes"`
	Preset   Preset
	Protocol Protocol
	Join     member.Join
	Groups   GroupsUse
	Domains  []string `cosmetic:"yes"` // of e-mail addresses whose people are led here
	Active   bool     `cosmetic:"yes"`
	Managed  bool     `cosmetic:"yes"` // declared in the config file: read-only here
	SAML     SAMLProvider
	OIDC     OIDCProvider // also what GitHub shares with it: client, recheck
	GitHub   GitHubProvider
	// Attributes maps what we store to the IdP's attribute or claim names, in order of preference.
	Attributes Attributes
}

// SAMLProvider is the IdP side of a SAML provider. Exactly one of MetadataURL,
// MetadataXML and EntityID+SSOURL+Certificates is set.
type SAMLProvider struct {
	MetadataURL  string
	MetadataXML  []byte
	EntityID     string
	SSOURL       string
	SLOURL       string
	Certificates []string // PEM
	// AutoAccept uses new certificates and endpoints of MetadataURL without approval.
	AutoAccept       bool
	Binding          Binding
	UnsignedRequests bool
	ForceAuthn       bool
	NameIDFormat     string   // asked for; "" asks for none
	AuthnContext     []string // asked for, and then required of the answer
	// InsecureAllowSHA1 accepts RSA-SHA1 signatures. Safe only while an old IdP
	// is being replaced: SHA-1 collisions are practical.
	InsecureAllowSHA1 bool
}

// OIDCProvider is an OpenID Connect provider found by discovery.
type OIDCProvider struct {
	Issuer       string
	ClientID     string
	ClientSecret string `secret:"yes"`
	Scopes       []string
	// UnverifiedEmail is what to do with an address that the provider does not
	// vouch for (email_verified is not true).
	UnverifiedEmail UnverifiedEmail
	// Recheck is how often the provider is asked whether somebody may still be
	// signed in. 0 never asks: his session then lasts until its own end.
	Recheck       time.Duration
	HostedDomains []string // of Google Workspace, any of them; compared with the hd claim
	// DirectoryKey is a Google service account (JSON) that looks up groups in the name
	// of DirectoryAdmin; nil looks up none. A secret.
	DirectoryKey   []byte `secret:"yes"`
	DirectoryAdmin string
}

// GitHubProvider is what only GitHub has; client and recheck are in [OIDCProvider].
type GitHubProvider struct {
	BaseURL       string   // https://github.com or a GitHub Enterprise Server
	Organizations []string // active membership of any of these or of Teams is needed
	Teams         []string // org/team slugs
}

// UnverifiedEmail is a policy. The zero value refuses the sign-in.
type UnverifiedEmail string

// Policies on addresses that the provider does not vouch for.
const (
	RefuseUnverifiedEmail UnverifiedEmail = ""
	// DropUnverifiedEmail signs the person in without an e-mail address.
	DropUnverifiedEmail UnverifiedEmail = "drop"
	// InsecureTrustUnverifiedEmail passes the address on. Safe only where people
	// cannot set it themselves at the provider (an Entra tenant, for example,
	// never sends email_verified).
	InsecureTrustUnverifiedEmail UnverifiedEmail = "trust"
)

// Attributes names where profile values come from. Empty lists use the
// protocol's usual names.
type Attributes struct {
	// Subject is the stable identifier; empty means NameID (SAML) or sub (OpenID).
	Subject                                                     []string
	UserName, Email, DisplayName, GivenName, FamilyName, Groups []string
}

// Settings is one immutable version of everything live. Do not modify.
type Settings struct {
	Version      int64
	Organization Organization
	RequireSSO   bool
	Providers    []Provider // in the operator's order, those of the config file first
	Shadowed     []string   // ids of stored providers that are not here, since the config file has them too
	Connections  []Connection
}

// Organization is who this gateway belongs to.
type Organization struct {
	Slug    string
	Name    string
	Support string // whom a refused person should ask
}

// Connection is a SCIM connection with the tokens declared in the config file.
// Tokens made by the CLI or console live in SQL.
type Connection struct {
	member.Connection
	Tokens []Token
	Paused bool // beside the switch of `ssogate scim pause`, which lives in SQL
	// Strict switches off the tolerance for what identity providers are known to
	// send beyond the standard.
	Strict bool
}

// Token is a declared bearer token: only its hash is kept in memory.
type Token struct {
	Name    string
	Hash    string    // hex of SHA-256
	Expires time.Time // zero = never
}

// Provider finds an active provider by id.
func (s *Settings) Provider(id string) (Provider, bool) {
	for _, p := range s.Providers {
		if p.ID == id && p.Active {
			return p, true
		}
	}
	return Provider{}, false
}

// ConnectionOf finds the SCIM connection of a provider.
func (s *Settings) ConnectionOf(provider string) (Connection, bool) {
	for _, c := range s.Connections {
		if c.Provider == provider {
			return c, true
		}
	}
	return Connection{}, false
}

// Live is the current Settings, swapped whole. The zero value holds an empty
// Settings, with which nobody can sign in. Safe for concurrent use.
type Live struct{ p atomic.Pointer[Settings] }

// Load returns the current value; never nil.
func (l *Live) Load() *Settings {
	if s := l.p.Load(); s != nil {
		return s
	}
	return &Settings{}
}

// Store swaps in a new value.
func (l *Live) Store(s *Settings) { l.p.Store(s) }
