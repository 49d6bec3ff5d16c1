package settings

import (
	"bytes"
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
	maxAudited    = 14  // changes of which an audit event tells the values; it holds 16
)

// Manager changes the stored settings: drafts, publishing, restoring. Its zero value
// is of no use; all fields but Now are required. Safe for concurrent use, also by
// several nodes: the database lets one change in at a time.
type Manager struct {
	Store   Store
	Sealer  *secret.Sealer
	Revoker member.Revoker
	// File are the providers that the config file declares: managed there, not here.
	File func() ([]Provider, error)
	// Managed reports whether the config file fixes require_sso, and to what.
	Managed func() (on, managed bool)
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
	// What this ssogate does not know was written by a newer one. It may be a
	// restriction, and to go on without it would let in who is kept out there.
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v.Stored); err != nil {
		return v, fmt.Errorf("settings: version %d was written by another version of ssogate, or is damaged: %w", r.Number, err)
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
		var now Version
		if now, v, err = m.draft(tx, by, base, comment, change); err != nil {
			return err
		}
		return tx.Audit(m.event(by, "settings.saved", v, Diff(now.Stored, v.Stored)))
	})
	return v, err
}

// draft writes a draft on top of the published version base, which it answers too.
func (m *Manager) draft(tx Tx, by member.Actor, base int64, comment string, change func(*Stored) error) (now, v Version, err error) {
	if err := tx.LockSettings(); err != nil {
		return now, v, err
	}
	if now, err = m.published(tx); err != nil {
		return now, v, err
	}
	if now.Number != base {
		return now, v, &ConflictError{Base: base, Latest: now.Number, Author: now.Author}
	}
	next := Stored{Providers: slices.Clone(now.Stored.Providers), RequireSSO: now.Stored.RequireSSO, ConfirmBy: now.Stored.ConfirmBy}
	if err := change(&next); err != nil {
		return now, v, err
	}
	v, err = m.insert(tx, by, now, next, comment)
	return now, v, err
}

func (m *Manager) insert(tx Tx, by member.Actor, now Version, next Stored, comment string) (Version, error) {
	if err := m.check(tx, now.Stored, next); err != nil {
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
	return v, tx.InsertVersion(row)
}

// event says what changed, never a secret.
func (m *Manager) event(by member.Actor, kind string, v Version, changed []Difference) audit.Event {
	e := audit.Event{
		Time: m.now(), Kind: kind, Outcome: audit.Allowed, Actor: by.Name, Target: fmt.Sprintf("settings:%d", v.Number),
		RequestID: by.RequestID, Address: by.Address, Detail: map[string]string{"parent": fmt.Sprint(v.Parent)},
	}
	for i, d := range changed {
		if i == maxAudited {
			e.Detail["more"] = fmt.Sprint(len(changed) - i)
			break
		}
		e.Detail[d.Path] = fmt.Sprintf("%s -> %s", unset(d.Old), unset(d.New))
	}
	return e
}

func unset(value string) string {
	if value == "" {
		return "(not set)"
	}
	return value
}

// check refuses what no version may hold, and keeps what is fixed at the first save:
// the id, and to whom its accounts belong (product, section 5). A provider that is as
// it was in now is none of this change's business: else one whose id was declared in
// the config file later would keep everything from being changed, and Require SSO
// from reverting (G5).
func (m *Manager) check(tx Tx, now, s Stored) error {
	if len(s.Providers) > maxProviders {
		return &InvalidError{"providers", "are too many"}
	}
	file, err := m.File()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range s.Providers {
		switch {
		case p.ID == "" || seen[p.ID]:
			return &InvalidError{"provider " + p.ID, "needs an id of its own"}
		case p.ID == "fallback" || p.ID == "password": // sessions without a provider are called so
			return &InvalidError{"provider " + p.ID, "is the gateway's own word for sign-ins without a provider: choose another id"}
		case now.holds(p):
			seen[p.ID] = true
			continue
		case slices.ContainsFunc(file, func(f Provider) bool { return f.ID == p.ID }):
			return &InvalidError{"provider " + p.ID, "is declared in the config file: change it there"}
		}
		seen[p.ID] = true
		if err := claim(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// claim fixes what an id stands for, or refuses what it does not stand for.
func claim(tx Tx, p Provider) error {
	want := Name{p.ID, p.Protocol, issuerOf(p)}
	have, err := tx.ProviderName(p.ID)
	switch {
	case errors.Is(err, member.ErrNotFound):
		return tx.PutProviderName(want)
	case err != nil:
		return err
	case have.Protocol != want.Protocol:
		return &InvalidError{"provider " + p.ID, "speaks " + string(have.Protocol) + " since its first save; make another one, with another id"}
	case have.Issuer == want.Issuer:
		return nil
	case have.Issuer == "":
		// It was only known by its metadata. Now it is named, and that stays.
		return tx.PutProviderName(want)
	default:
		// Accounts are keyed by id and issuer; and a code would go elsewhere.
		return &InvalidError{"provider " + p.ID, "belongs to " + have.Issuer + " since its first save; make another one, with another id"}
	}
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

// Restore makes a draft of what an earlier version held, on top of base, the one in
// effect. [ErrNotFound], and the errors of Save.
func (m *Manager) Restore(ctx context.Context, by member.Actor, base, number int64) (Version, error) {
	old, err := m.Get(ctx, number)
	if err != nil {
		return Version{}, err
	}
	return m.Save(ctx, by, base, fmt.Sprintf("restores version %d", number), func(s *Stored) error {
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
