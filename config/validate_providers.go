package config

import (
	"slices"
	"strings"
	"time"
)

// validateProviders checks what each protocol needs and refuses what it does not
// know: a key that is silently without effect is a setting that is not in force.
func (c *Config) validateProviders(fs *faults) {
	ids := map[string]bool{}
	for i := range c.Providers {
		p, at := &c.Providers[i], index("providers", i)
		switch {
		case !slug(p.ID):
			fs.add(join(at, "id"), "not a slug", slugFix)
		case p.ID == "fallback" || p.ID == "password":
			fs.add(join(at, "id"), "is the gateway's own word for sign-ins without a provider", "choose another")
		case ids[p.ID]:
			fs.add(join(at, "id"), "used by two providers", "choose another: it is part of the URLs registered at the identity provider")
		}
		ids[p.ID] = true
		fs.label(join(at, "name"), p.Name)
		fs.oneOf(join(at, "protocol"), p.Protocol, ProtocolSAML, ProtocolOIDC, ProtocolGitHub)
		c.validateCommon(fs, at, p)
		switch p.Protocol {
		case ProtocolSAML:
			c.validateSAML(fs, at, p)
		case ProtocolOIDC:
			c.validateOIDC(fs, at, p)
		case ProtocolGitHub:
			c.validateGitHub(fs, at, p)
		}
		c.validateJoin(fs, at, p)
		p.Attributes.validate(fs, join(at, "attributes"))
	}
}

// validateJoin keeps strangers out. SCIM and join by sign-in exclude each other:
// a person unassigned at the IdP would come back through the other door.
func (c *Config) validateJoin(fs *faults, at string, p *Provider) {
	key := join(at, "join")
	fs.oneOf(key, p.Join, JoinIDP, JoinSCIM, JoinInvitation)
	connected := slices.ContainsFunc(c.SCIM.Connections, func(s SCIMConnection) bool { return s.Provider == p.ID })
	switch {
	case p.Join == JoinIDP && connected:
		fs.add(key, `"idp" together with a SCIM connection: removing a person there would not be final`, `write "scim", or remove the line`)
	case p.Join == JoinSCIM && !connected:
		fs.add(key, `"scim" without a SCIM connection: nobody could ever join`, "add one under scim.connections")
	case p.Join == JoinIDP && p.Protocol == ProtocolGitHub && !p.oneOrganization():
		fs.add(key, `"idp" for all of GitHub: anybody with an account there would become a member`, `set organizations or teams, or write "invitation"`)
	case p.Join == JoinIDP && p.Protocol == ProtocolOIDC && sharedIssuer(p.Issuer) && !p.oneOrganization():
		fs.add(key, `"idp" at an issuer that serves everyone: anybody with an account there would become a member`, `write "invitation"`)
	}
}

// sharedIssuer reports issuers that are known to vouch for the whole world. An
// issuer of one organisation cannot be told from others by its URL, so "idp" for
// OpenID Connect is the operator's explicit word and never the default.
func sharedIssuer(issuer string) bool {
	_, o, p := httpURL(issuer)
	if p.what != "" {
		return false
	}
	switch o.Host {
	case "accounts.google.com", "appleid.apple.com", "gitlab.com", "www.facebook.com", "www.linkedin.com",
		"token.actions.githubusercontent.com", "api.login.yahoo.com", "login.live.com", "sts.windows.net":
		return true
	case "login.microsoftonline.com":
		for _, tenant := range []string{"common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"} {
			if strings.Contains(strings.ToLower(issuer), "/"+tenant) {
				return true
			}
		}
	}
	return false
}

func (c *Config) validateSAML(fs *faults, at string, p *Provider) {
	forms := 0
	if p.MetadataURL != "" {
		forms++
		c.endpoint(fs, join(at, "metadata_url"), p.MetadataURL)
	}
	if p.MetadataFile != "" {
		forms++
	}
	if p.EntityID != "" || p.SSOURL != "" || len(p.CertificateFiles) > 0 {
		forms++
		if p.EntityID == "" {
			fs.add(join(at, "entity_id"), "is not set", "write the IdP's Issuer, or use its metadata")
		}
		if p.SSOURL == "" {
			fs.add(join(at, "sso_url"), "is not set", "write the IdP's single sign-on URL, or use its metadata")
		} else {
			c.endpoint(fs, join(at, "sso_url"), p.SSOURL)
		}
		if len(p.CertificateFiles) == 0 {
			// Row S05: without a certificate there is nothing to verify against.
			fs.add(join(at, "certificate_files"), "is not set: no signature could be verified", "name the IdP's certificate as a PEM file")
		}
		fs.unique(join(at, "certificate_files"), p.CertificateFiles)
	}
	if len(p.EntityID) > 1024 {
		fs.add(join(at, "entity_id"), "longer than 1024 characters", "SAML core section 8.3.6 allows no more")
	}
	switch forms {
	case 1:
	case 0:
		fs.add(at, "says nothing of the identity provider", "set metadata_url, or metadata_file, or entity_id with sso_url and certificate_files")
	default:
		fs.add(at, "describes the identity provider in more than one way", "keep one of metadata_url, metadata_file, and entity_id with sso_url and certificate_files")
	}
	if p.SLOURL != "" {
		c.endpoint(fs, join(at, "slo_url"), p.SLOURL)
		if p.MetadataURL != "" || p.MetadataFile != "" {
			fs.add(join(at, "slo_url"), "given beside metadata, which names it itself", "remove it")
		}
	}
	if p.AutoAccept && p.MetadataURL == "" {
		fs.add(join(at, "auto_accept"), "without metadata_url nothing ever changes by itself", "remove it, or use metadata_url")
	}
	fs.oneOf(join(at, "binding"), p.Binding, BindingRedirect, BindingPost)
	c.validateWishes(fs, at, p)
	fs.foreign(at, "saml", p.oauthKeys(), p.openIDKeys(), p.gitHubKeys())
}

