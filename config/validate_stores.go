package config

import (
	"net/url"
	"slices"
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
	if c.Redis.URL != "" {
		if c.Redis.URLFile != "" {
			fs.add("redis.url_file", "given twice, as redis.url and as a file", "keep one of the two")
		}
		if problem, fix := redisURL(c.Redis.URL); problem != "" {
			fs.add("redis.url", problem, fix)
		}
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

const redisForm = `write "redis://host:6379/0", or "rediss://..." for TLS`

func redisURL(s string) (problem, fix string) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not a URL (percent-encode odd characters of the password)", redisForm
	case u.Scheme != "redis" && u.Scheme != "rediss":
		return "does not start with redis:// or rediss://", redisForm
	case u.Hostname() == "":
		return "names no host", redisForm
	case u.Fragment != "":
		return "carries a fragment (percent-encode # in the password)", redisForm
	}
	if p := strings.Trim(u.Path, "/"); p != "" {
		if n, ok := decimal(p); !ok || n < 0 || n > 1<<16 {
			return "has a path that is not a database number", redisForm
		}
	}
	if u.Port() != "" {
		if _, ok := port(u.Port()); !ok {
			return "has no usable port", redisForm
		}
	}
	if slices.Contains([]string{"true", "1"}, u.Query().Get("skip_verify")) {
		return "skips the check of the server's certificate", "remove skip_verify and install the CA certificate"
	}
	return "", ""
}
