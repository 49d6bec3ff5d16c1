package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/session"
)

// logoutCalls tell applications that somebody has signed out of ssogate. It is a
// courtesy, which the sign-out does not wait for and which is not kept over a restart:
// what ends access is that the session is over.
type logoutCalls struct {
	g      *Gate
	client *http.Client
	queue  chan logoutCall
	pauses []time.Duration // before each further attempt
	made   *prometheus.CounterVec
}

type logoutCall struct {
	rt      *Route
	subject string
}

const (
	logoutQueue   = 1024
	logoutWorkers = 4
	logoutTime    = 5 * time.Second // of one attempt
)

func newLogoutCalls(g *Gate, client *http.Client) *logoutCalls {
	c := &logoutCalls{g: g, queue: make(chan logoutCall, logoutQueue), pauses: []time.Duration{time.Second, 5 * time.Second}}
	if client != nil {
		own := *client
		// Another place would be told who signed out, and the token goes nowhere else.
		own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c.client = &own
	}
	c.made = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_logout_calls_total", Help: "Applications told that somebody signed out, by what became of it.",
	}, []string{"route", "result"})
	return c
}

// SignedOut tells the applications whose routes ask for it that p's session was ended
// by signing out. It does not wait for them.
func (g *Gate) SignedOut(p *session.Principal) {
	for _, rt := range g.routes.Load().all {
		if rt.logoutURL == "" {
			continue
		}
		select {
		case g.calls.queue <- logoutCall{rt, p.Subject()}:
		default:
			g.calls.done(rt, "lost", errors.New("too many are waiting"))
		}
	}
}

// run makes calls until ctx ends.
func (c *logoutCalls) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range logoutWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case call := <-c.queue:
					c.make(ctx, call)
				}
			}
		})
	}
	wg.Wait()
}

func (c *logoutCalls) make(ctx context.Context, call logoutCall) {
	var err error
	for try := range len(c.pauses) + 1 {
		if try > 0 {
			timer := time.NewTimer(c.pauses[try-1])
			select {
			case <-ctx.Done():
				timer.Stop()
				c.done(call.rt, "lost", err)
				return
			case <-timer.C:
			}
		}
		if err = c.try(ctx, call); err == nil {
			c.done(call.rt, "told", nil)
			return
		}
	}
	c.done(call.rt, "failed", err)
}

// try is one attempt. The token names the member and nothing else of him: not every
// application that is told has ever seen him.
func (c *logoutCalls) try(ctx context.Context, call logoutCall) error {
	a := &call.rt.intro.assertion
	if c.client == nil || c.g.o.Assertions == nil {
		return errNoKey
	}
	now := c.g.o.Now()
	k := c.g.o.Assertions.Signer(a.Algorithm, now)
	if k == nil {
		return errNoKey
	}
	token, err := k.Sign(assertion.Claims{Issuer: c.g.o.GatewayURL, Audience: a.Audience, Subject: call.subject}, now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, logoutTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, call.rt.logoutURL, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := c.client.Do(req)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

func (c *logoutCalls) done(rt *Route, result string, err error) {
	c.made.WithLabelValues(rt.name, result).Inc()
	if err != nil && c.g.denials.mayLog("logout_call") {
		c.g.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "an application could not be told of a sign-out",
			slog.String("route", rt.name), slog.String("result", result), slog.String("error", err.Error()))
	}
}
