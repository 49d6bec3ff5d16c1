package config

import "time"

// Config is one loaded boot file. Keys are the `key` tags; lists, never maps,
// so that ids keep their case and order. Durations need a unit ("90s"), sizes
// are bytes or with a unit ("16MiB"). Fields tagged `secret` are never printed:
// see redact.go. After [Load] the content of every *_file secret is in the plain
// field beside it, the *_file field is empty, and every other path is absolute.
//
// A Config is read by many goroutines and written by none once loaded.
type Config struct {
	URL               string   `key:"url"`            // gateway origin, e.g. https://sso.example.com
	Listen            string   `key:"listen"`         // public listener, default ":8443" with tls, "127.0.0.1:8081" without
	PrivateListen     string   `key:"private_listen"` // health and metrics, default 127.0.0.1:9090
	Profiling         bool     `key:"profiling"`      // /debug/pprof/ on the private listener
	TLS               TLS      `key:"tls"`
	InsecurePlainHTTP bool     `key:"insecure_plain_http"` // plain http on a URL that is not loopback
	TrustedProxies    []string `key:"trusted_proxies"`     // CIDRs whose X-Forwarded-For is believed; default none

	ForwardAuth ForwardAuth `key:"forward_auth"`

	Organization Organization `key:"organization"`
	RequireSSO   string       `key:"require_sso"` // "on", "off" or "console" (default: decided in the console)
	Secrets      Secrets      `key:"secrets"`
	Database     Database     `key:"database"`
	Redis        Redis        `key:"redis"`
	Session      Session      `key:"session"`
	Node         Node         `key:"node"`
	Providers    []Provider   `key:"providers"`
	SCIM         SCIM         `key:"scim"`
	Mail         Mail         `key:"mail"`
	Routes       []Route      `key:"routes"`
	Streams      Streams      `key:"streams"`
	Outbound     Outbound     `key:"outbound"`
	Limits       Limits       `key:"limits"`
	Log          Log          `key:"log"`

	MachineIssuers []MachineIssuer `key:"machine_issuers"`

	warnings []Fault // found by Load, which alone sees file modes
}

// TLS are certificate files for the public listener; all empty = plain HTTP
// behind a TLS front.
type TLS struct {
	CertFile     string        `key:"cert_file"` // also where no other one fits the name asked for
	KeyFile      string        `key:"key_file"`
	Certificates []Certificate `key:"certificates"` // for further hosts
}

// Certificate is a chain and its key, as PEM files.
type Certificate struct {
	CertFile string `key:"cert_file"`
	KeyFile  string `key:"key_file"`
}

// ForwardAuth lets proxies of another make ask for verdicts at /.sso/auth/.
type ForwardAuth struct {
	From []string `key:"from"` // CIDRs they ask from, within trusted_proxies; default none
}

// Organization is who the gateway belongs to.
type Organization struct {
	Slug    string `key:"slug"`
	Name    string `key:"name"`
	Support string `key:"support"` // shown to refused people
}

// Secrets are base64 keys of 32 bytes (64 for cookie). The first is current, the
// second also accepted: the one before, or the one to come.
type Secrets struct {
	CookieKey             string `key:"cookie_key" secret:"yes"`
	CookieKeyFile         string `key:"cookie_key_file"`
	CookieKeyPrevious     string `key:"cookie_key_previous" secret:"yes"`
	CookieKeyPreviousFile string `key:"cookie_key_previous_file"`
	SealKey               string `key:"seal_key" secret:"yes"`
	SealKeyFile           string `key:"seal_key_file"`
	SealKeyPrevious       string `key:"seal_key_previous" secret:"yes"`
	SealKeyPreviousFile   string `key:"seal_key_previous_file"`
}

// Database is "sqlite:PATH" (default sqlite:ssogate.db) or a postgres:// URL.
type Database struct {
	URL     string `key:"url" secret:"url"`
	URLFile string `key:"url_file"`
}

// Redis keeps sessions and pending sign-ins when set (see [ParseRedisURL]);
// empty keeps them in the database.
type Redis struct {
	URL                  string `key:"url" secret:"url"`
	URLFile              string `key:"url_file"`
	Prefix               string `key:"prefix"`        // of all keys and channels, default "ssogate:"
	CAFile               string `key:"ca_file"`       // PEM; the system's CAs when empty
	SentinelUser         string `key:"sentinel_user"` // of the sentinels themselves
	SentinelPassword     string `key:"sentinel_password" secret:"yes"`
	SentinelPasswordFile string `key:"sentinel_password_file"`
}

// Session limits.
type Session struct {
	Idle      time.Duration `key:"idle"`       // default 8h
	Absolute  time.Duration `key:"absolute"`   // default 24h
	PerMember int           `key:"per_member"` // at once; 0, the default, is no limit
}

