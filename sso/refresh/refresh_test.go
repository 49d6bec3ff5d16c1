package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso"
)

// pass lets virtual time go by and whatever is due be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bubble is a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

var errDown = errors.New("store is down")

// Fault 9.
func TestWhoIsConfirmedIsAskedAboutAgainAndAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "first")
		pass(every - every/10 - 2*time.Second)
		if q := w.idp.questions(); q != 0 {
			t.Errorf("asked %d times long before it was time", q)
		}
		pass(every/10 + 4*time.Second)
		if q := w.idp.questions(); q != 1 {
			t.Errorf("asked %d times after recheck, want once and never later", q)
		}
		pass(3 * time.Hour)
		if q := w.idp.questions(); q < 12 || q > 15 {
			t.Errorf("asked %d times in three hours and a quarter at every 15 minutes", q)
		}
		if len(w.dir.endings()) != 0 || w.token(h) != "first" || n.counted("ok") != w.idp.questions() {
			t.Errorf("a confirmed session: ended %v, token %q, %d counted", w.dir.endings(), w.token(h), n.counted("ok"))
		}
		pass(8 * time.Hour)
		q := w.idp.questions()
		pass(8 * time.Hour)
		if w.idp.questions() != q {
			t.Error("asked about a session after its absolute end")
		}
	})
}

func TestARefusalEndsTheSession(t *testing.T) {
	for _, tt := range []struct{ outcome, reason, why string }{
		{"refused", "refresh_refused", "invalid_grant is the provider's last word"},
		{"mismatch", "refresh_mismatch", "the answer was about somebody else"},
		{"issuer_changed", "refresh_issuer_changed", "nobody vouches for the person any more"},
	} {
		t.Run(tt.outcome, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.node().run()
				h := n.signedIn("ana", "first")
				ben := n.signedIn("ben", "second")
				w.idp.says(func(token string) (sso.Refreshed, error) {
					if token == "first" {
						return nil, &sso.RefreshError{Outcome: tt.outcome, Refused: true}
					}
					return answer{}, nil
				})
				pass(every + 2*time.Second)
				ended := w.dir.endings()
				if len(ended) != 1 || ended[0].Hash != h.String() || ended[0].Member != "m-ana" || ended[0].Reason != tt.reason || ended[0].Until.IsZero() {
					t.Fatalf("ended %+v: %s", ended, tt.why)
				}
				if by := w.dir.by[0].Name; by != "refresh:okta" {
					t.Errorf("audited as %q", by)
				}
				if w.token(h) != "" || w.token(ben) == "" {
					t.Error("her grant must be gone, and his stay")
				}
				if n.counted(tt.outcome) != 1 {
					t.Errorf("counted %d times", n.counted(tt.outcome))
				}
				pass(time.Hour)
				if w.idp.asked["first"] != 1 {
					t.Errorf("asked %d times about a session that was ended", w.idp.asked["first"])
				}
			})
		})
	}
}

// The session goes on until its cap; the question comes back later and later.
func TestAFailureThatPassesEndsNothing(t *testing.T) {
	for _, outcome := range []string{"timeout", "unavailable", "client", "network", "discovery", "malformed", "keys", "id_token"} {
		t.Run(outcome, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.node().run()
				h := n.signedIn("ana", "first")
				w.idp.says(fails(sso.RefreshError{Outcome: outcome, Err: errors.New("because")}))
				pass(2 * time.Hour)
				q := w.idp.questions()
				// 30 s, 1, 2, 4, 8 and then every 15 minutes, each up to a quarter longer.
				if q < 9 || q > 14 {
					t.Errorf("asked %d times in two hours of outage", q)
				}
				if len(w.dir.endings()) != 0 || w.token(h) != "first" {
					t.Fatalf("a session was ended: %v", w.dir.endings())
				}
				if n.counted(outcome) != q || w.failures(h) != q {
					t.Errorf("%d questions, %d counted as %s, %d failures kept", q, n.counted(outcome), outcome, w.failures(h))
				}
				if got := strings.Count(w.log.String(), "level=WARN"); got != 1 {
					t.Errorf("%d warnings for one outage: with thousands of sessions they would be a flood", got)
				}
				w.idp.says(func(string) (sso.Refreshed, error) { return answer{token: "second"}, nil })
				pass(20 * time.Minute)
				if w.token(h) != "second" || w.failures(h) != 0 || n.counted("ok") == 0 {
					t.Error("the provider is back and was not asked")
				}
			})
		})
	}
}

