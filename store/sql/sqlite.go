package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// openSQLite opens the file with one writing connection and a small pool of
// reading ones.
func (d *DB) openSQLite(ctx context.Context, path string) error {
	d.engine = engineSQLite
	switch {
	case path == "" || strings.HasPrefix(path, ":"):
		return errors.New("sql: sqlite: the path of a file is needed; an in-memory database would forget who was cut off")
	case strings.ContainsRune(path, 0):
		return errors.New("sql: sqlite: path contains a NUL")
	}
	path, err := resolve(path)
	if err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}
	d.path = path
	if d.guard, err = lockFile(path + ".lock"); err != nil {
		return err
	}
	// Created here so that the members' list is readable by nobody else;
	// SQLite gives its -wal and -shm files the mode of the database.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator chooses where the database is
	if err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}

	q := url.Values{}
	q.Set("_busy_timeout", "1000") // only a foreign tool can be in the way; retry adds the rest
	q.Set("_dqs", "0")             // a misspelled column must not become a string
	q.Set("_defensive", "1")
	q.Set("_txlock", "immediate") // read-then-write without it fails under concurrency
	q.Add("_pragma", "journal_mode(WAL)")
	q.Add("_pragma", "foreign_keys(1)")
	q.Add("_pragma", "synchronous(FULL)") // a 2xx must survive a power cut (G7)
	// The path is escaped: a "?" or "%" in it must not become a parameter.
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?"
	if d.writes, err = sql.Open("sqlite", name+q.Encode()); err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}
	d.writes.SetMaxOpenConns(1) // SQLite has one writer; waiting in Go ends with the context
	q.Set("_query_only", "1")
	if d.reads, err = sql.Open("sqlite", name+q.Encode()); err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}
	d.reads.SetMaxOpenConns(4)
	d.reads.SetMaxIdleConns(4)
	if d.leases, err = sql.Open("sqlite", name+q.Encode()); err != nil {
		return fmt.Errorf("sql: sqlite: %w", err)
	}
	d.leases.SetMaxOpenConns(1) // one loop
	// The writer goes first: switching to WAL is a write.
	if err := d.writes.PingContext(ctx); err != nil {
		return fmt.Errorf("sql: sqlite: open %s: %w", path, err)
	}
	return nil
}

// resolve gives one spelling to one file, so that two spellings share a lock.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// fileGuard holds an flock for the life of the process. The kernel releases it
// when the process ends, however it ends, so a crash leaves nothing to clean.
type fileGuard struct{ f *os.File }

func lockFile(path string) (guard, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator chooses where the database is
	if err != nil {
		return nil, fmt.Errorf("sql: lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0) // only to name the process; its absence is no fault
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by process %s; SQLite is for one node, use PostgreSQL for several", ErrLocked, path, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fmt.Errorf("sql: lock %s: %w", path, err)
	}
	// The file stays when the lock is released: removing it would let two
	// processes lock two different files of the same name.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return &fileGuard{f}, nil
}

func (g *fileGuard) check() error { return nil }

func (g *fileGuard) Close() error { return g.f.Close() }
