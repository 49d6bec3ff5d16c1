package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
)

const (
	memberCallers    = 2 // per node
	bystanderCallers = 1
	enough           = 3 // answers of each node before a round goes on: a history that shows nothing proves nothing
	racerTime        = 4 * time.Second
)

// Rounds deactivates and re-activates one member again and again, with clients
// of his and of a bystander's on every node all the while.
type Rounds struct {
	// Exact makes calm rounds wait until nodes that died before were expelled, so
	// that their figures are those of a calm cluster.
	Exact bool

	c       *Cluster
	h       *History
	pace    time.Duration
	rng     *rand.Rand
	id      string
	current atomic.Int64 // round
	open    []*Stream    // the member's of this round
	leaving []*process

	mu       sync.Mutex
	sessions []string // the member's cookies by number
	ben      string
	fresh    int // the number of the newest session that was meant to be
	stats    []round
}

// round is what one round measured.
type round struct {
	fault  string
	took   time.Duration // of the call that was answered with 2xx
	tries  int
	spent  time.Duration         // on the whole round
	last   map[int]time.Duration // node: 2xx minus begin of the last admitted request
	closed []time.Duration       // stream ends minus 2xx
}

// NewRounds provisions the two people and signs in the bystander. pace is the
// pause of a client between two requests.
func NewRounds(c *Cluster, pace time.Duration, seed uint64) *Rounds {
	c.t.Helper()
	r := &Rounds{c: c, h: newHistory(), pace: pace, rng: rand.New(rand.NewPCG(seed, 0)), fresh: -1} //nolint:gosec // a schedule
	r.id = c.Create(demo.People()[0])
	c.Create(demo.People()[1])
	r.ben = Cookies(c.MustSignIn(demo.People()[1]), c.App)
	return r
}

// History is what was seen.
func (r *Rounds) History() *History { return r.h }

// Run runs n rounds. Each fault is met once in every run of faults, in an order
// that the seed decides; what remains is calm.
func (r *Rounds) Run(n int, list []Fault) {
	r.c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for node := range r.c.Nodes {
		for i := range memberCallers {
			seed := r.rng.Uint64()
			work.Go(func() { r.hammer(ctx, &caller{c: r.c, node: node, sticky: i == 0}, seed) })
		}
		for range bystanderCallers {
			work.Go(func() { r.stand(ctx, node) })
		}
	}
	for i, f := range r.schedule(n, list) {
		if r.round(i, f); r.h.hopeless() {
			break // enough to look at
		}
	}
	for _, p := range r.leaving {
		select {
		case <-p.done:
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				r.h.Odd("fault 19: a drained node ended with %d:\n%s", code, p.log(1500))
			}
		case <-time.After(patience):
			r.h.Odd("fault 19: a drained node still runs")
		}
	}
}

func (r *Rounds) schedule(n int, list []Fault) []Fault {
	var out []Fault
	for len(out) < n {
		block := append([]Fault(nil), list...)
		for len(block) < 20 {
			block = append(block, list[0])
		}
		r.rng.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
		// Sentinels take ten seconds and more to make one whole of what was split or
		// failed over: these two as far apart as can be.
		slices.SortStableFunc(block, func(a, b Fault) int { return a.place - b.place })
		out = append(out, block...)
	}
	return out[:n]
}

// hammer is one client of the member: mostly with the newest cookie, often
// with one that was cut off, also long ago.
func (r *Rounds) hammer(ctx context.Context, k *caller, seed uint64) {
	defer k.close()
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a choice of cookies
	for ctx.Err() == nil {
		session, cookies := r.pick(rng)
		if session >= 0 {
			round := int(r.current.Load())
			began, v, body := k.get(cookies)
			r.h.Member(round, k.node, session, r.c.since(began), r.c.since(time.Now()), v)
			r.whose(round, k.node, v, body, demo.People()[0].User)
		}
		time.Sleep(r.pace)
	}
}

// stand is one client of the bystander.
func (r *Rounds) stand(ctx context.Context, node int) {
	k := &caller{c: r.c, node: node}
	defer k.close()
	for ctx.Err() == nil {
		r.mu.Lock()
		cookies := r.ben
		round := int(r.current.Load())
		r.mu.Unlock()
		began, v, body := k.get(cookies)
		r.h.Bystander(round, node, r.c.since(began), v)
		r.whose(round, node, v, body, demo.People()[1].User)
		time.Sleep(2 * r.pace)
	}
}

// whose checks that an admitted request reached the application as the person
// whose cookie it carried (fault 5), and that nothing odd was answered.
func (r *Rounds) whose(round, node int, v Verdict, body, user string) {
	if v == Other || v == Admitted && body != user && body != "" {
		r.h.Odd("round %d, node %d: %s was answered %q", round, node, user, body)
	}
}

