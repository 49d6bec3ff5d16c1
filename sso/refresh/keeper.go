package refresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

const (
	lookEvery = time.Second // for grants that are due; a read that finds none writes nothing
	// slots is how many grants of one provider one node asks about at once. Each
	// provider has its own: one that hangs must not hold up the others' cut-offs.
	slots = 4
	// A lease is long against the renewal, so that nodes whose clocks differ by 20 s
	// still never ask about one grant at once.
	leaseFor   = 30 * time.Second
	renewEvery = 10 * time.Second
	askTime    = 10 * time.Second // of one question, should the provider's own deadline fail
	storeTime  = 5 * time.Second  // of one write that must not be lost by a shutdown

	firstRetry    = 30 * time.Second
	maxRetry      = 15 * time.Minute
	maxRetryAfter = time.Hour // whatever a provider asks for
	warnEvery     = time.Hour
)

// Directory ends sessions and knows which have ended. *member.Directory is the real one.
type Directory interface {
	Snapshot(ctx context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error)
	EndSession(ctx context.Context, by member.Actor, s member.EndedSession) error
}

// Options are what a Keeper works with. Now and Registry may be left out.
type Options struct {
	Store     Store
	Sealer    *secret.Sealer
	Live      *settings.Live            // which providers are asked, and how often
	Providers func(string) sso.Provider // by id; nil when unknown or not active
	Directory Directory
	Log       *slog.Logger
	Now       clock.Func
	Registry  prometheus.Registerer
}

// Keeper keeps the refresh tokens of sessions and asks about them. Safe for
// concurrent use; [Keeper.Run] may run on any number of nodes.
type Keeper struct {
	Options
	outcomes *prometheus.CounterVec

	mu    sync.Mutex
	lanes map[string]*lane // by provider
}

// lane is what one node knows of one provider. Guarded by the Keeper's mutex.
type lane struct {
	busy    bool
	rest    time.Time // asked for by the provider: until then nothing is asked
	broken  bool      // the store could not be read at the last try
	failing bool      // the provider said nothing at the last question
	warned  time.Time // of sign-ins without a token
}

// New makes a Keeper.
func New(o Options) (*Keeper, error) {
	if o.Store == nil || o.Sealer == nil || o.Live == nil || o.Providers == nil || o.Directory == nil || o.Log == nil {
		return nil, errors.New("refresh: keeper needs all of its parts")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Keeper{Options: o, lanes: map[string]*lane{}, outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "token_refresh_total",
		Help: "Questions to OpenID providers whether somebody may still be signed in, by outcome; no_token counts sign-ins that brought nothing to ask with.",
	}, []string{"provider", "outcome"})}
	if o.Registry != nil {
		if err := o.Registry.Register(k.outcomes); err != nil {
			return nil, fmt.Errorf("refresh: %w", err)
		}
	}
	return k, nil
}

// every is how often an active provider is asked; 0 never.
func (k *Keeper) every(provider string) time.Duration {
	p, ok := k.Live.Load().Provider(provider)
	if !ok {
		return 0
	}
	return p.OIDC.Recheck
}

// lane needs mu.
func (k *Keeper) lane(provider string) *lane {
	l := k.lanes[provider]
	if l == nil {
		l = &lane{}
		k.lanes[provider] = l
	}
	return l
}

func (k *Keeper) count(provider, outcome string) {
	k.outcomes.WithLabelValues(provider, outcome).Inc()
}

// Keep implements sso.Grants.
func (k *Keeper) Keep(ctx context.Context, r session.Record, who member.Identity, token string) error {
	every := k.every(who.Provider)
	if every <= 0 {
		return nil
	}
	if token == "" {
		k.noToken(who.Provider)
		return nil
	}
	g := Grant{
		Session: r.Hash, Member: r.Member, Epoch: r.Epoch, Seq: r.Seq, Identity: who,
		Token: k.Sealer.Seal([]byte(token), SealContext(r.Hash)),
		Due:   k.next(every), Expires: r.Expires,
	}
	if err := k.Store.Put(ctx, g); err != nil {
		return fmt.Errorf("refresh: keep the refresh token: %w", err)
	}
	return nil
}

// noToken says that a provider's people sign in but cannot be asked about. The
// sign-in works: it is as it would be without recheck.
func (k *Keeper) noToken(provider string) {
	k.count(provider, "no_token")
	k.mu.Lock()
	l, now := k.lane(provider), k.Now()
	say := l.warned.IsZero() || now.Sub(l.warned) >= warnEvery
	if say {
		l.warned = now
	}
	k.mu.Unlock()
	if say {
		k.Log.Warn("the identity provider gives no refresh token that can be kept: recheck does nothing for those who sign in now; "+
			"allow this client offline access there, or add the scope it wants to scopes", "provider", provider)
	}
}

// SealContext ties a sealed token to its session: copied into another row it
// does not open.
func SealContext(h secret.Hash) string { return "refresh|" + h.String() }

// next is when a provider is asked again. Up to a tenth earlier, never later: the
// people of a Monday morning must not all be asked about at one moment, and the
// operator's time stays the longest.
func (k *Keeper) next(every time.Duration) time.Time {
	return k.Now().Add(every - rand.N(every/10+1)) //nolint:gosec // spreads load; guessing it gains nothing
}

// retry is when a provider is asked again that has confirmed nothing: 30 s, 1, 2,
// 4 ... 15 min, never longer than every, each up to a quarter longer, and never
// before the provider wants to be asked.
func (k *Keeper) retry(every time.Duration, failures int, after time.Duration) time.Time {
	d := min(firstRetry<<min(failures, 10), maxRetry, every)
	d += rand.N(d/4 + 1) //nolint:gosec // as above
	return k.Now().Add(max(d, min(after, maxRetryAfter)))
}

var _ sso.Grants = (*Keeper)(nil)
