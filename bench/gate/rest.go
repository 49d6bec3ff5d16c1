package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/store/sql"
)

// rest is what is measured beside the load.
type rest struct {
	open    []float64 // milliseconds from the start of the process to its open port
	first   []float64 // and to the first admitted request, in a large directory
	memory  float64   // MiB, at rest
	members int
	idle    []idle
}

// idle is what connections cost that are open and say nothing, in KiB for each: as the
// process ran, and of it what the runtime still holds after a collection.
type idle struct {
	what           string
	n              int
	resident, live float64
}

// Kinds of idle connections.
const (
	keepAliveKind = "keep-alive connection"
	webSocketKind = "WebSocket"
)

// starts is how often a start is measured.
const starts = 7

// settled is the time after which a process that has nothing to do is at rest.
const settled = 5 * time.Second

func (r *rig) measureRest(ctx context.Context, o options) (*rest, error) {
	sockets, err := startSockets(ctx)
	if err != nil {
		return nil, err
	}
	g, err := r.prepare(ctx, gateSpec{
		name:  "rest",
		route: fmt.Sprintf("  - name: \"sockets\"\n    origins: [\"APP\"]\n    path_prefix: %q\n    upstream: %q\n", socketPath, "http://"+sockets),
		more:  "profiling: true\n",
	})
	if err != nil {
		return nil, err
	}
	c, err := g.signedIn(ctx, r, ourEmbedded) // and makes the database
	if err != nil {
		return nil, err
	}
	g.process.stop()
	out := &rest{members: o.members}
	if out.memory, err = g.atRest(ctx, r, c); err != nil {
		return nil, err
	}
	for _, k := range []struct {
		what    string
		request []byte
	}{{keepAliveKind, c.request(page, c.cookie)}, {webSocketKind, c.handshake()}} {
		i, err := g.idle(ctx, r, o, c, k.what, k.request)
		if err != nil {
			return nil, err
		}
		out.idle = append(out.idle, i)
	}
	if out.open, _, err = g.starts(ctx, r, c); err != nil {
		return nil, err
	}
	if err := g.fill(ctx, o.members); err != nil {
		return nil, err
	}
	_, out.first, err = g.starts(ctx, r, c)
	return out, err
}

// atRest is the memory of a gate that was started and has nothing to do, in MiB.
func (g *gate) atRest(ctx context.Context, r *rig, c *contestant) (float64, error) {
	if _, _, err := g.again(ctx, r, c); err != nil {
		return 0, err
	}
	defer g.process.stop()
	time.Sleep(settled)
	bytes, err := resident([]int{g.process.cmd.Process.Pid})
	return float64(bytes) / (1 << 20), err
}

// starts starts it some times, and answers in milliseconds how long it took until the
// port was open and until somebody was admitted.
func (g *gate) starts(ctx context.Context, r *rig, c *contestant) (open, first []float64, err error) {
	for range starts {
		since, took, err := g.again(ctx, r, c)
		if err != nil {
			return nil, nil, err
		}
		admitted, err := c.firstAdmitted(since)
		g.process.stop()
		if err != nil {
			return nil, nil, err
		}
		open, first = append(open, milliseconds(took)), append(first, milliseconds(admitted))
	}
	return open, first, nil
}

// again starts a gate that has run before; it answers when, and how long it took until
// its port was open.
func (g *gate) again(ctx context.Context, r *rig, c *contestant) (since time.Time, took time.Duration, err error) {
	since = time.Now()
	err = g.run(ctx, r)
	c.procs = []*process{g.process}
	return since, time.Since(since), err
}

