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
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/store/sql"
)

// Control is what a command on the host may ask of an installation. With SQLite
// a running ssogate holds the lock of its file, so it is asked over the control
// socket: a unix socket beside the database, mode 0600, so that whoever could
// read the database anyway may use it and nobody else. Without a running one the
// command takes the lock itself, and PostgreSQL is opened beside its nodes. The
// three ways behave alike.
type Control struct {
	SCIM      SCIMAdmin
	Log       SCIMLog
	Sessions  SessionAdmin
	Keys      KeyAdmin
	Signing   AssertionAdmin
	Members   MemberAdmin
	Providers ProviderAdmin
	Settings  SettingsAdmin
	Tests     TestAdmin
	Explain   Explainer
	Machines  MachineAdmin
	Owners    OwnerAdmin
	close     func() error
}

// Close gives back what OpenControl opened.
func (c *Control) Close() error { return c.close() }

const (
	socketSuffix = ".sock"
	maxControl   = 4 << 20 // of a question: it may bring an identity provider's metadata
	maxAnswer    = 16 << 20
	// controlWait is longer than a transaction and a barrier together may take.
	controlWait = 30 * time.Second
)

// OpenControl reaches the installation of a config. The caller closes it.
func OpenControl(ctx context.Context, c *config.Config) (*Control, error) {
	var db *sql.DB
	var err error
	if path := socketPath(c.Database.URL); path == "" {
		db, err = sql.OpenShared(ctx, c.Database.URL)
	} else {
		if client, ok := dialControl(ctx, path); ok {
			return remoteControl(client), nil
		}
		if db, err = sql.Open(ctx, c.Database.URL); errors.Is(err, sql.ErrLocked) {
			err = fmt.Errorf("%w; it does not answer on %s, so it is just starting or stopping: try again in a moment", err, path)
		}
	}
	if err != nil {
		return nil, err
	}
	sealer, err := secret.NewSealer(c.SealKeys()...)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	stores := &beside{cfg: c, db: db}
	// Nodes find a row at their next poll, a quarter of a second at most. Embedded
	// and alone there is no node, and the barrier returns at once.
	nodes := session.NewPublisher(db, nil)
	dir := &member.Directory{Store: db, Revoker: nodes}
	versions := newVersions(c, db, sealer)
	versions.Revoker = nodes
	return &Control{
		SCIM:      storedSCIM{db, dir},
		Members:   storedMembers{db, dir},
		Log:       storedSCIMLog{db},
		Sessions:  storedSessions{dir: dir, lister: func(ctx context.Context) (*session.Lister, error) { return stores.lister(ctx, dir) }, db: db},
		Keys:      storedKeys{cfg: c, db: db, ring: keyRing(c, db, sealer), sealer: sealer, nodes: nodes},
		Signing:   storedAssertions{assertionRing(db, sealer, nil), nodes},
		Providers: storedProviders{c, db, dir, time.Now, sealer, versions},
		Settings:  storedSettings{versions},
		Tests:     storedTests{stores},
		Explain:   storedExplainer(c, db, dir, versions),
		Machines:  storedMachines{db, nodes},
		Owners:    storedOwners{c, db, dir, time.Now},
		close:     stores.close,
	}, nil
}

// ownControl is the Control of the running process.
func (s *Server) ownControl() *Control {
	lister := func(context.Context) (*session.Lister, error) { return &s.manager.Lister, nil }
	return &Control{
		SCIM:      storedSCIM{s.db, s.directory},
		Members:   storedMembers{s.db, s.directory},
		Log:       storedSCIMLog{s.db},
		Sessions:  storedSessions{dir: s.directory, lister: lister, db: s.db},
		Keys:      storedKeys{cfg: s.cfg, db: s.db, ring: s.keys, sealer: s.sealer, nodes: s.cutoff},
		Signing:   s.AssertionAdmin(),
		Providers: s.ProviderAdmin(),
		Settings:  storedSettings{s.versions},
		Tests:     ownTests{s},
		Explain:   s.ownExplainer(),
		Machines:  storedMachines{s.db, s.cutoff},
		Owners:    storedOwners{s.cfg, s.db, s.directory, s.now},
		close:     func() error { return nil }, // the process closes what it serves
	}
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
		Handler: s.ownControl().handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
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

// handler serves every endpoint there is.
func (c *Control) handler() http.Handler {
	mux := http.NewServeMux()
	c.serveTokens(mux)
	c.serveSCIMLog(mux)
	c.serveSessions(mux)
	c.serveKeys(mux)
	c.serveAssertions(mux)
	c.serveMembers(mux)
	c.serveProviders(mux)
	c.serveSPKeys(mux)
	c.serveSettings(mux)
	c.serveTests(mux)
	c.serveExplain(mux)
	c.serveMachines(mux)
	c.serveOwners(mux)
	return mux
}

// remoteControl asks the running process.
func remoteControl(client *http.Client) *Control {
	return &Control{
		SCIM:      remoteSCIM{client},
		Members:   remoteMembers{client},
		Log:       remoteSCIMLog{client},
		Sessions:  remoteSessions{client},
		Keys:      remoteKeys{client},
		Signing:   remoteAssertions{client},
		Providers: remoteProviders{client},
		Settings:  remoteSettings{client},
		Tests:     remoteTests{client},
		Explain:   remoteExplainer{client},
		Machines:  remoteMachines{client},
		Owners:    remoteOwners{client},
		close:     func() error { client.CloseIdleConnections(); return nil },
	}
}

func dialControl(ctx context.Context, path string) (*http.Client, bool) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	}
	c, err := dial(ctx, "", "")
	if err != nil {
		return nil, false
	}
	_ = c.Close()
	return &http.Client{Timeout: controlWait, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, true
}

// endpoint is one question of the control socket: JSON in, JSON out, both typed
// here for the side that asks and the side that answers.
type endpoint[In, Out any] struct{ path string }

type refusedQuestion struct {
	Error string `json:"error"`
}

func (e endpoint[In, Out]) serve(mux *http.ServeMux, do func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+e.path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var in In
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl)).Decode(&in)
		var out Out
		if err == nil {
			out, err = do(r.Context(), in)
		}
		if err != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(refusedQuestion{err.Error()})
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

func (e endpoint[In, Out]) ask(ctx context.Context, client *http.Client, in In) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("run: control: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control"+e.path, bytes.NewReader(body))
	if err != nil {
		return out, fmt.Errorf("run: control: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return out, fmt.Errorf("run: control: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, fmt.Errorf("run: control: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return out, errors.New("the running ssogate does not know this command: it is another version; restart it, or use its own binary")
	default:
		var e refusedQuestion
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			e.Error = resp.Status
		}
		return out, errors.New(e.Error)
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("run: control: %w", err)
	}
	return out, nil
}

// none is the answer of an endpoint that has nothing to say.
type none struct{}
