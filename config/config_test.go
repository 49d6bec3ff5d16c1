package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newKey(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// benign is a config that must be accepted; every refusal below differs from it
// in one thing.
func benign() *Config {
	c := &Config{
		URL: "https://sso.example.com",
		Secrets: Secrets{
			CookieKey: newKey(CookieKeySize),
			SealKey:   newKey(SealKeySize),
		},
		TrustedProxies: []string{"10.0.0.0/8", "2001:db8:1::/48", "fd00::/8", "192.0.2.7/32"},
		Providers: []Provider{
			{ID: "okta", Protocol: "saml", MetadataURL: "https://example.okta.com/app/x/sso/saml/metadata?appid=1"},
			{ID: "keycloak", Protocol: "oidc", Issuer: "https://id.example.com/realms/staff", ClientID: "ssogate", ClientSecret: newKey(24)},
			{ID: "adfs", Protocol: "saml", EntityID: "urn:idp", SSOURL: "https://adfs.example.com/ls", CertificateFiles: []string{"/etc/idp.pem"}},
		},
		Mail: Mail{Server: "smtp.example.com", From: "sso@example.com", User: "sso", Password: "p"},
		SCIM: SCIM{Connections: []SCIMConnection{
			{Provider: "okta", Tokens: []SCIMToken{{Name: "first", Token: newKey(32)}, {Name: "second", Token: newKey(32)}}},
		}},
		Routes: []Route{
			{
				Name: "app", Origins: []string{"https://app.example.com", "https://other.example.org:8443"}, Upstream: "http://127.0.0.1:3000",
				Public: []string{"/favicon.ico", "/assets/*"}, Teams: []string{"finance", "okta.finance"},
			},
			{Name: "api", Origins: []string{"https://app.example.com"}, PathPrefix: "/api", Upstream: "https://api.internal:9000/"},
		},
		Outbound: Outbound{Allow: []string{"idp.internal", "idp.internal:8443", "10.20.0.0/16", "127.0.0.1:8082"}},
	}
	c.ApplyDefaults()
	return c
}

func TestBenignConfigIsAccepted(t *testing.T) {
	if fs := benign().Validate(); len(fs) > 0 {
		t.Fatalf("a good config was refused: %v", fs)
	}
}

func TestRecheckIsAccepted(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, 15 * time.Minute, 24 * time.Hour} {
		c := benign()
		c.Session.Absolute = 48 * time.Hour
		c.Providers[1].Recheck = every
		if fs := c.Validate(); len(fs) > 0 {
			t.Errorf("%s: %v", every, fs)
		}
	}
}

func TestZeroConfigIsRefused(t *testing.T) {
	fs := new(Config).Validate()
	for _, key := range []string{"url", "secrets.cookie_key", "secrets.seal_key", "routes", "database.url", "session.idle", "require_sso"} {
		if !has(fs, key) {
			t.Errorf("the zero Config has no fault for %s", key)
		}
	}
	if len(Default().Validate()) == 0 {
		t.Error("the defaults alone were accepted")
	}
}

func has(fs []Fault, key string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool { return f.Key == key })
}

// rule gives the second route one rule instead of the short form.
func rule(c *Config, u Rule) {
	c.Routes[1].Public, c.Routes[1].Teams, c.Routes[1].Access = nil, nil, []Rule{u}
}