// Fault 25: nobody recovers for a question that no request asked. One that the
// provider's answer makes panic is a failure that passes, after every step of it.
func TestAnAnswerThatPanicsEndsNeitherSessionNorProcess(t *testing.T) {
	for _, in := range []string{"refresh", "verify"} {
		t.Run(in, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.node().run()
				h := n.signedIn("ana", "t1")
				w.idp.says(func(string) (sso.Refreshed, error) {
					if in == "refresh" {
						panic("boom") // fault 25, with a value that must not be logged (L01)
					}
					return hostile{}, nil
				})
				pass(every + time.Second)
				if len(w.dir.endings()) != 0 || w.failures(h) == 0 || n.counted("panic") == 0 {
					t.Errorf("ended %v, %d failures, %d counted", w.dir.endings(), w.failures(h), n.counted("panic"))
				}
				if strings.Contains(w.log.String(), "boom") || !strings.Contains(w.log.String(), "panic") {
					t.Errorf("want a record that does not repeat the value (L01): %s", w.log)
				}
			})
		})
	}
}

// hostile is an answer whose check has a fault in it (25): the worker has no handler
// above it that would recover.
type hostile struct{}

func (hostile) Token() string                { return "" }
func (hostile) Verify(context.Context) error { panic("boom") }

func TestAProviderThatLimitsUsIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		for i := range 12 {
			n.signedIn(fmt.Sprint("p", i), fmt.Sprint("t", i))
		}
		w.idp.says(fails(sso.RefreshError{Outcome: "rate_limited", RetryAfter: 20 * time.Minute}))
		pass(every + 2*time.Second)
		q := w.idp.questions()
		if q == 0 || q > 4 {
			t.Errorf("asked %d times although the first answer was 429: at most those under way", q)
		}
		pass(18 * time.Minute)
		if more := w.idp.questions() - q; more != 0 {
			t.Errorf("asked %d times before Retry-After", more)
		}
		w.idp.says(func(string) (sso.Refreshed, error) { return answer{}, nil })
		pass(10 * time.Minute)
		if n.counted("ok") < 12 || len(w.dir.endings()) != 0 {
			t.Errorf("%d of 12 confirmed after the rest", n.counted("ok"))
		}
	})
}

// Nobody may make a provider's word of years bind us.
func TestRetryAfterIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		n.signedIn("ana", "first")
		w.idp.says(fails(sso.RefreshError{Outcome: "unavailable", RetryAfter: 1000 * time.Hour}))
		pass(every + time.Second)
		pass(time.Hour + 2*time.Second)
		if q := w.idp.questions(); q != 2 {
			t.Errorf("asked %d times, want again after an hour", q)
		}
	})
}

// RFC 9700 section 4.14.2: the new token is stored before anything else is decided.
func TestARotatedTokenIsStoredBeforeItIsBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		w.idp.says(func(token string) (sso.Refreshed, error) {
			// The answer cannot be verified at the moment.
			return answer{token: token + "1", verify: &sso.RefreshError{Outcome: "keys"}}, nil
		})
		pass(w.untilDue(h) + 2*time.Second)
		if got := w.token(h); got != "11" {
			t.Fatalf("stored %q after an answer that was not believed, want the new token", got)
		}
		pass(time.Hour)
		for token, times := range w.idp.asked {
			if times != 1 {
				t.Errorf("token %q was used %d times: the provider takes it for stolen", token, times)
			}
		}
		if len(w.dir.endings()) != 0 || n.counted("keys") < 3 {
			t.Errorf("ended %v, counted %d", w.dir.endings(), n.counted("keys"))
		}
	})
}

func TestATokenThatCannotBeStoredAtOnceIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		tries := 0
		w.store.Fail(func(op string) error {
			if op == "hold" {
				if tries++; tries < 6 {
					return errDown
				}
			}
			return nil
		})
		w.idp.says(func(token string) (sso.Refreshed, error) { return answer{token: token + "1"}, nil })
		pass(every + 20*time.Second)
		if w.token(h) != "11" || n.counted("ok") != 1 || w.idp.questions() != 1 {
			t.Errorf("token %q, %d confirmed, asked %d times", w.token(h), n.counted("ok"), w.idp.questions())
		}
	})
}

