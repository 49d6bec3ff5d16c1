package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

const (
	// confirmWithin is how long Require SSO stays on without an owner's confirmation.
	confirmWithin = 10 * time.Minute
	maxProviders  = 100
	maxComment    = 500
	maxVersions   = 200 // in a list
	maxSearched   = 30  // versions in which a draft is looked for
)

// Manager changes the stored settings: drafts, publishing, restoring. Its zero value
// is of no use; all fields but Now are required. Safe for concurrent use, also by
// several nodes: the database decides.
type Manager struct {
	Store   Store
	Sealer  *secret.Sealer
	Revoker member.Revoker
	// File are the ids that the config file declares: managed there, not here.
	File func() []string
	// Managed reports that the config file fixes require_sso.
	Managed func() bool
	Now     clock.Func
}

func (m *Manager) now() time.Time {
	if m.Now == nil {
		return time.Now().UTC()
	}
	return m.Now().UTC()
}

func (m *Manager) open(r Row) (Version, error) {
	v := r.Version
	plain, err := m.Sealer.Open(r.Sealed, SealContext(r.Number))
	if err != nil {
		return v, fmt.Errorf("settings: version %d was sealed with another seal_key; set it as secrets.seal_key_previous: %w", r.Number, err)
	}
	if err := json.Unmarshal(plain, &v.Stored); err != nil {
		return v, fmt.Errorf("settings: version %d: %w", r.Number, err)
	}
	return v, nil
}

func (m *Manager) seal(v Version) (Row, error) {
	plain, err := json.Marshal(v.Stored)
	if err != nil {
		return Row{}, fmt.Errorf("settings: %w", err)
	}
	r := Row{Version: v, Sealed: m.Sealer.Seal(plain, SealContext(v.Number))}
	r.Stored = Stored{}
	return r, nil
}

// published is the version in effect; the zero Version before there is one.
func (m *Manager) published(tx Tx) (Version, error) {
	r, err := tx.LatestVersion(Published)
	if errors.Is(err, member.ErrNotFound) {
		return Version{}, nil
	}
	if err != nil {
		return Version{}, err
	}
	return m.open(r)
}

// Current is the version in effect; Number 0 is the config file alone.
func (m *Manager) Current(ctx context.Context) (v Version, err error) {
	err = m.Store.ViewSettings(ctx, func(tx Tx) (err error) {
		v, err = m.published(tx)
		return err
	})
	return v, err
}

// Get reads one version, 0 the one in effect. [ErrNotFound].
func (m *Manager) Get(ctx context.Context, number int64) (v Version, err error) {
	if number == 0 {
		return m.Current(ctx)
	}
	err = m.Store.ViewSettings(ctx, func(tx Tx) error {
		r, err := tx.Version(number)
		if errors.Is(err, member.ErrNotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		v, err = m.open(r)
		return err
	})
	return v, err
}

// List answers the newest versions, without their contents.
func (m *Manager) List(ctx context.Context) (out []Version, err error) {
	err = m.Store.ViewSettings(ctx, func(tx Tx) error {
		rows, err := tx.Versions(maxVersions)
		out = out[:0]
		for _, r := range rows {
			out = append(out, r.Version)
		}
		return err
	})
	return out, err
}

// Save keeps a draft: change gets a copy of the published version base and edits it.
// Nothing that is live is touched. base must be the published version ([ConflictError]
// otherwise). What can never be published is refused now ([InvalidError]).
func (m *Manager) Save(ctx context.Context, by member.Actor, base int64, comment string, change func(*Stored) error) (v Version, err error) {
	if len(comment) > maxComment {
		return v, &InvalidError{"comment", "is too long"}
	}
	err = m.Store.UpdateSettings(ctx, func(tx Tx) error {
		now, err := m.published(tx)
		if err != nil {
			return err
		}
		if now.Number != base {
			return &ConflictError{Base: base, Latest: now.Number, Author: now.Author}
		}
		next := Stored{Providers: slices.Clone(now.Stored.Providers), RequireSSO: now.Stored.RequireSSO, ConfirmBy: now.Stored.ConfirmBy}
		if err := change(&next); err != nil {
			return err
		}
		v, err = m.insert(tx, by, now, next, comment)
		return err
	})
	return v, err
}

// insert writes a draft.
func (m *Manager) insert(tx Tx, by member.Actor, now Version, next Stored, comment string) (Version, error) {
	if err := m.check(tx, next); err != nil {
		return Version{}, err
	}
	latest, err := tx.LatestVersion("")
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		return Version{}, err
	}
	v := Version{
		Number: latest.Number + 1, Parent: now.Number, State: Draft, Author: by.Name, Comment: comment, Created: m.now(), Stored: next,
	}
	row, err := m.seal(v)
	if err != nil {
		return Version{}, err
	}
	if err := tx.InsertVersion(row); err != nil {
		return Version{}, err
	}
	return v, tx.Audit(m.event(by, "settings.saved", v, Diff(now.Stored, next)))
}

