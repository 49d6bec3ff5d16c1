package oauth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func refreshing(_ *ssotest.OPOptions, o *Options) { o.Provider.OIDC.Recheck = 15 * time.Minute }

// granted is the refresh token of a benign sign-in.
func (r *rig) granted() (member.Identity, string) {
	r.t.Helper()
	a := r.mustWork()
	if a.RefreshToken == "" {
		r.t.Fatal("the sign-in brought no refresh token")
	}
	return a.Identity, a.RefreshToken
}

// refresh asks and verifies.
func (r *rig) refresh(who member.Identity, token string) (string, error) {
	r.t.Helper()
	a, err := r.p.Refresh(r.t.Context(), who, token)
	if err != nil {
		return "", err
	}
	return a.Token(), a.Verify(r.t.Context())
}

func wantOutcome(t *testing.T, err error, outcome string, refused bool, why string) {
	t.Helper()
	e, ok := errors.AsType[*sso.RefreshError](err)
	if !ok || e.Outcome != outcome || e.Refused != refused {
		t.Errorf("got %v, want outcome %q, refused %t: %s", err, outcome, refused, why)
	}
}

func TestOfflineAccessIsAskedForWhereItIsWantedAndKnown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		every  time.Duration
		scopes []string // of discovery
		own    []string // of the operator
		want   bool
	}{
		{"wanted and known", time.Hour, []string{"openid", "offline_access"}, []string{"openid"}, true},
		{"not wanted", 0, []string{"openid", "offline_access"}, []string{"openid"}, false},
		{"not known: others refuse the request", time.Hour, []string{"openid"}, []string{"openid"}, false},
		{"not said", time.Hour, nil, []string{"openid"}, false},
		{"not said, but the operator knows", time.Hour, nil, []string{"openid", "offline_access"}, true},
		{"once is enough", time.Hour, []string{"offline_access"}, []string{"openid", "offline_access"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(_ *ssotest.OPOptions, o *Options) {
				o.Provider.OIDC.Recheck, o.Provider.OIDC.Scopes = tt.every, tt.own
			})
			r.op.SetHooks(ssotest.OPHooks{Discovery: set("scopes_supported", tt.scopes)})
			u, err := url.Parse(r.begin(r.login()).Start.URL)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, s := range strings.Fields(u.Query().Get("scope")) {
				if s == "offline_access" {
					n++
				}
			}
			if (n == 1) != tt.want || n > 1 {
				t.Errorf("scope %q", u.Query().Get("scope"))
			}
		})
	}
}

func TestARefreshTokenIsTakenOnlyWhereItIsWanted(t *testing.T) {
	r := newRig(t, func(_ *ssotest.OPOptions, o *Options) {
		o.Provider.OIDC.Scopes = []string{"openid", "profile", "email", "offline_access"}
	})
	if a := r.mustWork(); a.RefreshToken != "" {
		t.Error("taken although nobody is asked again: what is not kept cannot leak")
	}
	r = newRig(t, refreshing)
	for name, value := range map[string]any{"none": nil, "too long to keep": strings.Repeat("r", maxRefreshToken+1), "not a text": 17} {
		r.op.SetHooks(ssotest.OPHooks{TokenResponse: set("refresh_token", value)})
		a, err := r.signIn()
		if name == "not a text" && err != nil {
			continue // x/oauth2 reads no such answer at all
		}
		if err != nil || a.RefreshToken != "" || a.Identity.Subject == "" {
			t.Errorf("%s: the sign-in works without one, got %v", name, err)
		}
	}
}

func TestRefreshConfirmsAndRotates(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	var nonces []bool
	r.op.SetHooks(ssotest.OPHooks{Claims: func(c map[string]any) { nonces = append(nonces, c["nonce"] != nil) }})
	seen := []string{token}
	for range 3 {
		next, err := r.refresh(who, token)
		if err != nil || next == "" || slices.Contains(seen, next) {
			t.Fatalf("refresh: %q, %v", next, err)
		}
		seen, token = append(seen, next), next
		r.clock.Advance(time.Hour) // refresh tokens outlive access tokens
	}
	if slices.Contains(nonces, true) {
		t.Error("our own provider sends a nonce with a refreshed ID token (Core section 12.2)")
	}
	// A used one is a stolen one: the whole family dies.
	_, err := r.refresh(who, seen[1])
	wantOutcome(t, err, "refused", true, "a token that was used before")
	_, err = r.refresh(who, token)
	wantOutcome(t, err, "refused", true, "the newest of a family of which one was stolen")
}

