package sso

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
)

// Limits of test runs.
const (
	TestLifetime   = 15 * time.Minute // from Begin to the identity provider's answer
	reportLifetime = time.Hour        // a report can be fetched for, after its end
	testsPerMinute = 20
	// MaxDigest bounds what a test is made of: settings.Digest has 71 characters.
	MaxDigest = 128
)

// ErrTooManyTests means that tests are begun faster than people could run them.
var ErrTooManyTests = errors.New("sso: too many tests in this minute")

// Tests begins test runs and reads their reports. It needs nothing but the Pending
// store that all nodes share, so a command beside them can use it too. Safe for
// concurrent use.
type Tests struct {
	url     string
	pending Pending
	now     clock.Func

	mu     sync.Mutex
	minute time.Time
	begun  int
}

// NewTests makes the tests of the gateway at url.
func NewTests(url string, p Pending, now clock.Func) *Tests {
	if now == nil {
		now = time.Now
	}
	return &Tests{url: url, pending: p, now: now}
}

// TestStart is a test run that waits for a browser.
type TestStart struct {
	ID    string    `json:"id"`  // reads the report; a secret of whoever began the run
	URL   string    `json:"url"` // works once, in any browser
	Until time.Time `json:"until"`
}

// testRun is what a link and a Login carry through the lane of tests.
type testRun struct {
	Report   secret.Hash `json:"report"`
	Provider string      `json:"provider"`
	Digest   string      `json:"digest"`
	Until    time.Time   `json:"until"`
}

// Begin begins a test of the configuration that has this digest. by is an audit
// actor. Whether the configuration exists is told when the link is opened.
func (t *Tests) Begin(ctx context.Context, by, provider, digest string) (TestStart, error) {
	if provider == "" || len(provider) > maxID || digest == "" || len(digest) > MaxDigest {
		return TestStart{}, errors.New("sso: a test needs a provider and its digest")
	}
	if !t.take() {
		return TestStart{}, ErrTooManyTests
	}
	now := t.now()
	s := TestStart{ID: secret.NewToken(), Until: now.Add(TestLifetime)}
	r := Report{Provider: provider, Digest: digest, By: cut(by, 200), Begun: now.UTC(), Until: s.Until.UTC()}
	if err := t.put(ctx, secret.Sum(s.ID), r); err != nil {
		return TestStart{}, err
	}
	link := secret.NewToken()
	b, err := json.Marshal(testRun{Report: secret.Sum(s.ID), Provider: provider, Digest: digest, Until: s.Until})
	if err != nil {
		return TestStart{}, fmt.Errorf("sso: test: %w", err)
	}
	if err := t.pending.Put(ctx, key(KindTestLink, link), b, s.Until); err != nil {
		return TestStart{}, err
	}
	s.URL = t.url + "/login/test?id=" + url.QueryEscape(link)
	return s, nil
}

// take counts the tests of this minute, begun through this process.
func (t *Tests) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.minute).Abs() >= time.Minute {
		t.minute, t.begun = now, 0
	}
	t.begun++
	return t.begun <= testsPerMinute
}

// Report reads the report of a test run, ended or not. One that nobody answered in
// time is a failure. It is [ErrNoRecord] when there is none, or none any more.
func (t *Tests) Report(ctx context.Context, id string) (Report, error) {
	if id == "" || len(id) > maxID {
		return Report{}, ErrNoRecord
	}
	r, err := t.report(ctx, secret.Sum(id))
	if err == nil && !r.Done() && !t.now().Before(r.Until) {
		r.Ended = r.Until
		r.Checks = Explain([]Check{{Name: "answer", Verdict: Fail, Evidence: "no answer of the identity provider arrived in time"}}, "")
	}
	return r, err
}

func (t *Tests) report(ctx context.Context, h secret.Hash) (r Report, err error) {
	b, err := t.pending.Get(ctx, Key{KindReport, h})
	if err != nil {
		return Report{}, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("sso: decode report: %w", err)
	}
	return r, nil
}

func (t *Tests) put(ctx context.Context, h secret.Hash, r Report) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	return t.pending.Put(ctx, Key{KindReport, h}, b, t.now().Add(TestLifetime+reportLifetime))
}

// testMark begins the ids of test Logins, so that the callback knows the lane before
// anything is looked up. It is a hint: what decides is that each lane reads its own
// kind of record only (row S30).
const testMark = "test-"

func testID() string { return testMark + secret.NewToken()[len(testMark):] }

func liveID() string {
	for {
		if id := secret.NewToken(); !strings.HasPrefix(id, testMark) {
			return id
		}
	}
}

// maxPeek is as much of a POST as a provider would read.
const maxPeek = 384 << 10

// testLane answers the state or RelayState of an IdP's answer if it is a test
// Login's. The request is left as it was.
func testLane(r *http.Request) (id string, ok bool) {
	if r.Method == http.MethodGet {
		id = param(r, "state", maxID)
		return id, strings.HasPrefix(id, testMark)
	}
	head, _ := io.ReadAll(io.LimitReader(r.Body, maxPeek+1)) // an error comes again to whoever reads on
	r.Body = peeked{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if !bytes.Contains(head, []byte("RelayState="+testMark)) {
		return "", false
	}
	form, err := url.ParseQuery(string(head))
	if err != nil || len(form["RelayState"]) != 1 || len(form["RelayState"][0]) > maxID {
		return "", false
	}
	id = form["RelayState"][0]
	return id, strings.HasPrefix(id, testMark)
}

// peeked is a body of which the beginning was read already.
type peeked struct {
	io.Reader
	io.Closer
}
