package config

import (
	"slices"
	"strings"
	"time"
)

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
