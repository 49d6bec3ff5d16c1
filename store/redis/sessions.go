package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

const (
	// batch is how many records one round trip carries.
	batch = 250
	// maxList is how many sessions of one member are listed, the last to end
	// first. Ending them has no such limit.
	maxList = 1000
)

// Sessions is the session store. Safe for concurrent use. Every call on one
// session answers within Options.Timeout; calls on all sessions of a member
// take that long per batch of 250.
//
// A session also ends in Redis itself: its key lives as long as the session,
// measured by the server from the moment of creation, so that neither clock
// skew nor a clock set back gives anybody more time (K06, fault 16).
type Sessions struct{ db *DB }

// Remember says whether sessions that begin from now on are remembered for
// [session.Remembered] beyond their end, in a copy that admits nobody. It doubles the
// memory of a session, so it is for installations that ask for it. Off at first.
func (d *DB) Remember(on bool) { d.remember.Store(on) }

// Sessions answers the session store on this connection.
func (d *DB) Sessions() *Sessions { return &Sessions{db: d} }

// storedRecord is the JSON in field d. Its id travels inside the same string,
// so that no mixture of two records can look whole. LastSeen is a field of its
// own and wins over the one in here.
type storedRecord struct {
	ID string `json:"id"`
	session.Record
}

func (d *DB) sessionKey(h secret.Hash) string { return d.prefix + "s:{" + h.String() + "}" }

// pastKey is of the copy, in the same slot.
func (d *DB) pastKey(h secret.Hash) string { return d.prefix + "p:{" + h.String() + "}" }

// memberKey quotes the id, so that no id can carry a hash tag or a key of its own.
func (d *DB) memberKey(id member.ID) string {
	return d.prefix + "m:{" + strconv.QuoteToASCII(string(id)) + "}"
}

// Create implements session.Store. [ErrDirectory] on a Redis that is somebody
// else's (see [DB.Claim]).
func (s *Sessions) Create(ctx context.Context, r session.Record) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("redis: create session: %w", err)
	}
	r = r.Stored()
	now := s.db.now()
	life := r.Expires.Sub(now).Milliseconds()
	if life <= 0 {
		return errors.New("redis: create session: already expired")
	}
	d, err := json.Marshal(storedRecord{ID: r.Hash.String(), Record: r})
	if err != nil {
		return fmt.Errorf("redis: create session: %w", err)
	}
	if err := s.db.owned(ctx); err != nil {
		return err
	}
	// The index first: a crash in between leaves an entry without a record, which
	// everybody expects. A record without an entry would escape DeleteMember.
	key := s.db.memberKey(r.Member)
	err = s.db.call(ctx, "session_index", key, func(ctx context.Context, c goredis.UniversalClient) error {
		return run(ctx, c, scriptIndex, []string{key}, r.Hash.String(), r.Expires.UnixMilli(), now.UnixMilli(), life).Err()
	})
	if err != nil {
		return err
	}
	var created int
	var after int64
	if s.db.remember.Load() {
		after = life + session.Remembered.Milliseconds()
	}
	key = s.db.sessionKey(r.Hash)
	keys := []string{key, s.db.pastKey(r.Hash)}
	err = s.db.call(ctx, "session_create", key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
		created, err = run(ctx, c, scriptCreate, keys, d, string(r.Member), r.Epoch, r.LastSeen.UnixMilli(), life, after).Int()
		return err
	})
	if err != nil {
		return err
	}
	if created != 1 {
		return errors.New("redis: create session: the id exists already")
	}
	return nil
}

// Get implements session.Store.
func (s *Sessions) Get(ctx context.Context, h secret.Hash) (session.Record, error) {
	return s.get(ctx, "session_get", s.db.sessionKey(h), h, 0)
}

// Past implements session.Store. It knows of sessions that began after [DB.Remember].
func (s *Sessions) Past(ctx context.Context, h secret.Hash) (session.Record, error) {
	r, err := s.Get(ctx, h) // it knows the last use; the copy does not
	if errors.Is(err, session.ErrNotFound) {
		return s.get(ctx, "session_past", s.db.pastKey(h), h, session.Remembered)
	}
	return r, err
}

