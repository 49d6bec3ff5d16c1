package main

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// apache runs Apache with a module that signs people in. It is the worker MPM: under the
// event MPM of Debian's 2.4.71 mod_auth_mellon loses connections (AH03093).
func (r *rig) apache(name, short, module, config string) (*contestant, error) {
	bin, err := exec.LookPath("apache2")
	if err != nil {
		return nil, err
	}
	modules := filepath.Join("/usr/lib/apache2/modules")
	if _, err := os.Stat(filepath.Join(modules, "mod_"+module+".so")); err != nil {
		return nil, fmt.Errorf("mod_%s is not installed", module)
	}
	addr, err := r.addr(name)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, m := range []string{"mpm_worker", "authn_core", "authz_core", "authz_user", "env", "headers", "proxy", "proxy_http", module} {
		fmt.Fprintf(&b, "LoadModule %s_module %s/mod_%s.so\n", m, modules, m)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "User www-data\nGroup www-data\n"
	}
	host := "localhost" + addr[strings.LastIndexByte(addr, ':'):]
	fmt.Fprintf(&b, `ServerRoot %q
%sPidFile %q
Listen %s
ServerName http://%s
UseCanonicalName On
ErrorLog "|/bin/cat"
LogLevel warn
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
StartServers 4
ServerLimit 4
ThreadsPerChild 25
MaxRequestWorkers 100
MaxSpareThreads 250
MaxConnectionsPerChild 0
ProxyPass "/%s" "http://%s/%s"
ProxyPass "%s" "http://%s%s"
%s`, r.dir, user, filepath.Join(r.dir, short+".pid"), addr, host, page[1:], r.app.addr, page[1:], whoPath, r.app.addr, whoPath, config)
	path, err := r.file(short+".conf", b.String())
	if err != nil {
		return nil, err
	}
	p, err := r.start(short, theirCore, addr, bin, "-f", path, "-DFOREGROUND")
	return &contestant{name: name, addr: addr, host: host, procs: []*process{p}, user: demo.People()[0].User}, err
}

func (r *rig) apacheMellon(ctx context.Context) (*contestant, error) {
	key, cert, err := ssotest.NewSAMLKey("bench SP")
	if err != nil {
		return nil, err
	}
	keyFile, certFile, err := r.pair("mellon", key, cert)
	if err != nil {
		return nil, err
	}
	metadata, err := r.saml.Metadata()
	if err != nil {
		return nil, err
	}
	idp, err := r.readable("mellon-idp.xml", string(metadata))
	if err != nil {
		return nil, err
	}
	c, err := r.apache(mellon, "mellon", "auth_mellon", fmt.Sprintf(`<Location "/">
  AuthType Mellon
  MellonEnable auth
  Require valid-user
  MellonEndpointPath /mellon
  MellonSPPrivateKeyFile %q
  MellonSPCertFile %q
  MellonIdPMetadataFile %q
  MellonSecureCookie Off
  MellonUser NAME_ID
  RequestHeader set X-Forwarded-User "expr=%%{REMOTE_USER}"
</Location>
`, keyFile, certFile, idp))
	if err != nil {
		return c, err
	}
	origin := "http://" + c.host
	sp, err := get(ctx, origin+"/mellon/metadata")
	if err != nil {
		return nil, err
	}
	if err := r.saml.RegisterMetadata([]byte(sp)); err != nil {
		return nil, err
	}
	c.cookie, err = signIn(ctx, origin)
	return c, err
}

// pair writes a key and its certificate.
func (r *rig) pair(name string, key *rsa.PrivateKey, cert *x509.Certificate) (keyFile, certFile string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	if keyFile, err = r.readable(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))); err != nil {
		return "", "", err
	}
	certFile, err = r.readable(name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	return keyFile, certFile, err
}

