package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresServer is a private PostgreSQL on loopback, data on disk, trust
// authentication. Stop and Start behave like a server that was restarted.
// Methods are safe for concurrent use.
type PostgresServer struct {
	Port int

	dir  string // owned by the server's user; holds data and log
	args []string
	cred *syscall.Credential // nil: our own user

	mu    sync.Mutex
	stdin io.Closer     // its end tells the keeper to end the server
	done  chan struct{} // closed when the keeper has ended
}

// shared is the one server of this test binary. It is started by the first test
// that asks and ends with the binary, however that ends.
var shared struct {
	sync.Mutex
	server *PostgresServer
	err    error
	count  atomic.Int64
	free   []string // databases that were emptied
}

// Postgres answers the URL of a fresh, empty database on a server shared by the
// tests of this binary. The server does not sync to disk, which only a power
// cut could notice. Without PostgreSQL the test is skipped, and fails when
// CI=true.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	initdb, postgres := postgresBinaries(t)
	shared.Lock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = newPostgres(initdb, postgres, true, "fsync=off", "full_page_writes=off")
	}
	s, err := shared.server, shared.err
	shared.Unlock()
	if err != nil {
		t.Fatalf("testserver: postgres: %v", err)
	}
	return s.emptyDatabase(t)
}

// emptyDatabase is Database with reuse: making one takes half a second, and
// emptying one a twentieth.
func (s *PostgresServer) emptyDatabase(t testing.TB) (url string) {
	t.Helper()
	shared.Lock()
	var name string
	if n := len(shared.free); n > 0 {
		name, shared.free = shared.free[n-1], shared.free[:n-1]
	}
	shared.Unlock()
	if name == "" {
		name = fmt.Sprintf("t%d", shared.count.Add(1))
		if err := s.exec("postgres", "CREATE DATABASE "+name); err != nil {
			t.Fatalf("testserver: postgres: %v", err)
		}
	}
	t.Cleanup(func() {
		// Connections a failed test left open are ended; they may hold locks.
		err := s.exec("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
		if err == nil {
			err = s.exec(name, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
		}
		if err != nil {
			return // not given out again
		}
		shared.Lock()
		shared.free = append(shared.free, name)
		shared.Unlock()
	})
	return s.url(name)
}

// StartPostgres starts a server of the test's own, with full durability, to be
// stopped and started at will. settings are "name=value" pairs.
func StartPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	initdb, postgres := postgresBinaries(t)
	s, err := newPostgres(initdb, postgres, false, settings...)
	if err != nil {
		t.Fatalf("testserver: postgres: %v", err)
	}
	t.Cleanup(func() {
		s.Kill()
		_ = os.RemoveAll(s.dir)
	})
	return s
}

// Database creates an empty database and answers its URL. It is dropped with the test.
func (s *PostgresServer) Database(t testing.TB) (url string) {
	t.Helper()
	name := fmt.Sprintf("t%d", shared.count.Add(1))
	if err := s.exec("postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatalf("testserver: postgres: %v", err)
	}
	t.Cleanup(func() {
		// FORCE ends connections a failed test left open. A test that stopped
		// its own server has nothing to drop.
		_ = s.exec("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	return s.url(name)
}

func (s *PostgresServer) url(database string) string {
	return fmt.Sprintf("postgres://ssogate@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

func (s *PostgresServer) exec(database, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.url(database))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol) // may be several
	return err
}

// Int runs one statement in a database that the server has, and answers the
// number that it brings; 0 when it brings no row.
func (s *PostgresServer) Int(t testing.TB, url, statement string) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("testserver: postgres: %v", err)
	}
	defer func() { _ = c.Close(ctx) }()
	if err := c.QueryRow(ctx, statement).Scan(&n); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("testserver: postgres: %v", err)
	}
	return n
}

// Stop ends the server in good order: open transactions are rolled back.
func (s *PostgresServer) Stop() {
	s.signal(syscall.SIGINT)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && s.pid() != 0; {
		time.Sleep(10 * time.Millisecond)
	}
	s.Kill()
}

// Kill ends the server at once, without a checkpoint.
func (s *PostgresServer) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil {
		_ = s.stdin.Close()
		<-s.done
		s.stdin = nil
	}
}

