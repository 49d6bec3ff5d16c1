package session

// A randomized model of protocols.md section 1: a round is some seconds of
// virtual time on three nodes and more, one SQL primary and a session store,
// with calls, requests, sign-ins and faults at random moments. A seed says all
// that happens; nothing waits for a real clock.
//
// Real are: floors, lease, the cache, flights, touches, steady; Cutoff.step, take,
// apply, skip and join; Manager.load, hit, Still, Start and flush; tidier.tidy.
// They run in coroutines, on fakes of Log, Registry, Finisher, Directory, Store,
// Settings and Streams, each of whose calls is two messages that may be slow or lost.
//
// Mirrored statement by statement, because they wait on channels or belong to
// other packages: Cutoff.Run and Barrier, Publisher.wait, Manager.admit and read,
// Live.Cut and the gate's admission of proxy, Expel of store/sql. To break a rule,
// step, take, apply and load have mirrors too; TestCutoffModelMirrorsTheCode shows
// that those do what the code does.
//
// Not modelled: cookies, idle and absolute ends, a primary that loses committed
// rows (C12), memory (C13). Peers that do not read and rechecks on a slow store
// hold up the rows behind them; a node that is so kept from acknowledging is held
// to the grace and not to the moment of the answer (plan.lossy, trouble).
//
// The promises, as numbered in violations:
//
//	(1) no request whose first byte was sent after the success answer is admitted,
//	    also not with teams from before a change that was answered
//	(2) no session of an earlier epoch, and none that was ended, is admitted again
//	(3) no row ends a session, or closes its streams, that was made after it
//	(4) what the ended session has running is closed by the time of the answer, on a
//	    node without contact after the grace, and nothing is dispatched once a node
//	    has acknowledged
//	(5) with all faults healed every call succeeds, a fresh sign-in and every
//	    session that nothing ended are admitted everywhere, and nothing is left to tidy
//	(6) nobody is admitted by settings older than those of an answered change

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

var (
	modelSeed   = flag.Int64("seed", -1, "of one round of TestCutoffModel, to replay it with its trace")
	modelRounds = flag.Int("rounds", defaultRounds, "of TestCutoffModel for each fault")
)

// newWorld makes a round: three nodes, members with sessions, and a plan.
func newWorld(seed int64, f fault, b breach, mirror bool, idle []*task) *world {
	w := &world{rng: rand.New(rand.NewPCG(uint64(seed), 3)), broken: b, mirror: mirror, idle: idle, ctx: context.Background()}
	w.plan = calm()
	if f.plan != nil {
		f.plan(&w.plan)
	}
	w.sql = &primary{w: w, up: true, finished: map[int64]bool{}, ended: map[string]bool{}, settings: 1, disabled: []int64{0, 0}}
	w.redis = w.newRedis("redis")
	w.redis.replica = w.newRedis("replica")
	for i := range w.plan.members + w.rng.IntN(2) {
		p := &person{id: member.ID(fmt.Sprintf("m%d", i)), active: true, epoch: 1}
		w.members = append(w.members, p)
		for range 1 + w.rng.IntN(2) {
			w.born(p)
		}
	}
	w.cli = w.newNode("cli")
	for i := range 3 {
		n := w.newNode(fmt.Sprintf("n%d", i))
		w.nodes = append(w.nodes, n)
		w.after(w.span(0, 50*time.Millisecond), func() { w.spawn(n, n.begin) })
	}
	w.hot, w.hotNode = w.sessions[0], w.nodes[0]
	w.center = w.span(50*time.Millisecond, w.plan.horizon)
	for range w.plan.ops {
		w.do(w.span(max(0, w.center-w.plan.burst/2), min(w.plan.horizon, w.center+w.plan.burst/2)), w.randomOp())
	}
	for range w.plan.requests {
		s := w.sessions[w.rng.IntN(len(w.sessions))]
		if w.chance(0.5) {
			s = w.hot
		}
		w.after(w.span(20*time.Millisecond, w.plan.horizon), func() { w.use(s) })
	}
	for _, n := range w.nodes {
		w.after(w.span(0, w.plan.horizon), func() { n.flushTouches() })
	}
	if f.inject != nil {
		f.inject(w)
	}
	return w
}