func (r *rig) apacheOpenIDC(ctx context.Context) (*contestant, error) {
	redis, err := r.redis()
	if err != nil {
		return nil, err
	}
	port, err := r.port(openIDC)
	if err != nil {
		return nil, err
	}
	c, err := r.apache(openIDC, "openidc", "auth_openidc", fmt.Sprintf(`OIDCProviderMetadataURL %s/.well-known/openid-configuration
OIDCClientID %q
OIDCClientSecret %q
OIDCRedirectURI http://localhost:%d/redirect_uri
OIDCCryptoPassphrase "a passphrase of the bench"
OIDCScope "openid email profile"
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
OIDCSessionInactivityTimeout 3600
OIDCCacheType redis
OIDCRedisCacheServer %s
<Location "/">
  AuthType openid-connect
  Require valid-user
  RequestHeader set X-Forwarded-User "expr=%%{REMOTE_USER}"
</Location>
`, r.opURL, clientID, clientSecret, port, strings.TrimSuffix(strings.TrimPrefix(redis, "redis://"), "/0")))
	if err != nil {
		return c, err
	}
	c.cookie, err = signIn(ctx, "http://"+c.host)
	return c, err
}

// oauth2 runs oauth2-proxy with Redis, where its binary is on PATH. It is not part of
// Debian.
func (r *rig) oauth2(name, short, upstream string) (*contestant, error) {
	bin, err := exec.LookPath("oauth2-proxy")
	if err != nil {
		return nil, err
	}
	redis, err := r.redis()
	if err != nil {
		return nil, err
	}
	addr, err := r.addr(short)
	if err != nil {
		return nil, err
	}
	port, err := r.port(name) // that the browser sees
	if err != nil {
		return nil, err
	}
	p, err := r.start(short, theirCore, addr, bin, "--http-address="+addr, "--provider=oidc", "--oidc-issuer-url="+r.opURL,
		"--client-id="+clientID, "--client-secret="+clientSecret, fmt.Sprintf("--redirect-url=http://localhost:%d/oauth2/callback", port),
		"--cookie-secret="+base64.URLEncoding.EncodeToString(make([]byte, 32)), "--cookie-secure=false", "--email-domain=*",
		"--session-store-type=redis", "--redis-connection-url="+redis, "--upstream="+upstream, "--skip-provider-button=true",
		"--code-challenge-method=S256", "--pass-user-headers=true", "--set-xauthrequest=true", "--insecure-oidc-allow-unverified-email=true",
		"--request-logging=false", "--auth-logging=false", "--standard-logging=false")
	host := fmt.Sprintf("localhost:%d", port)
	return &contestant{name: name, addr: addr, host: host, procs: []*process{p}, user: demo.People()[0].Email}, err
}

func (r *rig) oauth2Alone(ctx context.Context) (*contestant, error) {
	c, err := r.oauth2(oauth2Proxy, oauth2Proxy, "http://"+r.app.addr)
	if err != nil {
		return c, err
	}
	c.cookie, err = signIn(ctx, "http://"+c.host)
	return c, err
}

// oauth2BehindNginx asks oauth2-proxy by auth_request, as its documentation shows it.
func (r *rig) oauth2BehindNginx(ctx context.Context) (*contestant, error) {
	c, err := r.oauth2(oauth2Nginx, "oauth2-proxy behind nginx", "static://202")
	if err != nil {
		return c, err
	}
	c.addr, err = r.addr(oauth2Nginx)
	if err != nil {
		return nil, err
	}
	p, err := r.nginx("nginx-oauth2", theirCore, c.addr, r.toUpstream()+`
  upstream o2p { server `+strings.TrimPrefix(c.procs[0].cmd.Args[1], "--http-address=")+`; keepalive 512; `+kept+` }
  server {
    listen `+c.addr+` backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    location /oauth2/ { proxy_pass http://o2p; }
    location = /oauth2/auth { internal; proxy_pass http://o2p; proxy_set_header Content-Length ""; proxy_pass_request_body off; }
    location / {
      auth_request /oauth2/auth;
      error_page 401 =302 /oauth2/start?rd=$request_uri;
      auth_request_set $email $upstream_http_x_auth_request_email;
      proxy_set_header Connection ""; proxy_set_header X-Forwarded-User $email;
      proxy_pass http://app;
    }
  }`)
	if err != nil {
		return nil, err
	}
	c.procs = append(c.procs, p)
	c.cookie, err = signIn(ctx, "http://"+c.host)
	return c, err
}