// Node is this process among the others of the installation.
type Node struct {
	Name       string        `key:"name"`        // a label in lists and messages; default: the host name
	DrainDelay time.Duration `key:"drain_delay"` // from not ready to no new connections, default 0s
}

// Provider declares an identity provider; it is then managed by configuration.
type Provider struct {
	ID       string `key:"id"`       // slug in URLs
	Name     string `key:"name"`     // shown on the sign-in page
	Preset   string `key:"preset"`   // okta, entra, auth0, onelogin, google, github: that product's names and habits
	Protocol string `key:"protocol"` // "saml", "oidc" or "github"; a preset implies it
	Join     string `key:"join"`     // "idp", "scim" or "invitation"
	// Groups is what groups in assertions do: "" nothing, "teams" they are the member's
	// teams. Without a SCIM connection only: that one says who is in which team.
	Groups string `key:"groups"`
	// Domains are e-mail domains whose people are led straight to this provider.
	Domains []string `key:"domains"`

	MetadataURL       string   `key:"metadata_url"`
	MetadataFile      string   `key:"metadata_file"`
	EntityID          string   `key:"entity_id"`
	SSOURL            string   `key:"sso_url"`
	CertificateFiles  []string `key:"certificate_files"`
	SLOURL            string   `key:"slo_url"`     // with entity_id; metadata names it itself
	AutoAccept        bool     `key:"auto_accept"` // new certificates and endpoints in metadata_url need no approval
	Binding           string   `key:"binding"`     // of AuthnRequests: "redirect" (default) or "post"
	UnsignedRequests  bool     `key:"unsigned_requests"`
	ForceAuthn        bool     `key:"force_authn"`    // ask for credentials at every sign-in
	NameIDFormat      string   `key:"name_id_format"` // asked for; empty asks for none
	AuthnContext      []string `key:"authn_context"`  // asked for and then required of the answer
	InsecureAllowSHA1 bool     `key:"insecure_allow_sha1"`

	Issuer           string   `key:"issuer"`
	ClientID         string   `key:"client_id"`
	ClientSecret     string   `key:"client_secret" secret:"yes"`
	ClientSecretFile string   `key:"client_secret_file"`
	Scopes           []string `key:"scopes"`
	UnverifiedEmail  string   `key:"unverified_email"` // "refuse" (default) the sign-in, or "drop" the address
	// Recheck asks the provider again this often whether somebody may still be
	// signed in; 0 (default) never does.
	Recheck       time.Duration `key:"recheck"`
	HostedDomains []string      `key:"hosted_domains"` // Google Workspace: hd claim, any of them
	// DirectoryKeyFile is a Google service account (JSON) that reads groups in the name
	// of DirectoryAdmin.
	DirectoryKeyFile string `key:"directory_key_file"`
	DirectoryAdmin   string `key:"directory_admin"`

	BaseURL       string   `key:"base_url"`      // GitHub Enterprise Server; default https://github.com
	Organizations []string `key:"organizations"` // GitHub: active membership of any of them is needed
	Teams         []string `key:"teams"`         // GitHub: org/team slugs, any of which may sign in

	Attributes Attributes `key:"attributes"`
}

// Attributes name the IdP's attributes or claims, in order of preference.
type Attributes struct {
	// Subject is the stable identifier; empty means NameID (SAML) or sub (OpenID).
	Subject     []string `key:"subject"`
	UserName    []string `key:"user_name"`
	Email       []string `key:"email"`
	DisplayName []string `key:"display_name"`
	GivenName   []string `key:"given_name"`
	FamilyName  []string `key:"family_name"`
	Groups      []string `key:"groups"`
}

// SCIM declares connections, each under a SAML provider declared above.
type SCIM struct {
	Activation    string           `key:"activation"`     // invitation (default), first_sign_in, immediate
	Rate          int              `key:"rate"`           // requests a second of each connection on this node, default 200
	Burst         int              `key:"burst"`          // at once, default 500
	TokenLifetime time.Duration    `key:"token_lifetime"` // of OAuth 2.0 access tokens, 60m (default) to 6h
	LogDays       int              `key:"log_days"`       // of the flight recorder, default 30
	Connections   []SCIMConnection `key:"connections"`
}

// SCIMConnection enables SCIM for a provider.
type SCIMConnection struct {
	Provider   string      `key:"provider"`
	Match      string      `key:"match"` // userName (default) or externalId
	MaySetRole bool        `key:"may_set_role"`
	Profile    string      `key:"profile"` // auto (default) or strict
	Tokens     []SCIMToken `key:"tokens"`  // more are made with `ssogate scim token create`
}