func TestUnsafeConfigIsRefused(t *testing.T) {
	cases := []struct {
		name, key, why string
		change         func(*Config)
	}{
		{"U04 app origin is the gateway", "routes[0].origins[0]", "an XSS in the app would own the console", func(c *Config) { c.Routes[0].Origins[0] = c.URL }},
		{"U04 same in upper case", "routes[0].origins[0]", "hosts are case-insensitive", func(c *Config) { c.Routes[0].Origins[0] = "https://SSO.Example.com" }},
		{"U04 same with default port", "routes[0].origins[0]", "443 is implied", func(c *Config) { c.Routes[0].Origins[0] = "https://sso.example.com:443" }},
		{"U04 same with trailing dot", "routes[0].origins[0]", "the root dot names the same host", func(c *Config) { c.Routes[0].Origins[0] = "https://sso.example.com." }},
		{"U04 same host and port, other scheme", "routes[0].origins[0]", "one listener cannot tell them apart", func(c *Config) { c.Routes[0].Origins[0] = "http://sso.example.com:443" }},
		{"U04 same address spelled as IPv6", "routes[0].origins[0]", "::ffff:127.0.0.1 is 127.0.0.1", func(c *Config) {
			c.URL = "http://127.0.0.1:8081"
			c.Routes[0].Origins[0] = "http://[::ffff:127.0.0.1]:8081"
		}},
		{"plain http gateway", "url", "cookies would travel in clear", func(c *Config) { c.URL = "http://sso.example.com" }},
		{"plain http app", "routes[0].origins[0]", "cookies would travel in clear", func(c *Config) { c.Routes[0].Origins[0] = "http://app.example.com" }},
		{"plain http metadata", "providers[0].metadata_url", "the network could swap the IdP's certificate", func(c *Config) { c.Providers[0].MetadataURL = "http://idp.example.com/m" }},
		{"plain http issuer", "providers[1].issuer", "the network could swap the keys", func(c *Config) { c.Providers[1].Issuer = "http://id.example.com" }},
		{"localhost look-alike", "url", "only whole labels count", func(c *Config) { c.URL = "http://localhost.example.com" }},
		{"127 look-alike", "url", "a name is not an address", func(c *Config) { c.URL = "http://127.0.0.1.nip.io" }},
		{"hexadecimal address", "url", "browsers read 0x7f000001 as 127.0.0.1, resolvers as a name", func(c *Config) { c.URL = "http://0x7f000001" }},
		{"short address", "url", "127.1 is 127.0.0.1 to some", func(c *Config) { c.URL = "http://127.1:8081" }},
		{"url with path", "url", "only an origin has cookies of its own", func(c *Config) { c.URL = "https://sso.example.com/gate" }},
		{"url with slash", "url", "one spelling", func(c *Config) { c.URL = "https://sso.example.com/" }},
		{"url with query", "url", "only an origin", func(c *Config) { c.URL = "https://sso.example.com?x" }},
		{"url with user", "url", "a password in a redirect", func(c *Config) { c.URL = "https://a:b@sso.example.com" }},
		{"url without scheme", "url", "guessing http would be plain", func(c *Config) { c.URL = "sso.example.com" }},
		{"url with empty port", "url", "two spellings", func(c *Config) { c.URL = "https://sso.example.com:" }},
		{"url with port 0443", "url", "two spellings", func(c *Config) { c.URL = "https://sso.example.com:0443" }},
		{"url outside ASCII", "url", "look-alike letters", func(c *Config) { c.URL = "https://ssо.example.com" }},
		{"url with zone", "url", "an address of one link", func(c *Config) { c.URL = "https://[fe80::1%25eth0]" }},
		{"short cookie key", "secrets.cookie_key", "securecookie accepts a single byte", func(c *Config) { c.Secrets.CookieKey = newKey(32) }},
		{"long cookie key", "secrets.cookie_key", "would be cut silently", func(c *Config) { c.Secrets.CookieKey = newKey(96) }},
		{"no cookie key", "secrets.cookie_key", "cookies would be forgeable", func(c *Config) { c.Secrets.CookieKey = "" }},
		{"example cookie key", "secrets.cookie_key", "everybody has it", func(c *Config) { c.Secrets.CookieKey = "REPLACE-ME" }},
		{"typed cookie key", "secrets.cookie_key", "text has far less than 512 bits", func(c *Config) {
			c.Secrets.CookieKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("correct horse battery staple! Zq", 2)))
		}},
		{"zero seal key", "secrets.seal_key", "known to all", func(c *Config) { c.Secrets.SealKey = base64.StdEncoding.EncodeToString(make([]byte, 32)) }},
		{"counting seal key", "secrets.seal_key", "from a tutorial", func(c *Config) {
			k := make([]byte, 32)
			for i := range k {
				k[i] = byte(i + 1)
			}
			c.Secrets.SealKey = base64.StdEncoding.EncodeToString(k)
		}},
		{"seal key inside cookie key", "secrets.cookie_key", "one leak would open both", func(c *Config) {
			k, _ := decodeKey(c.Secrets.CookieKey)
			c.Secrets.SealKey = base64.StdEncoding.EncodeToString(k[32:])
		}},
		{"K08 previous equals current", "secrets.cookie_key_previous", "no rotation took place", func(c *Config) { c.Secrets.CookieKeyPrevious = c.Secrets.CookieKey }},
		{"K08 short previous", "secrets.seal_key_previous", "the old key must be whole", func(c *Config) { c.Secrets.SealKeyPrevious = newKey(16) }},
		{"H03 trust everyone", "trusted_proxies[0]", "every client could choose its address", func(c *Config) { c.TrustedProxies[0] = "0.0.0.0/0" }},
		{"H03 trust everyone, IPv6", "trusted_proxies[0]", "every client could choose its address", func(c *Config) { c.TrustedProxies[0] = "::/0" }},
		{"H03 trust everyone, mapped", "trusted_proxies[0]", "::ffff:0:0/96 is all of IPv4", func(c *Config) { c.TrustedProxies[0] = "::ffff:0.0.0.0/96" }},
		{"H03 trust everyone, by halves", "trusted_proxies[0]", "two halves make a whole", func(c *Config) { c.TrustedProxies = []string{"0.0.0.0/1", "128.0.0.0/1"} }},
		{"H03 trust all global IPv6", "trusted_proxies[0]", "2000::/3 is all there is", func(c *Config) { c.TrustedProxies[0] = "2000::/3" }},
		{"H03 bits beyond the prefix", "trusted_proxies[0]", "a typing mistake", func(c *Config) { c.TrustedProxies[0] = "10.1.2.3/8" }},
		{"a front that is not trusted", "forward_auth.from[0]", "its word for the client's address would not count", func(c *Config) { c.ForwardAuth.From = []string{"192.0.2.1/32"} }},
		{"a front that is wider than what is trusted", "forward_auth.from[0]", "the rest of it is not trusted", func(c *Config) {
			c.TrustedProxies = []string{"10.1.0.0/16"}
			c.ForwardAuth.From = []string{"10.0.0.0/8"}
		}},
		{"a front without bits", "forward_auth.from[0]", "one form", func(c *Config) { c.ForwardAuth.From = []string{"10.1.2.3"} }},
		{"W01 sockets from anywhere", "routes[0].websocket_origins[0]", "every page could open one", func(c *Config) { c.Routes[0].WSOrigins = []string{"*"} }},
		{"W01 sockets from null", "routes[0].websocket_origins[0]", "every sandboxed page is null", func(c *Config) { c.Routes[0].WSOrigins = []string{"null"} }},
		{"sockets of others, and none", "routes[0].websocket_origins", "which is it?", func(c *Config) {
			c.Routes[0].NoWebSockets, c.Routes[0].WSOrigins = true, []string{"https://x.example.com"}
		}},
		{"cors for all", "routes[0].cors.origins[0]", "every page could read it", func(c *Config) { c.Routes[0].CORS.Origins = []string{"*"} }},
		{"cors with a path", "routes[0].cors.origins[0]", "browsers send none", func(c *Config) { c.Routes[0].CORS.Origins = []string{"https://x.example.com/a"} }},
		{"cors for nobody", "routes[0].cors.origins", "it does nothing", func(c *Config) { c.Routes[0].CORS.Credentials = true }},
		{"cors with a wildcard header", "routes[0].cors.headers[0]", "not valid with credentials", func(c *Config) {
			c.Routes[0].CORS = CORS{Origins: []string{"https://x.example.com"}, Headers: []string{"*"}}
		}},
		{"hsts for a second", "routes[0].hsts", "a missing unit", func(c *Config) { c.Routes[0].HSTS = 1 }},
		{"K01 a cookie for everybody", "routes[0].response_headers[0]", "a session of the operator's choice", func(c *Config) {
			c.Routes[0].Answers = []ResponseHeader{{Name: "set-cookie", Value: "a=b"}}
		}},
		{"T01 a length for everybody", "routes[0].response_headers[0]", "framing", func(c *Config) { c.Routes[0].Answers = []ResponseHeader{{Name: "Content-Length", Value: "1"}} }},
		{"C11 a line break", "routes[0].response_headers[0]", "a second header", func(c *Config) { c.Routes[0].Answers = []ResponseHeader{{Name: "X-A", Value: "a\r\nb"}} }},
		{"a header of nothing", "routes[0].response_headers[0]", "it does nothing", func(c *Config) { c.Routes[0].Answers = []ResponseHeader{{Name: "X-A"}} }},
		{"H03 bare address", "trusted_proxies[0]", "one form", func(c *Config) { c.TrustedProxies[0] = "10.1.2.3" }},
		{"H03 proxy listed twice", "trusted_proxies[4]", "one is a mistake", func(c *Config) { c.TrustedProxies = append(c.TrustedProxies, c.TrustedProxies[0]) }},
		{"private listener on every address", "private_listen", "metrics need no sign-in", func(c *Config) { c.PrivateListen = ":9090" }},
		{"private listener on 0.0.0.0", "private_listen", "metrics need no sign-in", func(c *Config) { c.PrivateListen = "0.0.0.0:9090" }},
		{"private listener on a public address", "private_listen", "metrics need no sign-in", func(c *Config) { c.PrivateListen = "203.0.113.5:9090" }},
		{"private listener on the public port", "private_listen", "cannot both listen", func(c *Config) { c.PrivateListen = "127.0.0.1:8081" }},
		{"listen without port", "listen", "no default is safe to guess", func(c *Config) { c.Listen = "127.0.0.1" }},
		{"certificate without key", "tls.key_file", "half a pair would mean plain HTTP", func(c *Config) { c.TLS.CertFile = "/c.pem" }},
		{"key without certificate", "tls.cert_file", "half a pair would mean plain HTTP", func(c *Config) { c.TLS.KeyFile = "/k.pem" }},
		{"organization slug", "organization.slug", "it stands in the SCIM URL", func(c *Config) { c.Organization.Slug = "Acme Inc" }},
		{"require_sso", "require_sso", "unknown must not mean off", func(c *Config) { c.RequireSSO = "true" }},
		{"idle beyond absolute", "session.idle", "it would never end a session", func(c *Config) { c.Session.Idle = 25 * time.Hour }},
		{"idle zero", "session.idle", "no session would live, or all for ever", func(c *Config) { c.Session.Idle = 0 }},
		{"idle of a minute", "session.idle", "uses are written back once a minute", func(c *Config) { c.Session.Idle = 5*time.Minute - time.Second }},
		{"per_member negative", "session.per_member", "neither a limit nor none", func(c *Config) { c.Session.PerMember = -1 }},
		{"per_member without end", "session.per_member", "each sign-in looks at all of them", func(c *Config) { c.Session.PerMember = 1001 }},
		{"node name", "node.name", "it is printed on terminals", func(c *Config) { c.Node.Name = "gate\x1b[2J" }},
		{"idle negative", "session.idle", "out of range", func(c *Config) { c.Session.Idle = -time.Hour }},
		{"sqlite in memory", "database.url", "revocations would be forgotten", func(c *Config) { c.Database.URL = "sqlite::memory:" }},
		{"sqlite parameters", "database.url", "they could switch off foreign keys", func(c *Config) { c.Database.URL = "sqlite:x.db?_pragma=foreign_keys(0)" }},
		{"mysql", "database.url", "not supported", func(c *Config) { c.Database.URL = "mysql://u:p@h/d" }},
		{"postgres without database", "database.url", "the user's name would be guessed", func(c *Config) { c.Database.URL = "postgres://u:p@h" }},
		{"redis by http", "redis.url", "not a Redis URL", func(c *Config) { c.Redis.URL = "http://localhost:6379" }},
		{"redis without host", "redis.url", "localhost would be guessed", func(c *Config) { c.Redis.URL = "redis://" }},
		{"redis without certificate check", "redis.url", "anyone could answer", func(c *Config) { c.Redis.URL = "rediss://h:6379?skip_verify=true" }},
		{"redis options after #", "redis.url", "options would undo our time limits", func(c *Config) { c.Redis.URL = "redis://h:6379/0#x" }},
		{"redis user without password", "redis.url", "Redis would take him for its default user", func(c *Config) { c.Redis.URL = "redis://u@h" }},
		{"redis password with a slash", "redis.url", "the host would be a part of it", func(c *Config) { c.Redis.URL = "redis://u:p/w@h" }},
		{"redis with several hosts", "redis.url", "all but one would be ignored", func(c *Config) { c.Redis.URL = "redis://a,b" }},
		{"redis host twice", "redis.url", "a typing error that costs the spare one", func(c *Config) { c.Redis.URL = "redis+cluster://a:1,b:1,a:1" }},
		{"redis port", "redis.url", "found out at the first dial, long after the start", func(c *Config) { c.Redis.URL = "redis://h:99999" }},
		{"redis IPv6 without brackets", "redis.url", "where would the port begin", func(c *Config) { c.Redis.URL = "redis://::1" }},
		{"redis with an unknown word", "redis.url", "unknown must not mean single", func(c *Config) { c.Redis.URL = "redis+ring://a,b" }},
		{"redis with a plus", "redis.url", "unknown must not mean single", func(c *Config) { c.Redis.URL = "redis+://a" }},
		{"sentinel without name", "redis.url", "sentinels know many masters", func(c *Config) { c.Redis.URL = "redis+sentinel://a,b" }},
		{"sentinel with a number for a name", "redis.url", "the database would be read as", func(c *Config) { c.Redis.URL = "redis+sentinel://a,b/main/x" }},
		{"cluster with a database", "redis.url", "a cluster has only one", func(c *Config) { c.Redis.URL = "redis+cluster://a,b/1" }},
		{"redis prefix with a hash tag", "redis.prefix", "all keys would be in one slot", func(c *Config) {
			c.Redis.URL, c.Redis.Prefix = "redis://h", "{a}:"
		}},
		{"redis prefix without redis", "redis.url", "it would do nothing", func(c *Config) { c.Redis.Prefix = "a:" }},
		{"redis CA without TLS", "redis.ca_file", "nothing would be verified", func(c *Config) {
			c.Redis.URL, c.Redis.CAFile = "redis://h", "/ca.pem"
		}},
		{"sentinel password without sentinels", "redis.sentinel_password", "it would do nothing", func(c *Config) {
			c.Redis.URL, c.Redis.SentinelPassword = "redis://h", "correct-horse"
		}},
		{"sentinel user without password", "redis.sentinel_user", "he could not log in", func(c *Config) {
			c.Redis.URL, c.Redis.SentinelUser = "redis+sentinel://h/main", "u"
		}},
		{"provider slug", "providers[0].id", "it stands in the ACS URL", func(c *Config) { c.Providers[0].ID = "../okta" }},
		{"provider twice", "providers[1].id", "one ACS, two trust anchors", func(c *Config) { c.Providers[1].ID = "okta" }},
		{"protocol unknown", "providers[0].protocol", "deny what is not known", func(c *Config) { c.Providers[0].Protocol = "SAML2" }},
		{"join unknown", "providers[0].join", "unknown must not admit", func(c *Config) { c.Providers[0].Join = "any" }},
		{"join idp with SCIM", "providers[0].join", "unassigning at the IdP must be final", func(c *Config) { c.Providers[0].Join = "idp" }},
		{"join scim without SCIM", "providers[2].join", "nobody could join", func(c *Config) { c.Providers[2].Join = "scim" }},
		{"O13 join idp at Google", "providers[1].join", "the whole world has an account there", func(c *Config) {
			c.Providers[1].Join, c.Providers[1].Issuer = "idp", "https://accounts.google.com"
		}},
		{"O12 join idp at any Entra tenant", "providers[1].join", "every tenant would be admitted", func(c *Config) {
			c.Providers[1].Join, c.Providers[1].Issuer = "idp", "https://login.microsoftonline.com/common/v2.0"
		}},
		{"saml without metadata", "providers[0]", "no trust anchor", func(c *Config) { c.Providers[0].MetadataURL = "" }},
		{"saml with two forms", "providers[0]", "which one is trusted?", func(c *Config) { c.Providers[0].MetadataFile = "/m.xml" }},
		{"S05 saml without certificate", "providers[2].certificate_files", "nothing to verify against", func(c *Config) { c.Providers[2].CertificateFiles = nil }},
		{"saml with oidc keys", "providers[0].client_id", "a key without effect", func(c *Config) { c.Providers[0].ClientID = "x" }},
		{"oidc with saml keys", "providers[1].insecure_allow_sha1", "a key without effect", func(c *Config) { c.Providers[1].InsecureAllowSHA1 = true }},
		{"oidc without issuer", "providers[1].issuer", "no trust anchor", func(c *Config) { c.Providers[1].Issuer = "" }},
		{"oidc without client id", "providers[1].client_id", "no audience to check", func(c *Config) { c.Providers[1].ClientID = "" }},
		{"oidc without secret", "providers[1].client_secret", "a confidential client", func(c *Config) { c.Providers[1].ClientSecret = "" }},
		{"oidc with example secret", "providers[1].client_secret", "everybody has it", func(c *Config) { c.Providers[1].ClientSecret = "your-client-secret-here" }},
		{"unverified e-mail", "providers[1].unverified_email", "an unknown word must not mean trust", func(c *Config) { c.Providers[1].UnverifiedEmail = "trust" }},
		{"refresh for saml", "providers[0].recheck", "a key without effect", func(c *Config) { c.Providers[0].Recheck = time.Hour }},
		{"refresh too often", "providers[1].recheck", "it would be a flood", func(c *Config) { c.Providers[1].Recheck = time.Second }},
		{"refresh negative", "providers[1].recheck", "it would be always due", func(c *Config) { c.Providers[1].Recheck = -time.Minute }},
		{"refresh too seldom", "providers[1].recheck", "a person removed would stay for days", func(c *Config) {
			c.Providers[1].Recheck, c.Session.Absolute = 25*time.Hour, 48*time.Hour
		}},
		{"refresh after the end", "providers[1].recheck", "nobody would ever be asked about", func(c *Config) { c.Providers[1].Recheck = c.Session.Absolute }},
		{"oidc without openid", "providers[1].scopes", "no id_token", func(c *Config) { c.Providers[1].Scopes = []string{"email"} }},
		{"rate", "scim.rate", "nothing would ever pass", func(c *Config) { c.SCIM.Rate = -1 }},
		{"burst", "scim.burst", "nothing would ever pass", func(c *Config) { c.SCIM.Burst = -1 }},
		{"token lifetime short", "scim.token_lifetime", "Entra asks for 60 minutes at least", func(c *Config) { c.SCIM.TokenLifetime = time.Minute }},
		{"token lifetime long", "scim.token_lifetime", "a lost one would be good all day", func(c *Config) { c.SCIM.TokenLifetime = 7 * time.Hour }},
		{"log days", "scim.log_days", "it must end some day", func(c *Config) { c.SCIM.LogDays = 4000 }},
		{"profile unknown", "scim.connections[0].profile", "unknown must not tolerate", func(c *Config) { c.SCIM.Connections[0].Profile = "lax" }},
		{"mail from", "mail.from", "nobody could answer", func(c *Config) { c.Mail.From = "Example <sso@example.com>" }},
		{"mail server with scheme", "mail.server", "it would not be found", func(c *Config) { c.Mail.Server = "smtp://smtp.example.com" }},
		{"mail server with no port", "mail.server", "it would not be found", func(c *Config) { c.Mail.Server = "smtp.example.com:" }},
		{"mail server with a large port", "mail.server", "it would not be found", func(c *Config) { c.Mail.Server = "smtp.example.com:99999" }},
		{"mail server missing", "mail.server", "a section that does nothing", func(c *Config) { c.Mail.Server = "" }},
		{"mail in the clear", "mail.tls", "an invitation on the wire", func(c *Config) { c.Mail.TLS = "none" }},
		{"mail TLS unknown", "mail.tls", "unknown must not be plain", func(c *Config) { c.Mail.TLS = "ssl" }},
		{"mail user alone", "mail.password", "it could not sign in", func(c *Config) { c.Mail.Password = "" }},
		{"mail rate", "mail.rate", "nothing would ever be sent", func(c *Config) { c.Mail.Rate = -1 }},
		{"activation unknown", "scim.activation", "unknown must not activate", func(c *Config) { c.SCIM.Activation = "now" }},
		{"SCIM under nothing", "scim.connections[0].provider", "no IdP behind it", func(c *Config) { c.SCIM.Connections[0].Provider = "gone" }},
		{"SCIM under oidc", "scim.connections[0].provider", "SAML only", func(c *Config) { c.SCIM.Connections[0].Provider = "keycloak" }},
		{"SCIM twice", "scim.connections[1].provider", "two truths", func(c *Config) {
			c.SCIM.Connections = append(c.SCIM.Connections, SCIMConnection{Provider: "okta", Match: "userName"})
		}},
		{"match unknown", "scim.connections[0].match", "e-mail never links accounts (G6)", func(c *Config) { c.SCIM.Connections[0].Match = "email" }},
		{"C01 short token", "scim.connections[0].tokens[0].token", "guessable", func(c *Config) { c.SCIM.Connections[0].Tokens[0].Token = newKey(32)[:31] }},
		{"C01 repeating token", "scim.connections[0].tokens[0].token", "guessable", func(c *Config) { c.SCIM.Connections[0].Tokens[0].Token = strings.Repeat("ab", 20) }},
		{"C01 example token", "scim.connections[0].tokens[0].token", "everybody has it", func(c *Config) {
			c.SCIM.Connections[0].Tokens[0].Token = "example-token-for-scim-connections-01"
		}},
		{"C01 token not for a header", "scim.connections[0].tokens[0].token", "it would be cut at the space", func(c *Config) { c.SCIM.Connections[0].Tokens[0].Token = newKey(20) + " " + newKey(20) }},
		{"C01 one token twice", "scim.connections[0].tokens[1].token", "revoking one would revoke nothing", func(c *Config) {
			c.SCIM.Connections[0].Tokens[1].Token = c.SCIM.Connections[0].Tokens[0].Token
		}},
		{"no routes", "routes", "nothing to protect", func(c *Config) { c.Routes = nil }},
		{"route name twice", "routes[1].name", "logs name routes", func(c *Config) { c.Routes[1].Name = "app" }},
		{"routes overlap", "routes[1].origins[0]", "who answers?", func(c *Config) { c.Routes[1].PathPrefix = "/" }},
		{"routes overlap by a slash", "routes[2].origins[0]", "/api/ is /api", func(c *Config) {
			c.Routes = append(c.Routes, Route{Name: "third", Origins: []string{"https://app.example.com"}, PathPrefix: "/api/", Upstream: "http://127.0.0.1:1"})
		}},
		{"route lists an origin twice", "routes[0].origins[1]", "one is a mistake", func(c *Config) { c.Routes[0].Origins[1] = "https://app.example.com" }},
		{"route without origin", "routes[0].origins", "it would match nothing, or all", func(c *Config) { c.Routes[0].Origins = nil }},
		{"origin without scheme", "routes[0].origins[0]", "guessing would be plain http", func(c *Config) { c.Routes[0].Origins[0] = "app.example.com" }},
		{"wildcard for a whole top level", "routes[0].origins[0]", "it would be everybody's", func(c *Config) { c.Routes[0].Origins[0] = "https://*.com" }},
		{"wildcard in the middle", "routes[0].origins[0]", "one label in front, as in certificates", func(c *Config) { c.Routes[0].Origins[0] = "https://a.*.example.com" }},
		{"wildcard of an address", "routes[0].origins[0]", "an address has no labels", func(c *Config) { c.Routes[0].Origins[0] = "https://*.10.0.0.1" }},
		{"wildcard twice", "routes[1].origins[0]", "who answers?", func(c *Config) {
			c.Routes[0].Origins[0], c.Routes[1].Origins[0], c.Routes[1].PathPrefix = "https://*.apps.example.com", "https://*.apps.example.com", "/"
		}},
		{"method that opens a tunnel", "routes[0].methods[0]", "CONNECT never passes (P08)", func(c *Config) { c.Routes[0].Methods = []string{"CONNECT"} }},
		{"method that is none", "routes[0].methods[0]", "it would be in nobody's way", func(c *Config) { c.Routes[0].Methods = []string{"GET POST"} }},
		{"rule about a method that the route does not take", "routes[1].access[0].methods[0]", "it could never match", func(c *Config) { rule(c, Rule{Allow: AllowMembers, Methods: []string{"PROPFIND"}}) }},
		{"form of paths is a typo", "routes[0].allow[0]", "must not be ignored in silence", func(c *Config) { c.Routes[0].Allow = []string{"encoded_slashes"} }},
		{"form of paths twice", "routes[0].allow[1]", "one is a mistake", func(c *Config) { c.Routes[0].Allow = []string{"encoded_slash", "encoded_slash"} }},
		{"method in lower case", "routes[0].methods[0]", "another method (RFC 9110)", func(c *Config) { c.Routes[0].Methods = []string{"get"} }},
		{"rules beside the short form", "routes[0].access", "which of them counts?", func(c *Config) { c.Routes[0].Access = []Rule{{Allow: AllowMembers}} }},
		{"rule that is never asked", "routes[1].access[1]", "the first decides", func(c *Config) {
			c.Routes[1].Public, c.Routes[1].Teams, c.Routes[1].Access = nil, nil, []Rule{{Allow: AllowMembers}, {Allow: AllowNobody, Paths: []string{"/api/x"}}}
		}},
		{"public rule about people", "routes[1].access[0]", "one of the two is a mistake", func(c *Config) { rule(c, Rule{Allow: AllowPublic, Paths: []string{"/api/x"}, Teams: []string{"a"}}) }},
		{"public rule without paths", "routes[1].access[0].paths", "it would open everything", func(c *Config) { rule(c, Rule{Allow: AllowPublic}) }},
		{"nobody with a condition", "routes[1].access[0]", "one of the two is a mistake", func(c *Config) { rule(c, Rule{Allow: AllowNobody, Roles: []string{"owner"}}) }},
		{"allow is a typo", "routes[1].access[0].allow", "must not mean nobody in silence", func(c *Config) { rule(c, Rule{Allow: "any"}) }},
		{"upstreams beside upstream", "routes[0].upstream", "which of them?", func(c *Config) { c.Routes[0].Upstreams = []string{"http://10.0.0.1:1"} }},
		{"upstreams of two kinds", "routes[0].upstreams[1]", "one transport", func(c *Config) {
			c.Routes[0].Upstream, c.Routes[0].Upstreams = "", []string{"http://10.0.0.1:1", "https://10.0.0.2:1"}
		}},
		{"relative socket", "routes[0].upstream", "relative to what?", func(c *Config) { c.Routes[0].Upstream = "unix:run/app.sock" }},
		{"tls of plain http", "routes[0].backend.tls", "it would be ignored", func(c *Config) { c.Routes[0].Backend.TLS.ServerName = "x" }},
		{"half a client certificate", "routes[0].backend.tls", "not presented", func(c *Config) {
			c.Routes[0].Upstream, c.Routes[0].Backend.TLS.CertFile = "https://10.0.0.1", "x"
		}},
		{"balance by nothing", "routes[0].backend.balance", "a typo", func(c *Config) { c.Routes[0].Backend.Balance = "cookie" }},
		{"transport typo", "routes[0].backend.transport", "a typo", func(c *Config) { c.Routes[0].Backend.Transport = "h1" }},
		{"health without path", "routes[0].backend.health", "asks nothing", func(c *Config) { c.Routes[0].Backend.Health.Interval = time.Second }},
		{"health path with query", "routes[0].backend.health.path", "plain", func(c *Config) { c.Routes[0].Backend.Health.Path = "/x?y" }},
		{"nanoseconds", "routes[0].backend.header", "a unit was forgotten", func(c *Config) { c.Routes[0].Backend.Header = 5 }},
		{"negative limit", "routes[0].backend.concurrency", "nonsense", func(c *Config) { c.Routes[0].Backend.Concurrency = -1 }},
		{"two hosts", "routes[0].host", "which of them?", func(c *Config) { c.Routes[0].Host, c.Routes[0].PreserveHost = "a", true }},
		{"host with a path", "routes[0].host", "no host", func(c *Config) { c.Routes[0].Host = "a/b" }},
		{"nothing to strip", "routes[0].strip_prefix", "does nothing", func(c *Config) { c.Routes[0].StripPrefix = true }},
		{"added dots", "routes[0].add_prefix", "two readings", func(c *Config) { c.Routes[0].AddPrefix = "/a/../b" }},
		{"max_age too short", "routes[1].access[0].max_age", "a circle of sign-ins", func(c *Config) { rule(c, Rule{Allow: AllowMembers, MaxAge: time.Minute}) }},
		{"role that does not exist", "routes[1].access[0].roles[0]", "nobody has it", func(c *Config) { rule(c, Rule{Allow: AllowMembers, Roles: []string{"admin"}}) }},
		{"domain with an at sign", "routes[1].access[0].email_domains[0]", "matches nobody", func(c *Config) { rule(c, Rule{Allow: AllowMembers, EmailDomains: []string{"@corp.example"}}) }},
		{"address with host bits", "routes[1].access[0].addresses[0]", "a typo of another network", func(c *Config) { rule(c, Rule{Allow: AllowMembers, Addresses: []string{"10.0.0.1/8"}}) }},
		{"P01 rule path with dots", "routes[1].access[0].paths[0]", "two readings", func(c *Config) { rule(c, Rule{Allow: AllowMembers, Paths: []string{"/api/../x"}}) }},
		{"P06 route on our prefix", "routes[0].path_prefix", "the hand-off lives there", func(c *Config) { c.Routes[0].PathPrefix = "/.SSO/x" }},
		{"P01 encoded prefix", "routes[1].path_prefix", "two readings", func(c *Config) { c.Routes[1].PathPrefix = "/%61pi" }},
		{"P01 public with dots", "routes[0].public[0]", "two readings", func(c *Config) { c.Routes[0].Public[0] = "/assets/../admin" }},
		{"P01 public star in the middle", "routes[0].public[0]", "exact or /* only", func(c *Config) { c.Routes[0].Public[0] = "/a/*/b" }},
		{"P03 public half a name", "routes[0].public[0]", "/public* also opens /publicly", func(c *Config) { c.Routes[0].Public[0] = "/public*" }},
		{"P02 public with query", "routes[0].public[0]", "a path has no query", func(c *Config) { c.Routes[0].Public[0] = "/x?y" }},
		{"P06 public own prefix", "routes[0].public[0]", "never forwarded", func(c *Config) { c.Routes[0].Public[0] = "/.sso/*" }},
		{"P06 public own prefix folded", "routes[0].public[0]", "never forwarded", func(c *Config) { c.Routes[0].Public[0] = "/.SSO/whoami" }},
		{"public relative", "routes[0].public[0]", "matches nothing", func(c *Config) { c.Routes[0].Public[0] = "assets" }},
		{"public outside the prefix", "routes[1].public[0]", "matches nothing", func(c *Config) { c.Routes[1].Public = []string{"/apix"} }},
		{"I02 a provider with our own id", "providers[0].id", "its sessions would pass for a fallback owner's", func(c *Config) { c.Providers[0].ID = "fallback" }},
		{"team not a slug", "routes[0].teams[0]", "matches nobody", func(c *Config) { c.Routes[0].Teams[0] = "Finance Team" }},
		{"upstream with path", "routes[0].upstream", "G3: forwarded as judged", func(c *Config) { c.Routes[0].Upstream = "http://127.0.0.1:3000/base" }},
		{"upstream websocket", "routes[0].upstream", "http carries them", func(c *Config) { c.Routes[0].Upstream = "ws://127.0.0.1:3000" }},
		{"upstream with user", "routes[0].upstream", "a secret in logs", func(c *Config) { c.Routes[0].Upstream = "http://u:p@127.0.0.1:3000" }},
		{"D02 upstream is the gateway", "routes[0].upstream", "a circle", func(c *Config) { c.Routes[0].Upstream = "https://sso.example.com" }},
		{"D02 upstream is the app", "routes[0].upstream", "a circle", func(c *Config) { c.Routes[0].Upstream = "https://APP.example.com:443" }},
		{"D02 upstream is our listener", "routes[0].upstream", "a circle", func(c *Config) { c.Routes[0].Upstream = "http://localhost:8081" }},
		{"upstream is the private listener", "routes[0].upstream", "metrics for all", func(c *Config) { c.Routes[0].Upstream = "http://[::1]:9090" }},
		{"F01 outbound everywhere", "outbound.allow[0]", "the whole filter would be off", func(c *Config) { c.Outbound.Allow[0] = "0.0.0.0/0" }},
		{"F01 outbound metadata", "outbound.allow[0]", "credentials for all who ask", func(c *Config) { c.Outbound.Allow[0] = "169.254.169.254" }},
		{"outbound URL", "outbound.allow[0]", "a host, not a URL", func(c *Config) { c.Outbound.Allow[0] = "https://idp.internal" }},
		{"log level", "log.level", "unknown", func(c *Config) { c.Log.Level = "trace" }},
		{"header bytes", "limits.header_bytes", "out of range", func(c *Config) { c.Limits.HeaderBytes = 1 << 30 }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := benign()
			tc.change(c)
			fs := c.Validate()
			if !has(fs, tc.key) {
				t.Fatalf("accepted, or blamed another key (%s): %v", tc.why, fs)
			}
			for _, f := range fs {
				if f.Problem == "" || f.Fix == "" {
					t.Errorf("fault without problem or fix: %+v", f)
				}
			}
		})
	}
}