// born is a session from before the round.
func (w *world) born(p *person) {
	var h secret.Hash
	h[0], h[1] = byte(len(w.sessions)), 1
	rec := Record{
		Version: RecordVersion, Hash: h, Member: p.id, Epoch: p.epoch, Provider: providers[1+w.rng.IntN(2)],
		Issued: wallStart, LastSeen: wallStart, Expires: wallStart.Add(2 * time.Hour),
	}
	w.redis.set(rec)
	w.redis.replica.set(rec)
	w.adopt(rec)
}

func (n *node) flushTouches() {
	if n.alive && n.serving {
		n.deliver(func() { n.w.spawn(n, func() { _ = n.m.flush(n.w.ctx) }) })
	}
}

// play runs one round and answers the promise that it broke, if any.
func (w *world) play() string {
	w.until(w.plan.horizon, nil)
	w.heal()
	w.until(w.now+15*time.Second, func() bool { return w.ops == 0 })
	if w.violation == "" && w.ops > 0 {
		w.violate("(5) %d calls have not succeeded 15 s after all faults were healed", w.ops)
	}
	w.aftermath()
	out := w.violation
	w.kill(nil)
	return out
}

// heal ends all faults.
func (w *world) heal() {
	w.logf("all faults are healed")
	w.healed = true
	w.sql.up, w.redis.up = true, true
	for _, n := range w.nodes {
		n.sqlCut, n.leaseCut, n.redisCut, n.redis = false, false, false, w.redis
	}
}

// aftermath shows that what was cut off did not take anything else with it (5):
// somebody can sign in, every node admits him, and nothing is left to be tidied.
func (w *world) aftermath() {
	who := w.members[0]
	missing := -1
	var try func()
	try = func() {
		n := w.someNode()
		if n == nil || missing == 0 {
			w.after(50*time.Millisecond, try)
			return
		}
		provider := providers[1+w.sql.disabled[w.sql.settings]%2] // one that is not disabled
		n.deliver(func() {
			w.spawn(n, func() {
				n.signIn(who, provider, func(s *sess) {
					missing = 0
					for _, o := range w.nodes {
						if o.alive && o.serving && !o.draining {
							missing++
							w.send(o, s, false, func(ok bool) {
								if ok {
									missing--
								}
							})
						}
					}
				})
			})
		})
		w.after(400*time.Millisecond, try)
	}
	w.do(0, &op{kind: opActivate, who: who, then: try})
	refused := w.stillGood()
	w.until(w.now+8*time.Second, func() bool { return missing == 0 && len(w.sql.unfinished(1)) == 0 && len(refused) == 0 })
	if w.violation != "" {
		return
	}
	if missing != 0 {
		w.violate("(5) a fresh sign-in is not admitted everywhere")
	}
	for _, n := range w.nodes {
		for _, f := range n.live {
			if n.alive && f.began && f.s.endSeq != 0 && f.s.endSeq <= w.confirmed && n.vouches(f.s) {
				w.violate("(4) s%d, ended by row %d, still has something running on %s, which vouches for it", f.s.name, f.s.endSeq, n.name)
			}
		}
	}
	for s := range refused {
		w.violate("(5) s%d, which nothing ended, is not admitted everywhere", s.name)
	}
	if left := w.sql.unfinished(1); len(left) > 0 {
		w.violate("(5) row %d was never tidied", left[0].Seq)
	}
}

// stillGood uses every session that nothing ended on every node, and answers
// those that are not admitted yet.
func (w *world) stillGood() map[*sess]int {
	left := map[*sess]int{}
	for _, s := range w.sessions {
		_, kept := w.redis.recs[s.hash] // a flush or a failover may have lost it
		if s.endSeq != 0 || !kept || !s.who.active || providers[w.sql.disabled[w.sql.settings]] == s.provider {
			continue
		}
		for _, n := range w.nodes {
			if n.alive && n.serving && !n.draining && !n.frozen {
				left[s]++
				w.insist(n, s, left)
			}
		}
	}
	return left
}

