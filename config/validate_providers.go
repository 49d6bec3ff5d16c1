package config

import (
	"maps"
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
		case ids[p.ID]:
			fs.add(join(at, "id"), "used by two providers", "choose another: it is part of the URLs registered at the identity provider")
		}
		ids[p.ID] = true
		fs.label(join(at, "name"), p.Name)
		fs.oneOf(join(at, "protocol"), p.Protocol, ProtocolSAML, ProtocolOIDC)
		switch p.Protocol {
		case ProtocolSAML:
			c.validateSAML(fs, at, p)
		case ProtocolOIDC:
			c.validateOIDC(fs, at, p)
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
	case p.Join == JoinIDP && p.Protocol == ProtocolOIDC && sharedIssuer(p.Issuer):
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
	fs.foreign(at, "saml", map[string]bool{
		"issuer": p.Issuer != "", "client_id": p.ClientID != "", "scopes": len(p.Scopes) > 0, "unverified_email": p.UnverifiedEmail != "",
		"refresh_every": p.RefreshEvery != 0,
		"client_secret": p.ClientSecret != "", "client_secret_file": p.ClientSecretFile != "",
	})
}

func (c *Config) validateOIDC(fs *faults, at string, p *Provider) {
	c.endpoint(fs, join(at, "issuer"), p.Issuer)
	if strings.Contains(p.Issuer, "?") {
		// OpenID Connect Discovery 1.0 section 3: an issuer has no query.
		fs.add(join(at, "issuer"), "carries a query", "write the issuer exactly as its discovery document does")
	}
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
	c.validateRefresh(fs, join(at, "refresh_every"), p.RefreshEvery)
	fs.foreign(at, "oidc", map[string]bool{
		"metadata_url": p.MetadataURL != "", "metadata_file": p.MetadataFile != "", "entity_id": p.EntityID != "",
		"sso_url": p.SSOURL != "", "certificate_files": len(p.CertificateFiles) > 0, "insecure_allow_sha1": p.InsecureAllowSHA1,
	})
}

// validateRefresh keeps the question to the provider between a burden on it and
// one that is never put.
func (c *Config) validateRefresh(fs *faults, key string, every time.Duration) {
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

// foreign names keys of the other protocol.
func (fs *faults) foreign(at, protocol string, set map[string]bool) {
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if set[key] {
			fs.add(join(at, key), "has no meaning for "+protocol, "remove it, or correct protocol")
		}
	}
}

func (a Attributes) validate(fs *faults, at string) {
	for _, l := range []struct {
		key  string
		list []string
	}{
		{"user_name", a.UserName},
		{"email", a.Email},
		{"display_name", a.DisplayName},
		{"given_name", a.GivenName},
		{"family_name", a.FamilyName},
	} {
		for i, name := range l.list {
			if name == "" || len(name) > 512 || strings.ContainsFunc(name, isControl) {
				fs.add(index(join(at, l.key), i), "not an attribute name", "write it exactly as the IdP sends it")
			}
		}
		fs.unique(join(at, l.key), l.list)
	}
}

// minToken is the shortest bearer token: whoever has it can make members.
const minToken = 32

func (c *Config) validateSCIM(fs *faults) {
	fs.oneOf("scim.activation", c.SCIM.Activation, ActivationInvitation, ActivationFirstSignIn, ActivationImmediate)
	fs.within("scim.rate", c.SCIM.Rate, 1, 100_000)
	fs.within("scim.burst", c.SCIM.Burst, 1, 100_000)
	fs.within("scim.log_days", c.SCIM.LogDays, 1, 366)
	fs.between("scim.token_lifetime", c.SCIM.TokenLifetime, time.Hour, 6*time.Hour)
	seen, tokens := map[string]bool{}, map[string]bool{}
	for i := range c.SCIM.Connections {
		s, at := &c.SCIM.Connections[i], index("scim.connections", i)
		key := join(at, "provider")
		j := slices.IndexFunc(c.Providers, func(p Provider) bool { return p.ID == s.Provider })
		switch {
		case j < 0:
			fs.add(key, "no such provider", "name the id of a provider declared under providers")
		case c.Providers[j].Protocol != ProtocolSAML:
			fs.add(key, "SCIM needs a SAML provider, this one is not", "declare the provider with protocol: saml")
		case seen[s.Provider]:
			fs.add(key, "has two SCIM connections", "keep one, with two tokens while rotating")
		}
		seen[s.Provider] = true
		fs.oneOf(join(at, "match"), s.Match, MatchUserName, MatchExternalID)
		fs.oneOf(join(at, "profile"), s.Profile, ProfileAuto, ProfileStrict)
		names := map[string]bool{}
		for k, t := range s.Tokens {
			here := index(join(at, "tokens"), k)
			if !slug(t.Name) || names[t.Name] {
				fs.add(join(here, "name"), "not a name of its own", slugFix)
			}
			names[t.Name] = true
			t.validate(fs, here)
			if t.Token != "" && tokens[t.Token] {
				// One token in two connections would make its holder both of them.
				fs.add(join(here, "token"), "used twice", "make another")
			}
			tokens[t.Token] = true
		}
	}
}

func (t SCIMToken) validate(fs *faults, at string) {
	const fix = `make one with "openssl rand -base64 32"`
	key := join(at, "token")
	switch {
	case t.Token == "" && t.TokenFile == "":
		fs.add(key, "is not set", fix+`, or leave tokens out and use "ssogate scim token create"`)
	case t.Token == "":
	case t.TokenFile != "":
		fs.add(key+"_file", "given twice, as token and as a file", "keep one of the two")
	case len(t.Token) < minToken:
		fs.addf(key, fix, "shorter than %d characters", minToken)
	case len(t.Token) > 512 || !b68(t.Token):
		fs.add(key, "not a bearer token (RFC 6750 section 2.1)", fix)
	case repeats(t.Token) || placeholder(t.Token):
		fs.add(key, "is an example or repeats itself", fix)
	}
}

// b68 reports the characters of RFC 6750 b64token: others do not survive the
// Authorization header of every client.
func b68(s string) bool {
	return strings.Trim(strings.TrimRight(s, "="), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/") == ""
}

// repeats reports a text of too few different characters to have been drawn: 16
// hexadecimal digits at random show fewer than six once in a million.
func repeats(s string) bool {
	distinct := map[rune]bool{}
	for _, r := range s {
		distinct[r] = true
	}
	return len(distinct) < 6
}
