package redis_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
	"github.com/ssogate/ssogate/store/redis"
)

const aclPassword = "correct horse"

// exampleACL reads the line that operators copy from config.example.yaml.
func exampleACL(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "#   ACL SETUSER ssogate on >PASSWORD ")
	if !ok {
		t.Fatal("config.example.yaml has no ACL line")
	}
	first, rest, _ := strings.Cut(rest, "\n")
	rules := strings.Fields(first)
	for line := range strings.Lines(rest) {
		more, ok := strings.CutPrefix(strings.TrimSpace(line), "#     +")
		if !ok {
			break
		}
		rules = append(rules, strings.Fields("+"+more)...)
	}
	return rules
}

// grant makes the user ssogate on a server, with exactly these rules.
func grant(t *testing.T, srv *testserver.RedisServer, rules ...string) {
	t.Helper()
	args := append([]string{"ACL", "SETUSER", "ssogate", "reset", "on", ">" + aclPassword}, rules...)
	if _, err := srv.Do(args...); err != nil {
		t.Fatal(err)
	}
}

func asUser(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	return scheme + "://ssogate:correct%20horse@" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// aclTopologies start servers and answer the URL for the user ssogate.
var aclTopologies = map[string]func(t *testing.T) (url string, all []*testserver.RedisServer){
	"redis-server": func(t *testing.T) (string, []*testserver.RedisServer) {
		srv := testserver.StartRedis(t)
		return asUser(srv.URL), []*testserver.RedisServer{srv}
	},
	"sentinel": func(t *testing.T) (string, []*testserver.RedisServer) {
		s := testserver.StartSentinel(t)
		return asUser(s.URL), s.Servers
	},
	"cluster": func(t *testing.T) (string, []*testserver.RedisServer) {
		c := testserver.StartCluster(t, false)
		return asUser(c.URL), c.Nodes
	},
}

// TestTheDocumentedACLIsEnough: with the very line from config.example.yaml, and
// without one right more, everything works on every topology.
func TestTheDocumentedACLIsEnough(t *testing.T) {
	rules := exampleACL(t)
	if got, want := strings.Join(rules, " "), redis.ACLRules(redis.DefaultPrefix); got != want {
		t.Fatalf("config.example.yaml says\n%s\nand the code needs\n%s", got, want)
	}
	for name, start := range aclTopologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, all := start(t)
			for _, srv := range all {
				grant(t, srv, rules...)
			}
			place := places(url)
			// The suite's own prefixes, all below the one that the user may use.
			under := func(t *testing.T) redis.Options {
				o := place(t)
				o.Prefix = redis.DefaultPrefix + o.Prefix
				return o
			}
			o := under(t)
			d, warnings, err := redis.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			for _, w := range warnings {
				t.Errorf("warning: %s", w)
			}
			if err := d.Claim(t.Context(), "a"); err != nil {
				t.Errorf("claim: %v", err)
			}
			e := listen(t, d)
			e.heard("the subscription")
			if err := d.Wakes().Wake(t.Context()); err != nil {
				t.Errorf("wake: %v", err)
			}
			e.heard("a wake-up")
			sessiontest.Store(t, func(t *testing.T, now clock.Func) session.Store {
				o := under(t)
				o.Now = now
				d := open(t, o)
				d.Remember(true)
				return d.Sessions()
			})
			ssotest.Pending(t, func(t *testing.T, now clock.Func) sso.Pending {
				o := under(t)
				o.Now, o.Budget = now, ssotest.PendingBudget
				return open(t, o).Pending()
			})
			ssotest.Shares(t, func(t *testing.T) (a, b sso.Shares) {
				o := under(t)
				return open(t, o).Limits(), open(t, o).Limits()
			})
			for _, srv := range all {
				// The library must not try anything else either, and be refused in secret.
				if log, err := srv.Do("ACL", "LOG"); err != nil || log != "" {
					t.Errorf("%s was asked for what the rules do not grant: %v\n%s", srv.Addr, err, log)
				}
			}
		})
	}
}

// TestMissingACLRulesAreNamed: each rule taken away is named at the start, with
// what grants it, before anybody's sign-in finds out.
func TestMissingACLRulesAreNamed(t *testing.T) {
	for name, unused := range map[string][]string{
		// What this topology does not need, besides what is needed only to be polite
		// (unsubscribe) or with another database than 0 (select).
		"redis-server": {"+role", "+cluster|slots", "+asking", "+unsubscribe", "+select"},
		"cluster":      {"+role", "+unsubscribe", "+select"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missingRules(t, name, unused)
		})
	}
}

