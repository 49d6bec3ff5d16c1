package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// health of one upstream. Guarded by Pool.mu.
type health struct {
	failed int       // requests in a row that did not reach it
	until  time.Time // out because of them
	probes int       // in a row: below zero failures, above successes
	down   bool      // out because of probes
}

// Passive health: failures of requests take an upstream out for a time that doubles.
const (
	passiveFailures = 3
	passiveFirst    = time.Second
	passiveLongest  = 30 * time.Second
)

// rank orders upstreams by health, the smaller the better.
func (p *Pool) rank(t *target) int {
	rank := 0
	if t.health.down {
		rank += 2
	}
	if t.health.failed >= passiveFailures && p.now().Before(t.health.until) {
		rank++
	}
	return rank
}

// observe learns from a request. Only what says that the upstream cannot be reached or
// breaks counts: a slow answer may be a slow page, and what the client did is not its
// fault.
func (p *Pool) observe(t *target, err error) {
	if len(p.targets) == 1 {
		return // there is nothing to choose
	}
	fault := Classify(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &t.health
	switch {
	case err == nil:
		h.failed, h.until = 0, time.Time{}
	case fault == Unreachable || fault == Broken && unanswered(err):
		h.failed++
		if over := h.failed - passiveFailures; over >= 0 {
			h.until = p.now().Add(min(passiveFirst<<min(over, 10), passiveLongest))
		}
	}
}

// Run asks each upstream how it is until ctx ends, where the spec says so.
func (p *Pool) Run(ctx context.Context) {
	if p.spec.Health.Path == "" {
		return
	}
	var wg sync.WaitGroup
	for _, t := range p.targets {
		wg.Go(func() {
			tick := time.NewTicker(p.spec.Health.Interval)
			defer tick.Stop()
			for {
				p.probed(t, p.probe(ctx, t))
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
	}
	wg.Wait()
}

// maxProbe bounds what is read of an answer, so that its connection can be kept.
const maxProbe = 64 << 10

var errProbe = errors.New("upstream: unhealthy answer")

func (p *Pool) probe(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Health.Timeout)
	defer cancel()
	req := (&http.Request{
		Method: http.MethodGet, Host: t.host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL:    &url.URL{Scheme: t.urlScheme(), Host: t.host, Opaque: p.spec.Health.Path},
		Header: http.Header{"User-Agent": {"ssogate-health"}},
	}).WithContext(ctx)
	res, err := t.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxProbe))
	_ = res.Body.Close()
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		err = errProbe
	}
	return err
}

// probed counts an answer of the health check.
func (p *Pool) probed(t *target, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &t.health
	if err != nil {
		h.probes = min(h.probes, 0) - 1
		if -h.probes >= p.spec.Health.Unhealthy {
			h.down = true
		}
		return
	}
	h.probes = max(h.probes, 0) + 1
	if h.probes >= p.spec.Health.Healthy || !h.down {
		h.down = false
		h.failed, h.until = 0, time.Time{}
	}
}

// State is one upstream as an operator sees it.
type State struct {
	URL               string
	Healthy           bool
	Requests, Streams int
}

// States of all upstreams, in the order written.
func (p *Pool) States() []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]State, 0, len(p.targets))
	for i, t := range p.targets {
		out = append(out, State{p.spec.URLs[i], p.rank(t) == 0, t.requests, t.streams})
	}
	return out
}
