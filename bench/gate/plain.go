package main

import (
	"context"
	"os/exec"
)

// Names of contestants that others speak of.
const (
	bareNginx   = "nginx"
	floorPool   = "Go floor+pool"
	ourOff      = "ssogate, auth off"
	ourRedis    = "ssogate, Redis sessions"
	ourEmbedded = "ssogate, embedded"
	ourNginx    = "nginx auth_request, ssogate"
	mellon      = "Apache, mod_auth_mellon"
	openIDC     = "Apache, mod_auth_openidc + Redis"
	oauth2Proxy = "oauth2-proxy + Redis"
	oauth2Nginx = "nginx auth_request, oauth2-proxy"
)

// open is a contestant that passes everything on.
func (r *rig) open(name, addr string, p *process, err error) (*contestant, error) {
	return &contestant{name: name, addr: addr, host: addr, procs: []*process{p}, open: true}, err
}

// toUpstream is the nginx configuration of a proxy's way to the application.
func (r *rig) toUpstream() string {
	return "upstream app { server " + r.app.addr + "; keepalive 512; " + kept + " }"
}

func (r *rig) plainNginx(context.Context) (*contestant, error) {
	addr, err := r.addr(bareNginx)
	if err != nil {
		return nil, err
	}
	p, err := r.nginx("nginx", theirCore, addr, r.toUpstream()+`
  server {
    listen `+addr+` backlog=4096;
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }`)
	return r.open(bareNginx, addr, p, err)
}

func (r *rig) haproxy(context.Context) (*contestant, error) {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, err
	}
	addr, err := r.addr("haproxy")
	if err != nil {
		return nil, err
	}
	path, err := r.file("haproxy.cfg", `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 3s
  timeout client 120s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend bench
  bind `+addr+` backlog 4096
  default_backend app
backend app
  server app `+r.app.addr+`
`)
	if err != nil {
		return nil, err
	}
	p, err := r.start("haproxy", theirCore, addr, bin, "-db", "-f", path)
	return r.open("HAProxy", addr, p, err)
}

func (r *rig) caddy(context.Context) (*contestant, error) {
	bin, err := exec.LookPath("caddy")
	if err != nil {
		return nil, err
	}
	addr, err := r.addr("caddy")
	if err != nil {
		return nil, err
	}
	path, err := r.file("Caddyfile", `{
	admin off
	auto_https off
}
http://`+addr+` {
	bind 127.0.0.1
	reverse_proxy `+r.app.addr+` {
		transport http {
			keepalive_idle_conns_per_host 512
		}
	}
}
`)
	if err != nil {
		return nil, err
	}
	p, err := r.start("caddy", theirCore, addr, bin, "run", "--adapter", "caddyfile", "--config", path)
	return r.open("Caddy", addr, p, err)
}

func (r *rig) floor(ctx context.Context, name string, more ...string) (*contestant, error) {
	bin, err := r.build(ctx, "bench/gate/floor")
	if err != nil {
		return nil, err
	}
	addr, err := r.addr(name)
	if err != nil {
		return nil, err
	}
	p, err := r.start("floor", theirCore, addr, append([]string{bin, "-listen", addr, "-upstream", "http://" + r.app.addr}, more...)...)
	return r.open(name, addr, p, err)
}

func (r *rig) floorAlone(ctx context.Context) (*contestant, error) { return r.floor(ctx, "Go floor") }

func (r *rig) floorWithPool(ctx context.Context) (*contestant, error) {
	return r.floor(ctx, floorPool, "-pool")
}
