package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"time"
)

// connections that each contestant is loaded on.
const connections = 64

// options of a run.
type options struct {
	rounds      int
	slice, warm time.Duration
	rate        int
	only        *regexp.Regexp
	rest        bool
	idle        int
	members     int
	out         string
	profile     string
	keep        bool
}

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 14, "rounds, in each of which every contestant has a slice")
	flag.DurationVar(&o.slice, "slice", time.Second, "of load that counts")
	flag.DurationVar(&o.warm, "warm", 300*time.Millisecond, "of load before it")
	flag.IntVar(&o.rate, "rate", 1500, "requests a second where times are compared under an even load")
	only := flag.String("only", "", "contestants whose name matches; nginx and Go floor+pool always run")
	flag.BoolVar(&o.rest, "rest", true, "measure memory of idle connections and times to start, too")
	flag.IntVar(&o.idle, "idle", 2000, "idle connections")
	flag.IntVar(&o.members, "members", 100_000, "members of the directory of which a start is measured")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of ssogate with Redis sessions under load")
	flag.BoolVar(&o.keep, "keep", false, "leave the directory with configs and logs behind")
	flag.StringVar(&o.out, "out", "", "directory to write performance.md and performance.svg to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() (err error) {
		if o.only, err = regexp.Compile(*only); err != nil {
			return err
		}
		return run(ctx, o)
	}()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything and writes the report.
