package gate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// askingNginx is nginx that keeps its place and asks ssogate on each request.
func askingNginx(t testing.TB, u *upstream, bin string) *subject {
	t.Helper()
	_, on := ssogate(t, u, bin, "forward-auth")
	s := &subject{name: "nginx asking ssogate", addr: port(t), host: on.host, path: "/x", cookie: on.cookie, note: "both processes"}
	pid := nginx(t, proxyCore, fmt.Sprintf(`    upstream app { server %s; keepalive 128; keepalive_requests 100000000; keepalive_timeout 600s; }
    upstream gate { server %s; keepalive 128; keepalive_requests 100000000; keepalive_timeout 600s; }
    server {
        listen %s;
        location = /verdict {
            internal; proxy_pass http://gate/.sso/auth/nginx; proxy_http_version 1.1; proxy_pass_request_body off;
            proxy_set_header Connection ""; proxy_set_header Content-Length "";
            proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URL http://$http_host$request_uri;
        }
        location / {
            auth_request /verdict;
            auth_request_set $user $upstream_http_x_forwarded_user;
            auth_request_set $name $upstream_http_x_forwarded_preferred_username;
            proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-User $user; proxy_set_header X-Forwarded-Preferred-Username $name;
        }
    }
`, u.addr, on.addr, s.addr))
	s.roots = append([]int{pid}, on.roots...)
	await(t, s.addr)
	s.check(t, demo.People()[0].User)
	return s
}

// shown is write for readers that are another user.
func shown(t testing.TB, name, text string) string {
	t.Helper()
	path := write(t, name, text)
	_ = os.Chmod(path, 0o644) //nolint:gosec // G302: as said
	return path
}

// apache runs with the modules of Debian's packages.
func apache(t testing.TB, s *subject, u *upstream, modules []string, auth string) {
	t.Helper()
	dir := t.TempDir()
	_ = os.Chmod(filepath.Dir(dir), 0o755) //nolint:gosec // G302: its workers are another user
	load := ""
	for _, m := range append([]string{"mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "headers", "env"}, modules...) {
		load += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", strings.TrimPrefix(m, "mod_"), m)
	}
	conf := write(t, "apache.conf", fmt.Sprintf(`%sServerRoot %s
PidFile %s/pid
ErrorLog %s/error.log
LogLevel warn
Mutex file:%s default
Listen %s
ServerName %s
User www-data
Group www-data
StartServers 1
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 64
MaxSpareThreads 128
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
ProxyPass /mellon !
ProxyPass /redirect_uri !
ProxyPass / http://%s/ keepalive=On ttl=600 max=64
%s
`, load, dir, dir, dir, dir, s.addr, s.host, u.addr, auth))
	s.roots = []int{pinned(t, proxyCore, nil, program(t, "apache2"), "-DFOREGROUND", "-f", conf).Process.Pid}
	await(t, s.addr)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("apache: %s", b[max(0, len(b)-2000):])
		}
	})
}

func mellon(t testing.TB, u *upstream) *subject {
	t.Helper()
	s := &subject{name: "Apache, mod_auth_mellon", addr: port(t), path: "/x"}
	s.host = s.addr
	idp := newIDP(t)
	metadata, err := idp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := saml.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://" + s.host
	apache(t, s, u, []string{"auth_mellon"}, fmt.Sprintf(`<Location />
    MellonEnable auth
    AuthType Mellon
    Require valid-user
    MellonEndpointPath /mellon
    MellonSPentityId %s/mellon/metadata
    MellonSPPrivateKeyFile %s
    MellonSPCertFile %s
    MellonIdPMetadataFile %s
    MellonSecureCookie Off
    RequestHeader set X-User "%%{MELLON_NAME_ID}e"
</Location>`, origin, shown(t, "sp.key", string(key)), shown(t, "sp.crt", string(cert)), shown(t, "idp.xml", string(metadata))))
	register(t, idp, origin+"/mellon/metadata")
	s.signIn(t, origin)
	return s
}

func openidc(t testing.TB, u *upstream) *subject {
	t.Helper()
	s := &subject{name: "Apache, mod_auth_openidc with Redis", addr: port(t), path: "/x"}
	s.host = s.addr
	origin := "http://" + s.host
	var op *ssotest.OP
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { op.ServeHTTP(w, r) }))
	t.Cleanup(ts.Close)
	var err error
	if op, err = ssotest.NewOP(ssotest.OPOptions{Issuer: ts.URL, ClientID: "bench", ClientSecret: "secret", RedirectURIs: []string{origin + "/redirect_uri"}, People: demo.People()}); err != nil {
		t.Fatal(err)
	}
	redis := strings.TrimPrefix(testserver.Redis(t), "redis://")
	redis, _, _ = strings.Cut(redis, "/")
	apache(t, s, u, []string{"auth_openidc"}, fmt.Sprintf(`OIDCProviderMetadataURL %s/.well-known/openid-configuration
OIDCClientID bench
OIDCClientSecret secret
OIDCRedirectURI %s/redirect_uri
OIDCCryptoPassphrase 0123456789abcdef
OIDCScope "openid email profile"
OIDCCacheType redis
OIDCRedisCacheServer %s
OIDCSSLValidateServer Off
OIDCPKCEMethod S256
<Location />
    AuthType openid-connect
    Require valid-user
    RequestHeader set X-User "expr=%%{REMOTE_USER}"
</Location>`, ts.URL, origin, redis))
	s.signIn(t, origin)
	return s
}

// signIn signs Ana in and keeps what the browser would send.
func (s *subject) signIn(t testing.TB, origin string) {
	t.Helper()
	v := demo.NewVisitor()
	if _, err := v.SignIn(t.Context(), origin+s.path, "", demo.People()[0]); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	s.cookie = cookies(v, origin)
	if status, body := s.get(t, "/who", true); status != http.StatusOK || strings.TrimSpace(body) == "" {
		t.Fatalf("%s: the upstream sees nobody: %d %q", s.name, status, body)
	}
	s.check(t, "")
}
