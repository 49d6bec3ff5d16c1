package ssotest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso/refresh"
)

// GrantsFake keeps grants in memory. It passes [Grants] like the real stores.
// Safe for concurrent use; the zero value is empty.
type GrantsFake struct {
	mu     sync.Mutex
	grants map[secret.Hash]*fakeGrant
	fail   func(op string) error
}

type fakeGrant struct {
	refresh.Grant
	claim string
	until time.Time
}

// Fail makes calls answer what f answers for "put", "claim", "hold", "settle" or
// "delete"; nil ends it.
func (f *GrantsFake) Fail(fail func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// Get is the grant of a session as it is stored.
func (f *GrantsFake) Get(h secret.Hash) (refresh.Grant, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.grants[h]
	if !ok {
		return refresh.Grant{}, false
	}
	return g.copy(), true
}

func (g *fakeGrant) copy() refresh.Grant {
	c := g.Grant
	c.Token = bytes.Clone(c.Token)
	return c
}

// begin is called with mu held.
func (f *GrantsFake) begin(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ssotest: %w", err)
	}
	if f.grants == nil {
		f.grants = map[secret.Hash]*fakeGrant{}
	}
	if f.fail != nil {
		return f.fail(op)
	}
	return nil
}

// Put implements refresh.Store.
func (f *GrantsFake) Put(ctx context.Context, g refresh.Grant) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.begin(ctx, "put"), g.Check()); err != nil {
		return err
	}
	if f.grants[g.Session] != nil {
		return errors.New("ssotest: this session has a grant already")
	}
	s := &fakeGrant{Grant: g}
	s.Grant = s.copy()
	f.grants[g.Session] = s
	return nil
}

// Claim implements refresh.Store.
func (f *GrantsFake) Claim(ctx context.Context, c refresh.Claim) ([]refresh.Grant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, "claim"); err != nil {
		return nil, err
	}
	var due []*fakeGrant
	for _, g := range f.grants {
		if g.Identity.Provider == c.Provider && !g.Due.After(c.Now) && !g.until.After(c.Now) && g.Expires.After(c.Now) {
			due = append(due, g)
		}
	}
	slices.SortFunc(due, func(a, b *fakeGrant) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Session.String(), b.Session.String()))
	})
	var out []refresh.Grant
	for _, g := range due[:min(len(due), c.Limit)] {
		g.claim, g.until = c.ID, c.Until
		out = append(out, g.copy())
	}
	return out, nil
}

// held answers the grant of a session under its claim. It needs mu.
func (f *GrantsFake) held(ctx context.Context, op string, h secret.Hash, claim string) (*fakeGrant, error) {
	if err := f.begin(ctx, op); err != nil {
		return nil, err
	}
	g := f.grants[h]
	if g == nil || claim == "" || g.claim != claim {
		return nil, refresh.ErrLost
	}
	return g, nil
}

// Hold implements refresh.Store.
func (f *GrantsFake) Hold(ctx context.Context, h secret.Hash, claim string, until time.Time, token []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.held(ctx, "hold", h, claim)
	if err != nil {
		return err
	}
	g.until = until
	if token != nil {
		g.Token = bytes.Clone(token)
	}
	return nil
}

// Settle implements refresh.Store.
func (f *GrantsFake) Settle(ctx context.Context, h secret.Hash, claim string, due time.Time, failures int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, err := f.held(ctx, "settle", h, claim)
	if err != nil {
		return err
	}
	g.claim, g.until, g.Due, g.Failures = "", time.Time{}, due, failures
	return nil
}

// Delete implements refresh.Store.
func (f *GrantsFake) Delete(ctx context.Context, h secret.Hash, claim string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.held(ctx, "delete", h, claim); err != nil {
		return err
	}
	delete(f.grants, h)
	return nil
}

var _ refresh.Store = (*GrantsFake)(nil)
