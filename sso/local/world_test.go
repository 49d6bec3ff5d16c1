package local_test

import (
	"bytes"
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/store/sql"
)

const password = "correct horse battery"

// world is a Service on a real database, with one fallback owner.
type world struct {
	*local.Service
	t     *testing.T
	db    *sql.DB
	dir   *member.Directory
	clock *clock.Manual
	told  *told
	owner member.Member
	codes []string
}

// told is what people were written.
type told struct {
	mu    sync.Mutex
	lines []string
	token string
	fail  error
}

func (n *told) say(line string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
	return n.fail
}

func (n *told) count(line string) (c int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		if l == line {
			c++
		}
	}
	return c
}

func (n *told) FallbackUsed(_ context.Context, to member.Member, u local.Use) error {
	return n.say("used " + to.Email + " " + u.UserName + " " + u.Factor)
}

func (n *told) FallbackGuessed(_ context.Context, to member.Member, user, _ string) error {
	return n.say("guessed " + to.Email + " " + user)
}

func (n *told) ResetLink(_ context.Context, to member.Member, token string, _ time.Time) error {
	n.mu.Lock()
	n.token = token
	n.mu.Unlock()
	return n.say("reset " + to.Email)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sql.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db, clock: &clock.Manual{}, told: &told{}}
	w.dir = &member.Directory{Store: db, Revoker: &membertest.Revoker{}, Now: w.clock.Now}
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w.Service, err = local.New(local.Options{
		Store: db, Directory: w.dir, Sealer: sealer, Audit: db, Notices: w.told, Now: w.clock.Now,
		Params: &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.owner, err = w.dir.CreateFallbackOwner(t.Context(), cli, member.Member{UserName: "Rescue", Email: "rescue@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	w.codes, err = w.Set(t.Context(), w.link(w.owner.ID, local.Setup), local.Choice{Password: password}, from(1))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var cli = member.Actor{Name: "cli"}

func from(n byte) local.Client {
	return local.Client{Address: netip.AddrFrom4([4]byte{192, 0, 2, n}), RequestID: "r"}
}

func (w *world) link(id member.ID, p local.Purpose) string {
	w.t.Helper()
	token, _, err := local.NewLink(w.t.Context(), w.db, cli, id, p, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// member makes one who is admitted and has the password.
func (w *world) member(name string) member.Member {
	w.t.Helper()
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateImmediate}
	m, err := w.dir.Create(w.t.Context(), cli, c, member.Member{UserName: name, Email: name + "@x.example", Wish: true})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.SetOwn(w.t.Context(), m, password, from(1)); err != nil {
		w.t.Fatal(err)
	}
	return m
}