// event says what changed, never a secret.
func (m *Manager) event(by member.Actor, kind string, v Version, changed []Difference) audit.Event {
	e := audit.Event{
		Time: m.now(), Kind: kind, Outcome: audit.Allowed, Actor: by.Name, Target: fmt.Sprintf("settings:%d", v.Number),
		RequestID: by.RequestID, Address: by.Address, Detail: map[string]string{"parent": fmt.Sprint(v.Parent)},
	}
	var paths []string
	for _, d := range changed {
		if len(paths) == 20 {
			paths = append(paths, "...")
			break
		}
		paths = append(paths, d.Path)
	}
	if len(paths) > 0 {
		e.Detail["changed"] = strings.Join(paths, " ")
	}
	return e
}

// check refuses what no version may hold, and keeps what is fixed at the first save:
// the id, and to whom its accounts belong (product, section 5).
func (m *Manager) check(tx Tx, s Stored) error {
	if len(s.Providers) > maxProviders {
		return &InvalidError{"providers", "are too many"}
	}
	seen := map[string]bool{}
	for _, p := range s.Providers {
		switch {
		case p.ID == "" || seen[p.ID]:
			return &InvalidError{"provider " + p.ID, "needs an id of its own"}
		case slices.Contains(m.File(), p.ID):
			return &InvalidError{"provider " + p.ID, "is declared in the config file: change it there"}
		}
		seen[p.ID] = true
		want := Name{p.ID, p.Protocol, issuerOf(p)}
		have, err := tx.ProviderName(p.ID)
		switch {
		case errors.Is(err, member.ErrNotFound):
			if err := tx.InsertProviderName(want); err != nil {
				return err
			}
		case err != nil:
			return err
		case have.Protocol != want.Protocol:
			return &InvalidError{"provider " + p.ID, "speaks " + string(have.Protocol) + " since its first save; make another one, with another id"}
		case have.Issuer != want.Issuer:
			// Accounts are keyed by id and issuer; and a code would go elsewhere.
			return &InvalidError{"provider " + p.ID, "belongs to " + have.Issuer + " since its first save; make another one, with another id"}
		}
	}
	return nil
}

// issuerOf is who vouches for a provider's people where that is fixed.
func issuerOf(p Provider) string {
	switch p.Protocol {
	case OIDC:
		return p.OIDC.Issuer
	case GitHub:
		return strings.TrimSuffix(p.GitHub.BaseURL, "/")
	case SAML:
		return p.SAML.EntityID
	}
	return ""
}

// Restore makes a draft of what an earlier version held, on top of the one in effect.
// [ErrNotFound].
func (m *Manager) Restore(ctx context.Context, by member.Actor, number int64) (Version, error) {
	old, err := m.Get(ctx, number)
	if err != nil {
		return Version{}, err
	}
	now, err := m.Current(ctx)
	if err != nil {
		return Version{}, err
	}
	return m.Save(ctx, by, now.Number, fmt.Sprintf("restores version %d", number), func(s *Stored) error {
		// The switch has rules of its own and is not turned by restoring providers.
		s.Providers = old.Stored.Providers
		return nil
	})
}

// Find is the provider of this id and digest in one of the newest versions that are
// saved or published: what a test may be of.
func (m *Manager) Find(ctx context.Context, id, digest string) (p Provider, ok bool, err error) {
	err = m.Store.ViewSettings(ctx, func(tx Tx) error {
		rows, err := tx.Versions(maxSearched)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.State != Draft && r.State != Published {
				continue
			}
			v, err := m.open(r)
			if err != nil {
				return err
			}
			for _, c := range v.Stored.Providers {
				if c.ID == id && Digest(c) == digest {
					p, ok = c, true
					return nil
				}
			}
		}
		return nil
	})
	return p, ok, err
}

// Record implements [Results].
func (m *Manager) Record(ctx context.Context, r Result) error {
	switch {
	case r.Provider == "" || len(r.Digest) != len("sha256:")+64:
		return &InvalidError{"result", "names no provider or digest"}
	case len(r.Report) > MaxReport:
		return &InvalidError{"report", "is too large"}
	}
	if r.At.IsZero() {
		r.At = m.now()
	}
	return m.Store.UpdateSettings(ctx, func(tx Tx) error { return tx.PutResult(r) })
}

var _ Results = (*Manager)(nil)