func TestRefreshWithoutAnIDTokenOrANewTokenIsAllowed(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	r.op.SetHooks(ssotest.OPHooks{TokenResponse: func(body map[string]any) {
		delete(body, "id_token")
		delete(body, "refresh_token")
	}})
	next, err := r.refresh(who, token)
	if err != nil || next != "" {
		t.Errorf("got %q, %v: Core section 12.2 and RFC 6749 section 6 demand neither", next, err)
	}
}

func TestADisabledAccountIsRefused(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	r.op.SetActive("ada", false)
	_, err := r.refresh(who, token)
	wantOutcome(t, err, "refused", true, "the account is disabled")
	r.op.SetActive("ada", true)
	if _, err := r.refresh(who, token); err != nil {
		t.Errorf("enabled again: %v", err)
	}
}

// Fault 9: only invalid_grant ends a session.
func TestRefreshFailuresAreSorted(t *testing.T) {
	type hook = func(http.ResponseWriter, *http.Request) bool
	status := ssotest.FailRefresh
	for _, tt := range []struct {
		name    string
		refresh hook
		outcome string
		refused bool
		why     string
	}{
		{"invalid_grant", ssotest.RefuseRefresh, "refused", true, "the one final answer"},
		{"invalid_grant with 401", status(401, "invalid_grant"), "refused", true, "some send this status"},
		{"invalid_grant with 500", status(500, "invalid_grant"), "unavailable", false, "a server in trouble says nothing about a person"},
		{"invalid_grant with 429", status(429, "invalid_grant"), "rate_limited", false, "a limit says nothing about a person"},
		{"503", status(503, "temporarily_unavailable"), "unavailable", false, "it is down"},
		{"temporarily_unavailable with 400", status(400, "temporarily_unavailable"), "unavailable", false, "the code says it"},
		{"429", ssotest.LimitRefresh(time.Minute), "rate_limited", false, "it limits us"},
		{"invalid_client", status(401, "invalid_client"), "client", false, "our registration, not the person: everybody would be signed out by a rotated client secret"},
		{"unauthorized_client", status(400, "unauthorized_client"), "client", false, "our registration"},
		{"invalid_scope", status(400, "invalid_scope"), "malformed", false, "not about the person"},
		{"unknown code", status(400, "\"\n<script>"), "malformed", false, "unknown is not refused: nobody knows what it means"},
		{"a page", ssotest.HTMLRefresh, "malformed", false, "a proxy's excuse"},
		{"a page with 502", func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "<html>", http.StatusBadGateway)
			return true
		}, "unavailable", false, "a proxy's error"},
		{"a redirect", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		}, "malformed", false, "followed, it would carry token and client secret along"},
		{"no access token", func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, `{"token_type":"Bearer"}`)
			return true
		}, "malformed", false, "not a token response"},
		{"hangs", ssotest.HangRefresh, "timeout", false, "no answer"},
		{"hangs in the middle", func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, `{"access_`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}, "timeout", false, "half an answer"},
		{"hangs up", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "network", false, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, refreshing)
			who, token := r.granted()
			if tt.outcome == "timeout" {
				r.p.timeout = 300 * time.Millisecond
			}
			r.op.SetHooks(ssotest.OPHooks{Refresh: tt.refresh})
			_, err := r.refresh(who, token)
			wantOutcome(t, err, tt.outcome, tt.refused, tt.why)
			if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "s3cret") || strings.ContainsAny(err.Error(), "\n\"") {
				t.Errorf("L01: the error says too much: %v", err)
			}
			if r.count("/elsewhere") != 0 {
				t.Error("a redirect was followed")
			}
			// The benign twin: the token is still good.
			r.p.timeout = DefaultTimeout
			r.op.SetHooks(ssotest.OPHooks{})
			if _, err := r.refresh(who, token); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestRetryAfterIsRead(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-5": 0, "1e9": 0, "99999999999999": 0, "soon": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
	r := newRig(t, refreshing)
	who, token := r.granted()
	r.op.SetHooks(ssotest.OPHooks{Refresh: ssotest.LimitRefresh(90 * time.Second)})
	_, err := r.refresh(who, token)
	if e, ok := errors.AsType[*sso.RefreshError](err); !ok || e.RetryAfter != 90*time.Second {
		t.Errorf("got %+v", err)
	}
}