// insist tries again after a 503: the read that it shared may have begun before
// the fault was healed.
func (w *world) insist(n *node, s *sess, left map[*sess]int) {
	w.send(n, s, false, func(ok bool) {
		switch {
		case ok || s.endSeq != 0:
			if left[s]--; left[s] == 0 {
				delete(left, s)
			}
		default:
			w.after(100*time.Millisecond, func() { w.insist(n, s, left) })
		}
	})
}

// runRounds plays rounds on all processors until one breaks a promise. It answers
// the lowest such seed that it met, or -1.
func runRounds(f fault, b breach, mirror bool, first int64, rounds int) (seed int64, why string, admitted int64) {
	var next, adm atomic.Int64
	var mu sync.Mutex
	seed = -1
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var idle []*task
			defer func() {
				for _, t := range idle {
					t.stop()
				}
			}()
			for {
				i := next.Add(1) - 1
				mu.Lock()
				found := seed >= 0
				mu.Unlock()
				if i >= int64(rounds) || found {
					return
				}
				w := newWorld(first+i, f, b, mirror, idle)
				broke := w.play()
				idle = w.idle
				adm.Add(int64(w.admitted))
				if broke != "" {
					mu.Lock()
					if seed < 0 || first+i < seed {
						seed, why = first+i, broke
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return seed, why, adm.Load()
}

// replay answers the trace of one round.
func replay(f fault, b breach, mirror bool, seed int64) (trace, why string) {
	w := newWorld(seed, f, b, mirror, nil)
	w.verbose = true
	why = w.play()
	for _, t := range w.idle {
		t.stop()
	}
	return w.trace.String(), why
}

// lazyCollector saves a quarter of the time: rounds leave much, and keep nothing.
func lazyCollector(t *testing.T) {
	old := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(old) })
}

func TestCutoffModelKeepsEveryPromise(t *testing.T) {
	lazyCollector(t)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			if *modelSeed >= 0 {
				trace, why := replay(f, nothing, false, *modelSeed)
				t.Logf("%s\n%s", trace, why)
				return
			}
			seed, why, admitted := runRounds(f, nothing, false, 1, *modelRounds)
			if seed >= 0 {
				trace, _ := replay(f, nothing, false, seed)
				t.Fatalf("seed %d: %s\n%s\nreplay: go test ./session -run '%s' -seed %d -v", seed, why, trace, t.Name(), seed)
			}
			if admitted < int64(*modelRounds) {
				t.Fatalf("only %d requests were admitted: the model tests nothing", admitted)
			}
			t.Logf("%d admitted", admitted)
		})
	}
}

// searchRounds is in how many rounds a broken rule has to show.
const searchRounds = 3000

func TestCutoffModelNeedsEveryRule(t *testing.T) {
	lazyCollector(t)
	list := map[string]fault{}
	for _, f := range faults() {
		list[f.name] = f
	}
	for _, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			f, ok := list[b.fault]
			if !ok {
				t.Fatalf("no fault %q", b.fault)
			}
			if *modelSeed >= 0 {
				trace, why := replay(f, b.b, true, *modelSeed)
				t.Logf("%s\n%s", trace, why)
				return
			}
			seed, why, _ := runRounds(f, b.b, true, b.seed, 1)
			if seed < 0 {
				seed, why, _ = runRounds(f, b.b, true, 1, searchRounds)
				t.Logf("seed %d shows nothing any more: write %d beside the rule", b.seed, seed)
			}
			if seed < 0 {
				t.Fatalf("without %q nothing breaks in %d rounds of %q", b.name, searchRounds, b.fault)
			}
			t.Logf("seed %d: %s", seed, why)
		})
	}
}

// What breaks rules works on mirrors of the code; this shows that they are true ones.
func TestCutoffModelMirrorsTheCode(t *testing.T) {
	for _, f := range faults() {
		for seed := range int64(*modelRounds / 100) {
			real, _ := replay(f, nothing, false, 1_000_000+seed)
			mirrored, _ := replay(f, nothing, true, 1_000_000+seed)
			if real != mirrored {
				t.Fatalf("%s, seed %d: the mirror of step or load differs from the code:\n%s\n----- mirror:\n%s", f.name, 1_000_000+seed, real, mirrored)
			}
		}
	}
}