func (r *Rounds) pick(rng *rand.Rand) (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.sessions)
	if n == 0 {
		return -1, ""
	}
	i := r.fresh
	switch x := rng.IntN(8); {
	case x == 0:
		i = rng.IntN(n)
	case x <= 2:
		i = max(0, n-1-rng.IntN(6))
	}
	return i, r.sessions[i]
}

func (r *Rounds) add(cookies string, fresh bool) (session int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, cookies)
	if session = len(r.sessions) - 1; fresh {
		r.fresh = session
	}
	return session
}

// answered waits until nodes have answered requests with a session that began
// after the mark.
func (r *Rounds) answered(what string, session int, skip int, v ...Verdict) {
	r.c.t.Helper()
	r.c.until(what, func() bool {
		for node, x := range r.c.Nodes {
			if node == skip {
				continue
			}
			if !x.Alive() {
				r.c.t.Fatalf("%s: node %d ended by itself:\n%s", what, node, x.Log(4000))
			}
			t, n := r.h.Since(session, node), 0
			for _, x := range v {
				n += t[x]
			}
			if n < enough {
				return false
			}
		}
		return true
	})
}

// round is one deactivation and one re-activation.
func (r *Rounds) round(i int, f Fault) {
	r.c.t.Helper()
	begin, n := time.Now(), r.c.Nodes[r.rng.IntN(len(r.c.Nodes))]
	r.settle(i, f)
	session := r.add(Cookies(r.c.MustSignIn(demo.People()[0]), r.c.App), true)
	r.h.Mark(r.c.since(time.Now()))
	r.answered("his session is admitted everywhere", session, -1, Admitted)
	bens := r.openStreams(i)

	if f.begin != nil {
		f.begin(r, n)
	}
	race := r.race(f)
	var beside sync.WaitGroup
	if f.meanwhile != nil {
		beside.Go(func() { f.meanwhile(r, n) })
	}
	s := round{fault: f.Name}
	call := r.until2xx(&s, f, n, false)
	out := r.c.since(call.Answered)
	r.h.Out(i, out, fmt.Sprintf("%s, victim %d, answered by %d", f.Name, n.Index, call.Node))
	r.h.Dead(session)
	r.h.Mark(out)
	word := fmt.Sprintf("after %d", i)
	for _, x := range append(r.open, bens...) {
		x.Tell(word)
	}
	r.c.Site.Say(word)
	skip := -1
	if f.mute {
		skip = n.Index
	}
	r.answered("his requests after the 2xx are answered", session, skip, Refused, Unavailable, Admitted)
	beside.Wait()
	heal := func() {
		if f.end != nil {
			f.end(r, n)
		}
		r.c.until("all nodes are well again", r.well)
	}
	if !f.late {
		heal()
	}
	s.closed = r.streams(i, f, n, word, call.Answered)
	r.bystanders(i, f, n, word, bens)
	if cookies := <-race; cookies != "" {
		r.h.Dead(r.add(cookies, false))
	}
	if !f.late {
		r.h.Mark(r.c.since(time.Now()))
		r.answered("his requests after the fault are answered", session, -1, Refused, Admitted)
	}
	r.h.In(r.c.since(time.Now()))
	r.until2xx(nil, Fault{}, n, true)
	if f.late {
		heal()
	}
	r.h.Mark(r.c.since(time.Now()))
	r.answered("his old session is answered after the re-activation", session, -1, Refused, Admitted)
	r.spared(i, f)
	s.last = r.h.Last(i)
	s.spent = time.Since(begin)
	r.stats = append(r.stats, s)
}

// settle begins a round on a cluster that is well.
func (r *Rounds) settle(i int, f Fault) {
	r.c.t.Helper()
	r.c.until("all nodes are well", r.well)
	r.mu.Lock()
	r.current.Store(int64(i))
	r.mu.Unlock()
	if f.Name == Calm && r.Exact {
		// Each call waits the bound for a node that died until it is expelled.
		r.c.until("only nodes that live are registered", func() bool {
			return r.c.Postgres.Int(r.c.t, r.c.DatabaseURL, "SELECT count(*) FROM nodes") == int64(len(r.c.Nodes))
		})
	}
}

func (r *Rounds) well() bool {
	for _, n := range r.c.Nodes {
		if !n.Ready() || !n.Leased() {
			return false
		}
	}
	return true
}