func TestBenignTwinsAreAccepted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
	}{
		{"loopback http", func(c *Config) {
			c.URL = "http://localhost:8081"
			c.Routes[0].Origins[0] = "http://localhost:8080"
			c.Routes[1].Origins[0] = "http://127.0.0.1:8080"
		}},
		{"gateway on the app's host with a port of its own", func(c *Config) { c.URL = "https://app.example.com:8443" }},
		{"plain http allowed by name", func(c *Config) { c.InsecurePlainHTTP, c.URL = true, "http://sso.lan" }},
		{"key in the URL alphabet without padding", func(c *Config) {
			k, _ := decodeKey(c.Secrets.SealKey)
			c.Secrets.SealKey = base64.RawURLEncoding.EncodeToString(k)
		}},
		{"two keys", func(c *Config) { c.Secrets.CookieKeyPrevious, c.Secrets.SealKeyPrevious = newKey(64), newKey(32) }},
		{"postgres", func(c *Config) {
			c.Database.URL = "postgres://u:p%40@h1:5432,h2:5432/d?target_session_attrs=read-write"
		}},
		{"postgres by socket", func(c *Config) { c.Database.URL = "postgres:///ssogate?host=/var/run/postgresql" }},
		{"redis", func(c *Config) { c.Redis.URL = "rediss://:pw@redis.internal:6380/2" }},
		{"redis by address", func(c *Config) { c.Redis.URL = "redis://[2001:db8::1]:6379" }},
		{"redis sentinel", func(c *Config) {
			c.Redis.URL = "rediss+sentinel://u:p%2Fw@s1.internal,s2.internal:26380,[::1]:1/my-master/2"
			c.Redis.CAFile, c.Redis.SentinelUser, c.Redis.SentinelPassword = "/ca.pem", "s", "correct-horse"
		}},
		{"redis cluster", func(c *Config) { c.Redis.URL, c.Redis.Prefix = "redis+cluster://a:7000,b:7001,c/", "sso-1:" }},
		{"any free port", func(c *Config) { c.Listen, c.PrivateListen = "127.0.0.1:0", "127.0.0.1:0" }},
		{"pod address", func(c *Config) { c.PrivateListen = "10.1.2.3:9090" }},
		{"oidc join idp of one organisation", func(c *Config) { c.Providers[1].Join = "idp" }},
		{"every kind of upstream", func(c *Config) {
			c.Routes[0].Upstream, c.Routes[0].Upstreams = "", []string{"h2c://10.0.0.1:1", "h2c://10.0.0.2:1"}
			c.Routes[1].Upstream, c.Routes[1].StripPrefix, c.Routes[1].AddPrefix, c.Routes[1].BodyLimit = "unix:/run/app.sock", true, "/base", 1<<20
			c.Routes[1].Backend = Backend{Balance: "cookie:JSESSIONID", Health: Health{Path: "/healthz"}, Silence: time.Minute, Transport: "standard"}
		}},
		{"origin with a wildcard label", func(c *Config) { c.Routes[0].Origins[0] = "https://*.apps.example.com" }},
		{"rules with every kind of condition", func(c *Config) {
			rule(c, Rule{
				Name: "admin", Paths: []string{"/api/admin/*"}, Methods: []string{"GET", "POST"}, Allow: AllowMembers, Teams: []string{"ops"}, Roles: []string{"owner"},
				Members: []string{"ana"}, EmailDomains: []string{"corp.example.com"}, Providers: []string{"okta"}, MaxAge: 15 * time.Minute, Addresses: []string{"10.0.0.0/8"},
			})
		}},
		{"public exact at the prefix", func(c *Config) { c.Routes[1].Public = []string{"/api", "/api/health", "/api/open/*"} }},
		{"whole IPv6 loopback", func(c *Config) { c.TrustedProxies = []string{"::1/128", "127.0.0.0/8"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := benign()
			tc.change(c)
			if fs := c.Validate(); len(fs) > 0 {
				t.Fatalf("refused: %v", fs)
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	c := benign()
	c.URL = "sso"
	c.Secrets.SealKey = ""
	c.Session.Idle = 0
	c.Routes[1].Upstream = "nonsense"
	fs := c.Validate()
	for _, key := range []string{"url", "secrets.seal_key", "session.idle", "routes[1].upstream"} {
		if !has(fs, key) {
			t.Errorf("no fault for %s in %v", key, fs)
		}
	}
}

func TestValidateChangesNothing(t *testing.T) {
	c := benign()
	before := text(*c) + c.Secrets.CookieKey + c.Secrets.SealKey
	c.Validate()
	if after := text(*c) + c.Secrets.CookieKey + c.Secrets.SealKey; after != before {
		t.Fatal("Validate is not pure")
	}
}

func TestKeysAreDecodedCurrentFirst(t *testing.T) {
	c := benign()
	c.Secrets.CookieKeyPrevious = newKey(CookieKeySize)
	keys := c.CookieKeys()
	if len(keys) != 2 || base64.StdEncoding.EncodeToString(keys[0]) != c.Secrets.CookieKey {
		t.Fatalf("K08: want current then previous, got %d keys", len(keys))
	}
	if seal := c.SealKeys(); len(seal) != 1 || len(seal[0]) != SealKeySize {
		t.Fatalf("want one seal key of %d bytes", SealKeySize)
	}
}

func TestDrawnKeysAreNeverCalledGuessable(t *testing.T) {
	for range 20_000 {
		k := make([]byte, SealKeySize)
		_, _ = rand.Read(k)
		if guessable(k) {
			t.Fatalf("a random key was refused: %x", k)
		}
	}
}

// write makes a config file with the mode init gives it.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// faultsOf loads and answers the faults of the typed error.
func faultsOf(t *testing.T, path string, env ...string) []Fault {
	t.Helper()
	c, err := Load(path, env)
	if err == nil {
		return nil
	}
	if c != nil {
		t.Error("a refused config was handed out")
	}
	var e *Error
	if !errors.As(err, &e) || len(e.Faults) == 0 {
		t.Fatalf("want *config.Error with faults, got %v", err)
	}
	return e.Faults
}
