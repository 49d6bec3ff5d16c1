package sql

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
)

// engines are the real ones every test of this package runs on.
var engines = map[string]func(t testing.TB) string{
	"SQLite":     func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "ssogate.db") },
	"PostgreSQL": testserver.Postgres,
}

// open opens an empty database that is closed with the test.
func open(t testing.TB, url string) *DB {
	t.Helper()
	d, err := Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onEngines runs a test on an empty database of each engine.
func onEngines(t *testing.T, test func(t *testing.T, d *DB)) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) { test(t, open(t, url(t))) })
	}
}

func TestMemberStoreConformance(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			membertest.Store(t, func(t *testing.T) member.Store { return open(t, url(t)) })
		})
	}
}
