package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// SettingsAdmin shows and changes the part of the Auth record that lives in the database.
type SettingsAdmin interface {
	Versions(ctx context.Context) ([]settings.Version, error)
	// Show is what a version holds, secrets hidden; 0 is the one in effect.
	Show(ctx context.Context, number int64) (ShownSettings, error)
	// Diff is what b changes of a.
	Diff(ctx context.Context, q VersionPair) ([]settings.Difference, error)
	// Change does one thing and answers the version that came of it.
	Change(ctx context.Context, c SettingsChange) (settings.Version, error)
}

// ShownSettings is a version for people.
type ShownSettings struct {
	Version settings.Version      `json:"version"`
	Values  []settings.Difference `json:"values"`  // New is what is set
	Digests map[string]string     `json:"digests"` // of its providers, by id: what a test is of
}

// VersionPair names two versions.
type VersionPair struct {
	A int64 `json:"a"`
	B int64 `json:"b"`
}

// ChangeKind is what a [SettingsChange] does.
type ChangeKind string

// Kinds. The zero value does nothing and is refused.
const (
	SaveProvider    ChangeKind = "save"    // a draft with Provider added or replaced
	DeleteProvider  ChangeKind = "delete"  // this and the next two are published at once
	EnableProvider  ChangeKind = "enable"  //
	DisableProvider ChangeKind = "disable" //
	PublishVersion  ChangeKind = "publish"
	RestoreVersion  ChangeKind = "restore" // a draft
	RequireSSOOn    ChangeKind = "require_sso_on"
	RequireSSOOff   ChangeKind = "require_sso_off"
)

// SettingsChange is one change.
type SettingsChange struct {
	Kind     ChangeKind        `json:"kind"`
	Actor    string            `json:"actor"`
	Provider settings.Provider `json:"provider"` // of save
	ID       string            `json:"id"`       // of a provider
	Number   int64             `json:"number"`   // of a version
	// Base is the version in effect that whoever asks has looked at: the change is
	// refused when it is another one by now. 0 is the one in effect, whichever it is.
	Base    int64  `json:"base"`
	Comment string `json:"comment"`
}

// ProviderDraft reads a provider from a file in the words of the config.
func ProviderDraft(path string) (settings.Provider, error) {
	p, err := config.LoadProvider(path)
	if err != nil {
		return settings.Provider{}, err
	}
	return providerFrom(p)
}

var (
	askVersions = endpoint[none, []settings.Version]{"/settings/versions"}
	askShown    = endpoint[int64, ShownSettings]{"/settings/show"}
	askDiff     = endpoint[VersionPair, []settings.Difference]{"/settings/diff"}
	askChange   = endpoint[SettingsChange, settings.Version]{"/settings/change"}
)

func (c *Control) serveSettings(mux *http.ServeMux) {
	askVersions.serve(mux, func(ctx context.Context, _ none) ([]settings.Version, error) { return c.Settings.Versions(ctx) })
	askShown.serve(mux, c.Settings.Show)
	askDiff.serve(mux, c.Settings.Diff)
	askChange.serve(mux, c.Settings.Change)
}

// storedSettings works on the database.
type storedSettings struct{ m *settings.Manager }

func (s storedSettings) Versions(ctx context.Context) ([]settings.Version, error) {
	list, err := s.m.List(ctx)
	if list == nil {
		list = []settings.Version{}
	}
	return list, err
}

func (s storedSettings) Show(ctx context.Context, number int64) (ShownSettings, error) {
	v, err := s.m.Get(ctx, number)
	if err != nil {
		return ShownSettings{}, s.words(err, number)
	}
	out := ShownSettings{Version: v, Values: settings.Diff(settings.Stored{}, v.Stored)}
	out.Version.Stored = settings.Stored{} // it holds secrets
	out.Digests = map[string]string{}
	for _, p := range v.Stored.Providers {
		out.Digests[p.ID] = settings.Digest(p)
	}
	return out, nil
}

func (s storedSettings) Diff(ctx context.Context, q VersionPair) ([]settings.Difference, error) {
	a, err := s.m.Get(ctx, q.A)
	if err != nil {
		return nil, s.words(err, q.A)
	}
	b, err := s.m.Get(ctx, q.B)
	if err != nil {
		return nil, s.words(err, q.B)
	}
	out := settings.Diff(a.Stored, b.Stored)
	if out == nil {
		out = []settings.Difference{}
	}
	return out, nil
}

