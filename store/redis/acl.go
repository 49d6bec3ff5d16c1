package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
)

// ErrACL means that the Redis user may not do what this package must. The error
// names the commands and the rule that grants them.
var ErrACL = errors.New("redis: the Redis user may not run all that ssogate needs")

// commands are all that are ever sent, by script or directly. Whatever is added
// here is in the rule that operators copy, and the other way round.
var commands = []string{
	"ping", "info", "select", "role", "eval", "evalsha", "cluster|slots", "asking",
	"exists", "del", "pexpire", "pttl", "get", "set", "incrby", "decrby", "time",
	"hset", "hget", "hmget", "hexists",
	"zadd", "zcard", "zscore", "zscan", "zrem", "zrangebyscore", "zrevrangebyscore", "zremrangebyscore",
	"publish", "subscribe", "unsubscribe",
}

// ACLRules are the least that the Redis user of ssogate needs with this prefix,
// as rules of ACL SETUSER. HELLO and AUTH are everybody's.
func ACLRules(prefix string) string {
	return fmt.Sprintf("~%s* resetchannels &%s* -@all +%s", prefix, prefix, strings.Join(commands, " +"))
}

// user is whose rules are meant.
func (d *DB) user() string {
	if d.address.User == "" {
		return "default"
	}
	return d.address.User
}

// missing is the error about rules that are not granted.
func (d *DB) missing(rules ...string) error {
	return fmt.Errorf("%w; grant it: ACL SETUSER %s %s", ErrACL, d.user(), strings.Join(rules, " "))
}

// explain puts the operator's next step before an error of the server.
func (d *DB) explain(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrACL):
		return err
	case noPermission(err):
		return fmt.Errorf("%w: %w; all it needs: ACL SETUSER %s %s", ErrACL, err, d.user(), ACLRules(d.prefix))
	case goredis.IsAuthError(err):
		return fmt.Errorf("%w (check user and password in redis.url%s)", err, map[bool]string{true: ", and redis.sentinel_password"}[d.address.Kind == config.RedisSentinel])
	}
	return err
}

// scriptNothing finds out who may run scripts at all.
var scriptNothing = newScript("return 1")

// permitted tries everything on one master, without leaving anything behind.
// tag makes keys that this master has. ACL DRYRUN would be simpler, but needs 7.0
// and a right of its own.
func (d *DB) permitted(ctx context.Context, c goredis.UniversalClient, tag string) error {
	key := d.prefix + "check:{" + tag + "}"
	keys := []string{key + ":hash", key + ":zset", key + ":string"}
	channel := "&" + d.prefix + "*"
	var rules []string
	// Each step shows one thing only, because the words of refusals differ between
	// versions, and inside a script they have no code.
	for _, step := range []struct {
		cmd  *goredis.Cmd
		rule string
	}{
		{eval(ctx, scriptNothing, false, nil).Cmd, "+eval"},
		{eval(ctx, scriptNothing, true, nil).Cmd, "+evalsha"},
		{eval(ctx, scriptNothing, false, keys).Cmd, "~" + d.prefix + "*"},
	} {
		if err := c.Process(ctx, step.cmd); noPermission(err) {
			return d.missing(step.rule) // nothing else can be tried
		} else if err != nil && !goredis.HasErrorPrefix(err, "NOSCRIPT") {
			return err
		}
	}
	failed, err := run(ctx, c, scriptProbe, keys, d.prefix+"check").StringSlice()
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(failed); i += 2 {
		name, words := strings.ToLower(failed[i]), failed[i+1]
		if code, _, _ := strings.Cut(words, " "); code != "ERR" && code != "NOPERM" {
			return fmt.Errorf("%s: %w", name, answer(words)) // READONLY, OOM, ...: it may, and cannot
		}
		rules = append(rules, "+"+name)
		if name == "publish" {
			rules = append(rules, channel) // either of them
		}
	}
	direct, err := d.permittedDirectly(ctx, c)
	if err != nil {
		return err
	}
	if rules = append(rules, direct...); len(rules) > 0 {
		return d.missing(rules...)
	}
	return nil
}

// permittedDirectly tries what no script may run.
func (d *DB) permittedDirectly(ctx context.Context, c goredis.UniversalClient) (rules []string, err error) {
	var names []string
	switch d.address.Kind {
	case config.RedisSentinel:
		names = []string{"role"}
	case config.RedisCluster:
		names = []string{"asking"} // means the next command on that connection, which has its key there anyway
	case config.RedisSingle:
	}
	for _, name := range names {
		if err := c.Do(ctx, name).Err(); noPermission(err) {
			rules = append(rules, "+"+name)
		} else if err != nil {
			return nil, err
		}
	}
	s := c.Subscribe(ctx, d.prefix+"check")
	defer closePubSub(s)
	switch _, err := s.ReceiveTimeout(ctx, d.timeout); {
	case noPermission(err):
		rules = append(rules, "+subscribe", "&"+d.prefix+"*")
	case err != nil:
		return nil, err
	}
	return rules, nil
}

func noPermission(err error) bool { return goredis.HasErrorPrefix(err, "NOPERM") }

// answer is an error of the server that a script reported.
type answer string

func (a answer) Error() string { return string(a) }

// RedisError marks it as the server's own.
func (answer) RedisError() {}
