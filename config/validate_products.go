package config

import (
	"maps"
	"slices"
	"strings"
)

// validateCommon checks what every protocol has.
func (c *Config) validateCommon(fs *faults, at string, p *Provider) {
	if p.Preset != "" {
		key := join(at, "preset")
		fs.oneOf(key, p.Preset, PresetOkta, PresetEntra, PresetAuth0, PresetOneLogin, PresetGoogle, PresetGitHub)
		if want := presetProtocol(p.Preset); want != "" && p.Protocol != want {
			fs.addf(key, "remove protocol, or the preset", "speaks %s, and protocol says %s", want, p.Protocol)
		}
	}
	if p.Groups != "" {
		key := join(at, "groups")
		fs.oneOf(key, p.Groups, GroupsTeams)
		if slices.ContainsFunc(c.SCIM.Connections, func(s SCIMConnection) bool { return s.Provider == p.ID }) {
			// Two masters of one team would undo each other's work.
			fs.add(key, "together with a SCIM connection, which says who is in which team", "remove the line")
		}
	}
	for i, d := range p.Domains {
		key := index(join(at, "domains"), i)
		if !mailDomain(d) {
			fs.add(key, "not a domain in lower case", `write it as in addresses, e.g. "example.com"`)
			continue
		}
		for _, other := range c.Providers {
			if other.ID != p.ID && slices.Contains(other.Domains, d) {
				fs.add(key, "leads to two providers", "keep it at one of them")
			}
		}
	}
	fs.unique(join(at, "domains"), p.Domains)
}

// mailDomain accepts a domain of at least two letter-digit-hyphen labels.
func mailDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// Words of SAML that may stand in name_id_format and must not.
const (
	nameIDTransient = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	nameIDEncrypted = "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted"
)

// validateWishes checks what an AuthnRequest asks for.
func (c *Config) validateWishes(fs *faults, at string, p *Provider) {
	key := join(at, "name_id_format")
	switch {
	case p.NameIDFormat == nameIDTransient:
		fs.add(key, "transient: people would be strangers at every sign-in", "ask for persistent or emailAddress, or for none")
	case p.NameIDFormat == nameIDEncrypted:
		fs.add(key, "encrypted NameIDs are not read", "let the identity provider encrypt the whole assertion instead")
	case !words(p.NameIDFormat, 256):
		fs.add(key, "not a URI", "write a NameID format such as urn:oasis:names:tc:SAML:2.0:nameid-format:persistent")
	}
	for i, uri := range p.AuthnContext {
		if uri == "" || !words(uri, 256) {
			fs.add(index(join(at, "authn_context"), i), "not a URI", "write the class as the identity provider names it")
		}
	}
	fs.unique(join(at, "authn_context"), p.AuthnContext)
}

