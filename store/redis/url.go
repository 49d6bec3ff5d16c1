package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/ssogate/ssogate/config"
)

const (
	// poolSize is enough for thousands of calls a second, which take well under a
	// millisecond each, and bounds what a slow server can pile up. Per node.
	poolSize = 32
	// maxCAFile bounds the file of CAs: a bundle of all public ones is 200 KiB.
	maxCAFile = 1 << 20
	// reloadEvery bounds how long a cluster may have changed without our noticing:
	// by default a minute. Redirects and failures are looked into at once.
	reloadEvery = 10 * time.Second
)

// clientOptions are what a client is made of. Every topology gets the same
// limits: one attempt within one deadline, whatever the library would do.
func clientOptions(o Options, timeout time.Duration) (config.RedisAddress, *goredis.UniversalOptions, error) {
	a, problem, fix := config.ParseRedisURL(o.URL)
	if problem != "" {
		// Neither ever contains a part of the URL: it holds a password.
		return a, nil, fmt.Errorf("redis: url %s: %s", problem, fix)
	}
	u := &goredis.UniversalOptions{
		Addrs:    a.Hosts,
		DB:       a.Database,
		Username: a.User,
		Password: a.Password,

		// By default a dead server takes 1.7 s to be noticed, and a command repeated
		// after a lost answer would see its own first run as somebody else's.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           timeout,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		PoolTimeout:           timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              poolSize,
		PipelinePoolSize:      -1,              // the same connections: one bound, not two
		ConnMaxIdleTime:       5 * time.Minute, // below the idle limit of common firewalls

		// A cluster's redirect is followed, twice because ASK may follow MOVED. What
		// else the library would repeat with this number, see once in scripts.go.
		MaxRedirects: 2,
		// A replica may not know yet who was signed out.
		ReadOnly: false, RouteByLatency: false, RouteRandomly: false,

		// Nothing beyond the commands this package sends: fewer round trips on a
		// new connection, and no surprises with proxies.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if a.Kind == config.RedisSentinel {
		u.MasterName = a.Master
		u.SentinelUsername, u.SentinelPassword = o.SentinelUser, o.SentinelPassword
	}
	if a.TLS {
		// No ServerName: each host is asked for its own. Sentinels and clusters
		// mostly announce addresses, which the certificates must then name.
		u.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if o.CAFile != "" {
			pool, err := readCAs(o.CAFile)
			if err != nil {
				return a, nil, err
			}
			u.TLSConfig.RootCAs = pool
		}
	}
	return a, u, nil
}

func readCAs(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err == nil && (info.Size() > maxCAFile || !info.Mode().IsRegular()) {
		err = errors.New("not a file of at most 1 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("redis: ca file: %w", err)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("redis: ca file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("redis: ca file: %s holds no PEM certificate", path)
	}
	return pool, nil
}
