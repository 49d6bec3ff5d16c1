package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
)

// gate is one ssogate and how it was made.
type gate struct {
	gateSpec
	bin, config, dir   string
	url, addr, private string // gateway origin, and the listeners
	process            *process
	registered         bool
}

// gateSpec is what is special about one.
type gateSpec struct {
	name  string
	redis string // URL; empty = embedded
	app   string // the application's origin, where another proxy has it; empty = its own
	route string // more lines of the route, and routes; APP stands for the origin
	more  string // more of the config
}

// prepare writes the config of a gate into a directory of its own. It signs people in by
// SAML and runs as an operator would run it behind a TLS front: access log and metrics on.
func (r *rig) prepare(ctx context.Context, s gateSpec) (*gate, error) {
	bin, err := r.build(ctx, "cmd/ssogate")
	if err != nil {
		return nil, err
	}
	g := &gate{gateSpec: s, bin: bin}
	if g.addr, err = r.addr(s.name); err != nil {
		return nil, err
	}
	if g.private, err = r.addr(s.name + " private"); err != nil {
		return nil, err
	}
	if g.app == "" {
		g.app = "http://" + g.addr
	}
	g.url = "http://localhost" + g.addr[strings.LastIndexByte(g.addr, ':'):]
	metadata, err := r.saml.Metadata()
	if err != nil {
		return nil, err
	}
	if _, err := r.file(s.name+"/idp.xml", string(metadata)); err != nil {
		return nil, err
	}
	g.config, err = r.file(s.name+"/ssogate.yaml", g.yaml(r.app.addr))
	g.dir = filepath.Dir(g.config)
	return g, err
}

// yaml is its config file.
func (g *gate) yaml(app string) string {
	keys := make([]byte, 96)
	_, _ = rand.Read(keys) // never fails
	text := fmt.Sprintf(`url: %q
listen: %q
private_listen: %q
require_sso: "on"
secrets:
  cookie_key: %q
  seal_key: %q
streams:
  per_session: 10000
providers:
  - id: "acme"
    protocol: "saml"
    metadata_file: "idp.xml"
    join: "idp"
routes:
  - name: "app"
    origins: [%q]
    upstream: %q
%s`, g.url, g.addr, g.private, base64.StdEncoding.EncodeToString(keys[:64]), base64.StdEncoding.EncodeToString(keys[64:]),
		g.app, "http://"+app, strings.ReplaceAll(g.route, "APP", g.app)) + g.more
	if g.redis != "" {
		text += fmt.Sprintf("redis:\n  url: %q\n  prefix: %q\n", g.redis, g.name+":") // one server for all
	}
	return text
}

// run starts it; the first time, the identity provider is told of it.
func (g *gate) run(ctx context.Context, r *rig) (err error) {
	if g.process, err = r.start(filepath.Base(g.dir), theirCore, g.addr, g.bin, "serve", "--config", g.config); err != nil {
		return err
	}
	if g.registered {
		return nil
	}
	g.registered = true
	sp, err := get(ctx, g.url+"/saml/acme/metadata")
	if err != nil {
		return err
	}
	return r.saml.RegisterMetadata([]byte(sp))
}

func (g *gate) contestant(name string) *contestant {
	return &contestant{name: name, addr: g.addr, host: g.addr, procs: []*process{g.process}, user: demo.People()[0].Email}
}

// signedIn runs it and signs somebody in.
func (g *gate) signedIn(ctx context.Context, r *rig, name string) (*contestant, error) {
	if err := g.run(ctx, r); err != nil {
		return nil, err
	}
	c := g.contestant(name)
	var err error
	c.cookie, err = signIn(ctx, g.app)
	return c, err
}

func (r *rig) gateOff(ctx context.Context) (*contestant, error) {
	g, err := r.prepare(ctx, gateSpec{name: "off", route: "    public: [\"/*\"]\n"})
	if err != nil {
		return nil, err
	}
	err = g.run(ctx, r)
	c := g.contestant(ourOff)
	c.open = true
	return c, err
}