// Single flight with a renewed lease: a slow provider is asked by one node.
func TestASlowProviderIsAskedByOneNodeOnly(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.node().run(), w.node().run()
		h := a.signedIn("ana", "1")
		w.idp.says(func(token string) (sso.Refreshed, error) {
			time.Sleep(4 * time.Minute) // far beyond the lease, and deaf to its deadline
			return answer{token: token + "1"}, nil
		})
		pass(every + 3*time.Minute)
		if q := w.idp.questions(); q != 1 {
			t.Errorf("asked %d times at once: a token that is used twice is taken for stolen", q)
		}
		pass(2 * time.Minute)
		if a.counted("timeout")+b.counted("timeout") != 1 || len(w.dir.endings()) != 0 || w.failures(h) != 1 {
			t.Errorf("an answer after its deadline: %d+%d time-outs, ended %v", a.counted("timeout"), b.counted("timeout"), w.dir.endings())
		}
	})
}

func TestANodeThatDiesIsReplacedWhenItsLeaseRunsOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		dead, other := w.node(), w.node().run()
		h := dead.signedIn("ana", "1")
		// What a node leaves that is killed while it asks: a claim and nothing else.
		g, _ := w.store.Get(h)
		if got, err := w.store.Claim(t.Context(), claimAt(g.Due)); err != nil || len(got) != 1 {
			t.Fatalf("claim: %v, %v", got, err)
		}
		pass(w.untilDue(h) + 28*time.Second)
		if q := w.idp.questions(); q != 0 {
			t.Fatalf("asked %d times under somebody else's lease", q)
		}
		pass(5 * time.Second)
		if other.counted("ok") != 1 || len(w.dir.endings()) != 0 {
			t.Errorf("the dead node's grant was not taken over: %d confirmed", other.counted("ok"))
		}
	})
}

// The known weak spot: killed between the provider's answer and the store. The
// person signs in again, and nobody keeps a session that he should not have.
func TestACrashAfterARotationEndsTheSessionAtTheNextQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node()
		h := n.signedIn("ana", "1")
		used := map[string]bool{}
		w.idp.says(func(token string) (sso.Refreshed, error) {
			if used[token] {
				return nil, &sso.RefreshError{Outcome: "refused", Refused: true}
			}
			used[token] = true
			return answer{token: token + "1"}, nil
		})
		// The killed node had its answer: the token is used, and the new one is gone.
		_, _ = w.idp.Refresh(t.Context(), member.Identity{}, "1")
		n.run()
		pass(every + 2*time.Second)
		if ended := w.dir.endings(); len(ended) != 1 || ended[0].Hash != h.String() || ended[0].Reason != "refresh_refused" {
			t.Errorf("ended %+v, want this session, once", ended)
		}
	})
}

// A node that was suspended must not act on what it hears when it wakes up: its
// token was another's by then, and the refusal is about that.
func TestARefusalUnderALostLeaseEndsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		w.idp.says(func(string) (sso.Refreshed, error) {
			// While it waits for the answer another takes the grant over.
			_, err := w.store.Claim(context.Background(), claimAt(time.Now().Add(time.Hour)))
			if err != nil {
				t.Error(err)
			}
			return nil, &sso.RefreshError{Outcome: "refused", Refused: true}
		})
		pass(every + 2*time.Second)
		if len(w.dir.endings()) != 0 || w.token(h) != "1" {
			t.Errorf("ended %+v", w.dir.endings())
		}
	})
}

func TestNobodyIsAskedAboutWhatIsOver(t *testing.T) {
	for name, change := range map[string]func(*directory){
		"signed out": func(d *directory) {
			d.ended = append(d.ended, member.EndedSession{Hash: secret.Sum("ana").String()})
		},
		"deactivated, or signed out everywhere": func(d *directory) { d.epoch = 2 },
		"everybody was signed out":              func(d *directory) { d.wide = 1 },
		"member deleted":                        func(d *directory) { d.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				n := w.node().run()
				h := n.signedIn("ana", "1")
				w.dir.set(change)
				before := len(w.dir.endings())
				pass(every + 2*time.Second)
				if w.idp.questions() != 0 || w.token(h) != "" || len(w.dir.endings()) != before {
					t.Errorf("asked %d times, token %q", w.idp.questions(), w.token(h))
				}
			})
		})
	}
}

func TestADisabledProviderIsNotAsked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		w.set(every, false)
		pass(2 * time.Hour)
		w.set(0, true)
		pass(2 * time.Hour)
		if w.idp.questions() != 0 || w.token(h) != "1" {
			t.Errorf("asked %d times, token %q", w.idp.questions(), w.token(h))
		}
		w.set(every, true)
		pass(2 * time.Second)
		if n.counted("ok") != 1 {
			t.Error("switched on again and not asked")
		}
	})
}

