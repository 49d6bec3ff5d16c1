package settings

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/ssogate/ssogate/member"
)

// State of a version.
type State string

// States. The zero value is none and takes part in nothing.
const (
	Draft      State = "draft"      // saved, without effect
	Published  State = "published"  // in effect; exactly one, or none
	Superseded State = "superseded" // was published
)

// Stored is the part of the live Auth record that is kept in the database: what the
// config file does not fix.
type Stored struct {
	Providers  []Provider
	RequireSSO bool
	// ConfirmBy is until when an owner must have come back through SSO and confirmed
	// that Require SSO works; past it the switch reverts by itself (G5). Zero = confirmed.
	ConfirmBy time.Time
}

// Version is one numbered, immutable state of [Stored].
type Version struct {
	Number    int64
	Parent    int64 // the published one it was made from, 0 = none
	State     State
	Author    string // as an audit actor
	Comment   string
	Created   time.Time
	Published time.Time // zero: never
	Stored    Stored
}

// Row is a Version as a store keeps it: Stored sealed.
type Row struct {
	Version        // without Stored
	Sealed  []byte // JSON of Stored; holds client secrets
}

// SealContext is what the body of a version is sealed for.
func SealContext(number int64) string { return fmt.Sprintf("settings|%d", number) }

// Name is what was fixed about a provider at its first save. It outlives the
// provider: accounts are keyed by its id.
type Name struct {
	ID       string
	Protocol Protocol
	Issuer   string // OpenID issuer or GitHub's base URL; SAML entity ids may move with the IdP
}

// Tx is what a transaction over settings can do besides a member's.
type Tx interface {
	member.Tx
	// LockSettings makes every other change of settings wait for the end of this one.
	LockSettings() error
	// Version reads one, [member.ErrNotFound].
	Version(number int64) (Row, error)
	// LatestVersion is the newest in that state, "" any; [member.ErrNotFound].
	LatestVersion(state State) (Row, error)
	// Versions lists the newest first.
	Versions(limit int) ([]Row, error)
	// InsertVersion answers [member.ErrConflict] when the number is taken.
	InsertVersion(r Row) error
	// MoveVersion changes the state of one that is in the state from; else
	// [member.ErrVersion].
	MoveVersion(number int64, from, to State, published time.Time) error
	// SetSettingsVersion is what SettingsVersion answers from now on.
	SetSettingsVersion(version int64) error
	// ProviderName is what was fixed about an id, [member.ErrNotFound].
	ProviderName(id string) (Name, error)
	PutProviderName(n Name) error // replaces
	PutResult(r Result) error     // replaces that of its provider and digest
	// Result reads one, [member.ErrNotFound].
	Result(provider, digest string) (Result, error)
	// FallbackOwner reports whether somebody could get in without an IdP.
	FallbackOwner() (bool, error)
}

// Store runs functions inside one SQL transaction; see [member.Store].
type Store interface {
	ViewSettings(ctx context.Context, fn func(Tx) error) error
	UpdateSettings(ctx context.Context, fn func(Tx) error) error
}

// LiveVersion is the number of the live settings at which a published version
// stands: 1 is the config file alone.
func LiveVersion(number int64) int64 { return number + 1 }

// Merge is the live Auth record: what the config file fixes, and of the stored part
// what it leaves open. A stored provider whose id the file has is shadowed.
// requireSSO nil leaves the switch to the stored part.
func Merge(file Settings, requireSSO *bool, v Version) *Settings {
	out := file
	out.Version = LiveVersion(v.Number)
	out.Providers, out.Shadowed = slices.Clone(file.Providers), nil
	for i := range out.Providers {
		out.Providers[i].Managed = true
	}
	for _, p := range v.Stored.Providers {
		if slices.ContainsFunc(file.Providers, func(o Provider) bool { return o.ID == p.ID }) {
			out.Shadowed = append(out.Shadowed, p.ID)
			continue
		}
		out.Providers = append(out.Providers, p)
	}
	out.RequireSSO = v.Stored.RequireSSO
	if requireSSO != nil {
		out.RequireSSO = *requireSSO
	}
	return &out
}

// Difference is one value that two versions disagree about. Old or New is "" where it
// is not set; a secret is never shown.
type Difference struct {
	Path string `json:"path"` // "providers.okta.saml.entityID"
	Old  string `json:"old"`
	New  string `json:"new"`
}

// holds reports whether exactly this provider is part of s.
func (s Stored) holds(p Provider) bool {
	return slices.ContainsFunc(s.Providers, func(o Provider) bool {
		return o.ID == p.ID && slices.Equal(leavesOf(reflect.ValueOf(o), "", false, false), leavesOf(reflect.ValueOf(p), "", false, false))
	})
}

// hidden stands for a secret that is set.
const hidden = "(secret)"

// maxShown is how much of one value a difference shows, in bytes.
const maxShown = 400

// Diff lists what b changes of a, by path.
func Diff(a, b Stored) []Difference {
	from, to := a.values(), b.values()
	var out []Difference
	for _, path := range sortedKeys(from, to) {
		x, y := from[path], to[path]
		if x.value == y.value {
			continue
		}
		d := Difference{path, brief(x.value), brief(y.value)}
		if x.secret || y.secret {
			d.Old, d.New = hide(x.value), hide(y.value)
			if d.Old == d.New {
				d.New = hidden + ", changed"
			}
		}
		out = append(out, d)
	}
	return out
}

// brief is a value as it is shown: certificates and metadata by their hash.
func brief(value string) string {
	if len(value) <= maxShown {
		return value
	}
	return fmt.Sprintf("sha256:%x (%d characters)", sha256.Sum256([]byte(value)), len(value))
}

func hide(value string) string {
	if value == "" {
		return ""
	}
	return hidden
}

func (s Stored) values() map[string]leaf {
	out := map[string]leaf{}
	for _, p := range s.Providers {
		for _, l := range leavesOf(reflect.ValueOf(p), "", false, false) {
			out["providers."+p.ID+"."+l.path] = l
		}
	}
	if s.RequireSSO {
		out["requireSSO"] = leaf{value: "true"}
	}
	if !s.ConfirmBy.IsZero() {
		out["confirmBy"] = leaf{value: s.ConfirmBy.UTC().Format(time.RFC3339)}
	}
	return out
}

func sortedKeys(maps ...map[string]leaf) []string {
	var out []string
	for _, m := range maps {
		for k := range m {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Errors of the Manager. Compare with errors.Is.
var (
	ErrNotFound = errors.New("settings: no such version")
	ErrNotDraft = errors.New("settings: not a draft")
)

// ConflictError means that somebody else has published since the version that a
// change was made from (fault 28): show both and let the person decide.
type ConflictError struct {
	Base   int64 // that it was made from
	Latest int64 // that is published now
	Author string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("settings: %s has published version %d since version %d, which this was made from", e.Author, e.Latest, e.Base)
}

// RefusedError lists every reason why a version may not be published (row I03).
type RefusedError struct{ Reasons []string }

func (e *RefusedError) Error() string { return fmt.Sprintf("settings: refused: %q", e.Reasons) }
