package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/sso"
)

// errForeign means the answer belonged to another record: nothing in it is used.
var errForeign = errors.New("redis: pending record does not belong to its id")

// Pending is the store of pending sign-ins. Safe for concurrent use; every call
// answers within Options.Timeout.
type Pending struct{ db *DB }

// Pending answers the store of pending sign-ins on this connection.
func (d *DB) Pending() *Pending { return &Pending{db: d} }

func pendingID(k sso.Key) string { return string(k.Kind) + ":" + k.Hash.String() }

// pendingKeys are the record, and the index and byte count of its kind.
func (d *DB) pendingKeys(k sso.Key) []string {
	index := d.prefix + "{pending}:" + string(k.Kind)
	return []string{index + ":" + k.Hash.String(), index, index + ":sum"}
}

// Put implements sso.Pending.
func (p *Pending) Put(ctx context.Context, k sso.Key, value []byte, until time.Time) error {
	return p.write(ctx, "pending_put", k, value, until, 0)
}

// Once implements sso.Pending.
func (p *Pending) Once(ctx context.Context, k sso.Key, until time.Time) error {
	return p.write(ctx, "pending_once", k, nil, until, 1)
}

func (p *Pending) write(ctx context.Context, op string, k sso.Key, value []byte, until time.Time, once int) error {
	now := p.db.now()
	if err := sso.CheckPut(k, value, until, now); err != nil {
		return err
	}
	records, bytes := k.Kind.Budget(p.db.budget)
	id := pendingID(k)
	var answer []any
	keys := p.db.pendingKeys(k)
	err := p.db.call(ctx, op, keys[0], func(ctx context.Context, c goredis.UniversalClient) (err error) {
		answer, err = run(ctx, c, scriptPut, keys, id, value, len(value),
			until.UnixMilli(), now.UnixMilli(), until.Sub(now).Milliseconds(), records, bytes, once).Slice()
		return err
	})
	if err != nil {
		return err
	}
	if len(answer) != 2 || text(answer[1]) != id {
		p.foreign(ctx, k)
		return errForeign
	}
	switch answer[0] {
	case int64(1):
		return nil
	case int64(2):
		return sso.ErrUsed
	case int64(3):
		return sso.ErrFull
	default:
		return fmt.Errorf("redis: %s: unknown answer %v", op, answer[0])
	}
}

// Get implements sso.Pending.
func (p *Pending) Get(ctx context.Context, k sso.Key) ([]byte, error) {
	if err := k.Check(); err != nil {
		return nil, err
	}
	var fields []any
	err := p.db.call(ctx, "pending_get", p.db.pendingKeys(k)[0], func(ctx context.Context, c goredis.UniversalClient) (err error) {
		fields, err = p.read(ctx, c, k).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	value, err := p.decode(k, fields)
	if errors.Is(err, errForeign) {
		p.foreign(ctx, k)
	}
	return value, err
}

func (p *Pending) read(ctx context.Context, c goredis.Cmdable, k sso.Key) *goredis.SliceCmd {
	return c.HMGet(ctx, p.db.pendingKeys(k)[0], "id", "t", "d")
}

func (p *Pending) decode(k sso.Key, fields []any) ([]byte, error) {
	if len(fields) != 3 {
		return nil, errForeign
	}
	if fields[0] == nil && fields[1] == nil && fields[2] == nil {
		return nil, sso.ErrNoRecord
	}
	value, ok := fields[2].(string)
	end, err := strconv.ParseInt(text(fields[1]), 10, 64)
	if !ok || err != nil || text(fields[0]) != pendingID(k) {
		return nil, errForeign
	}
	if p.db.now().UnixMilli() >= end {
		return nil, sso.ErrNoRecord
	}
	return []byte(value), nil
}

// Take implements sso.Pending. When the answer is lost on its way the records
// are gone and the caller has an error: taken at most once, never twice.
func (p *Pending) Take(ctx context.Context, keys ...sso.Key) ([][]byte, error) {
	if err := sso.CheckTake(keys); err != nil {
		return nil, err
	}
	names := make([]string, 0, 3*len(keys))
	args := []any{p.db.now().UnixMilli()}
	for _, k := range keys {
		names = append(names, p.db.pendingKeys(k)...)
		args = append(args, pendingID(k))
	}
	var answer []any
	err := p.db.call(ctx, "pending_take", names[0], func(ctx context.Context, c goredis.UniversalClient) (err error) {
		answer, err = run(ctx, c, scriptTake, names, args...).Slice()
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(answer) == 1 && answer[0] == int64(0) {
		return nil, sso.ErrNoRecord
	}
	values, ok := taken(keys, answer)
	if !ok {
		p.foreign(ctx, keys[0])
		return nil, errForeign
	}
	return values, nil
}

// taken reads the answer of take.lua, or reports that it is not about keys.
func taken(keys []sso.Key, answer []any) ([][]byte, bool) {
	if len(answer) != 1+2*len(keys) || answer[0] != int64(1) {
		return nil, false
	}
	values := make([][]byte, len(keys))
	for i, k := range keys {
		value, ok := answer[2+2*i].(string)
		if !ok || text(answer[1+2*i]) != pendingID(k) {
			return nil, false
		}
		values[i] = []byte(value)
	}
	return values, true
}

func (p *Pending) foreign(ctx context.Context, k sso.Key) {
	p.db.mismatch(ctx, string(k.Kind)+" "+k.Hash.Short(), func(ctx context.Context, c goredis.UniversalClient) bool {
		fields, err := p.read(ctx, c, k).Result()
		if err != nil {
			return false
		}
		_, err = p.decode(k, fields)
		return !errors.Is(err, errForeign)
	})
}

var _ sso.Pending = (*Pending)(nil)
