package sql

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecondProcessIsLockedOutOfTheFile(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "odd ?name%20#.db")
	d, err := Open(ctx, "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, "sqlite:"+filepath.Dir(path)+"/./"+filepath.Base(path)); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "SQLite is for one node, use PostgreSQL for several") {
		t.Fatalf("second open answered %v, want ErrLocked with its reason", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = Open(ctx, "sqlite:"+path)
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	defer d.Close()
}
