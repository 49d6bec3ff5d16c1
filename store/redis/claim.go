package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// ErrDirectory means that the sessions in this Redis belong to members of
// another database. Mixed, each gateway's clean-up would end the other's
// sessions, and their budgets would be one.
var ErrDirectory = errors.New("redis: this Redis keeps the sessions of another ssogate database; " +
	"give each its own Redis, its own database number, or its own redis.prefix")

// claimEvery is how old the last look at the mark may be when a session is
// created: somebody may have emptied the server, and another gateway been first.
const claimEvery = 5 * time.Second

// Claim marks this Redis as that of the directory with this id, which is not
// secret. Call it once, before sessions are made. [ErrDirectory] when another id
// holds the mark; any other error means that it could not be told now, and that
// [DB.Ping] goes on trying. The mark has no end: an emptied server is claimed
// again by whoever looks first, with Ping or before creating a session.
func (d *DB) Claim(ctx context.Context, directoryID string) error {
	if directoryID == "" {
		return errors.New("redis: claim: no directory id")
	}
	d.checks.mu.Lock()
	d.checks.directory = directoryID
	d.checks.mu.Unlock()
	return d.claim(ctx)
}

// claim looks at the mark now. Without a directory there is nothing to claim.
func (d *DB) claim(ctx context.Context) error {
	d.checks.mu.Lock()
	id := d.checks.directory
	d.checks.mu.Unlock()
	if id == "" {
		return nil
	}
	key := d.prefix + "directory"
	var holder string
	err := d.call(ctx, "claim", key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
		holder, err = run(ctx, c, scriptClaim, []string{key}, id).Text()
		return err
	})
	if err != nil {
		return d.explain(err)
	}
	if holder != id {
		err = ErrDirectory
	}
	d.checks.mu.Lock()
	defer d.checks.mu.Unlock()
	d.checks.claimed, d.checks.foreign = time.Now(), err != nil
	return err
}

// owned refuses to create a session on a Redis that is somebody else's.
func (d *DB) owned(ctx context.Context) error {
	d.checks.mu.Lock()
	ask := d.checks.directory != "" && time.Since(d.checks.claimed) > claimEvery
	foreign := d.checks.foreign
	d.checks.mu.Unlock()
	if ask {
		err := d.claim(ctx)
		switch {
		case err == nil:
			foreign = false
		case errors.Is(err, ErrDirectory):
			return err
		}
		// Else it could not be told: the mark may be on a dead server of a cluster
		// while the session is not. What was seen last counts.
	}
	if foreign {
		return ErrDirectory
	}
	return nil
}
