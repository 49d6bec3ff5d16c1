package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// whoPath answers what the upstream was told about who asks.
const whoPath = "/who"

// upstream is the application: an nginx that answers one small file.
type upstream struct {
	addr, status string
	client       *http.Client // one kept connection to the status page
}

// kept is how long and for how many requests nginx keeps connections: a connection
// that nginx itself closed would be counted as a redial of the proxy's.
const kept = "keepalive_requests 1000000000; keepalive_timeout 3600s;"

// nginx runs a config's http block on a core.
func (r *rig) nginx(name string, core int, addr, block string) (*process, error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	dir := filepath.Join(r.dir, name)
	path, err := r.file(name+".conf", user+`daemon off;
worker_processes 1;
pid `+dir+`.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  `+kept+`
  client_body_temp_path `+dir+`-body; proxy_temp_path `+dir+`-proxy; fastcgi_temp_path `+dir+`-fastcgi; uwsgi_temp_path `+dir+`-uwsgi; scgi_temp_path `+dir+`-scgi;
`+block+`
}
`)
	if err != nil {
		return nil, err
	}
	return r.start(name, core, addr, bin, "-p", r.dir, "-e", "stderr", "-c", path)
}

func (r *rig) startUpstream() (*upstream, error) {
	u := &upstream{client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}}
	var err error
	if u.addr, err = r.addr("upstream"); err != nil {
		return nil, err
	}
	if u.status, err = r.addr("status"); err != nil {
		return nil, err
	}
	file, err := r.readable("www"+page, strings.Repeat("x", bodySize))
	if err != nil {
		return nil, err
	}
	_, err = r.nginx("upstream", ourCore, u.addr, `
  open_file_cache max=16 inactive=1h;
  server {
    listen `+u.addr+` backlog=4096;
    root `+filepath.Dir(file)+`;
    location = `+whoPath+` { default_type text/plain; return 200 "$http_x_forwarded_user $http_x_forwarded_email"; }
  }
  server {
    listen `+u.status+`;
    location / { stub_status; }
  }`)
	return u, err
}

// accepted is how many connections the upstream has taken by now. The bench's own kept
// one is among them once and for all.
func (u *upstream) accepted(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.status+"/", nil)
	if err != nil {
		return 0, err
	}
	res, err := u.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return 0, err
	}
	return acceptedOf(string(b))
}

// acceptedOf reads nginx's stub_status page.
func acceptedOf(text string) (int, error) {
	_, rest, ok := strings.Cut(text, "server accepts handled requests")
	if !ok {
		return 0, errors.New("no stub_status page")
	}
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return 0, fmt.Errorf("stub_status: %w", err)
	}
	return n, nil
}

func readResponse(c net.Conn) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(c), nil)
}