// until2xx calls as an identity provider does: again and again, by way of
// whoever the balancer chooses next, until it is told that it is done.
func (r *Rounds) until2xx(s *round, f Fault, n *Node, active bool) Call {
	r.c.t.Helper()
	node := -1
	if f.scim == victim {
		node = n.Index
	}
	begin := time.Now()
	var seen []string
	for tries := 1; time.Since(begin) < 2*patience; tries++ {
		if f.scim == others {
			for node = n.Index; node == n.Index && len(r.c.Nodes) > 1; node = r.c.turn() { //nolint:revive // until another's turn
			}
		}
		k := r.c.SetActive(node, r.id, active)
		if k.Status/100 == 2 {
			if s != nil {
				s.took, s.tries = k.Answered.Sub(k.Began), tries
			}
			return k
		}
		if k.Status != 0 && k.Status != 503 && k.Status != 500 {
			r.h.Odd("round %d: active=%t was answered %d %s", r.current.Load(), active, k.Status, k.Body)
		}
		seen = append(seen, fmt.Sprint(k.Node, ":", k.Status))
		node = -1
		time.Sleep(20 * time.Millisecond)
	}
	r.c.t.Fatalf("%s: no 2xx within %v: %v", f.Name, 2*patience, seen)
	return Call{}
}

// race is a sign-in of the member under way while he is cut off (rows K07 and
// C10). It answers the cookies it got, if any.
func (r *Rounds) race(f Fault) <-chan string {
	out := make(chan string, 1)
	if r.rng.IntN(2) == 0 {
		out <- ""
		return out
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), racerTime)
		defer cancel()
		v, err := r.c.SignIn(ctx, demo.People()[0])
		_ = err // refused on the way, or on the application's page: his cookies tell
		out <- Cookies(v, r.c.App)
	}()
	return out
}

func (r *Rounds) openStreams(i int) (bens []*Stream) {
	r.c.t.Helper()
	r.open = nil
	r.mu.Lock()
	ana, ben := r.sessions[r.fresh], r.ben
	r.mu.Unlock()
	for node := range r.c.Nodes {
		s, err := r.c.OpenStreams(node, ana)
		if err != nil {
			r.c.t.Fatalf("round %d, node %d: his streams: %v", i, node, err)
		}
		r.open = append(r.open, s...)
		b, err := r.c.OpenSocket(node, ben)
		if err != nil {
			r.c.t.Fatalf("round %d, node %d: the bystander's stream: %v", i, node, err)
		}
		bens = append(bens, b)
	}
	return bens
}

// streams judges the member's streams: closed, and dead before the 2xx. The word
// was said after it, so wherever it comes through the stream was still alive.
func (r *Rounds) streams(i int, f Fault, n *Node, word string, answered time.Time) (closed []time.Duration) {
	deadline := time.Now().Add(Grace + patience)
	for _, s := range r.open {
		late := f.allGrace || f.grace && s.Node == n.Index
		at, code, ok := s.Ended(max(time.Until(deadline), time.Millisecond))
		switch {
		case !ok:
			r.h.Odd("round %d (%s), node %d: his %s is still open", i, f.Name, s.Node, s.Kind)
		case !late && s.Heard(word):
			r.h.Odd("round %d (%s), node %d: his %s carried a word that was said after the 2xx", i, f.Name, s.Node, s.Kind)
		case f.Name == Calm && s.ws != nil && code != 1008:
			r.h.Odd("round %d, node %d: his WebSocket was closed with %d, not 1008", i, s.Node, code)
		}
		if ok && !late {
			closed = append(closed, at.Sub(answered))
		}
		s.Close()
	}
	return closed
}

// bystanders judges what the other member saw.
func (r *Rounds) bystanders(i int, f Fault, n *Node, word string, bens []*Stream) {
	r.c.t.Helper()
	for _, s := range bens {
		if !f.allGrace && (s.Node != n.Index || !f.grace && !f.restarts) {
			end := time.Now().Add(patience)
			for !s.Heard(word) && time.Now().Before(end) {
				if _, _, ended := s.Ended(5 * time.Millisecond); ended && !s.Heard(word) {
					r.h.Odd("round %d (%s), node %d: the bystander's WebSocket was closed", i, f.Name, s.Node)
					break
				}
			}
		}
		s.Close()
	}
}

// spared judges what the other member was answered. Whoever lost his session signs
// in again.
func (r *Rounds) spared(i int, f Fault) {
	r.c.t.Helper()
	if f.loses {
		ben := Cookies(r.c.MustSignIn(demo.People()[1]), r.c.App)
		r.mu.Lock()
		r.ben = ben
		r.mu.Unlock()
		return
	}
	for node := range r.c.Nodes {
		if _, t := r.h.Round(i, node); t[Refused] > 0 {
			r.h.Odd("round %d (%s), node %d: the bystander was refused %d times of %d", i, f.Name, node, t[Refused], t.total())
		} else if t[Unavailable] > 0 && !f.may503 {
			r.h.Odd("round %d (%s), node %d: the bystander was answered 503 %d times of %d", i, f.Name, node, t[Unavailable], t.total())
		}
	}
}
