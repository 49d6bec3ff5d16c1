package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/store/redis"
	"github.com/ssogate/ssogate/store/sql"
)

// SessionAdmin lists sessions and ends them.
type SessionAdmin interface {
	// List answers the sessions of the member with this user name, newest first.
	List(ctx context.Context, user string) ([]SessionInfo, error)
	// End ends what it names, and returns nil only when no node admits it any more.
	End(ctx context.Context, e EndSessions) (Ended, error)
}

// SessionInfo is one session as an operator sees it. UserAgent is what the client
// sent, so it is hostile; Device is not.
type SessionInfo struct {
	Handle    string    `json:"handle"`
	Device    string    `json:"device"`
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address"`
	Provider  string    `json:"provider"`
	Started   time.Time `json:"started"`
	LastSeen  time.Time `json:"last_seen"`
	Ends      time.Time `json:"ends"` // at the latest
}

// EndSessions names what to end: a member's session by User and Handle, all of a
// member by User, all made through a Provider, or everybody's. One of them, and
// the zero value names nothing.
type EndSessions struct {
	Actor    string `json:"actor"`
	User     string `json:"user"`
	Handle   string `json:"handle"`
	Provider string `json:"provider"`
	Everyone bool   `json:"everyone"`
}

// Ended is how a cut-off went.
type Ended struct {
	Took time.Duration `json:"took"` // from the change to the confirmation of the last node
}

var (
	askSessionList = endpoint[string, []SessionInfo]{"/sessions/list"}
	askSessionEnd  = endpoint[EndSessions, Ended]{"/sessions/end"}
)

func (c *Control) serveSessions(mux *http.ServeMux) {
	askSessionList.serve(mux, c.Sessions.List)
	askSessionEnd.serve(mux, c.Sessions.End)
}

// reasonCLI is the reason word of what commands end.
const reasonCLI = "command"

// storedSessions works on the stores. The session store is opened only where one
// is needed: signing everybody out must work while Redis is down.
type storedSessions struct {
	dir    *member.Directory
	lister func(context.Context) (*session.Lister, error)
	db     *sql.DB
}

func (s storedSessions) member(ctx context.Context, user string) (member.Member, error) {
	m, err := s.dir.Lookup(ctx, user)
	if errors.Is(err, member.ErrNotFound) {
		return member.Member{}, fmt.Errorf("no member has the user name %q: it is the one that the identity provider sends (SCIM userName, SAML NameID)", user)
	}
	return m, err
}

func (s storedSessions) List(ctx context.Context, user string) ([]SessionInfo, error) {
	m, err := s.member(ctx, user)
	if err != nil {
		return nil, err
	}
	l, err := s.lister(ctx)
	if err != nil {
		return nil, err
	}
	list, err := l.Sessions(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	out := []SessionInfo{}
	for _, r := range list {
		out = append(out, SessionInfo{
			Handle: r.Handle(), Device: session.Device(r.UserAgent), UserAgent: r.UserAgent, Address: r.Address, Provider: r.Provider,
			Started: r.Issued, LastSeen: r.LastSeen, Ends: r.Expires,
		})
	}
	return out, nil
}

func (s storedSessions) End(ctx context.Context, e EndSessions) (Ended, error) {
	by := member.Actor{Name: e.Actor}
	begin := time.Now()
	var err error
	switch {
	case e.User != "" && e.Provider == "" && !e.Everyone:
		var m member.Member
		if m, err = s.member(ctx, e.User); err != nil {
			return Ended{}, err
		}
		begin = time.Now()
		if e.Handle != "" {
			err = s.endOne(ctx, by, m, e)
		} else {
			err = s.dir.EndSessions(ctx, by, m.ID, reasonCLI)
		}
	case e.User == "" && e.Handle == "" && e.Provider != "" && !e.Everyone:
		err = s.dir.EndProvider(ctx, by, e.Provider, reasonCLI)
	case e.User == "" && e.Handle == "" && e.Provider == "" && e.Everyone:
		err = s.dir.EndEveryone(ctx, by, reasonCLI)
	default:
		return Ended{}, errors.New("run: end sessions: of a user, a provider or everyone: one of them")
	}
	if errors.Is(err, session.ErrBarrier) {
		return Ended{}, fmt.Errorf("ended for good, but not every node has confirmed it in time: run the same command again, which waits for them again (%w)", err)
	}
	return Ended{Took: time.Since(begin)}, err
}

// endOne ends one session. One that was ended before is waited for again (C2):
// its record is deleted soon, and then its tombstone knows it.
func (s storedSessions) endOne(ctx context.Context, by member.Actor, m member.Member, e EndSessions) error {
	l, err := s.lister(ctx)
	if err != nil {
		return err
	}
	_, err = l.EndOne(ctx, by, m.ID, e.Handle, reasonCLI)
	if !errors.Is(err, session.ErrNotFound) {
		return err
	}
	ended, err := s.db.EndedSession(ctx, m.ID, e.Handle)
	if errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("%s has no session %q: \"ssogate sessions list --user %s\" shows those that live", e.User, e.Handle, e.User)
	}
	if err != nil {
		return err
	}
	return s.dir.EndSession(ctx, by, ended)
}

// beside is what a command opens beside the nodes, or in their absence.
type beside struct {
	cfg   *config.Config
	db    *sql.DB
	redis *redis.DB
}

func (b *beside) lister(ctx context.Context, dir *member.Directory) (*session.Lister, error) {
	if b.cfg.Redis.URL == "" {
		return session.NewLister(b.db.Sessions(nil, nil), dir, b.cfg.Session.Idle, nil)
	}
	if err := b.openRedis(ctx); err != nil {
		return nil, err
	}
	return session.NewLister(b.redis.Sessions(), dir, b.cfg.Session.Idle, nil)
}

func (b *beside) openRedis(ctx context.Context) (err error) {
	if b.redis == nil {
		// A warning that it does not answer is not repeated here: the call that follows fails.
		b.redis, _, err = redis.Open(ctx, redisOptions(b.cfg))
	}
	return err
}

// pending are the pending sign-ins that the nodes share.
func (b *beside) pending(ctx context.Context) (sso.Pending, error) {
	if b.cfg.Redis.URL == "" {
		return b.db.Pending(nil, b.cfg.Limits.PendingSignIns), nil
	}
	if err := b.openRedis(ctx); err != nil {
		return nil, err
	}
	return b.redis.Pending(), nil
}

func (b *beside) close() error {
	err := b.db.Close()
	if b.redis != nil {
		err = errors.Join(b.redis.Close(), err)
	}
	return err
}

// remoteSessions asks the running process.
type remoteSessions struct{ client *http.Client }

func (s remoteSessions) List(ctx context.Context, user string) ([]SessionInfo, error) {
	return askSessionList.ask(ctx, s.client, user)
}

func (s remoteSessions) End(ctx context.Context, e EndSessions) (Ended, error) {
	return askSessionEnd.ask(ctx, s.client, e)
}

// Interface guards.
var (
	_ SessionAdmin = storedSessions{}
	_ SessionAdmin = remoteSessions{}
)