// idle opens connections of a process of their own and has one request answered on each.
func (g *gate) idle(ctx context.Context, r *rig, o options, c *contestant, what string, request []byte) (idle, error) {
	i := idle{what: what, n: o.idle}
	if _, _, err := g.again(ctx, r, c); err != nil {
		return i, err
	}
	defer g.process.stop()
	if err := c.warm(); err != nil {
		return i, err
	}
	ran, live, err := g.settle(ctx)
	if err != nil {
		return i, err
	}
	list, err := c.openIdle(o.idle, request)
	defer closeAll(list)
	if err != nil {
		return i, err
	}
	ran2, live2, err := g.settle(ctx)
	if err != nil {
		return i, err
	}
	each := func(a, b int64) float64 { return float64(b-a) / 1024 / float64(o.idle) }
	i.resident, i.live = each(ran, ran2), each(live, live2)
	if o.profile == "" {
		return i, nil
	}
	return i, g.keep(ctx, "heap", o.profile+"."+strings.ReplaceAll(what, " ", "-"))
}

// settle waits until nothing happens and answers the memory.
func (g *gate) settle(ctx context.Context) (ran, live int64, err error) {
	time.Sleep(settled)
	if ran, err = resident([]int{g.process.cmd.Process.Pid}); err != nil {
		return 0, 0, err
	}
	live, err = g.live(ctx)
	return ran, live, err
}

// keep writes a profile of the running gate to a file.
func (g *gate) keep(ctx context.Context, profile, file string) error {
	text, err := get(ctx, "http://"+g.private+"/debug/pprof/"+profile)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// warm gives it load for a moment, so that what every process makes once is made.
func (c *contestant) warm() error {
	l, err := c.load(0)
	if err != nil {
		return err
	}
	_, err = l.run(time.Second, time.Second, func() {})
	return err
}

// openIdle makes connections and has one request answered on each.
func (c *contestant) openIdle(n int, request []byte) ([]net.Conn, error) {
	var out []net.Conn
	for range n {
		conn, err := net.DialTimeout("tcp", c.addr, patience) //nolint:noctx // bounded
		if err != nil {
			return out, err
		}
		out = append(out, conn)
		_ = conn.SetDeadline(time.Now().Add(patience))
		if err := answerOf(conn, request); err != nil {
			return out, err
		}
		_ = conn.SetDeadline(time.Time{})
	}
	return out, nil
}

// answerOf sends a request and reads its answer whole: a page, or the head of a 101.
func answerOf(conn net.Conn, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	res, err := readResponse(conn)
	if err != nil {
		return err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	if n, err := discard(res.Body); err != nil || res.StatusCode != http.StatusOK || n != bodySize {
		return fmt.Errorf("answered %s, %d bytes: %w", res.Status, n, err)
	}
	return nil
}

func closeAll(list []net.Conn) {
	for _, c := range list {
		_ = c.Close()
	}
}

// live is what the Go runtime holds after a collection: objects and stacks, in bytes.
func (g *gate) live(ctx context.Context) (int64, error) {
	text, err := get(ctx, "http://"+g.private+"/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	return liveOf(text)
}

// liveOf reads the runtime's figures from the text form of a heap profile.
func liveOf(text string) (int64, error) {
	var sum, found int64
	for line := range strings.Lines(text) {
		var n int64
		for _, name := range []string{"# HeapAlloc = ", "# Stack = "} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					return 0, fmt.Errorf("heap profile: %q: %w", line, err)
				}
				sum, found = sum+n, found+1
			}
		}
	}
	if found != 2 {
		return 0, errors.New("heap profile without the runtime's figures")
	}
	return sum, nil
}

// fill puts members into the directory of a gate that does not run, by the store's own
// statements.
func (g *gate) fill(ctx context.Context, n int) error {
	db, err := sql.Open(ctx, "sqlite:"+filepath.Join(g.dir, "ssogate.db"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const atOnce = 2000
	for from := 0; from < n; from += atOnce {
		err := db.Update(ctx, func(tx member.Tx) error {
			for i := from; i < min(from+atOnce, n); i++ {
				name := fmt.Sprintf("user%07d@example.com", i)
				err := tx.InsertMember(member.Member{
					ID: member.NewID(), UserName: name, DisplayName: name, Email: name, Role: member.RoleMember, Source: member.SourceSCIM,
					ExternalID: fmt.Sprint("ext-", i), Connection: "acme", Wish: true, Epoch: 1, Version: 1, Created: day, Modified: day,
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}
