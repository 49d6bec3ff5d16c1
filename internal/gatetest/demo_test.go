package gatetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/testserver"
)

func TestTheDemoLeavesNothingBehind(t *testing.T) {
	dsn, redis := testserver.Postgres(t), testserver.Redis(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, o := range map[string]run.DemoOptions{
		"embedded": {}, "borrowed servers": {Database: dsn, Redis: redis},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(with *run.DemoOptions) { *with = o })
			w.signedIn(w.ana())
			if name == "embedded" {
				if found, _ := filepath.Glob(filepath.Join(temp, "ssogate-demo-*", "ssogate.db")); len(found) != 1 {
					t.Fatalf("the demo's database is not where this test looks: %q", found)
				}
			}
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("files left: %v %v", left, err)
	}
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	var tables int
	err = db.QueryRow(t.Context(), `SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog','information_schema')`).Scan(&tables)
	if err != nil || tables != 0 {
		t.Errorf("%d tables left in PostgreSQL, %v", tables, err)
	}
	ro, err := goredis.ParseURL(redis)
	if err != nil {
		t.Fatal(err)
	}
	rc := goredis.NewClient(ro)
	defer func() { _ = rc.Close() }()
	if keys, err := rc.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("keys left in Redis: %q %v", keys, err)
	}
}