// words reports printable ASCII without spaces, at most limit bytes; "" is fine.
func words(s string, limit int) bool {
	return len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// validateGoogle checks what only Google Workspace has.
func (c *Config) validateGoogle(fs *faults, at string, p *Provider) {
	for i, d := range p.HostedDomains {
		if !mailDomain(d) {
			fs.add(index(join(at, "hosted_domains"), i), "not a domain in lower case", `write the organisation's primary domain, e.g. "example.com"`)
		}
	}
	fs.unique(join(at, "hosted_domains"), p.HostedDomains)
	if p.Preset != PresetGoogle {
		fs.foreign(at, "any provider but Google (preset: google)", map[string]bool{
			"hosted_domains": len(p.HostedDomains) > 0, "directory_key_file": p.DirectoryKeyFile != "", "directory_admin": p.DirectoryAdmin != "",
		})
		return
	}
	if p.Issuer != googleIssuer {
		c.plainGoogle(fs, join(at, "issuer"), p.Issuer)
	}
	if (p.DirectoryKeyFile == "") != (p.DirectoryAdmin == "") {
		fs.add(join(at, "directory_key_file"), "the group look-up needs a key and an administrator", "set both directory_key_file and directory_admin, or neither")
	}
	if p.DirectoryKeyFile != "" && p.Groups != GroupsTeams {
		fs.add(join(at, "directory_key_file"), "groups that nobody uses", `write groups: teams, or remove directory_key_file and directory_admin`)
	}
}

// plainGoogle lets tests and proxies stand in for Google only where it is plain that
// they do: on this very machine.
func (c *Config) plainGoogle(fs *faults, key, issuer string) {
	if _, o, p := httpURL(issuer); p.what == "" && !o.Loopback() {
		fs.add(key, "not Google's", "remove the line: the preset knows it")
	}
}

func (c *Config) validateGitHub(fs *faults, at string, p *Provider) {
	c.endpoint(fs, join(at, "base_url"), p.BaseURL)
	c.validateClient(fs, at, p)
	for i, o := range p.Organizations {
		if !gitHubName(o) {
			fs.add(index(join(at, "organizations"), i), "not the name of an organisation", "write it as in its URL")
		}
	}
	fs.unique(join(at, "organizations"), p.Organizations)
	for i, t := range p.Teams {
		if org, team, ok := strings.Cut(t, "/"); !ok || !gitHubName(org) || !gitHubName(team) {
			fs.add(index(join(at, "teams"), i), "not organisation/team", `write e.g. "example/platform"`)
		}
	}
	fs.unique(join(at, "teams"), p.Teams)
	c.validateRecheck(fs, join(at, "recheck"), p.Recheck)
	fs.foreign(at, "github", p.samlKeys(), p.openIDKeys(), p.Attributes.keys())
}

// gitHubName accepts names as they stand in GitHub's URLs.
func gitHubName(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && s != "." && s != ".."
}

// Keys that only one protocol has, and whether they are set.

func (p *Provider) samlKeys() map[string]bool {
	return map[string]bool{
		"metadata_url": p.MetadataURL != "", "metadata_file": p.MetadataFile != "", "entity_id": p.EntityID != "",
		"sso_url": p.SSOURL != "", "slo_url": p.SLOURL != "", "certificate_files": len(p.CertificateFiles) > 0,
		"insecure_allow_sha1": p.InsecureAllowSHA1, "auto_accept": p.AutoAccept, "binding": p.Binding != "",
		"unsigned_requests": p.UnsignedRequests, "force_authn": p.ForceAuthn, "name_id_format": p.NameIDFormat != "",
		"authn_context": len(p.AuthnContext) > 0,
	}
}

func (p *Provider) oauthKeys() map[string]bool {
	return map[string]bool{
		"client_id": p.ClientID != "", "client_secret": p.ClientSecret != "", "client_secret_file": p.ClientSecretFile != "", "recheck": p.Recheck != 0,
	}
}

func (p *Provider) openIDKeys() map[string]bool {
	return map[string]bool{
		"issuer": p.Issuer != "", "scopes": len(p.Scopes) > 0, "unverified_email": p.UnverifiedEmail != "",
		"hosted_domains": len(p.HostedDomains) > 0, "directory_key_file": p.DirectoryKeyFile != "", "directory_admin": p.DirectoryAdmin != "",
	}
}

func (p *Provider) gitHubKeys() map[string]bool {
	return map[string]bool{"base_url": p.BaseURL != "", "organizations": len(p.Organizations) > 0, "teams": len(p.Teams) > 0}
}

// keys are those of the mapping: GitHub's API has one set of names.
func (a Attributes) keys() map[string]bool {
	return map[string]bool{
		"attributes.subject": len(a.Subject) > 0, "attributes.user_name": len(a.UserName) > 0, "attributes.email": len(a.Email) > 0,
		"attributes.display_name": len(a.DisplayName) > 0, "attributes.given_name": len(a.GivenName) > 0,
		"attributes.family_name": len(a.FamilyName) > 0, "attributes.groups": len(a.Groups) > 0,
	}
}

// foreign names keys of the other protocols.
func (fs *faults) foreign(at, protocol string, sets ...map[string]bool) {
	for _, set := range sets {
		for _, key := range slices.Sorted(maps.Keys(set)) {
			if set[key] {
				fs.add(join(at, key), "has no meaning for "+protocol, "remove it, or correct protocol")
			}
		}
	}
}