func missingRules(t *testing.T, topology string, unused []string) {
	rules := exampleACL(t)
	url, nodes := aclTopologies[topology](t)
	for i, rule := range rules {
		without := append(append([]string{}, rules[:i]...), rules[i+1:]...)
		// On one master only: a check of any would miss it.
		for n, srv := range nodes {
			if n == len(nodes)-1 {
				grant(t, srv, without...)
			} else {
				grant(t, srv, rules...)
			}
		}
		d, warnings, err := redis.Open(t.Context(), redis.Options{URL: url, Timeout: patient})
		if err == nil {
			_ = d.Close()
		}
		switch {
		case rule == "-@all" || rule == "resetchannels" || slices.Contains(unused, rule):
			if err != nil {
				t.Errorf("without %s: %v; it is not needed here", rule, err)
			}
		case rule == "+info":
			if err != nil || len(warnings) == 0 {
				t.Errorf("without %s: %v, warnings %q; want a warning", rule, err, warnings)
			}
		case rule == "+cluster|slots":
			// Another master may have been asked. Asked of this one it is an error.
			if err != nil && !errors.Is(err, redis.ErrACL) {
				t.Errorf("without %s: %v", rule, err)
			}
		case !errors.Is(err, redis.ErrACL) || !strings.Contains(err.Error(), rule) || !strings.Contains(err.Error(), "ACL SETUSER ssogate"):
			t.Errorf("without %s: %v; want ErrACL that names it", rule, err)
		case strings.Contains(err.Error(), aclPassword) || strings.Contains(err.Error(), "correct"):
			t.Errorf("L01: %v", err)
		}
	}
}

// TestSentinelNeedsTheRole: without it a replica could not be told from a master.
func TestSentinelNeedsTheRole(t *testing.T) {
	s := testserver.StartSentinel(t)
	for _, rule := range []string{"+role", "+select"} {
		for _, srv := range s.Servers {
			var without []string
			for _, r := range exampleACL(t) {
				if r != rule {
					without = append(without, r)
				}
			}
			grant(t, srv, without...)
		}
		_, _, err := redis.Open(t.Context(), redis.Options{URL: asUser(s.URL) + "/1", Timeout: patient})
		if !errors.Is(err, redis.ErrACL) || !strings.Contains(err.Error(), strings.TrimPrefix(rule, "+")) {
			t.Errorf("without %s: %v; want ErrACL that names it", rule, err)
		}
	}
}

// TestPermissionsAreTriedAgainAfterAFailover: ACLs are not replicated.
func TestPermissionsAreTriedAgainAfterAFailover(t *testing.T) {
	t.Parallel()
	s := testserver.StartSentinel(t)
	rules := exampleACL(t)
	for _, srv := range s.Servers {
		if srv == s.Primary() {
			grant(t, srv, rules...)
		} else {
			grant(t, srv, append(append([]string{}, rules...), "-hset")...)
		}
	}
	d := open(t, redis.Options{URL: asUser(s.URL), Timeout: patient})
	if err := d.Ping(t.Context()); err != nil {
		t.Fatalf("the benign twin: %v", err)
	}
	s.Failover()
	wait(t, "the new primary is looked at", func() bool {
		err := d.Ping(t.Context())
		return errors.Is(err, redis.ErrACL) && strings.Contains(err.Error(), "+hset")
	})
}

// TestWrongPasswordsSaySo, and not what was tried (L01). A restart in the middle
// of a password change must not lock a fallback owner out: it is a warning.
func TestWrongPasswordsSaySo(t *testing.T) {
	for name, start := range aclTopologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, all := start(t)
			for _, srv := range all {
				grant(t, srv, "allkeys", "allchannels", "+@all")
			}
			if open(t, redis.Options{URL: good, Timeout: patient}).Ping(t.Context()) != nil {
				t.Error("the benign twin was refused")
			}
			bad := strings.Replace(good, "correct%20horse", "hunter2", 1)
			d, warnings, err := redis.Open(t.Context(), redis.Options{URL: bad, Timeout: patient})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			said := fmt.Sprint(warnings, d.Ping(t.Context()))
			if !strings.Contains(said, "WRONGPASS") || !strings.Contains(said, "check user and password in redis.url") {
				t.Errorf("does not say that the password is wrong: %s", said)
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("L01: %s", said)
			}
		})
	}
}