func run(ctx context.Context, o options) error {
	if err := enough(); err != nil {
		return err
	}
	if err := pinSelf(ourCore); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	r, err := newRig(ctx)
	if err != nil {
		return err
	}
	r.keep = o.keep
	defer r.close()
	rep := &report{options: o, versions: versions(ctx)}
	if o.rest {
		// First, while nothing else runs on their core.
		if rep.rest, err = r.measureRest(ctx, o); err != nil {
			return err
		}
	}
	list, absent := r.contestants(ctx, o)
	rep.absent = absent
	sameRequests(list)
	for _, c := range list {
		if err := c.check(); err != nil {
			return err
		}
	}
	for n := range o.rounds {
		for i := range list {
			// Every round begins with another, so that nobody is always behind the same one.
			c := list[(i+n)%len(list)]
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := r.slice(ctx, o, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		_, _ = fmt.Fprintf(os.Stderr, "round %d of %d\n", n+1, o.rounds)
	}
	rep.list = list
	if o.profile != "" {
		if err := r.keepProfile(ctx, o, list); err != nil {
			return err
		}
	}
	return rep.write()
}

// keepProfile takes a CPU profile of the gate with Redis while it has load.
func (r *rig) keepProfile(ctx context.Context, o options, list []*contestant) error {
	for _, c := range list {
		if c.name != ourRedis {
			continue
		}
		l, err := c.load(0)
		if err != nil {
			return err
		}
		const profiled = 8 * time.Second
		kept := make(chan error, 1)
		if _, err = l.run(o.warm, profiled+time.Second, sync.OnceFunc(func() {
			go func() {
				kept <- r.profiled.keep(ctx, fmt.Sprintf("profile?seconds=%d", profiled/time.Second), o.profile)
			}()
		})); err != nil {
			return err
		}
		return <-kept
	}
	return nil
}

// contestants starts all that can be started, and says of the others why not.
func (r *rig) contestants(ctx context.Context, o options) (list []*contestant, absent []missing) {
	for _, e := range []struct {
		name string
		make func(context.Context) (*contestant, error)
	}{
		{bareNginx, r.plainNginx},
		{"HAProxy", r.haproxy},
		{"Go floor", r.floorAlone},
		{floorPool, r.floorWithPool},
		{ourOff, r.gateOff},
		{ourRedis, r.gateRedis},
		{ourEmbedded, r.gateEmbedded},
		{ourNginx, r.gateBehindNginx},
		{mellon, r.apacheMellon},
		{openIDC, r.apacheOpenIDC},
		{"Caddy", r.caddy},
		{oauth2Proxy, r.oauth2Alone},
		{oauth2Nginx, r.oauth2BehindNginx},
	} {
		if e.name != bareNginx && e.name != floorPool && !o.only.MatchString(e.name) {
			continue
		}
		c, err := e.make(ctx)
		switch {
		case err == nil:
			list = append(list, c)
		case errors.Is(err, exec.ErrNotFound):
			absent = append(absent, missing{e.name, "not on PATH"})
		default:
			absent = append(absent, missing{e.name, "could not be started"})
			_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", e.name, err)
		}
	}
	return list, absent
}

// sameRequests gives those who ask nobody a cookie as long as ours: what a request's bytes
// cost is not what a sign-in costs.
func sameRequests(list []*contestant) {
	cookie := ""
	for _, c := range list {
		if strings.HasPrefix(c.name, "ssogate") && c.cookie != "" {
			cookie = spoil(c.cookie)
		}
	}
	for _, c := range list {
		if c.open {
			c.cookie = cookie
		}
	}
}

// missing is a contestant that did not take part.
type missing struct{ name, why string }

// measured is what the slices of one contestant brought, round by round.
type measured struct {
	perSecond, cpu, p50, p99 []float64 // cpu in microseconds a request, times in milliseconds
	dials                    []float64 // new upstream connections a request
	even                     []float64 // p99 at the fixed rate
	memory                   []float64 // MiB after the slice
}

// slice loads one contestant, first with all it can take, then evenly.
func (r *rig) slice(ctx context.Context, o options, c *contestant) error {
	pids, err := tree(c.procs...)
	if err != nil {
		return err
	}
	l, err := c.load(0)
	if err != nil {
		return err
	}
	var cpu [2]time.Duration
	var dials [2]int
	at := 0
	res, err := l.run(o.warm, o.slice, func() {
		cpu[at] = cpuTime(pids)
		n, aerr := r.app.accepted(ctx)
		err = errors.Join(err, aerr)
		dials[at] = n
		at++
	})
	if err != nil {
		return err
	}
	if res.requests == 0 {
		return errors.New("nothing was answered")
	}
	m := &c.measured
	n := float64(res.requests)
	m.perSecond = append(m.perSecond, n/res.took.Seconds())
	m.cpu = append(m.cpu, float64(cpu[1]-cpu[0])/float64(time.Microsecond)/n)
	m.dials = append(m.dials, float64(dials[1]-dials[0])/n)
	m.p50 = append(m.p50, milliseconds(percentile(res.times, 50)))
	m.p99 = append(m.p99, milliseconds(percentile(res.times, 99)))
	bytes, err := resident(pids)
	if err != nil {
		return err
	}
	m.memory = append(m.memory, float64(bytes)/(1<<20))
	if l, err = c.load(o.rate); err != nil {
		return err
	}
	even, err := l.run(o.warm, o.slice, func() {})
	if err != nil {
		return err
	}
	m.even = append(m.even, milliseconds(percentile(even.times, 99)))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// versions names the programs that were measured.
func versions(ctx context.Context) (out []string) {
	for _, v := range []struct {
		bin, arg string
		form     *regexp.Regexp
	}{
		{"nginx", "-v", regexp.MustCompile(`nginx/[\d.]+`)},
		{"haproxy", "-v", regexp.MustCompile(`version [\d.]+`)},
		{"apache2", "-v", regexp.MustCompile(`Apache/[\d.]+`)},
		{"caddy", "version", regexp.MustCompile(`^v?[\d.]+`)},
		{"oauth2-proxy", "--version", regexp.MustCompile(`v[\d.]+`)},
	} {
		b, err := exec.CommandContext(ctx, v.bin, v.arg).CombinedOutput() //nolint:gosec // names from above
		if m := v.form.Find(b); err == nil && m != nil {
			_, number, _ := strings.Cut(" "+strings.NewReplacer("/", " ", "version ", "", "v", "").Replace(string(m)), " ")
			out = append(out, v.bin+" "+number[strings.LastIndexByte(number, ' ')+1:])
		}
	}
	return out
}