// SCIMToken is a bearer token known to the config: at least 32 characters.
type SCIMToken struct {
	Name      string `key:"name"`
	Token     string `key:"token" secret:"yes"`
	TokenFile string `key:"token_file"`
}

// Mail is the SMTP server for invitations; without one no mail is sent, and a
// provisioned member accepts at his first sign-in.
type Mail struct {
	Server       string `key:"server"` // host[:port]; default port 587, 465 with tls: tls
	TLS          string `key:"tls"`    // starttls (default), tls, or none for a server on this machine
	User         string `key:"user"`
	Password     string `key:"password" secret:"yes"`
	PasswordFile string `key:"password_file"`
	From         string `key:"from"`
	FromName     string `key:"from_name"` // default: the organisation's name
	Rate         int    `key:"rate"`      // letters a minute, of all nodes together; default 60
	CAFile       string `key:"ca_file"`   // PEM; the system's CAs when empty
}

// MachineIssuer signs the JWTs of programs, which then need no service token. A route
// says whether it takes them.
type MachineIssuer struct {
	Name        string        `key:"name"`         // slug; its machines are NAME/subject
	Issuer      string        `key:"issuer"`       // the iss claim, exactly
	Audience    string        `key:"audience"`     // this gateway, as one of the aud claim
	JWKSURL     string        `key:"jwks_url"`     // its keys; default: by its discovery document
	Algorithms  []string      `key:"algorithms"`   // default: every asymmetric one
	Subject     string        `key:"subject"`      // claim that names a machine, default sub
	TeamsClaim  string        `key:"teams_claim"`  // claim whose values mean teams
	Teams       []MachineTeam `key:"teams"`        // which means which
	MaxLifetime time.Duration `key:"max_lifetime"` // of a token, from iat to exp; default 2h
}

// MachineTeam gives machines whose claim has a value the slug of a team.
type MachineTeam struct {
	Value string `key:"value"`
	Team  string `key:"team"`
}

// RouteMachines says which bearers a route takes besides sessions.
type RouteMachines struct {
	Tokens  bool     `key:"tokens"`  // service tokens that name the route
	Issuers []string `key:"issuers"` // names of machine_issuers
}

// Route sends requests of hosts and a path prefix to an upstream. It has more fields
// than other structs: it is where an operator describes one application.
type Route struct {
	Name         string           `key:"name"`
	Origins      []string         `key:"origins"`                 // app origins, e.g. https://app.example.com or https://*.apps.example.com
	PathPrefix   string           `key:"path_prefix"`             // default "/"
	Methods      []string         `key:"methods"`                 // that may be used at all; empty = the usual ones
	Allow        []string         `key:"allow"`                   // odd forms that paths may have, see [PathForms]; default none
	Upstream     string           `key:"upstream"`                // http://, https://, h2c:// URL or unix:/path
	Upstreams    []string         `key:"upstreams"`               // instead, where there are several of one kind
	Backend      Backend          `key:"backend"`                 // how they are reached
	Public       []string         `key:"public"`                  // exact paths or "/dir/*"
	Teams        []string         `key:"teams"`                   // slugs, any of which may pass; empty = any member
	Access       []Rule           `key:"access"`                  // instead of public and teams; the first that matches decides
	Host         string           `key:"host"`                    // sent to the application; default the upstream's
	PreserveHost bool             `key:"preserve_host"`           // the browser's instead
	StripPrefix  bool             `key:"strip_prefix"`            // take path_prefix off
	AddPrefix    string           `key:"add_prefix"`              // put before what is sent then
	BodyLimit    int              `key:"body_limit" unit:"bytes"` // of one request; 0 (default) = none
	NoWebSockets bool             `key:"no_websockets"`           // upgrades are refused
	WSOrigins    []string         `key:"websocket_origins"`       // beside the app's own
	CORS         CORS             `key:"cors"`                    // pages of other origins that may call it
	SharedCache  bool             `key:"shared_cache"`            // the application says what shared caches keep
	HSTS         time.Duration    `key:"hsts"`                    // default: as the application says
	Answers      []ResponseHeader `key:"response_headers"`        // added to what it answers
	KeepPosts    bool             `key:"keep_posts"`              // a form that meets a session that ran out is kept over the sign-in
	Identity     Identity         `key:"identity"`                // how the application is told who asks
	Logout       Logout           `key:"logout"`                  // how its sign-out and ours go together

	Machines RouteMachines `key:"machines"`
	// Authorization is what becomes of that header of a client: "strip" keeps it from the
	// application, "pass" hands it on also where it was the JWT that let the machine in.
	// "" (default) hands it on unless ssogate has used it. A service token never passes.
	Authorization string `key:"authorization"`
}

