package session

import (
	"errors"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

var (
	errLost  = errors.New("model: no answer in time")
	errAdmit = errors.New("model: refused")
)

// primary is the SQL server. What it does, it does in one transaction.
type primary struct {
	w        *world
	up       bool
	forward  time.Duration // its wall clock stepped by so much
	counter  int64
	rows     []member.Revocation // those still kept
	made     []time.Duration     // when each was committed
	log      []member.Revocation // all rows, for what the model knows
	finished map[int64]bool
	ended    map[string]bool // tombstones
	settings int64
	disabled []int64      // provider that each version of the settings disables
	versions []teamChange // of the settings, by row
	registry []*registered
}

type registered struct {
	Node
	calls int64
	seen  time.Duration
	owner *node
}

// person is one member: his row, and what was promised about him.
type person struct {
	id       member.ID
	active   bool
	epoch    int64
	team     int64 // version of his teams
	changes  []teamChange
	teamDone int64 // the version that a success answer promised
	cutSeq   int64 // row of his last deactivation
}

type teamChange struct{ seq, version int64 }

// sess is what the model knows of a session, whatever the stores say.
type sess struct {
	hash     secret.Hash
	who      *person
	epoch    int64
	seq      int64
	provider string
	endSeq   int64 // the first row that ended it; 0 none yet
	name     int
}

func (s *sess) endedBy(r member.Revocation) bool {
	switch {
	case r.Kind != member.End:
		return false
	case r.Scope == member.ScopeMember:
		return r.Target == string(s.who.id) && s.epoch < r.Epoch
	case r.Scope == member.ScopeSession:
		return r.Target == s.hash.String()
	case r.Scope == member.ScopeProvider:
		return s.provider == r.Target && s.seq < r.Seq
	}
	return s.seq < r.Seq
}

// append writes a row with its number; nothing else can come between the two (C1).
func (p *primary) append(r member.Revocation) int64 {
	p.counter++
	r.Seq = p.counter
	p.insert(r)
	return r.Seq
}

func (p *primary) insert(r member.Revocation) {
	i := len(p.rows)
	for i > 0 && p.rows[i-1].Seq > r.Seq { // only where C1 is broken
		i--
	}
	p.rows = append(p.rows[:i], append([]member.Revocation{r}, p.rows[i:]...)...)
	p.made = append(p.made[:i], append([]time.Duration{p.w.now}, p.made[i:]...)...)
	p.log = append(p.log, r)
	for _, s := range p.w.sessions {
		if s.endSeq == 0 && s.endedBy(r) {
			s.endSeq = r.Seq
		}
	}
	p.w.logf("primary: row %d committed: %s %s %s epoch %d", r.Seq, r.Kind, r.Scope, short(r.Target), r.Epoch)
}

func short(s string) string { return s[:min(len(s), 12)] }

func (p *primary) latest(scope member.RevocationScope, target string) (seq int64) {
	for _, r := range p.rows {
		if r.Scope == scope && r.Target == target {
			seq = r.Seq
		}
	}
	return seq
}

// sweep forgets old rows but those that Snapshot needs, as the real one does.
func (p *primary) sweep(age time.Duration) {
	rows, made := p.rows[:0:0], p.made[:0:0]
	for i, r := range p.rows {
		wide := r.Kind == member.End && (r.Scope == member.ScopeAll || r.Scope == member.ScopeProvider)
		if wide || p.made[i] > p.w.now-age || r.Kind == member.End && !p.finished[r.Seq] {
			rows, made = append(rows, r), append(made, p.made[i])
		}
	}
	p.w.logf("primary: swept %d rows", len(p.rows)-len(rows))
	p.rows, p.made = rows, made
}

func (p *primary) node(id string) *registered {
	for _, r := range p.registry {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (p *primary) join(n Node, owner *node) {
	if r := p.node(n.ID); r != nil { // only where C8 is broken
		r.owner = owner
		return
	}
	p.registry = append(p.registry, &registered{Node: n, seen: p.now(), owner: owner})
	p.w.logf("primary: %s registered with %d applied", owner.name, n.Applied)
}

func (p *primary) leave(id string) {
	for i, r := range p.registry {
		if r.ID == id {
			p.registry = append(p.registry[:i:i], p.registry[i+1:]...)
			p.w.logf("primary: %s deregistered", r.owner.name)
			return
		}
	}
}

func (p *primary) now() time.Duration { return p.w.now + p.forward }

// lease is the one statement of the lease loop.
func (p *primary) lease(n *node, id string, applied int64, limit int) (Batch, error) {
	r := p.node(id)
	if r == nil && p.w.broken != expelledKeepsLease && p.w.broken != leaseBeforeJoin {
		return Batch{}, ErrNotRegistered
	}
	if r != nil {
		r.Applied, r.seen = max(r.Applied, applied), p.now()
		r.calls++
	}
	horizon := time.Duration(1 << 62)
	if p.w.broken == replicaLease {
		horizon = p.w.now - n.lag
	}
	b := Batch{Last: applied}
	for i, row := range p.rows {
		if row.Seq <= applied || p.made[i] > horizon {
			continue
		}
		if b.Last = max(b.Last, row.Seq); len(b.Rows) < limit {
			b.Rows = append(b.Rows, row)
		}
	}
	if p.w.broken != replicaLease {
		b.Last = p.counter
	}
	return b, nil
}

// expel removes a node whose calls stood still for a while by the expeller's
// own clock, and still do: store/sql.
func (p *primary) expel(seen map[string]int64) (n int) {
	for _, r := range p.list() {
		if calls, ok := seen[r.ID]; ok && r.calls == calls {
			p.leave(r.ID)
			n++
		}
	}
	return n
}

// admit is Directory.Admit: asOf is read before the member.
func (p *primary) admit(who *person) (member.Member, error) {
	if !who.active {
		return member.Member{}, errAdmit
	}
	m := p.row(who)
	m.AsOf = p.counter
	return m, nil
}

func (p *primary) row(who *person) member.Member {
	return member.Member{ID: who.id, Wish: who.active, Accepted: true, Epoch: who.epoch}
}

// snapshot is Directory.Snapshot.
func (p *primary) snapshot(id member.ID, ref member.SessionRef) (member.Snapshot, error) {
	who := p.w.person(id)
	s := member.Snapshot{
		Member: p.row(who), Teams: []string{teamNames[min(who.team, int64(len(teamNames)-1))]},
		SessionEnded: p.ended[ref.Hash], Seq: p.counter, Settings: p.settings,
	}
	for _, r := range p.rows {
		if r.Kind == member.End && (r.Scope == member.ScopeAll || r.Scope == member.ScopeProvider && r.Target == ref.Provider) {
			s.EndedBefore = max(s.EndedBefore, r.Seq)
		}
	}
	return s, nil
}

var teamNames = strings.Split("0123456789abcdefghijklmnopqrstuvwxyz", "")

func (p *primary) unfinished(limit int) (out []member.Revocation) {
	for _, r := range p.rows {
		if r.Kind == member.End && !p.finished[r.Seq] && len(out) < limit {
			out = append(out, r)
		}
	}
	return out
}

// change is one transaction of Directory. It answers the row to wait for; 0 for none.
func (p *primary) change(o *op) int64 {
	who := o.who
	row := member.Revocation{Kind: member.End, Scope: member.ScopeMember}
	if who != nil {
		row.Target = string(who.id)
	}
	switch o.kind {
	case opDeactivate:
		if !who.active {
			return p.again(o, p.latest(member.ScopeMember, string(who.id))) // C2
		}
		who.active = false
		who.epoch++
		row.Epoch = who.epoch
		defer func() { who.cutSeq = p.counter }()
	case opActivate:
		if !who.active {
			who.active = true
			who.epoch++
			p.w.logf("primary: %s activated, epoch %d", who.id, who.epoch)
		}
		return 0
	case opSignOut:
		who.epoch++
		row.Epoch = who.epoch
	case opEndSession:
		hash := o.session.hash.String()
		if p.ended[hash] {
			return p.again(o, p.latest(member.ScopeSession, hash))
		}
		p.ended[hash] = true
		row.Scope, row.Target = member.ScopeSession, hash
	case opEndProvider:
		row.Scope, row.Target = member.ScopeProvider, o.provider
	case opEndAll:
		row.Scope, row.Target = member.ScopeAll, ""
	case opTeams:
		who.team++
		row.Kind, row.Epoch = member.Recheck, who.epoch
		who.changes = append(who.changes, teamChange{p.counter + 1, who.team})
	case opSettings:
		p.settings++
		p.disabled = append(p.disabled, p.w.rng.Int64N(3))
		row = member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadSettings}
		o.settings = p.settings
		p.versions = append(p.versions, teamChange{p.counter + 1, p.settings})
	}
	if p.w.broken == numberOutsideTx {
		// The number is taken now, the row appears when the transaction commits.
		p.counter++
		row.Seq = p.counter
		o.row = row
		return row.Seq
	}
	return p.append(row)
}

// again is a repeated call that changed nothing.
func (p *primary) again(o *op, seq int64) int64 {
	if o.repeated = true; p.w.broken == retryDoesNotWait {
		o.unwaited = seq
		return 0
	}
	return seq
}

// person finds a member.
func (w *world) person(id member.ID) *person {
	for _, p := range w.members {
		if p.id == id {
			return p
		}
	}
	return nil
}
