package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Validate reports every fault at once, in the order of the file; none means
// safe to start. It is pure: it reads c and nothing else (what needs the disk is
// checked by [Load]), so it can judge a Config made in code too.
func (c *Config) Validate() []Fault {
	fs := &faults{}
	c.validateListeners(fs)
	c.validateOrganization(fs)
	c.validateSecrets(fs)
	c.validateStores(fs)
	c.validateLimits(fs)
	c.validateProviders(fs)
	c.validateSCIM(fs)
	c.validateMail(fs)
	c.validateMachineIssuers(fs)
	c.validateRoutes(fs)
	c.validateOutbound(fs)
	return fs.list
}

// softWarnings are choices that are allowed by name and should not be forgotten.
func (c *Config) softWarnings() []Fault {
	fs := &faults{}
	if c.InsecurePlainHTTP {
		fs.add("insecure_plain_http", "cookies and sign-ins travel unencrypted", "put TLS in front and remove it")
	}
	for i, p := range c.Providers {
		if p.InsecureAllowSHA1 {
			fs.add(join(index("providers", i), "insecure_allow_sha1"), "SHA-1 signatures can be forged", "have the identity provider sign with SHA-256")
		}
	}
	for i, r := range c.Routes {
		if slices.Contains(r.Public, "/*") {
			fs.add(join(index("routes", i), "public"), `"/*" opens the whole application to everyone`, "list the paths that must be open")
		}
	}
	return fs.list
}

// origin checks one of our own origins. It must be written in the one canonical
// spelling: cookies, redirects and SAML destinations are compared byte for byte.
func (c *Config) origin(fs *faults, key, text string) (Origin, bool) {
	o, problem, fix := ParseOrigin(text)
	if problem != "" {
		fs.add(key, problem, fix)
		return o, false
	}
	if o.String() != text {
		fs.add(key, "is not in its usual spelling", "write "+o.String())
	}
	c.plainHTTP(fs, key, o)
	return o, true
}

// plainHTTP refuses http where anyone on the path could read or change it.
func (c *Config) plainHTTP(fs *faults, key string, o Origin) {
	if o.Scheme == "http" && !o.Loopback() && !c.InsecurePlainHTTP {
		fs.add(key, "plain http on a host that is not loopback",
			"use https:// (TLS may end at a front proxy), or set insecure_plain_http: true for a closed test network")
	}
}

func (c *Config) validateListeners(fs *faults) {
	gateway, ok := c.origin(fs, "url", c.URL)

	_, public, listening := listenAddr(c.Listen)
	if !listening {
		fs.add("listen", "not an address to listen on", `write it like ":8443" or "127.0.0.1:8081"`)
	}
	host, private, good := listenAddr(c.PrivateListen)
	switch {
	case !good:
		fs.add("private_listen", "not an address to listen on", `write it like "127.0.0.1:9090"`)
	case !privateHost(host):
		// Health, metrics and profiles need no sign-in: they must not face the world.
		fs.add("private_listen", "reachable from everywhere", `use a loopback or private address, e.g. "127.0.0.1:9090" or the pod's own`)
	case listening && private == public && public != 0:
		fs.add("private_listen", "the same port as listen", "use another port")
	}

	t := c.TLS
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		fs.add("tls.key_file", "is not set, but tls.cert_file is", "set both, or neither behind a TLS front")
	case t.CertFile == "" && t.KeyFile != "":
		fs.add("tls.cert_file", "is not set, but tls.key_file is", "set both, or neither behind a TLS front")
	case t.CertFile != "" && ok && gateway.Scheme == "http":
		fs.add("url", "is http, but the listener has a certificate", "write https://, or remove tls")
	}
	for i, p := range t.Certificates {
		at := index("tls.certificates", i)
		if p.CertFile == "" || p.KeyFile == "" {
			fs.add(at, "needs cert_file and key_file", "set both")
		}
		if t.CertFile == "" {
			fs.add("tls.cert_file", "is not set, but tls.certificates are", "put the first certificate there: it is for clients that name no host")
			break
		}
	}
	for i, p := range c.TrustedProxies {
		if problem, fix := trustedProxy(p); problem != "" {
			fs.add(index("trusted_proxies", i), problem, fix)
		}
	}
	fs.unique("trusted_proxies", c.TrustedProxies)
	c.validateFronts(fs)
}

// validateFronts wants what asks for verdicts among what is trusted to say who the
// client is: rules about addresses would otherwise be about the proxy's own.
func (c *Config) validateFronts(fs *faults) {
	for i, text := range c.ForwardAuth.From {
		key := index("forward_auth.from", i)
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || p != p.Masked():
			fs.add(key, "not a network", "write it like 10.0.0.7/32")
		case !slices.ContainsFunc(c.TrustedProxies, func(t string) bool {
			o, err := netip.ParsePrefix(t)
			return err == nil && o.Bits() <= p.Bits() && o.Contains(p.Addr())
		}):
			fs.add(key, "is not within trusted_proxies", "list the proxy there too: it tells the address of the client")
		}
	}
	fs.unique("forward_auth.from", c.ForwardAuth.From)
}

// privateHost reports a listener host that the Internet cannot reach.
func privateHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast())
}

