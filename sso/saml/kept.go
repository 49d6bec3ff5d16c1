package saml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Store keeps one document for each provider with a metadata URL: the last good
// metadata, over a restart and for all nodes. store/sql implements it.
type Store interface {
	// ProviderMetadata answers the document and its version, or member.ErrNotFound.
	ProviderMetadata(ctx context.Context, provider string) (value []byte, version int64, err error)
	// PutProviderMetadata replaces the document of that version (0: there is none
	// yet) and records the events in the same transaction. When another was written
	// meanwhile it changes nothing and answers member.ErrConflict.
	PutProviderMetadata(ctx context.Context, provider string, value []byte, version int64, events ...audit.Event) error
}

// kept is that document.
type kept struct {
	URL        string        `json:"url"` // where it was read; another URL in the settings begins anew
	Use        facts         `json:"use"`
	Pending    *facts        `json:"pending,omitempty"`
	Seen       time.Time     `json:"seen,omitzero"`      // when Pending was seen first
	Rejected   string        `json:"rejected,omitempty"` // digest that is not to be asked about again
	ETag       string        `json:"etag,omitempty"`
	Modified   string        `json:"modified,omitempty"`
	ValidUntil time.Time     `json:"valid_until,omitzero"`
	CacheFor   time.Duration `json:"cache_for,omitempty"` // cacheDuration, nanoseconds
	Read       time.Time     `json:"read"`                // when the IdP last vouched for it

	version int64
}

// known reports whether anything was ever read.
func (k kept) known() bool { return !k.Read.IsZero() }

// idp is what is used of it.
func (k kept) idp() (*idp, error) {
	i, err := k.Use.idp()
	if err != nil {
		return nil, err
	}
	i.validUntil, i.cacheFor, i.read = k.ValidUntil, k.CacheFor, k.Read
	return i, nil
}

// take is k after one more reading. events say what an auditor must know of it.
//
// The first reading is trusted whole: the operator has just named this URL, and
// there is nothing yet that it could replace.
func (k kept) take(found *idp, now time.Time, auto bool) (next kept, events []audit.Event) {
	read := found.facts()
	next = k
	next.ValidUntil, next.CacheFor, next.Read = found.validUntil, found.cacheFor, now
	if !k.known() {
		next.Use = read
		return next, []audit.Event{event("provider.metadata_trusted", differences(facts{}, read))}
	}
	use, more := k.Use.merge(read)
	digest := read.digest()
	if removed := differences(k.Use, use); len(removed) > 0 && !(more && auto) {
		events = append(events, event("provider.metadata_narrowed", removed))
	}
	next.Use = use
	switch {
	case !more:
		next.Pending, next.Seen, next.Rejected = nil, time.Time{}, ""
	case auto:
		events = append(events, event("provider.change_accepted", differences(k.Use, read)))
		next.Use, next.Pending, next.Seen, next.Rejected = read, nil, time.Time{}, ""
	case digest == k.Rejected:
		next.Pending, next.Seen = nil, time.Time{}
	case k.Pending == nil || k.Pending.digest() != digest:
		next.Pending, next.Seen = &read, now
		events = append(events, event("provider.change_pending", differences(use, read)))
	}
	return next, events
}

func event(kind string, changes []Difference) audit.Event {
	e := audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: "system", Detail: map[string]string{}}
	for n, d := range changes {
		e.Detail[fmt.Sprintf("change_%02d", n+1)] = fmt.Sprintf("%s: %s -> %s", d.What, orNone(d.Old), orNone(d.New))
	}
	return e
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	const limit = 300 // a fingerprint and a date; an address as far as it tells
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// load reads a provider's document; one that is missing is the zero value.
func load(ctx context.Context, s Store, provider string) (kept, error) {
	raw, version, err := s.ProviderMetadata(ctx, provider)
	if errors.Is(err, member.ErrNotFound) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, fmt.Errorf("saml: kept metadata: %w", err)
	}
	k := kept{version: version}
	if err := json.Unmarshal(raw, &k); err != nil {
		return kept{}, fmt.Errorf("saml: kept metadata: %w", err)
	}
	return k, nil
}

func save(ctx context.Context, s Store, provider string, k *kept, events []audit.Event, now time.Time) error {
	raw, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("saml: keep metadata: %w", err)
	}
	for i := range events {
		events[i].Time, events[i].Provider, events[i].Target = now.UTC(), provider, "provider:"+provider
	}
	if err := s.PutProviderMetadata(ctx, provider, raw, k.version, events...); err != nil {
		return fmt.Errorf("saml: keep metadata: %w", err)
	}
	k.version++
	return nil
}

// Change is metadata that waits for an operator's word.
type Change struct {
	Provider    string       `json:"provider"`
	Digest      string       `json:"digest"` // names exactly this change
	Seen        time.Time    `json:"seen"`
	Differences []Difference `json:"differences"`
}

// ErrNoChange means that no change of this digest waits (any more).
var ErrNoChange = errors.New("saml: no such change waits for approval; list them again, for the metadata may have changed meanwhile")

// Pending answers the change of a provider that waits, or nil. It makes no call
// but to s.
func Pending(ctx context.Context, s Store, provider string) (*Change, error) {
	k, err := load(ctx, s, provider)
	if err != nil || k.Pending == nil {
		return nil, err
	}
	return &Change{Provider: provider, Digest: k.Pending.digest(), Seen: k.Seen, Differences: differences(k.Use, *k.Pending)}, nil
}

// Approve puts the waiting change of this digest in use, audited as by. Running
// nodes take it up with [Provider.Reload], or at their next refresh.
func Approve(ctx context.Context, s Store, by member.Actor, provider, digest string, now time.Time) error {
	return decide(ctx, s, by, provider, digest, "provider.change_approved", now, func(k *kept) { k.Use = *k.Pending })
}

// Reject drops the waiting change of this digest, audited as by. The same metadata
// is not asked about again; the approved one stays in use.
func Reject(ctx context.Context, s Store, by member.Actor, provider, digest string, now time.Time) error {
	return decide(ctx, s, by, provider, digest, "provider.change_rejected", now, func(k *kept) { k.Rejected = digest })
}

func decide(ctx context.Context, s Store, by member.Actor, provider, digest, kind string, now time.Time, how func(*kept)) error {
	for range maxConflicts {
		k, err := load(ctx, s, provider)
		if err != nil {
			return err
		}
		if k.Pending == nil || k.Pending.digest() != digest {
			return ErrNoChange
		}
		e := event(kind, differences(k.Use, *k.Pending))
		e.Actor, e.Address, e.RequestID = by.Name, by.Address, by.RequestID
		e.Detail["digest"] = digest
		how(&k)
		k.Pending, k.Seen = nil, time.Time{}
		if err = save(ctx, s, provider, &k, []audit.Event{e}, now); !errors.Is(err, member.ErrConflict) {
			return err
		}
	}
	return errors.New("saml: other nodes write at the same time again and again: try again")
}

// maxConflicts bounds how often a write is tried that others come before.
const maxConflicts = 5
