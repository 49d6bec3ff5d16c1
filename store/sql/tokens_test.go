package sql

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

// bearers under one name: tokens and clients keep the same promises.
type bearerStore struct {
	find   func(ctx context.Context, id, hash string) (record.StoredToken, error)
	list   func(context.Context, string) ([]record.StoredToken, error)
	insert func(context.Context, record.StoredToken, audit.Event) error
	revoke func(context.Context, string, audit.Event) error
	used   func(context.Context, string, time.Time, string) error
}

func TestTokens_C01(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		for name, s := range map[string]bearerStore{
			"token": {
				func(ctx context.Context, _, hash string) (record.StoredToken, error) { return d.Token(ctx, hash) },
				d.ListTokens, d.InsertToken, d.RevokeToken, d.UsedToken,
			},
			"client": {
				func(ctx context.Context, id, _ string) (record.StoredToken, error) { return d.Client(ctx, id) },
				d.ListClients, d.InsertClient, d.RevokeClient, d.UsedClient,
			},
		} {
			t.Run(name, func(t *testing.T) { keptBearers(t, d, s) })
		}
	})
}

func keptBearers(t *testing.T, d *DB, s bearerStore) {
	ctx := t.Context()
	hash := strings.Repeat("ab", 32)
	made := audit.Event{Kind: "made", Outcome: audit.Allowed, Actor: "cli", Target: t.Name()}
	gone := audit.Event{Kind: "gone", Outcome: audit.Allowed, Actor: "cli", Target: t.Name()}
	events := func() (kinds string) {
		t.Helper()
		rows, err := d.reads.QueryContext(ctx, "SELECT kind FROM audit WHERE target = $1 ORDER BY seq", t.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var kind string
			if err := rows.Scan(&kind); err != nil {
				t.Fatal(err)
			}
			kinds += kind + " "
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return kinds
	}
	want := record.StoredToken{Connection: "okta", Stored: bearer.Stored{
		ID: "1", Name: "prod", Hash: hash, Created: day, Creator: "cli", Expires: day.AddDate(1, 0, 0),
	}}
	if err := s.insert(ctx, want, made); err != nil {
		t.Fatal(err)
	}
	if got, err := s.find(ctx, "1", hash); err != nil || got != want {
		t.Fatalf("read %+v, %v", got, err)
	}
	for _, bad := range []record.StoredToken{
		{Connection: "okta", Stored: bearer.Stored{ID: "2"}},
		{Stored: bearer.Stored{ID: "2", Hash: hash}},
		{Connection: "okta", Stored: bearer.Stored{Hash: hash}},
	} {
		if err := s.insert(ctx, bad, made); err == nil {
			t.Errorf("stored %+v: an empty hash would be anyone's token", bad)
		}
	}
	second := want
	second.ID = "2"
	if err := s.insert(ctx, second, made); !errors.Is(err, member.ErrConflict) {
		t.Errorf("one token under two ids: %v", err)
	}
	if got := events(); got != "made " {
		t.Errorf("events %q: only what was done is audited", got)
	}
	second.Hash = strings.Repeat("cd", 32)
	if err := s.insert(ctx, second, made); err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []string{"", strings.ToUpper(hash), "\x00", strings.Repeat("ef", 32)} {
		if _, err := s.find(ctx, unknown, unknown); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("token %q: %v", unknown, err)
		}
	}
	for _, u := range []struct {
		at   time.Time
		want time.Time
	}{{day, day}, {day.Add(59 * time.Second), day}, {day.Add(time.Minute), day.Add(time.Minute)}, {day, day.Add(time.Minute)}} {
		if err := s.used(ctx, "1", u.at, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.find(ctx, "1", hash); !got.LastUsed.Equal(u.want) || got.LastAddr != "192.0.2.1" {
			t.Errorf("used at %v: noted %v", u.at, got.LastUsed)
		}
	}
	if err := s.revoke(ctx, "1", gone); err != nil {
		t.Fatal(err)
	}
	if _, err := s.find(ctx, "1", hash); !errors.Is(err, member.ErrNotFound) {
		t.Errorf("a revoked token: %v", err)
	}
	if err := s.revoke(ctx, "1", gone); !errors.Is(err, member.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if got := events(); got != "made made gone " {
		t.Errorf("events %q", got)
	}
	left, err := s.list(ctx, "okta")
	if err != nil || len(left) != 1 || left[0].ID != "2" {
		t.Errorf("left %+v, %v", left, err)
	}
}

func TestPausesAreKeptWithTheirEvents(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		e := audit.Event{Kind: "test", Outcome: audit.Allowed}
		if p, err := d.Paused(ctx, "okta"); err != nil || p != (record.Pause{}) {
			t.Fatalf("nothing is paused: %+v, %v", p, err)
		}
		want := record.Pause{Connection: "okta", Since: day, Actor: "cli:ana", Reason: "migration"}
		if err := d.Pause(ctx, want, e); err != nil {
			t.Fatal(err)
		}
		if err := d.Pause(ctx, record.Pause{Connection: "okta", Since: day.Add(time.Hour), Actor: "cli:ben"}, e); err != nil {
			t.Fatal(err)
		}
		if p, err := d.Paused(ctx, "okta"); err != nil || p != want {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := d.Paused(ctx, "hr"); err != nil || p.Connection != "" {
			t.Errorf("another connection: %+v, %v", p, err)
		}
		if err := d.Resume(ctx, "okta", e); err != nil {
			t.Fatal(err)
		}
		if p, err := d.Paused(ctx, "okta"); err != nil || p.Connection != "" {
			t.Errorf("resumed: %+v, %v", p, err)
		}
		if err := d.Resume(ctx, "okta", e); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("resumed twice: %v", err)
		}
	})
}
