package redis_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/store/redis"
)

func TestOpenRefusesAServerThatEvicts(t *testing.T) {
	srv := testserver.StartRedis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
	_, _, err := redis.Open(t.Context(), redis.Options{URL: srv.URL, Timeout: patient})
	if !errors.Is(err, redis.ErrEviction) || !strings.Contains(err.Error(), "allkeys-lru") {
		t.Errorf("got %v, want ErrEviction naming the policy", err)
	}
}

func TestOpenWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string // part of the only warning, or "" for none
	}{
		"safe":                    {nil, ""},
		"safe with limit":         {[]string{"--maxmemory", "64mb"}, ""},
		"evicting, without limit": {[]string{"--maxmemory-policy", "volatile-ttl"}, "volatile-ttl"},
		"CONFIG forbidden":        {[]string{"--rename-command", "CONFIG", ""}, ""},
		"INFO forbidden":          {[]string{"--rename-command", "INFO", ""}, ""},
		"tells nothing":           {[]string{"--rename-command", "INFO", "", "--rename-command", "CONFIG", ""}, "does not tell"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testserver.StartRedis(t, c.args...)
			d, warnings, err := redis.Open(t.Context(), redis.Options{URL: srv.URL, Timeout: patient})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = d.Close() }()
			if c.want == "" && len(warnings) != 0 || c.want != "" && (len(warnings) != 1 || !strings.Contains(string(warnings[0]), c.want)) {
				t.Errorf("warnings %q, want %q", warnings, c.want)
			}
		})
	}
}

// TestOpenWithoutServer: the gateway starts while Redis is down, because a
// fallback owner must be able to sign in (G5), and looks at the server later.
func TestOpenWithoutServer(t *testing.T) {
	srv := testserver.StartRedis(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
	srv.Stop()
	start := time.Now()
	d, warnings, err := redis.Open(t.Context(), redis.Options{URL: srv.URL, Timeout: patient})
	if err != nil || len(warnings) != 1 {
		t.Fatalf("open: %v, warnings %q; want one warning", err, warnings)
	}
	defer func() { _ = d.Close() }()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("open took %v", took)
	}
	if err := d.Ping(t.Context()); err == nil || errors.Is(err, redis.ErrEviction) {
		t.Errorf("ping without server: %v", err)
	}
	srv.Start()
	if err := d.Ping(t.Context()); !errors.Is(err, redis.ErrEviction) {
		t.Errorf("ping of a server that evicts: %v, want ErrEviction as Open would have said", err)
	}
	raw(t, srv.URL).ConfigSet(t.Context(), "maxmemory-policy", "noeviction")
	if err := d.Ping(t.Context()); err != nil {
		t.Errorf("ping after the operator corrected it: %v", err)
	}
}

func TestOpenRefusesURLsWithoutQuotingThem(t *testing.T) {
	for _, u := range []string{
		"", "redis", "redis:", "redis://", "http://u:hunter2@h:1", "redis://u:hunter2@h:99999999/0", "redis://u:hun/ter2@h:1",
		"redis://u:hunter2@h:1/x", "redis://u:hunter2@h:1/0/1", "redis://u:hunter2@h:1?max_retries=9", "rediss://u:hunter2@h:1?skip_verify=true",
		"redis://u:hunter2@h:1#f", "redis://u:hunter2%zz@h:1", "unix:///tmp/hunter2", "redis+ring://u:hunter2@h:1", "redis://u:hunter2@h:1\x7f",
	} {
		d, _, err := redis.Open(t.Context(), redis.Options{URL: u})
		if err == nil {
			_ = d.Close()
			t.Errorf("%q was accepted", u)
			continue
		}
		for _, part := range []string{"hunter2", "hun", "ter2"} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("L01: the error quotes the password: %v", err)
			}
		}
	}
}

func TestPasswords(t *testing.T) {
	srv := testserver.StartRedis(t, "--requirepass", "correct horse/@:")
	with := func(user *url.Userinfo) string {
		u := url.URL{Scheme: "redis", User: user, Host: srv.Addr}
		return u.String()
	}
	if err := open(t, redis.Options{Timeout: patient, URL: with(url.UserPassword("", "correct horse/@:"))}).Ping(t.Context()); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for _, u := range []string{with(nil), with(url.UserPassword("", "hunter2"))} {
		err := open(t, redis.Options{Timeout: patient, URL: u}).Ping(t.Context())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a wrong password: %v", err)
		}
	}
}