func (r *rig) gateRedis(ctx context.Context) (*contestant, error) {
	redis, err := r.redis()
	if err != nil {
		return nil, err
	}
	g, err := r.prepare(ctx, gateSpec{name: "redis-sessions", redis: redis, more: "profiling: true\n"})
	if err != nil {
		return nil, err
	}
	r.profiled = g
	return g.signedIn(ctx, r, ourRedis)
}

func (r *rig) gateEmbedded(ctx context.Context) (*contestant, error) {
	g, err := r.prepare(ctx, gateSpec{name: "embedded"})
	if err != nil {
		return nil, err
	}
	return g.signedIn(ctx, r, ourEmbedded)
}

// gateBehindNginx answers nginx's auth_request, as deploy/nginx-forward-auth.conf has it,
// with Redis sessions.
func (r *rig) gateBehindNginx(ctx context.Context) (*contestant, error) {
	redis, err := r.redis()
	if err != nil {
		return nil, err
	}
	front, err := r.addr(ourNginx)
	if err != nil {
		return nil, err
	}
	g, err := r.prepare(ctx, gateSpec{
		name: "forward-auth", redis: redis, app: "http://" + front,
		more: "trusted_proxies: [\"127.0.0.1/32\"]\nforward_auth:\n  from: [\"127.0.0.1/32\"]\n",
	})
	if err != nil {
		return nil, err
	}
	p, err := r.nginx("nginx-ssogate", theirCore, front, r.toUpstream()+asking(g.addr, front))
	if err != nil {
		return nil, err
	}
	c, err := g.signedIn(ctx, r, ourNginx)
	if err != nil {
		return nil, err
	}
	c.addr, c.host, c.procs = front, front, append(c.procs, p)
	return c, nil
}

// asking is the nginx configuration of a front that asks a gate.
func asking(gate, front string) string {
	return `
  upstream ssogate { server ` + gate + `; keepalive 512; ` + kept + ` }
  server {
    listen ` + front + ` backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location ^~ /.sso/ { proxy_pass http://ssogate; }
    location = /.sso/auth/nginx {
      internal;
      proxy_pass http://ssogate;
      proxy_pass_request_body off;
      proxy_set_header Content-Length ""; proxy_set_header Connection "";
      proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
    location / {
      auth_request /.sso/auth/nginx;
      auth_request_set $sso_user $upstream_http_x_forwarded_user;
      auth_request_set $sso_username $upstream_http_x_forwarded_preferred_username;
      auth_request_set $sso_email $upstream_http_x_forwarded_email;
      auth_request_set $sso_name $upstream_http_x_forwarded_name;
      auth_request_set $sso_groups $upstream_http_x_forwarded_groups;
      auth_request_set $app_cookies $upstream_http_cookie;
      auth_request_set $sso_location $upstream_http_location;
      auth_request_set $sso_set_cookie $upstream_http_set_cookie;
      error_page 401 = @sign_in;
      proxy_pass http://app;
      proxy_set_header Connection ""; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-User $sso_user; proxy_set_header X-Forwarded-Preferred-Username $sso_username;
      proxy_set_header X-Forwarded-Email $sso_email; proxy_set_header X-Forwarded-Name $sso_name;
      proxy_set_header X-Forwarded-Groups $sso_groups; proxy_set_header Cookie $app_cookies;
    }
    location @sign_in {
      add_header Set-Cookie $sso_set_cookie always;
      if ($sso_location = "") { return 401; }
      return 302 $sso_location;
    }
  }`
}

// firstAdmitted asks until the page is served, and answers how long after since.
func (c *contestant) firstAdmitted(since time.Time) (time.Duration, error) {
	for {
		code, _, err := c.fetch(page, c.cookie)
		took := time.Since(since)
		switch {
		case err != nil:
			return 0, err
		case code == http.StatusOK:
			return took, nil
		case code != http.StatusServiceUnavailable || took > patience:
			return 0, fmt.Errorf("%s: answered %d", c.name, code)
		}
	}
}
