package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParseRedisURL(t *testing.T) {
	for in, want := range map[string]RedisAddress{
		"redis://h":                        {Kind: RedisSingle, Hosts: []string{"h:6379"}},
		"REDISS://H.example.:6380/2":       {Kind: RedisSingle, TLS: true, Hosts: []string{"h.example:6380"}, Database: 2},
		"redis://u:p%40%2F%3A%23@h/":       {Kind: RedisSingle, Hosts: []string{"h:6379"}, User: "u", Password: "p@/:#"},
		"redis://:pw@[::1]:1":              {Kind: RedisSingle, Hosts: []string{"[::1]:1"}, Password: "pw"},
		"redis+sentinel://a,b:1/main":      {Kind: RedisSentinel, Hosts: []string{"a:26379", "b:1"}, Master: "main"},
		"rediss+sentinel://u:p@a/m.1-x_/7": {Kind: RedisSentinel, TLS: true, Hosts: []string{"a:26379"}, Master: "m.1-x_", Database: 7, User: "u", Password: "p"},
		"redis+cluster://u:p@a,b:2,[::1]":  {Kind: RedisCluster, Hosts: []string{"a:6379", "b:2", "[::1]:6379"}, User: "u", Password: "p"},
		"rediss+cluster://a/0":             {Kind: RedisCluster, TLS: true, Hosts: []string{"a:6379"}},
	} {
		got, problem, fix := ParseRedisURL(in)
		if problem != "" || fix != "" || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v (%s)\nwant %#v", in, got, problem, want)
		}
	}
}

// FuzzParseRedisURL: a fault never quotes what was written, for a password may
// stand in it (L01), and what is accepted has hosts and prints no password.
func FuzzParseRedisURL(f *testing.F) {
	for _, s := range []string{
		"redis://u:hunter2hunter2@h:1/2", "redis+sentinel://u:hunter2hunter2@a:1,b/main/3", "rediss+cluster://:hunter2hunter2@a,[::1]:2",
		"redis://u:hunter2hunter2", "redis+sentinel://hunter2hunter2@a/b", "redis://[::1", "redis+cluster://a,,b", "redis://u:%zz@h",
	} {
		f.Add(s)
	}
	const secret = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, s string) {
		a, problem, fix := ParseRedisURL(s)
		if strings.Contains(problem+fix, secret) {
			t.Errorf("L01: %q: %s; %s", s, problem, fix)
		}
		if problem != "" {
			if !reflect.DeepEqual(a, RedisAddress{}) {
				t.Errorf("%q was refused, and yet read as %v", s, a)
			}
			return
		}
		if len(a.Hosts) == 0 || a.Kind == RedisSentinel && a.Master == "" || a.Kind == RedisCluster && a.Database != 0 {
			t.Errorf("%q was accepted as %v", s, a)
		}
		if a.Password == secret && !strings.Contains(a.User+a.Master, secret) && strings.Contains(fmt.Sprintf("%v %+v %#v", a, a, a), secret) {
			t.Errorf("L01: %v", a)
		}
	})
}