func (c *Config) validateOIDC(fs *faults, at string, p *Provider) {
	c.endpoint(fs, join(at, "issuer"), p.Issuer)
	if strings.Contains(p.Issuer, "?") {
		// OpenID Connect Discovery 1.0 section 3: an issuer has no query.
		fs.add(join(at, "issuer"), "carries a query", "write the issuer exactly as its discovery document does")
	}
	c.validateClient(fs, at, p)
	if len(p.Scopes) > 0 && !slices.Contains(p.Scopes, "openid") {
		fs.add(join(at, "scopes"), `lacks "openid": there would be no id_token`, `add "openid"`)
	}
	for i, s := range p.Scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			fs.add(index(join(at, "scopes"), i), "not a scope", "write one scope per element (RFC 6749 section 3.3)")
		}
	}
	fs.unique(join(at, "scopes"), p.Scopes)
	fs.oneOf(join(at, "unverified_email"), p.UnverifiedEmail, UnverifiedEmailRefuse, UnverifiedEmailDrop)
	c.validateRecheck(fs, join(at, "recheck"), p.Recheck)
	c.validateGoogle(fs, at, p)
	fs.foreign(at, "oidc", p.samlKeys(), p.gitHubKeys())
}

// validateClient checks how ssogate authenticates to the provider.
func (c *Config) validateClient(fs *faults, at string, p *Provider) {
	if p.ClientID == "" {
		fs.add(join(at, "client_id"), "is not set", "register ssogate at the provider and copy its client id")
	}
	key := join(at, "client_secret")
	switch {
	case p.ClientSecret == "" && p.ClientSecretFile == "":
		fs.add(key, "is not set", "copy the client secret from the provider, best into client_secret_file")
	case p.ClientSecret != "" && p.ClientSecretFile != "":
		fs.add(key+"_file", "given twice, as client_secret and as a file", "keep one of the two")
	case p.ClientSecret != "" && (len(p.ClientSecret) < 16 || repeats(p.ClientSecret) || placeholder(p.ClientSecret)):
		fs.add(key, "is too short or an example", "use the random secret that the provider made")
	}
}

// validateRecheck keeps the question to the provider between a burden on it and
// one that is never put.
func (c *Config) validateRecheck(fs *faults, key string, every time.Duration) {
	if every == 0 {
		return
	}
	fs.between(key, every, time.Minute, 24*time.Hour)
	if every >= c.Session.Absolute {
		fs.addf(key, "make it shorter, or session.absolute longer", "%s is not shorter than session.absolute (%s): nobody would ever be asked about", every, c.Session.Absolute)
	}
}

// endpoint checks a URL of the IdP. Metadata and keys fetched over plain http
// are whatever the network says they are.
func (c *Config) endpoint(fs *faults, key, s string) {
	_, o, p := httpURL(s)
	if p.what != "" {
		fs.add(key, p.what, p.fix)
		return
	}
	c.plainHTTP(fs, key, o)
}

func (a Attributes) validate(fs *faults, at string) {
	for _, l := range []struct {
		key  string
		list []string
	}{
		{"subject", a.Subject},
		{"user_name", a.UserName},
		{"email", a.Email},
		{"display_name", a.DisplayName},
		{"given_name", a.GivenName},
		{"family_name", a.FamilyName},
		{"groups", a.Groups},
	} {
		for i, name := range l.list {
			if name == "" || len(name) > 512 || strings.ContainsFunc(name, isControl) {
				fs.add(index(join(at, l.key), i), "not an attribute name", "write it exactly as the IdP sends it")
			}
		}
		fs.unique(join(at, l.key), l.list)
	}
}
