package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/store/sql"
)

// The control socket is how a command on the host reaches a running ssogate
// that holds the lock of its SQLite file: a unix socket beside the database,
// mode 0600, so that whoever could read the database anyway may use it and
// nobody else. It speaks HTTP and knows only what commands need.
//
//	POST   /scim/tokens        {"connection","name","creator","expires"} -> {"token","stored"}
//	GET    /scim/tokens?connection=
//	DELETE /scim/tokens/{id}
const (
	socketSuffix = ".sock"
	maxControl   = 64 << 10
)

// TokenAdmin makes, lists and revokes SCIM bearer tokens.
type TokenAdmin interface {
	Create(ctx context.Context, t NewToken) (token string, stored scim.StoredToken, err error)
	List(ctx context.Context, connection string) ([]scim.StoredToken, error)
	Revoke(ctx context.Context, id string) error
	Close() error
}

// NewToken describes a token to make. The zero Expires never expires.
type NewToken struct {
	Connection string    `json:"connection"`
	Name       string    `json:"name"`
	Creator    string    `json:"creator"`
	Expires    time.Time `json:"expires"`
}

type createdToken struct {
	Token  string           `json:"token"`
	Stored scim.StoredToken `json:"stored"`
}

// socketPath is where the control socket of a database is, or "".
func socketPath(databaseURL string) string {
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		return path + socketSuffix
	}
	return ""
}

// control serves the socket until the server is closed.
func (s *Server) control(ctx context.Context) error {
	path := socketPath(s.cfg.Database.URL)
	if path == "" {
		return nil // PostgreSQL can be reached by a command directly
	}
	l, err := listenPrivately(ctx, path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	srv := &http.Server{
		Handler: controlHandler(storedTokens{s.db}), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() { _ = srv.Serve(l) }()
	s.closers = append(s.closers, func() error { return errors.Join(srv.Close(), os.Remove(path)) })
	return nil
}

// listenPrivately binds a unix socket that others can never open, not even for
// a moment: it is made in a directory of mode 0700, closed off, and then moved
// over whatever a dead process left there (the database lock is ours). A umask
// would do too, but it holds for every file that this process makes meanwhile.
func listenPrivately(ctx context.Context, path string) (_ net.Listener, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".control-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // empty, or half made
	made := filepath.Join(dir, "s")
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it knows the first name only
	}
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func controlHandler(t TokenAdmin) http.Handler {
	answer := func(w http.ResponseWriter, v any, err error) {
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			v = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /scim/tokens", func(w http.ResponseWriter, r *http.Request) {
		var n NewToken
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl)).Decode(&n); err != nil {
			answer(w, nil, err)
			return
		}
		token, stored, err := t.Create(r.Context(), n)
		answer(w, createdToken{token, stored}, err)
	})
	mux.HandleFunc("GET /scim/tokens", func(w http.ResponseWriter, r *http.Request) {
		list, err := t.List(r.Context(), r.URL.Query().Get("connection"))
		answer(w, list, err)
	})
	mux.HandleFunc("DELETE /scim/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, t.Revoke(r.Context(), r.PathValue("id")))
	})
	return mux
}

// OpenTokens reaches the tokens of a config's database: through the running
// ssogate's control socket, or the database itself when nothing holds it.
func OpenTokens(ctx context.Context, c *config.Config) (TokenAdmin, error) {
	path := socketPath(c.Database.URL)
	if path != "" {
		if t, ok := dialControl(ctx, path); ok {
			return t, nil
		}
		db, err := sql.Open(ctx, c.Database.URL)
		if err != nil {
			return nil, err
		}
		return storedTokens{db}, nil
	}
	db, err := sql.OpenShared(ctx, c.Database.URL)
	if err != nil {
		return nil, err
	}
	return storedTokens{db}, nil
}

// storedTokens works on the database.
type storedTokens struct{ db *sql.DB }

// Create audits first: a token that nobody can be asked about must not exist.
func (t storedTokens) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	if err := t.note(ctx, "scim.token.create", n.Creator, n.Connection, map[string]string{"name": n.Name}); err != nil {
		return "", scim.StoredToken{}, err
	}
	return scim.CreateToken(ctx, t.db, n.Connection, n.Name, n.Creator, n.Expires)
}

func (t storedTokens) note(ctx context.Context, kind, actor, target string, detail map[string]string) error {
	return t.db.Record(ctx, audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: actor, Target: target, Detail: detail})
}

func (t storedTokens) List(ctx context.Context, connection string) ([]scim.StoredToken, error) {
	return t.db.ListTokens(ctx, connection)
}

func (t storedTokens) Revoke(ctx context.Context, id string) error {
	if err := t.db.RevokeToken(ctx, id); errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("no token has the ID %q; \"ssogate scim token list\" shows them", id)
	} else if err != nil {
		return err
	}
	return t.note(ctx, "scim.token.revoke", "cli", "token:"+id, nil)
}

func (t storedTokens) Close() error { return t.db.Close() }

// remoteTokens asks the running process.
type remoteTokens struct{ client *http.Client }

func dialControl(ctx context.Context, path string) (TokenAdmin, bool) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	}
	c, err := dial(ctx, "", "")
	if err != nil {
		return nil, false
	}
	_ = c.Close()
	return remoteTokens{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, true
}

func (t remoteTokens) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("run: control: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("run: control: %w", err)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return fmt.Errorf("run: control: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("run: control: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			e.Error = resp.Status
		}
		return errors.New(e.Error)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("run: control: %w", err)
	}
	return nil
}

func (t remoteTokens) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	var c createdToken
	err := t.do(ctx, http.MethodPost, "/scim/tokens", n, &c)
	return c.Token, c.Stored, err
}

func (t remoteTokens) List(ctx context.Context, connection string) (list []scim.StoredToken, err error) {
	err = t.do(ctx, http.MethodGet, "/scim/tokens?connection="+url.QueryEscape(connection), nil, &list)
	return list, err
}

func (t remoteTokens) Revoke(ctx context.Context, id string) error {
	return t.do(ctx, http.MethodDelete, "/scim/tokens/"+url.PathEscape(id), nil, &struct{}{})
}

func (t remoteTokens) Close() error {
	t.client.CloseIdleConnections()
	return nil
}
