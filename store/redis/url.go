package redis

import (
	"errors"
	"net/url"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// poolSize is enough for thousands of calls a second, which take well under a
// millisecond each, and bounds what a slow server can pile up.
const poolSize = 32

// errURL never contains the URL or a part of it: it carries a password, and a
// password with a "/" in it shows up even in the parser's own words.
var errURL = errors.New(`redis: url: want "redis://[user:password@]host:port[/db]" or "rediss://..." (is the password percent-encoded?)`)

// parseURL reads the operator's URL. Sentinel and Cluster become further
// schemes here; everything else already speaks goredis.UniversalClient.
func parseURL(s string, timeout time.Duration) (*goredis.UniversalOptions, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "redis" && u.Scheme != "rediss") {
		return nil, errURL
	}
	if p := u.Port(); p != "" {
		// The library would find out at the first dial, long after the start.
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errURL
		}
	}
	if u.RawQuery != "" || u.Fragment != "" {
		// The client would read options from here that undo the time limits
		// below, or the check of the server's certificate.
		return nil, errors.New("redis: url: options after ? or # are not accepted")
	}
	o, err := goredis.ParseURL(s)
	if err != nil {
		return nil, errURL
	}
	return &goredis.UniversalOptions{
		Addrs:     []string{o.Addr},
		DB:        o.DB,
		Username:  o.Username,
		Password:  o.Password,
		TLSConfig: o.TLSConfig,

		// One attempt within one deadline: by default a dead server takes 1.7 s
		// to be noticed, and a command repeated after a lost answer would see its
		// own first run as somebody else's.
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           timeout,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		PoolTimeout:           timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              poolSize,
		ConnMaxIdleTime:       5 * time.Minute, // below the idle limit of common firewalls

		// Nothing beyond the commands this package sends: fewer round trips on a
		// new connection, and no surprises with proxies.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}, nil
}
