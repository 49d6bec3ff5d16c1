package redis

import (
	"context"
	_ "embed"
	"errors"

	goredis "github.com/redis/go-redis/v9"
)

// The scripts are files of their own: each is one atomic step, and reads best
// alone. KEYS are passed and never built inside, as Redis Cluster demands.
var (
	//go:embed create.lua
	createLua string
	//go:embed index.lua
	indexLua string
	//go:embed touch.lua
	touchLua string
	//go:embed delete.lua
	deleteLua string
	//go:embed deletebelow.lua
	deleteBelowLua string
	//go:embed put.lua
	putLua string
	//go:embed take.lua
	takeLua string
	//go:embed claim.lua
	claimLua string
	//go:embed probe.lua
	probeLua string
)

// script is one of them. Servers are sent it once and then its digest.
type script struct{ source, digest string }

func newScript(source string) script {
	return script{source: source, digest: goredis.NewScript(source).Hash()}
}

var (
	scriptCreate      = newScript(createLua)
	scriptIndex       = newScript(indexLua)
	scriptTouch       = newScript(touchLua)
	scriptDelete      = newScript(deleteLua)
	scriptDeleteBelow = newScript(deleteBelowLua)
	scriptPut         = newScript(putLua)
	scriptTake        = newScript(takeLua)
	scriptClaim       = newScript(claimLua)
	scriptProbe       = newScript(probeLua)
)

// once is a command that is not repeated after a lost answer. A cluster client
// does repeat others, whatever MaxRetries says: with the number of redirects it
// follows. It still follows redirects, which did nothing.
type once struct{ *goredis.Cmd }

func (once) NoRetry() bool { return true }

// run runs one script. All its keys must be in one slot.
func run(ctx context.Context, c goredis.UniversalClient, s script, keys []string, args ...any) *goredis.Cmd {
	cmd := eval(ctx, s, true, keys, args...)
	_ = c.Process(ctx, cmd)
	if goredis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
		cmd = eval(ctx, s, false, keys, args...)
		_ = c.Process(ctx, cmd)
	}
	return cmd.Cmd
}

// eval is EVALSHA or EVAL as a command that was not sent yet.
func eval(ctx context.Context, s script, known bool, keys []string, args ...any) once {
	name, text := "eval", s.source
	if known {
		name, text = "evalsha", s.digest
	}
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, text, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := once{goredis.NewCmd(ctx, append(all, args...)...)}
	if len(keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd
}

// runEach runs one script on many keys, each of its own, in one round trip per
// server: two where a server does not know the script yet, which a pipeline
// cannot find out halfway. args answers those of the key at a place. The script
// must bear to be run twice. Also on an error each command tells what became of it.
func (d *DB) runEach(ctx context.Context, op string, s script, keys []string, args func(i int) []any) ([]*goredis.Cmd, error) {
	cmds := make([]*goredis.Cmd, len(keys))
	for i := range cmds {
		cmds[i] = goredis.NewCmd(ctx)
		cmds[i].SetErr(errDown)
	}
	err := d.each(ctx, op, keys, func(ctx context.Context, c goredis.UniversalClient, at []int) error {
		send := func(known bool, at []int) error {
			_, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
				for _, i := range at {
					cmd := eval(ctx, s, known, keys[i:i+1], args(i)...)
					cmds[i] = cmd.Cmd
					_ = p.Process(ctx, cmd)
				}
				return nil
			})
			return err
		}
		err := send(true, at)
		var unknown []int
		for _, i := range at {
			if goredis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
				unknown = append(unknown, i)
			}
		}
		if len(unknown) == 0 {
			return err
		}
		err = send(false, unknown)
		for _, i := range at {
			if e := cmds[i].Err(); e != nil && !errors.Is(e, goredis.Nil) {
				return e
			}
		}
		return err
	})
	return cmds, err
}
