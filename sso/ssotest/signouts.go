package ssotest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// SignOuts is the conformance suite of sso.SignOuts. open answers an empty store; it
// is called once.
func SignOuts(t *testing.T, open func(t *testing.T) sso.SignOuts) {
	t.Helper()
	s, ctx := open(t), t.Context()
	now := time.UnixMilli(1_800_000_000_000).UTC()
	row := func(session, who, provider, person, index string) sso.SignOut {
		return sso.SignOut{
			Session: secret.Sum(session), Member: member.ID(who), Provider: provider, Person: person, Index: index,
			Hint: []byte("sealed\x00\xff" + session), Expires: now.Add(time.Hour),
		}
	}
	rows := []sso.SignOut{
		row("s1", "ana", "okta", "ana@example.com", "i1"),
		row("s2", "ana", "okta", "ana@example.com", "i2"),
		row("s3", "ben", "okta", "ben@example.com", "i1"), // an index that two people share
		row("s4", "ana", "adfs", "ana@example.com", ""),
	}
	for _, r := range rows {
		if err := s.Keep(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range rows {
		got, err := s.Of(ctx, want.Session)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("what was kept comes back: %+v, %v", got, err)
		}
	}
	if _, err := s.Of(ctx, secret.Sum("none")); !errors.Is(err, sso.ErrNoRecord) {
		t.Errorf("a session that left nothing: %v", err)
	}
	for _, c := range []struct {
		provider, person, index string
		at                      time.Time
		want                    []member.ID
		why                     string
	}{
		{"okta", "ana@example.com", "", now, []member.ID{"ana"}, "all of a person's, once"},
		{"okta", "ana@example.com", "i2", now, []member.ID{"ana"}, "one of them"},
		{"okta", "ana@example.com", "i3", now, nil, "an index that is not his"},
		{"okta", "", "i1", now, []member.ID{"ana", "ben"}, "by the index alone"},
		{"adfs", "", "i1", now, nil, "another provider's index"},
		{"okta", "ANA@example.com", "", now, nil, "names are compared byte for byte"},
		{"okta", "", "", now, nil, "nobody is named"},
		{"", "ana@example.com", "", now, nil, "no provider"},
		{"okta", "ana@example.com", "", now.Add(time.Hour), nil, "over at the session's end"},
	} {
		got, err := s.Named(ctx, c.provider, c.person, c.index, c.at)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.why, got, err, c.want)
		}
	}
	for why, change := range map[string]func(*sso.SignOut){
		"no session": func(o *sso.SignOut) { o.Session = secret.Hash{} }, "no member": func(o *sso.SignOut) { o.Member = "" },
		"no provider": func(o *sso.SignOut) { o.Provider = "" }, "no name": func(o *sso.SignOut) { o.Person, o.Index = "", "" },
		"no end": func(o *sso.SignOut) { o.Expires = time.Time{} }, "too large": func(o *sso.SignOut) { o.Hint = make([]byte, 32<<10) },
		"twice": func(*sso.SignOut) {},
	} {
		bad := row("s9", "cleo", "okta", "cleo", "i9")
		if why == "twice" {
			bad = rows[0]
		}
		change(&bad)
		if err := s.Keep(ctx, bad); err == nil {
			t.Errorf("%s was kept", why)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Named(gone, "okta", "ana@example.com", "", now); err == nil {
		t.Error("G2: a call that was given up is an error, never 'nobody'")
	}
}

// SignOutsFake keeps sign-outs in memory, for tests of what uses them.
type SignOutsFake struct {
	mu   sync.Mutex
	rows []sso.SignOut
	Err  error // answered by every call when set
}

// Keep implements sso.SignOuts.
func (f *SignOutsFake) Keep(ctx context.Context, s sso.SignOut) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.Err != nil:
		return f.Err
	case s.Session.IsZero(), s.Member == "", s.Provider == "", s.Person == "" && s.Index == "", s.Expires.IsZero(), len(s.Hint) > 6<<10:
		return errors.New("ssotest: incomplete or too large")
	case slices.ContainsFunc(f.rows, func(o sso.SignOut) bool { return o.Session == s.Session }):
		return errors.New("ssotest: kept already")
	}
	f.rows = append(f.rows, s)
	return ctx.Err()
}

// Of implements sso.SignOuts.
func (f *SignOutsFake) Of(_ context.Context, session secret.Hash) (sso.SignOut, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.rows {
		if o.Session == session && f.Err == nil {
			return o, nil
		}
	}
	if f.Err != nil {
		return sso.SignOut{}, f.Err
	}
	return sso.SignOut{}, sso.ErrNoRecord
}

// Named implements sso.SignOuts.
func (f *SignOutsFake) Named(ctx context.Context, provider, person, index string, now time.Time) (out []member.ID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Err != nil || ctx.Err() != nil {
		return nil, errors.Join(f.Err, ctx.Err())
	}
	for _, o := range f.rows {
		if (person != "" || index != "") && o.Provider == provider && (person == "" || o.Person == person) && (index == "" || o.Index == index) && now.Before(o.Expires) {
			out = append(out, o.Member)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