func (s *Sessions) get(ctx context.Context, op, key string, h secret.Hash, late time.Duration) (session.Record, error) {
	var fields []any
	err := s.db.call(ctx, op, key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
		fields, err = s.fetch(ctx, c, key).Result()
		return err
	})
	if err != nil {
		return session.Record{}, err
	}
	r, err := s.decode(h, fields, late)
	if errors.Is(err, session.ErrMismatch) {
		s.db.mismatch(ctx, "session "+h.Short(), func(ctx context.Context, c goredis.UniversalClient) bool {
			again, err := s.fetch(ctx, c, key).Result()
			if err != nil {
				return false
			}
			_, err = s.decode(h, again, late)
			return !errors.Is(err, session.ErrMismatch)
		})
	}
	return r, err
}

func (s *Sessions) fetch(ctx context.Context, c goredis.Cmdable, key string) *goredis.SliceCmd {
	return c.HMGet(ctx, key, "d", "m", "e", "seen")
}

// decode reads what fetch answered and believes none of it. late is how long after its
// end a record still counts.
func (s *Sessions) decode(h secret.Hash, fields []any, late time.Duration) (session.Record, error) {
	if len(fields) != 4 {
		return session.Record{}, session.ErrMismatch
	}
	d, ok := fields[0].(string)
	if !ok {
		if fields[1] == nil && fields[2] == nil && fields[3] == nil {
			return session.Record{}, session.ErrNotFound
		}
		return session.Record{}, session.ErrMismatch
	}
	var v storedRecord
	if err := json.Unmarshal([]byte(d), &v); err != nil {
		return session.Record{}, session.ErrMismatch
	}
	r := v.Record
	r.Hash = h
	seen, err := strconv.ParseInt(text(fields[3]), 10, 64)
	if err != nil || v.ID != h.String() || text(fields[1]) != string(r.Member) ||
		text(fields[2]) != strconv.FormatInt(r.Epoch, 10) {
		return session.Record{}, session.ErrMismatch
	}
	r.LastSeen = time.UnixMilli(seen)
	if r.Check() != nil {
		return session.Record{}, session.ErrMismatch
	}
	// The server's own expiry is not enough: its clock may run slow, and a
	// restored backup may know nothing of it.
	if !s.db.now().Before(r.Expires.Add(late)) {
		return session.Record{}, session.ErrNotFound
	}
	return r.Stored(), nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// Touch implements session.Store. A batch of 250 that cannot be written does not
// stop the others, nor does a dead server of a cluster.
func (s *Sessions) Touch(ctx context.Context, uses []session.Use) error {
	var errs []error
	for part := range slices.Chunk(uses, batch) {
		keys := make([]string, len(part))
		for i, u := range part {
			keys[i] = s.db.sessionKey(u.Hash)
		}
		_, err := s.db.runEach(ctx, "session_touch", scriptTouch, keys, func(i int) []any {
			return []any{part[i].Seen.UnixMilli()}
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Delete implements session.Store.
func (s *Sessions) Delete(ctx context.Context, h secret.Hash) error {
	var owner string
	key := s.db.sessionKey(h)
	err := s.db.call(ctx, "session_delete", key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
		owner, err = run(ctx, c, scriptDelete, []string{key, s.db.pastKey(h)}).Text()
		return err
	})
	if err != nil || owner == "" {
		return err
	}
	return s.forget(ctx, member.ID(owner), []string{h.String()})
}

// forget takes sessions out of their member's index.
func (s *Sessions) forget(ctx context.Context, id member.ID, hashes []string) error {
	if len(hashes) == 0 {
		return nil
	}
	args := make([]any, len(hashes))
	for i, h := range hashes {
		args[i] = h
	}
	key := s.db.memberKey(id)
	return s.db.call(ctx, "session_forget", key, func(ctx context.Context, c goredis.UniversalClient) error {
		return c.ZRem(ctx, key, args...).Err()
	})
}

// DeleteMember implements session.Store. On an error some of the sessions may
// be gone already; the caller repeats the call.
func (s *Sessions) DeleteMember(ctx context.Context, id member.ID, below int64) (int, error) {
	total := 0
	for {
		// Until a whole pass finds nothing: one that deletes while it scans may
		// step over entries, depending on how the server numbers them.
		n, err := s.deletePass(ctx, id, below)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

func (s *Sessions) deletePass(ctx context.Context, id member.ID, below int64) (int, error) {
	total := 0
	var cursor uint64
	for {
		var page []string // session, score, session, score, ...
		key := s.db.memberKey(id)
		err := s.db.call(ctx, "session_scan", key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
			page, cursor, err = c.ZScan(ctx, key, cursor, "", batch).Result()
			return err
		})
		if err != nil {
			return total, err
		}
		// A server may answer more than was asked for.
		for len(page) >= 2 {
			n := min(len(page)/2, batch)
			deleted, err := s.deleteBatch(ctx, id, below, page[:2*n])
			total += deleted
			if err != nil {
				return total, err
			}
			page = page[2*n:]
		}
		if cursor == 0 {
			return total, nil
		}
	}
}

// deleteBatch ends the sessions of one page of the index. Which epoch a session
// has is read from the session itself, in the step that deletes it.
func (s *Sessions) deleteBatch(ctx context.Context, id member.ID, below int64, page []string) (int, error) {
	var hashes []secret.Hash
	var gone []string
	for i := 0; i < len(page); i += 2 {
		h, err := secret.ParseHash(page[i])
		if err != nil {
			gone = append(gone, page[i]) // not ours: nothing to find under it
			continue
		}
		hashes = append(hashes, h)
	}
	keys := make([]string, len(hashes))
	for i, h := range hashes {
		keys[i] = s.db.sessionKey(h)
	}
	verdicts, err := s.db.runEach(ctx, "session_delete_member", scriptDeleteBelow, keys, func(int) []any {
		return []any{string(id), below}
	})
	deleted := 0
	for i, v := range verdicts {
		n, verr := v.Int()
		switch {
		case verr != nil:
			// part of err
		case n == 1:
			deleted++
			gone = append(gone, hashes[i].String())
		case n == -2:
			s.db.metrics.mismatch()
		}
		// Absent records stay in the index until their end: they may belong to a
		// sign-in that is just between its two steps.
	}
	return deleted, errors.Join(err, s.forget(ctx, id, gone))
}

// List implements session.Store: at most the 1000 sessions that end last.
// Records that are not what their id says are left out and counted.
func (s *Sessions) List(ctx context.Context, id member.ID) ([]session.Record, error) {
	var names []string
	key := s.db.memberKey(id)
	err := s.db.call(ctx, "session_list", key, func(ctx context.Context, c goredis.UniversalClient) (err error) {
		names, err = c.ZRevRangeByScore(ctx, key, &goredis.ZRangeBy{
			Min: "(" + strconv.FormatInt(s.db.now().UnixMilli(), 10), Max: "+inf", Count: maxList,
		}).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []session.Record
	for len(names) > 0 {
		n := min(len(names), batch)
		out, err = s.read(ctx, id, names[:n], out)
		if err != nil {
			return nil, err
		}
		names = names[n:]
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].Issued.Equal(out[j].Issued) {
			return out[i].Issued.After(out[j].Issued)
		}
		return bytes.Compare(out[i].Hash[:], out[j].Hash[:]) < 0
	})
	return out, nil
}

// read appends the live sessions of a page of the index.
func (s *Sessions) read(ctx context.Context, id member.ID, names []string, out []session.Record) ([]session.Record, error) {
	var hashes []secret.Hash
	for _, name := range names {
		if h, err := secret.ParseHash(name); err == nil {
			hashes = append(hashes, h)
		}
	}
	keys := make([]string, len(hashes))
	for i, h := range hashes {
		keys[i] = s.db.sessionKey(h)
	}
	answers := make([]*goredis.SliceCmd, len(hashes))
	err := s.db.each(ctx, "session_read", keys, func(ctx context.Context, c goredis.UniversalClient, at []int) error {
		_, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, i := range at {
				answers[i] = s.fetch(ctx, p, keys[i])
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, a := range answers {
		r, err := s.decode(hashes[i], a.Val(), 0)
		switch {
		case errors.Is(err, session.ErrMismatch), err == nil && r.Member != id:
			s.db.metrics.mismatch()
		case err == nil:
			out = append(out, r)
		}
	}
	return out, nil
}

var _ session.Store = (*Sessions)(nil)
