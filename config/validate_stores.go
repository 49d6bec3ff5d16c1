package config

import (
	"net/url"
	"strings"
)

// validateStores checks the forms of the database and Redis URLs. A problem
// never quotes the URL: it holds a password.
func (c *Config) validateStores(fs *faults) {
	if c.Database.URLFile == "" {
		if problem, fix := databaseURL(c.Database.URL); problem != "" {
			fs.add("database.url", problem, fix)
		}
	} else if c.Database.URL != "" {
		fs.add("database.url_file", "given twice, as database.url and as a file", "keep one of the two")
	}
	c.Redis.validate(fs)
}

func (r *Redis) validate(fs *faults) {
	if strings.Trim(r.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-") != "" || len(r.Prefix) > 64 {
		// Braces would change where a cluster keeps a key.
		fs.add("redis.prefix", "holds odd characters", "use up to 64 letters, digits and :._-")
	}
	if r.SentinelPassword != "" && r.SentinelPasswordFile != "" {
		fs.add("redis.sentinel_password_file", "given twice, as redis.sentinel_password and as a file", "keep one of the two")
	}
	if r.URL == "" {
		if r.URLFile == "" && *r != (Redis{}) {
			fs.add("redis.url", "is not set, but other keys of redis are", "set it, or remove them")
		}
		return
	}
	if r.URLFile != "" {
		fs.add("redis.url_file", "given twice, as redis.url and as a file", "keep one of the two")
	}
	a, problem, fix := ParseRedisURL(r.URL)
	if problem != "" {
		fs.add("redis.url", problem, fix)
		return
	}
	sentinels := r.SentinelPassword != "" || r.SentinelPasswordFile != ""
	if r.CAFile != "" && !a.TLS {
		fs.add("redis.ca_file", "redis.url is not rediss: nothing would be verified", "write rediss in redis.url")
	}
	if a.Kind != RedisSentinel && (sentinels || r.SentinelUser != "") {
		fs.add("redis.sentinel_password", "redis.url names no sentinels", "remove it, or write redis+sentinel in redis.url")
	}
	if r.SentinelUser != "" && !sentinels {
		fs.add("redis.sentinel_user", "has no password", "set redis.sentinel_password")
	}
}

const databaseForm = `write "sqlite:ssogate.db" or "postgres://user:password@host/database"` //nolint:gosec // a form to fill in

func databaseURL(s string) (problem, fix string) {
	if path, ok := strings.CutPrefix(s, "sqlite:"); ok {
		switch {
		case path == "" || strings.HasSuffix(path, "/"):
			return "names no file", databaseForm
		case path == ":memory:":
			// Members, revocations and the audit trail would end with the process.
			return "a database in memory forgets who was cut off", databaseForm
		case strings.ContainsAny(path, "?#%") || strings.HasPrefix(path, "//"):
			// Parameters could switch off what the store relies on (foreign keys,
			// immediate transactions, synchronous writes).
			return "is not a plain path", "write sqlite: and a path, without parameters"
		}
		return "", ""
	}
	rest, ok := strings.CutPrefix(s, "postgres://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "postgresql://")
	}
	if !ok {
		return "unknown kind of database", databaseForm
	}
	// Read by hand: a list of hosts is fine for PostgreSQL and not for net/url.
	rest, query, _ := strings.Cut(rest, "?")
	authority, name, _ := strings.Cut(rest, "/")
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	params, err := url.ParseQuery(query)
	switch {
	case err != nil:
		return "has parameters that cannot be read", databaseForm
	case host == "" && params.Get("host") == "":
		return "names no host", databaseForm
	case name == "" && params.Get("dbname") == "" && params.Get("database") == "":
		return "names no database", databaseForm
	}
	return "", ""
}