func TestWithoutADatabaseNothingIsEndedAndNobodyAsked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		n.signedIn("ana", "1")
		w.store.Fail(func(string) error { return errDown })
		pass(time.Hour)
		if w.idp.questions() != 0 || n.counted("store") == 0 {
			t.Errorf("asked %d times without a claim", w.idp.questions())
		}
		if got := strings.Count(w.log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings in an hour, want one", got)
		}
		w.store.Fail(nil)
		w.dir.set(func(d *directory) { d.err = errDown })
		pass(time.Hour)
		if w.idp.questions() != 0 || len(w.dir.endings()) != 0 {
			t.Error("asked about a session of which nobody knows whether it is over")
		}
		w.dir.set(func(d *directory) { d.err = nil })
		pass(every + 5*time.Minute)
		if n.counted("ok") == 0 {
			t.Error("everything is back and nobody is asked about")
		}
	})
}

func TestAnEndThatIsNotConfirmedIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		w.idp.says(func(string) (sso.Refreshed, error) {
			w.dir.set(func(d *directory) { d.err = errDown })
			return nil, &sso.RefreshError{Outcome: "refused", Refused: true}
		})
		pass(every + 2*time.Second)
		if len(w.dir.endings()) != 0 || w.token(h) == "" {
			t.Fatal("forgotten although the session was not ended")
		}
		w.idp.says(fails(sso.RefreshError{Outcome: "refused", Refused: true}))
		w.dir.set(func(d *directory) { d.err = nil })
		pass(10 * time.Minute) // the directory may have failed at a second try as well
		if len(w.dir.endings()) != 1 || w.token(h) != "" {
			t.Errorf("ended %v", w.dir.endings())
		}
	})
}

// A shutdown waits for the answer: with a provider that rotates it is a new token.
func TestStoppingLosesNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		h := n.signedIn("ana", "1")
		w.idp.says(func(token string) (sso.Refreshed, error) {
			time.Sleep(5 * time.Second)
			return answer{token: token + "1"}, nil
		})
		pass(w.untilDue(h) + 2*time.Second)
		if w.idp.questions() != 1 {
			t.Fatal("not asked yet")
		}
		n.stop()
		if w.token(h) != "11" {
			t.Errorf("token %q after the stop", w.token(h))
		}
		pass(time.Hour)
		if w.idp.questions() != 1 {
			t.Error("asked after the stop")
		}
	})
}

// Row L01, and the operator's lost seal_key.
func TestATokenSealedForAnotherSessionOrByAnotherKeyIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		a, b := n.signedIn("ana", "secret-token-of-ana"), n.signedIn("ben", "secret-token-of-ben")
		ga, _ := w.store.Get(a)
		if strings.Contains(string(ga.Token), "secret-token") {
			t.Fatal("stored as it is")
		}
		// Somebody who can write to the database moves her token into his row.
		got, err := w.store.Claim(t.Context(), claimAt(time.Now().Add(time.Hour)))
		if err != nil || len(got) != 2 {
			t.Fatal(got, err)
		}
		if err := w.store.Hold(t.Context(), b, "killed", time.Now(), ga.Token); err != nil {
			t.Fatal(err)
		}
		if err := w.store.Settle(t.Context(), b, "killed", time.Now(), 0); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		if w.idp.questions() != 0 || n.counted("sealed") != 1 || len(w.dir.endings()) != 0 {
			t.Errorf("asked %d times with a token of another session", w.idp.questions())
		}
		if strings.Contains(w.log.String(), "secret-token") {
			t.Error("L01: a refresh token is in the log")
		}
	})
}

func TestSignInsWithoutATokenAreCountedAndSaidOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n := w.node().run()
		for i := range 5 {
			h := n.signedIn(fmt.Sprint("p", i), "")
			if _, ok := w.store.Get(h); ok {
				t.Error("a grant without a token was stored")
			}
		}
		if n.counted("no_token") != 5 || strings.Count(w.log.String(), "gives no refresh token") != 1 {
			t.Errorf("%d counted; log: %s", n.counted("no_token"), w.log)
		}
		w.set(0, true)
		h := n.signedIn("off", "token")
		if _, ok := w.store.Get(h); ok || n.counted("no_token") != 5 {
			t.Error("kept although nobody is asked about")
		}
	})
}

func TestAGrantThatCannotBeKeptIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.store.Fail(func(string) error { return errDown })
		r := session.Record{Hash: secret.Sum("ana"), Member: "m-ana", Expires: time.Now().Add(time.Hour)}
		err := w.node().Keep(t.Context(), r, member.Identity{Provider: "okta", Issuer: "i", Subject: "s"}, "secret-token")
		if !errors.Is(err, errDown) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("keep answered %v", err)
		}
	})
}