// Start starts the server again after Stop or Kill, with its data.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	if err := s.start(false); err != nil {
		t.Fatalf("testserver: postgres: start again: %v", err)
	}
}

// Standby stops the server and starts it again in recovery: with its data, for
// reading only, waiting for a primary that never comes.
func (s *PostgresServer) Standby(t testing.TB) {
	t.Helper()
	s.Stop()
	if err := os.WriteFile(filepath.Join(s.dir, "data", "standby.signal"), nil, 0o600); err != nil {
		t.Fatalf("testserver: postgres: %v", err)
	}
	if s.cred != nil {
		if err := os.Chown(filepath.Join(s.dir, "data", "standby.signal"), int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			t.Fatalf("testserver: postgres: %v", err)
		}
	}
	s.Start(t)
}

// Exec runs statements as the superuser, outside any database of a test.
func (s *PostgresServer) Exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := s.exec("postgres", statement); err != nil {
			t.Fatalf("testserver: postgres: %v", err)
		}
	}
}

// pid reads the process that owns the data directory, 0 when there is none.
func (s *PostgresServer) pid() int {
	b, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return 0
	}
	return pid
}

func (s *PostgresServer) signal(sig syscall.Signal) {
	if pid := s.pid(); pid > 1 {
		_ = syscall.Kill(pid, sig)
	}
}

// newPostgres makes a data directory and starts the server on a free port.
func newPostgres(initdb, postgres string, temporary bool, settings ...string) (*PostgresServer, error) {
	s := &PostgresServer{}
	var err error
	if s.cred, err = serverUser(); err != nil {
		return nil, err
	}
	// Not t.TempDir: its parents are closed to the server's user.
	if s.dir, err = os.MkdirTemp("", "ssogate-postgres-"); err != nil {
		return nil, err
	}
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(s.dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "ssogate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, fmt.Errorf("initdb: %w: %s", err, tail(string(out)))
	}
	s.args = []string{
		postgres, "-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "shared_buffers=32MB", "-c", "max_connections=200",
	}
	for _, v := range settings {
		s.args = append(s.args, "-c", v)
	}
	var last error
	for range 5 { // a port found free may be taken before the server binds it
		if s.Port, last = Port(); last != nil {
			continue
		}
		if last = s.start(temporary); last == nil {
			return s, nil
		}
	}
	_ = os.RemoveAll(s.dir)
	return nil, last
}

// keeper runs the server beside a read on standard input. When the test binary
// ends, also by SIGKILL, the pipe ends, and the keeper ends the server and
// removes the directory of a temporary one. It needs no TestMain.
const keeper = `dir=$1 remove=$2; shift 2
"$@" & server=$!
read -r _
kill -QUIT "$server" 2>/dev/null
wait "$server"
[ "$remove" = yes ] && rm -rf "$dir"`

func (s *PostgresServer) start(temporary bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil {
		return errors.New("already running")
	}
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	remove := "no"
	if temporary {
		remove = "yes"
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", keeper, "keeper", s.dir, remove}, append(s.args, "-p", strconv.Itoa(s.Port))...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	// A group of its own: Ctrl-C at the terminal reaches the test, not the
	// keeper, which then still cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the status of a killed server tells nothing
		close(done)
	}()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = s.exec("postgres", "SELECT 1"); err == nil {
			s.stdin, s.done = stdin, done
			return nil
		}
	}
	_ = stdin.Close()
	<-done
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("does not answer within 20 s: %w: %s", err, tail(string(log)))
}

// serverUser is whom the server runs as: it refuses to run as root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New(`running as root, and neither user "postgres" nor "nobody" exists`)
}

// postgresBinaries finds initdb and postgres on the PATH or where Debian keeps
// them, newest version last.
func postgresBinaries(t testing.TB) (initdb, postgres string) {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real // both programs must be of one version
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		initdb, postgres = filepath.Join(dirs[i], "initdb"), filepath.Join(dirs[i], "postgres")
		if isFile(initdb) && isFile(postgres) {
			return initdb, postgres
		}
	}
	Missing(t, "postgresql (initdb and postgres)")
	return "", ""
}

func isFile(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.Mode().IsRegular()
}