func TestWithoutDiscoveryNothingIsAsked(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	r.clock.Advance(25 * time.Hour) // the last good document is too old
	r.op.SetHooks(ssotest.OPHooks{Serve: only(wellKnown, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })})
	before := r.count("/token")
	_, err := r.refresh(who, token)
	wantOutcome(t, err, "discovery", false, "the provider is down")
	if r.count("/token") != before {
		t.Error("asked somewhere")
	}
}

// A token is shown to the issuer that gave it and to no other.
func TestAnotherIssuerNeverSeesTheToken(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	for _, change := range []func(*member.Identity){
		func(i *member.Identity) { i.Issuer = "https://elsewhere.example.com" },
		func(i *member.Identity) { i.Issuer += "/" },
		func(i *member.Identity) { i.Provider = "other" },
	} {
		other := who
		change(&other)
		before := r.count("/token")
		_, err := r.refresh(other, token)
		wantOutcome(t, err, "issuer_changed", true, "the provider was replaced in the config")
		if r.count("/token") != before {
			t.Error("the token was sent")
		}
	}
}

// Core section 12.2: a new ID token is about the same person and for us.
func TestARefreshedIDTokenIsVerified(t *testing.T) {
	for _, tt := range []struct {
		name    string
		claims  func(map[string]any)
		sign    bool // by a key that is not published
		outcome string
		refused bool
	}{
		{"another subject", set("sub", "somebody-else"), false, "mismatch", true},
		{"no subject", set("sub", nil), false, "mismatch", true},
		{"another issuer", set("iss", "https://evil.example.com"), false, "mismatch", true},
		{"another audience", set("aud", "other-client"), false, "mismatch", true},
		{"several audiences without azp", set("aud", []string{"client", "other"}), false, "mismatch", true},
		{"azp of another client", set("azp", "other-client"), false, "mismatch", true},
		{"expired", set("exp", 1000), false, "id_token", false},
		{"at_hash of another token", set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), false, "id_token", false},
		{"another subject by a key that is not the provider's", set("sub", "somebody-else"), true, "id_token", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, refreshing)
			who, token := r.granted()
			hooks := ssotest.OPHooks{RefreshClaims: tt.claims}
			if tt.sign {
				evil := newRig(t)
				hooks.Sign = func(c map[string]any) (string, error) { return evil.op.SignClaims(c) }
			}
			r.op.SetHooks(hooks)
			a, err := r.p.Refresh(t.Context(), who, token)
			if err != nil {
				t.Fatal(err)
			}
			if a.Token() == "" {
				t.Error("the new token must be known before the answer is believed")
			}
			wantOutcome(t, a.Verify(t.Context()), tt.outcome, tt.refused, tt.name)
		})
	}
	t.Run("keys cannot be fetched", func(t *testing.T) {
		r := newRig(t, refreshing)
		who, token := r.granted()
		if err := r.op.RotateKey(ecKey(t)); err != nil {
			t.Fatal(err)
		}
		r.op.SetHooks(ssotest.OPHooks{Serve: only("/jwks", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })})
		_, err := r.refresh(who, token)
		wantOutcome(t, err, "keys", false, "nothing is known of the person")
	})
}

func TestTheClientAuthenticatesARefreshAsItDoesACode(t *testing.T) {
	for name, methods := range map[string][]string{"basic": {"client_secret_basic"}, "post": {"client_secret_post"}} {
		r := newRig(t, refreshing)
		r.plain = true
		var basic []bool
		r.op.SetHooks(ssotest.OPHooks{
			Discovery: set("token_endpoint_auth_methods_supported", methods),
			Serve: func(_ http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path == "/token" {
					_, _, ok := req.BasicAuth()
					basic = append(basic, ok)
				}
				return false
			},
		})
		a, err := r.signIn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.refresh(a.Identity, a.RefreshToken); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := name == "basic"; !slices.Equal(basic, []bool{want, want}) {
			t.Errorf("%s: HTTP Basic used: %v", name, basic)
		}
	}
}

func TestACancelledRefreshIsNoRefusal(t *testing.T) {
	r := newRig(t, refreshing)
	who, token := r.granted()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.p.Refresh(ctx, who, token)
	if e, ok := errors.AsType[*sso.RefreshError](err); !ok || e.Refused {
		t.Errorf("got %v", err)
	}
}