// trustedProxy checks a network whose X-Forwarded-For is believed. Whoever is in
// it chooses his own address, so a network that holds the Internet, in whatever
// spelling, is refused (row H03).
func trustedProxy(s string) (problem, fix string) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
			return "an address without its prefix length", fmt.Sprintf("write %s/%d", ip, ip.BitLen())
		}
		return "not a network", `write it like "10.0.0.0/8" or "192.0.2.7/32"`
	}
	switch {
	case p.Addr().Is4In6():
		return "an IPv4 network written as IPv6", "write the IPv4 form"
	case p.Bits() < 8 && p.Addr().Is4(), p.Bits() < 16 && p.Addr().Is6() && !p.Addr().IsPrivate():
		return "trusts a large part of the Internet", "list the addresses of your own proxies"
	case p.Masked() != p:
		return "has bits beyond its prefix length", "write " + p.Masked().String()
	}
	return "", ""
}

func (c *Config) validateOrganization(fs *faults) {
	if !slug(c.Organization.Slug) {
		fs.add("organization.slug", "not a slug", slugFix)
	}
	fs.label("organization.name", c.Organization.Name)
	fs.label("organization.support", c.Organization.Support)
	fs.oneOf("require_sso", c.RequireSSO, RequireSSOOn, RequireSSOOff, RequireSSOConsole)
}

func (c *Config) validateLimits(fs *faults) {
	s := c.Session
	// Nodes learn of each other's requests from the store, and each writes a use back
	// at most once a minute: a shorter limit would be wrong by a quarter of itself.
	fs.between("session.idle", s.Idle, 5*time.Minute, 30*24*time.Hour)
	fs.between("session.absolute", s.Absolute, time.Minute, 30*24*time.Hour)
	if s.Idle > s.Absolute {
		fs.addf("session.idle", "make it shorter, or session.absolute longer", "%s is longer than session.absolute (%s): it would never end a session", s.Idle, s.Absolute)
	}
	fs.within("session.per_member", s.PerMember, 0, 1000)
	fs.label("node.name", c.Node.Name)
	fs.between("node.drain_delay", c.Node.DrainDelay, 0, time.Minute)
	fs.between("streams.lease_grace", c.Streams.LeaseGrace, time.Second, 5*time.Minute)
	fs.within("streams.per_session", c.Streams.PerSession, 1, 10_000)
	fs.within("streams.total", c.Streams.Total, 1, 1_000_000)
	if c.Streams.PerSession > c.Streams.Total {
		fs.add("streams.per_session", "more than streams.total", "one session must not be able to use up everything")
	}
	fs.within("limits.header_bytes", c.Limits.HeaderBytes, 4<<10, 1<<20)
	fs.within("limits.pending_sign_ins", c.Limits.PendingSignIns, 100, 10_000_000)
	fs.between("limits.upstream_dial", c.Limits.UpstreamDial, 100*time.Millisecond, time.Minute)
	fs.between("limits.upstream_header", c.Limits.UpstreamHeader, time.Second, time.Hour)
	fs.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	fs.oneOf("log.format", c.Log.Format, "text", "json")
}

// validateOutbound refuses to allow what no call of ours may ever reach: the
// metadata services of clouds hand out credentials to whoever asks (row F01).
func (c *Config) validateOutbound(fs *faults) {
	for i, a := range c.Outbound.Allow {
		key := index("outbound.allow", i)
		if p, err := netip.ParsePrefix(a); err == nil {
			switch {
			case p.Masked() != p:
				fs.add(key, "has bits beyond its prefix length", "write "+p.Masked().String())
			case p.Bits() < 8:
				fs.add(key, "allows a large part of all addresses", "list the networks of your identity providers")
			}
			continue
		}
		host := a
		if h, _, ok := listenAddr(a); ok && h != "" {
			host = h
		}
		name, ok := hostname(strings.Trim(host, "[]"))
		switch {
		case !ok:
			fs.add(key, "neither a host nor a network", `write it like "idp.internal", "idp.internal:8443" or "10.20.0.0/16"`)
		case metadataHost(name):
			fs.add(key, "a cloud metadata service", "remove it: it is never called")
		}
	}
	fs.unique("outbound.allow", c.Outbound.Allow)
}

func metadataHost(name string) bool {
	return slices.Contains([]string{
		"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "metadata.google.internal", "metadata",
	}, name)
}

// Small checks shared by all parts.

func (fs *faults) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		fs.add(key, "unknown value", `write one of "`+strings.Join(allowed, `", "`)+`"`)
	}
}

func (fs *faults) between(key string, d, low, high time.Duration) {
	if d < low || d > high {
		fs.addf(key, fmt.Sprintf("choose from %s to %s", low, high), "%s is out of range", d)
	}
}

func (fs *faults) within(key string, n, low, high int) {
	if n < low || n > high {
		fs.addf(key, fmt.Sprintf("choose from %d to %d", low, high), "%d is out of range", n)
	}
}

// label checks a text that people see. It is escaped wherever it is shown; the
// limit keeps pages and e-mails readable.
func (fs *faults) label(key, s string) {
	if len(s) > 200 || strings.ContainsFunc(s, isControl) {
		fs.add(key, "too long or with control characters", "use at most 200 characters on one line")
	}
}

// unique refuses a list that says one thing twice: one of the two is a mistake.
func (fs *faults) unique(key string, list []string) {
	seen := map[string]bool{}
	for i, s := range list {
		if seen[s] {
			fs.add(index(key, i), "listed twice", "remove one")
		}
		seen[s] = true
	}
}
