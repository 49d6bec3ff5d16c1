package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Nodes of a new version start together on an empty database: they migrate one
// after the other, and all can be used.
func TestNodesThatStartTogetherMigrateInTurn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := testserver.Postgres(t)
	holder, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close(ctx) }()
	if _, err := holder.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		t.Fatal(err)
	}
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
	until(t, "all wait for whoever migrates", func() bool {
		var n, tables int
		if err := holder.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),
			(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')`).Scan(&n, &tables); err != nil {
			t.Fatal(err)
		}
		if tables != 0 {
			t.Fatal("a node migrates while another does")
		}
		return n == len(dbs)
	})
	if _, err := holder.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(migrationLock)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for i, d := range dbs {
		if d == nil {
			continue
		}
		if err := errors.Join(d.Ping(ctx), d.Join(ctx, session.Node{ID: fmt.Sprint(i)})); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if nodes, err := d.Nodes(ctx); err != nil || len(nodes) != i+1 {
			t.Errorf("node %d sees %d nodes, %v; want %d", i, len(nodes), err, i+1)
		}
	}
	for _, d := range dbs {
		if d != nil {
			_ = d.Close()
		}
	}
}

func TestServerThatForgetsCommitsIsRefused_C12(t *testing.T) {
	t.Parallel()
	s := testserver.StartPostgres(t, "synchronous_commit=off")
	_, err := Open(context.Background(), s.Database(t))
	if !errors.Is(err, ErrUnfit) {
		t.Fatalf("open answered %v, want ErrUnfit: a 2xx could be forgotten by a crash", err)
	}
}

// A standby answers from the past, so it may not know of a cut-off (C12).
func TestServerInRecoveryIsRefused_C12(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testserver.StartPostgres(t)
	url := s.Database(t)
	d, err := Open(ctx, url)
	if err != nil {
		t.Fatalf("the same server before: %v", err)
	}
	defer d.Close()
	if err := d.Join(ctx, session.Node{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	s.Standby(t)
	for what, open := range map[string]func(context.Context, string) (*DB, error){"open": Open, "open shared": OpenShared} {
		if other, err := open(ctx, url); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s answered %v, want ErrUnfit", what, err)
			if err == nil {
				_ = other.Close()
			}
		}
	}
	// A node that was running when its server became a standby.
	until(t, "the broken connections are noticed", func() bool {
		_, err := d.Lease(ctx, "a", 0, 10)
		if err == nil {
			t.Fatal("a standby gave a lease")
		}
		return errors.Is(err, ErrUnfit)
	})
	if err := d.Update(ctx, func(member.Tx) error { return nil }); !errors.Is(err, ErrUnfit) {
		t.Errorf("update answered %v, want ErrUnfit", err)
	}
	if err := d.View(ctx, func(member.Tx) error { return nil }); !errors.Is(err, ErrUnfit) {
		t.Errorf("view answered %v, want ErrUnfit", err)
	}
}

// An administrator switches synchronous_commit off under running nodes: their
// connections were checked long ago.
func TestServerThatBeginsToForgetCommitsIsNoticed_C12(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testserver.StartPostgres(t)
	d := open(t, s.Database(t))
	if err := d.Join(ctx, session.Node{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	write := func() error { return d.Update(ctx, func(member.Tx) error { return nil }) }
	if _, err := d.Lease(ctx, "a", 0, 10); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
	until(t, "the lease is refused", func() bool {
		_, err := d.Lease(ctx, "a", 0, 10)
		return errors.Is(err, ErrUnfit)
	})
	if err := write(); !errors.Is(err, ErrUnfit) {
		t.Errorf("update answered %v, want ErrUnfit", err)
	}
	if err := d.Ping(ctx); !errors.Is(err, ErrUnfit) {
		t.Errorf("ping answered %v, want ErrUnfit", err)
	}
	s.Exec(t, "ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()")
	until(t, "the lease is given again", func() bool {
		_, err := d.Lease(ctx, "a", 0, 10)
		return err == nil
	})
	if err := write(); err != nil {
		t.Errorf("update: %v", err)
	}
}

// PostgreSQL is restarted under a node: no lease meanwhile, then the same
// registration goes on (faults 6 and 24).
func TestRegistrySurvivesARestartOfPostgres(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := testserver.StartPostgres(t)
	d := open(t, s.Database(t))
	if err := d.Join(ctx, session.Node{ID: "a", Name: "one"}); err != nil {
		t.Fatal(err)
	}
	seq := revoke(t, d, member.Revocation{Kind: member.End, Scope: member.ScopeAll})
	if _, err := d.Lease(ctx, "a", seq, 10); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if b, err := d.Lease(ctx, "a", seq, 10); err == nil || errors.Is(err, session.ErrNotRegistered) {
		t.Fatalf("a stopped server answered %+v, %v", b, err)
	}
	if err := d.Update(ctx, func(member.Tx) error { return nil }); err == nil {
		t.Error("a stopped server took a write")
	}
	s.Start(t)
	var b session.Batch
	until(t, "a lease", func() (ok bool) {
		var err error
		if b, err = d.Lease(ctx, "a", 0, 10); errors.Is(err, session.ErrNotRegistered) {
			t.Fatal("the registration was lost")
		}
		return err == nil
	})
	if len(b.Rows) != 1 || b.Last != seq {
		t.Errorf("got %+v", b)
	}
	nodes, err := d.Nodes(ctx)
	if err != nil || len(nodes) != 1 || nodes[0].Name != "one" || nodes[0].Applied != seq {
		t.Errorf("registered %+v, %v", nodes, err)
	}
	if next := revoke(t, d, member.Revocation{Kind: member.End, Scope: member.ScopeAll}); next != seq+1 {
		t.Errorf("the next row is %d", next)
	}
}

// The answer to a COMMIT never comes. The caller is told that nobody knows, and
// nothing is tried again: here the change was made (C12).
func TestUnansweredCommitIsUnknownAndNotRepeated_C12(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t)
	direct := open(t, url)
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	relay := testserver.StartRelay(t, net.JoinHostPort(conf.Host, strconv.Itoa(int(conf.Port))))
	d := open(t, strings.Replace(url, net.JoinHostPort(conf.Host, strconv.Itoa(int(conf.Port))), relay.Addr, 1))
	tries := 0
	err = d.Update(t.Context(), func(tx member.Tx) error {
		tries++
		if _, err := tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeAll}); err != nil {
			return err
		}
		relay.SwapReplies(1) // an answer without a counterpart is kept back for ever
		go func() {
			for seq := int64(0); seq == 0 && t.Context().Err() == nil; time.Sleep(time.Millisecond) {
				seq, _ = direct.LastRevocation(t.Context())
			}
			relay.Cut() // the server has committed
		}()
		return nil
	})
	if !errors.Is(err, ErrUnknownOutcome) || tries != 1 {
		t.Errorf("got %v after %d tries, want ErrUnknownOutcome after one", err, tries)
	}
	if seq, err := direct.LastRevocation(t.Context()); seq != 1 || err != nil {
		t.Errorf("the log ends at %d, %v", seq, err)
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
	if err := d.view(ctx, one); err == nil {
		t.Fatal("a stopped server answered")
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
