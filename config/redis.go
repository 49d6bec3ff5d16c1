package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// RedisKind is how the servers behind a redis.url work together.
type RedisKind string

// The kinds of [RedisAddress].
const (
	RedisSingle   RedisKind = "single"
	RedisSentinel RedisKind = "sentinel"
	RedisCluster  RedisKind = "cluster"
)

// RedisAddress is a parsed redis.url. It holds a password and prints without it.
type RedisAddress struct {
	Kind     RedisKind `key:"kind"`
	TLS      bool      `key:"tls"`
	Hosts    []string  `key:"hosts"`    // "host:port"; of the sentinels, or of some nodes of the cluster
	Master   string    `key:"master"`   // what the sentinels call it; only RedisSentinel
	Database int       `key:"database"` // always 0 in a cluster
	User     string    `key:"user"`     // "" is Redis' default user
	Password string    `key:"password" secret:"yes"`
}

// maxRedisHosts bounds the list; a client needs a few to find all others.
const maxRedisHosts = 50

const redisForm = `write "redis://host:6379/0", "redis+sentinel://host:26379,host:26379/NAME" or "redis+cluster://host:6379,host:6379"; "rediss" for TLS`

// ParseRedisURL reads a redis.url:
//
//	redis://[user:password@]host[:port][/database]
//	redis+sentinel://[user:password@]host[:port],.../NAME[/database]
//	redis+cluster://[user:password@]host[:port],...
//
// and the same with rediss for TLS. User and password are those of the data
// servers, percent-encoded. Problem and fix are empty when it was good, and
// never contain any of s. It is read by hand, because a list of hosts is nothing
// to net/url.
func ParseRedisURL(s string) (a RedisAddress, problem, fix string) {
	bad := func(problem, fix string) (RedisAddress, string, string) { return RedisAddress{}, problem, fix }
	scheme, rest, ok := strings.Cut(s, "://")
	tls, kind, known := redisScheme(scheme)
	switch {
	case !ok || !known:
		return bad("does not start with redis://, redis+sentinel:// or redis+cluster:// (or rediss...)", redisForm)
	case len(s) > 4096 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("is not a URL (percent-encode odd characters of the password)", redisForm)
	case strings.ContainsAny(rest, "?#"):
		// Client libraries read options from here that undo our time limits, or the
		// check of the server's certificate.
		return bad("carries options after ? or # (percent-encode them in the password)", "remove them; a private CA goes into redis.ca_file")
	}
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path, "@") {
		return bad("has a / before the @", "percent-encode odd characters of the password")
	}
	a = RedisAddress{Kind: kind, TLS: tls}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if a.User, a.Password, ok = redisUser(authority[:i]); !ok {
			return bad("has a user or password that cannot be read", "write user:password@, percent-encoded; the password is not optional")
		}
		authority = authority[i+1:]
	}
	if a.Hosts, problem = redisHosts(authority, kind); problem != "" {
		return bad(problem, redisForm)
	}
	if a.Master, a.Database, problem = redisPath(strings.Trim(path, "/"), kind); problem != "" {
		return bad(problem, redisForm)
	}
	return a, "", ""
}

func redisScheme(s string) (tls bool, kind RedisKind, known bool) {
	name, suffix, _ := strings.Cut(strings.ToLower(s), "+")
	switch suffix {
	case "":
		kind = RedisSingle
	case "sentinel":
		kind = RedisSentinel
	case "cluster":
		kind = RedisCluster
	default:
		return false, "", false
	}
	return name == "rediss", kind, (name == "redis" || name == "rediss") && !strings.HasSuffix(s, "+")
}

func redisUser(s string) (user, password string, ok bool) {
	user, password, _ = strings.Cut(s, ":")
	user, err1 := url.PathUnescape(user)
	password, err2 := url.PathUnescape(password)
	// A user without a password would be left out by the protocol, and so be
	// somebody else: the default user.
	return user, password, err1 == nil && err2 == nil && (password != "" || user == "" && s == "")
}

func redisHosts(list string, kind RedisKind) (hosts []string, problem string) {
	usual := "6379"
	if kind == RedisSentinel {
		usual = "26379"
	}
	for h := range strings.SplitSeq(list, ",") {
		name, p := h, usual
		if i := strings.LastIndexByte(h, ':'); i >= 0 && !strings.HasSuffix(h, "]") {
			name, p = h[:i], h[i+1:]
		}
		if inner, yes := strings.CutPrefix(name, "["); yes {
			name, _ = strings.CutSuffix(inner, "]")
		} else if strings.Contains(name, ":") {
			return nil, "has a host that cannot be read (an IPv6 address wants its brackets)"
		}
		switch _, ok := port(p); {
		case name == "":
			return nil, "names no host"
		case !ok:
			return nil, "has no usable port"
		}
		name, ok := hostname(name)
		if !ok {
			return nil, "has a host that cannot be read"
		}
		hosts = append(hosts, net.JoinHostPort(name, p))
	}
	switch {
	case len(hosts) > 1 && kind == RedisSingle:
		return nil, "names several hosts, which is redis+sentinel or redis+cluster"
	case len(hosts) > maxRedisHosts:
		return nil, "names more than 50 hosts"
	case len(slices.Compact(slices.Sorted(slices.Values(hosts)))) != len(hosts):
		return nil, "names a host twice"
	}
	return hosts, ""
}

func redisPath(path string, kind RedisKind) (master string, database int, problem string) {
	if kind == RedisSentinel {
		master, path, _ = strings.Cut(path, "/")
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_" // what Sentinel itself takes
		if master == "" || len(master) > 200 || strings.Trim(master, letters) != "" {
			return "", 0, "does not say what the sentinels call the master"
		}
	}
	if path == "" {
		return master, 0, ""
	}
	n, ok := decimal(path)
	switch {
	case !ok || n < 0 || n > 1<<16:
		return "", 0, "has a path that is not a database number"
	case n != 0 && kind == RedisCluster:
		return "", 0, "names a database, and a cluster has only number 0"
	}
	return master, n, ""
}

// String never contains the password.
func (a RedisAddress) String() string { return text(a) }

// GoString is String.
func (a RedisAddress) GoString() string { return text(a) }

// MarshalJSON is String.
func (a RedisAddress) MarshalJSON() ([]byte, error) { return marshal(a) }
