package gatetest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Faults 6 and 24 on every node at once: without the truth nobody is admitted,
// nothing is promised and nothing is destroyed.
func TestGuaranteeFailClosedDatabaseDownForAllNodes(t *testing.T) {
	t.Parallel()
	c := crew{nodes(t, 3, cluster.Single), t}
	ana, ben := demo.People()[0], demo.People()[1]
	anaID := c.Create(ana)
	c.Create(ben)
	anas, bens := cluster.Cookies(c.MustSignIn(ana), c.App), cluster.Cookies(c.MustSignIn(ben), c.App)
	c.everywhere("benign", bens, http.StatusOK)
	streams := c.streams(bens)

	c.Postgres.Stop()
	for i := range c.Nodes {
		eventually(t, fmt.Sprintf("node %d admits nobody", i+1), func() bool { return c.show(i, bens).Status == http.StatusServiceUnavailable })
		destroysNothing(t, fmt.Sprintf("fault 24: node %d", i+1), c.show(i, bens))
		if k := c.SetActive(i, anaID, false); k.Status != http.StatusServiceUnavailable {
			t.Errorf("fault 6: SCIM on node %d: %d %s", i+1, k.Status, k.Body)
		}
	}
	// No stream can be asked about any more; they are closed after the grace.
	for _, s := range streams {
		if _, _, ok := s.Ended(cluster.Grace + 20*time.Second); !ok {
			t.Errorf("fault 24: node %d: a %s outlives the grace", s.Node+1, s.Kind)
		}
	}
	for i, n := range c.Nodes {
		if n.Ready() || n.Metric("lease_up") != 0 {
			t.Errorf("fault 24: node %d says that it is ready, or that it holds a lease", i+1)
		}
		if !strings.Contains(n.Log(1<<20), "lease lost") {
			t.Errorf("fault 24: node %d does not say so:\n%s", i+1, n.Log(2000))
		}
	}

	c.Postgres.Start(t)
	for i := range c.Nodes {
		for who, cookies := range map[string]string{"ana": anas, "ben": bens} {
			eventually(t, fmt.Sprintf("node %d admits %s again, with the same cookie", i+1, who), func() bool { return c.show(i, cookies).Status == http.StatusOK })
		}
	}
	if k := c.SetActive(-1, anaID, false); k.Status/100 != 2 {
		t.Fatalf("the identity provider's retry: %d %s", k.Status, k.Body)
	}
	c.everywhere("after the retry", anas, http.StatusUnauthorized)
	c.everywhere("the other one", bens, http.StatusOK)
}

// skewed starts a node in this process, whose wall clock can be moved.
func (c crew) skewed() *clock.Manual {
	c.t.Helper()
	cfg, err := config.Load(c.Config(), []string{"SSOGATE_DATABASE_URL=" + c.DatabaseURL, "SSOGATE_REDIS_URL=" + c.Redis.URL(nil)})
	if err != nil {
		c.t.Fatal(err)
	}
	var ls [2]net.Listener
	for i := range ls {
		if ls[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			c.t.Fatal(err)
		}
	}
	m := &clock.Manual{}
	s, err := run.New(c.t.Context(), run.Options{
		Config: cfg, Log: slog.New(slog.DiscardHandler), Now: m.Now, Listeners: ls[:1], PrivateListener: ls[1],
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("stop: %v", err)
		}
	})
	c.Attach(ls[0].Addr().String(), ls[1].Addr().String())
	return m
}

// signInVia signs a person in by way of one node, whose clock an identity
// provider can live with (fault 15).
func (c crew) signInVia(node int, p ssotest.Person) (cookies string) {
	c.t.Helper()
	v := c.Visitor(node)
	if _, err := v.SignIn(c.t.Context(), c.App+"/who", "acme", p); err != nil {
		c.t.Fatal(err)
	}
	return cluster.Cookies(v, c.App)
}

// Fault 16 and row K06: no wall clock has a say in who is admitted after a
// cut-off, and none lengthens a session.
func TestClocksOfNodesMayDifferAndJump(t *testing.T) {
	t.Parallel()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	c := crew{cluster.Install(t, cluster.Options{Binary: bin, Redis: cluster.Single}), t}
	clocks := []*clock.Manual{c.skewed(), c.skewed(), c.skewed()}
	c.Register()
	ana := demo.People()[0]
	anaID := c.Create(ana)
	jump := map[int]time.Duration{1: -24 * time.Hour, 2: time.Hour}
	for round := range 3 {
		cookies := c.signInVia(0, ana)
		c.everywhere("benign", cookies, http.StatusOK)
		streams := c.streams(cookies)
		if round == 1 { // while she is being admitted
			for i, d := range jump {
				clocks[i].Advance(d)
			}
			for i := range c.Nodes {
				eventually(t, fmt.Sprintf("node %d, its clock moved, still knows her", i+1), func() bool { return c.show(i, cookies).Status == http.StatusOK })
			}
		}
		if k := c.SetActive(round, anaID, false); k.Status/100 != 2 {
			t.Fatalf("round %d: %d %s", round, k.Status, k.Body)
		}
		c.everywhere(fmt.Sprintf("fault 16, round %d", round), cookies, http.StatusUnauthorized)
		c.dead(fmt.Sprint("after round ", round), streams)
		if k := c.SetActive((round+1)%3, anaID, true); k.Status/100 != 2 {
			t.Fatalf("round %d: %d %s", round, k.Status, k.Body)
		}
		c.everywhere("re-activated, with the old session", cookies, http.StatusUnauthorized)
	}
	// K06: a day and more later she is signed out everywhere, however much she
	// does, and also where the clock was set back.
	cookies := c.signInVia(0, ana)
	for hour := range 25 {
		for i, m := range clocks {
			m.Advance(time.Hour)
			if a := c.show(i, cookies); hour < 22 && i == 0 && a.Status != http.StatusOK {
				t.Fatalf("K06, benign: hour %d: %d", hour, a.Status)
			}
		}
	}
	for i := range c.Nodes {
		want := http.StatusUnauthorized
		if i == 1 {
			clocks[1].Advance(24 * time.Hour) // set right again
		}
		if a := c.show(i, cookies); a.Status != want {
			t.Errorf("K06: node %d after 25 hours: %d", i+1, a.Status)
		}
	}
}
