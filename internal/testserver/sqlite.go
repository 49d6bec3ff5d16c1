package testserver

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// SQLite answers what gives each test a SQLite database of its own, as a URL: a copy
// of the one that migrate has made, once, at the URL it is given and closed again.
// Applying every migration for each test would take longer than most of the tests.
// The opener is the caller's, so that the tests of store/sql can use it too.
func SQLite(migrate func(url string) error) func(t testing.TB) string {
	made := sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "testserver-sqlite-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		path := filepath.Join(dir, "empty.db")
		if err := migrate("sqlite:" + path); err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	})
	return func(t testing.TB) string {
		t.Helper()
		file, err := made()
		if err != nil {
			t.Fatalf("testserver: sqlite: %v", err)
		}
		path := filepath.Join(t.TempDir(), "ssogate.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatalf("testserver: sqlite: %v", err)
		}
		return "sqlite:" + path
	}
}
