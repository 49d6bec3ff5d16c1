package redis_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso"
)

// raw is a client without any of our rules, to spoil what is stored.
func raw(t *testing.T, url string) goredis.UniversalClient {
	t.Helper()
	a, problem, _ := config.ParseRedisURL(url)
	if problem != "" {
		t.Fatal(problem)
	}
	c := goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs: a.Hosts, MasterName: a.Master, IsClusterMode: a.Kind == config.RedisCluster, Username: a.User, Password: a.Password,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func sessionKey(r session.Record) string { return "ssogate:s:{" + r.Hash.String() + "}" }

// TestWrongRecords spoils what is stored in every way we can think of: the
// request is refused, counted, and nobody else notices (K09, fault 5).
func TestWrongRecords(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrongRecords(t, start(t))
		})
	}
}

func wrongRecords(t *testing.T, url string) {
	c := raw(t, url)
	w := watchPatiently(t, url)
	victim := w.create("victim")
	edit := func(r session.Record, change func(map[string]any)) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(c.HGet(t.Context(), sessionKey(r), "d").Val()), &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		out, _ := json.Marshal(m)
		return string(out)
	}
	set := func(r session.Record, field string, v any) { c.HSet(t.Context(), sessionKey(r), field, v) }
	cases := map[string]func(r session.Record){
		"another's whole record": func(r session.Record) {
			for f, v := range c.HGetAll(t.Context(), sessionKey(victim)).Val() {
				set(r, f, v)
			}
		},
		"another's record, our index fields": func(r session.Record) { set(r, "d", c.HGet(t.Context(), sessionKey(victim), "d").Val()) },
		"truncated":                          func(r session.Record) { set(r, "d", edit(r, func(map[string]any) {})[:40]) },
		"truncated to nothing":               func(r session.Record) { set(r, "d", "") },
		"not JSON":                           func(r session.Record) { set(r, "d", "\x00\xff") },
		"JSON of another kind":               func(r session.Record) { set(r, "d", "[]") },
		"null":                               func(r session.Record) { set(r, "d", "null") },
		"future version": func(r session.Record) {
			set(r, "d", edit(r, func(m map[string]any) { m["v"] = session.RecordVersion + 1 }))
		},
		"no version":             func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { delete(m, "v") })) },
		"no id":                  func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { delete(m, "id") })) },
		"no member":              func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { delete(m, "m") })) },
		"no end":                 func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { delete(m, "exp") })) },
		"another member inside":  func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { m["m"] = "owner" })) },
		"a higher epoch inside":  func(r session.Record) { set(r, "d", edit(r, func(m map[string]any) { m["e"] = 99 })) },
		"another member outside": func(r session.Record) { set(r, "m", "owner") },
		"last seen is a word":    func(r session.Record) { set(r, "seen", "now") },
		"only last seen (a plain HSET touch)": func(r session.Record) {
			c.Del(t.Context(), sessionKey(r))
			set(r, "seen", time.Now().UnixMilli())
		},
		"the record is missing": func(r session.Record) { c.HDel(t.Context(), sessionKey(r), "d") },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			r := w.create(name)
			if _, err := w.Sessions().Get(t.Context(), r.Hash); err != nil {
				t.Fatalf("the benign twin: %v", err)
			}
			before := w.metric("session_record_mismatch_total")
			spoil(r)
			if got, err := w.Sessions().Get(t.Context(), r.Hash); !errors.Is(err, session.ErrMismatch) {
				t.Errorf("K09: got %+v, %v; want ErrMismatch", got, err)
			}
			if after := w.metric("session_record_mismatch_total"); after != before+1 {
				t.Errorf("K09: counted %v times, want once", after-before)
			}
			list, err := w.Sessions().List(t.Context(), r.Member)
			if err != nil || len(list) == 0 {
				t.Errorf("K09: one wrong record hid all others: %v", err)
			}
			for _, l := range list {
				if l.Hash == r.Hash {
					t.Errorf("K09: listed: %+v", l)
				}
			}
			if got, err := w.Sessions().Get(t.Context(), victim.Hash); err != nil || got != victim {
				t.Errorf("K09: somebody else noticed: %+v, %v", got, err)
			}
		})
	}
	if w.lines("out of order") != 0 {
		t.Error("a wrong record was taken for a broken connection")
	}
	if n := w.lines("does not belong"); n == 0 || n > 3 {
		t.Errorf("%d log lines for %d wrong records within a second or two", n, len(cases))
	}
}