// CORS lets scripts of other origins call a route. The gate answers their preflights.
type CORS struct {
	Origins     []string      `key:"origins"`     // exactly, never "*"
	Methods     []string      `key:"methods"`     // default: those of the route
	Headers     []string      `key:"headers"`     // that may be sent
	Expose      []string      `key:"expose"`      // that may be read
	Credentials bool          `key:"credentials"` // with cookies
	MaxAge      time.Duration `key:"max_age"`     // that a browser remembers; default its own
}

// ResponseHeader is added to what an application answers.
type ResponseHeader struct {
	Name    string `key:"name"`
	Value   string `key:"value"`   // empty takes the application's away
	Replace bool   `key:"replace"` // also what it says itself
}

// Backend is how a route's upstreams are reached. Zero values mean the defaults named.
type Backend struct {
	TLS         BackendTLS    `key:"tls"`         // of https upstreams
	Balance     string        `key:"balance"`     // least_connections (default), header:NAME or cookie:NAME
	Health      Health        `key:"health"`      // asks them how they are
	Dial        time.Duration `key:"dial"`        // default limits.upstream_dial
	Header      time.Duration `key:"header"`      // until an answer begins; default limits.upstream_header
	Idle        time.Duration `key:"idle"`        // how long an unused connection is kept, default 50s
	Silence     time.Duration `key:"silence"`     // without a byte inside an answer; default none
	Concurrency int           `key:"concurrency"` // requests at once at each, streams not counted; default 4096
	Queue       int           `key:"queue"`       // that wait for their turn; default concurrency
	QueueWait   time.Duration `key:"queue_wait"`  // and for how long; default 10s
	NoRetries   bool          `key:"no_retries"`  // also not of what is safe to repeat
	Transport   string        `key:"transport"`   // direct (default; http and unix) or standard
}

// BackendTLS is how an https application is recognized, and how it recognizes us.
type BackendTLS struct {
	CAFile     string `key:"ca_file"`     // PEM; the system's CAs when empty
	CertFile   string `key:"cert_file"`   // our certificate
	KeyFile    string `key:"key_file"`    //
	ServerName string `key:"server_name"` // in its certificate; default the upstream's host
}

// Health checks upstreams; without a path only failing requests tell.
type Health struct {
	Path      string        `key:"path"`      // asked by GET; below 400 is good
	Interval  time.Duration `key:"interval"`  // default 10s
	Timeout   time.Duration `key:"timeout"`   // default 2s
	Unhealthy int           `key:"unhealthy"` // failures in a row, default 3
	Healthy   int           `key:"healthy"`   // successes in a row, default 2
}

// Rule says who may pass to some of a route's paths. Every list that is not empty
// must be met, by one entry of it.
type Rule struct {
	Name    string   `key:"name"`    // for log and page; default access[i]
	Paths   []string `key:"paths"`   // exact or "/dir/*"; empty = every path
	Methods []string `key:"methods"` // empty = every method
	Allow   string   `key:"allow"`   // "public", "members" (default) or "nobody"

	Teams        []string      `key:"teams"`         // slugs
	Roles        []string      `key:"roles"`         // member, manager, owner
	Members      []string      `key:"members"`       // ids or user names
	EmailDomains []string      `key:"email_domains"` // only from a provider whose domains name them
	Providers    []string      `key:"providers"`     // ids
	MaxAge       time.Duration `key:"max_age"`       // since credentials were shown; 0 (default) = any
	Addresses    []string      `key:"addresses"`     // of clients: CIDRs
	Machines     []string      `key:"machines"`      // names, "ISSUER/subject" or "ISSUER/*"; people are none
}

// Streams are long-lived responses.
type Streams struct {
	LeaseGrace time.Duration `key:"lease_grace"` // default 10s
	PerSession int           `key:"per_session"` // open streams and requests per session, default 200
	Total      int           `key:"total"`       // default 20000
}

// Outbound lists private hosts or CIDRs that ssogate may call (metadata, discovery).
type Outbound struct {
	Allow []string `key:"allow"`
}

// Limits of the public listener.
type Limits struct {
	HeaderBytes    int           `key:"header_bytes" unit:"bytes"` // default 64KiB
	PendingSignIns int           `key:"pending_sign_ins"`          // default 20000 (C13)
	UpstreamDial   time.Duration `key:"upstream_dial"`             // default 3s
	UpstreamHeader time.Duration `key:"upstream_header"`           // default 60s
}

// Log is where and how to log.
type Log struct {
	Level  string `key:"level"`  // debug, info (default), warn, error
	Format string `key:"format"` // text or json (default)
}
