package sql

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
)

func TestSecondNodeIsLockedOutOfPostgres(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := testserver.Postgres(t)
	d, err := Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, url); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open answered %v, want ErrLocked", err)
	}
	other, err := Open(ctx, testserver.Postgres(t))
	if err != nil {
		t.Fatalf("another database of the same server: %v", err)
	}
	defer other.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = Open(ctx, url)
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	defer d.Close()
}

func TestServerThatForgetsCommitsIsRefused(t *testing.T) {
	t.Parallel()
	s := testserver.StartPostgres(t, "synchronous_commit=off")
	_, err := Open(context.Background(), s.Database(t))
	if !errors.Is(err, ErrUnfit) {
		t.Fatalf("open answered %v, want ErrUnfit: a 2xx could be forgotten by a crash", err)
	}
}

func TestRestartedPostgresIsUsedAgainUnderTheLock(t *testing.T) {
	t.Parallel() // it mostly waits
	ctx := context.Background()
	s := testserver.StartPostgres(t)
	d, err := Open(ctx, s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	one := func(tx *sql.Tx) error {
		var n int
		return tx.QueryRowContext(ctx, "SELECT 1").Scan(&n)
	}
	if err := d.view(ctx, one); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	start := time.Now()
	if err := d.view(ctx, one); err == nil {
		t.Fatal("a stopped server answered")
	} else if took := time.Since(start); took > 5*time.Second {
		t.Fatalf("gave up after %v: %v", took, err)
	}
	s.Start(t)
	for end := time.Now().Add(10 * time.Second); ; {
		if err = d.view(ctx, one); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not used again: %v", err)
		}
	}
	if !d.guard.held() {
		t.Fatal("read without holding the single-node lock")
	}
}