// TestWrongKindOfKey covers keys that are no hash at all.
func TestWrongKindOfKey(t *testing.T) {
	srv := testserver.StartRedis(t)
	w := watchPatiently(t, srv.URL)
	r := w.create("a")
	raw(t, srv.URL).Set(t.Context(), sessionKey(r), "x", 0)
	_, err := w.Sessions().Get(t.Context(), r.Hash)
	if err == nil || errors.Is(err, session.ErrNotFound) {
		t.Errorf("K09: %v, want an error", err)
	}
	if w.lines("redis is down") != 0 {
		t.Error("one wrong key was taken for a server that is down")
	}
}

func TestWrongPendingRecords(t *testing.T) {
	srv := testserver.StartRedis(t)
	c := raw(t, srv.URL)
	w := watchPatiently(t, srv.URL)
	mine := sso.Key{Kind: sso.KindCode, Hash: secret.Sum("mine")}
	other := sso.Key{Kind: sso.KindCode, Hash: secret.Sum("other")}
	name := func(k sso.Key) string { return "ssogate:{pending}:" + string(k.Kind) + ":" + k.Hash.String() }
	for _, k := range []sso.Key{mine, other} {
		if err := w.Pending().Put(t.Context(), k, []byte(k.Hash.String()), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.Pending().Get(t.Context(), other); err != nil || string(got) != other.Hash.String() {
		t.Fatalf("the benign twin: %q, %v", got, err)
	}
	for f, v := range c.HGetAll(t.Context(), name(other)).Val() {
		c.HSet(t.Context(), name(mine), f, v)
	}
	if got, err := w.Pending().Get(t.Context(), mine); err == nil {
		t.Errorf("K09: another's pending record was answered: %q", got)
	}
	if got, err := w.Pending().Take(t.Context(), other, mine); err == nil {
		t.Errorf("K09: another's pending record was taken: %q", got)
	}
	if got, err := w.Pending().Take(t.Context(), other); err != nil || string(got[0]) != other.Hash.String() {
		t.Errorf("a refused take consumed something: %q, %v", got, err)
	}
	if n := w.metric("session_record_mismatch_total"); n != 2 {
		t.Errorf("counted %v times, want 2", n)
	}
}

// TestStaleIndex puts into a member's index what does not belong there: ending
// his sessions neither stops there nor reaches anybody else's (C7).
func TestStaleIndex(t *testing.T) {
	srv := testserver.StartRedis(t)
	c := raw(t, srv.URL)
	w := watchPatiently(t, srv.URL)
	mine := w.create("mine")
	other := mine
	other.Hash, other.Member = secret.Sum("other"), "m2"
	if err := w.Sessions().Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	end := float64(time.Now().Add(time.Hour).UnixMilli())
	for _, entry := range []string{secret.Sum("gone").String(), other.Hash.String(), "rubbish", "", strings.Repeat("f", 64)} {
		c.ZAdd(t.Context(), `ssogate:m:{"m1"}`, goredis.Z{Score: end, Member: entry})
	}
	list, err := w.Sessions().List(t.Context(), "m1")
	if err != nil || len(list) != 1 || list[0] != mine {
		t.Errorf("list: %+v, %v; want only his own", list, err)
	}
	if n, err := w.Sessions().DeleteMember(t.Context(), "m1", 99); err != nil || n != 1 {
		t.Errorf("cut off: %d, %v; want 1", n, err)
	}
	if _, err := w.Sessions().Get(t.Context(), mine.Hash); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("his session: %v, want ErrNotFound", err)
	}
	if got, err := w.Sessions().Get(t.Context(), other.Hash); err != nil || got != other {
		t.Errorf("another member's session: %+v, %v", got, err)
	}
}

// TestKeysEnd makes sure that nothing stays in Redis for ever.
func TestKeysEnd(t *testing.T) {
	srv := testserver.StartRedis(t)
	c := raw(t, srv.URL)
	w := watchPatiently(t, srv.URL)
	r := w.create("a")
	if err := w.Sessions().Touch(t.Context(), session.Used(r.Hash, r.Expires.Add(99*time.Hour))); err != nil {
		t.Fatal(err)
	}
	k := sso.Key{Kind: sso.KindLogin, Hash: secret.Sum("login")}
	if err := w.Pending().Put(t.Context(), k, []byte("v"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	keys := c.Keys(t.Context(), "*").Val()
	if len(keys) != 5 {
		t.Errorf("keys: %q; want session, index, record, budget index, budget sum", keys)
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "ssogate:{pending}:login") && strings.Count(key, ":") < 3 || strings.HasSuffix(key, ":sum") {
			continue // bounded by the budget itself
		}
		if ttl := c.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > 24*time.Hour {
			t.Errorf("%s lives for %v, want at most the session's 24 h", key, ttl)
		}
	}
	if !strings.HasPrefix(keys[0], "ssogate:") {
		t.Errorf("key %q outside our prefix", keys[0])
	}
}
