package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
)

// Nodes of a new version start together on an empty database: one migrates, the
// others wait for it, and all can be used.
func TestNodesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := testserver.Postgres(t)
	var wg sync.WaitGroup
	dbs := make([]*DB, 4)
	for i := range dbs {
		wg.Go(func() {
			d, err := Open(ctx, url)
			if err != nil {
				t.Errorf("node %d: %v", i, err)
				return
			}
			dbs[i] = d
		})
	}
	wg.Wait()
	for i, d := range dbs {
		if d == nil {
			continue
		}
		if err := d.Ping(ctx); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if err := d.Join(ctx, session.Node{ID: fmt.Sprint(i)}); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	if nodes, err := dbs[0].Nodes(ctx); err != nil || len(nodes) != len(dbs) {
		t.Errorf("registered: %+v, %v; want all", nodes, err)
	}
	for _, d := range dbs {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestServerThatForgetsCommitsIsRefused(t *testing.T) {
	t.Parallel()
	s := testserver.StartPostgres(t, "synchronous_commit=off")
	_, err := Open(context.Background(), s.Database(t))
	if !errors.Is(err, ErrUnfit) {
		t.Fatalf("open answered %v, want ErrUnfit: a 2xx could be forgotten by a crash", err)
	}
}

func TestRestartedPostgresIsUsedAgain(t *testing.T) {
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
}