// words are what an operator reads instead of an error.
func (s storedSettings) words(err error, number int64) error {
	var conflict *settings.ConflictError
	switch {
	case errors.Is(err, settings.ErrNotFound):
		return fmt.Errorf("there is no version %d; \"ssogate settings versions\" lists them", number)
	case errors.Is(err, settings.ErrNotDraft):
		return fmt.Errorf("version %d is not a draft; \"ssogate settings restore %d\" makes one of it", number, number)
	case errors.As(err, &conflict):
		return fmt.Errorf("%s has published version %d since: look at \"ssogate settings diff %d %d\", then save the change again", conflict.Author, conflict.Latest, conflict.Base, conflict.Latest)
	case errors.Is(err, session.ErrBarrier):
		return fmt.Errorf("it is published, but not every node has confirmed that in time: run the same command again, or look at the nodes (%w)", err)
	}
	return err
}

func (s storedSettings) Change(ctx context.Context, c SettingsChange) (v settings.Version, err error) {
	by := member.Actor{Name: c.Actor}
	base := c.Base
	if base == 0 {
		now, err := s.m.Current(ctx)
		if err != nil {
			return v, err
		}
		base = now.Number
	}
	switch c.Kind {
	case SaveProvider:
		v, err = s.m.Save(ctx, by, base, c.Comment, func(st *settings.Stored) error { return saveStored(st, c.Provider) })
	case DeleteProvider, EnableProvider, DisableProvider:
		v, err = s.m.Apply(ctx, by, base, c.Comment, func(st *settings.Stored) error { return changeStored(st, c) })
	case PublishVersion:
		v, err = s.m.Publish(ctx, by, c.Number)
	case RestoreVersion:
		v, err = s.m.Restore(ctx, by, base, c.Number)
	case RequireSSOOn, RequireSSOOff:
		v, err = s.m.SetRequireSSO(ctx, by, base, c.Kind == RequireSSOOn)
	default:
		return v, fmt.Errorf("run: no change of kind %q", c.Kind)
	}
	v.Stored = settings.Stored{}
	return v, s.words(err, c.Number)
}

func findStored(st *settings.Stored, id string) *settings.Provider {
	for i := range st.Providers {
		if st.Providers[i].ID == id {
			return &st.Providers[i]
		}
	}
	return nil
}

// saveStored adds a provider or replaces it. One that is switched off stays so: its
// file says what it is, not whether it is in use.
func saveStored(st *settings.Stored, p settings.Provider) error {
	if old := findStored(st, p.ID); old != nil {
		p.Active = old.Active
		*old = p
		return nil
	}
	st.Providers = append(st.Providers, p)
	return nil
}

func changeStored(st *settings.Stored, c SettingsChange) error {
	p := findStored(st, c.ID)
	if p == nil {
		return fmt.Errorf("no provider %q is kept in the database; \"ssogate settings show\" lists those that are, and those of the config file are changed there", c.ID)
	}
	if c.Kind != DeleteProvider {
		p.Active = c.Kind == EnableProvider
		return nil
	}
	var rest []settings.Provider
	for _, o := range st.Providers {
		if o.ID != c.ID {
			rest = append(rest, o)
		}
	}
	st.Providers = rest
	return nil
}

// remoteSettings asks the running process.
type remoteSettings struct{ client *http.Client }

func (r remoteSettings) Versions(ctx context.Context) ([]settings.Version, error) {
	return askVersions.ask(ctx, r.client, none{})
}

func (r remoteSettings) Show(ctx context.Context, number int64) (ShownSettings, error) {
	return askShown.ask(ctx, r.client, number)
}

func (r remoteSettings) Diff(ctx context.Context, q VersionPair) ([]settings.Difference, error) {
	return askDiff.ask(ctx, r.client, q)
}

func (r remoteSettings) Change(ctx context.Context, c SettingsChange) (settings.Version, error) {
	return askChange.ask(ctx, r.client, c)
}

// SettingsAdmin changes this process's settings, as the control socket does.
func (s *Server) SettingsAdmin() SettingsAdmin { return storedSettings{s.versions} }
