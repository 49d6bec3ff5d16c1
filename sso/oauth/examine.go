package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/sso"
)

// Examine implements sso.Examiner: what Verify asks, one question at a time and
// without stopping. Verify itself decides, and spends the code; what it refuses and
// no question here names becomes a check of its own. Claims of a token whose
// signature does not verify are looked at too, and nothing of them is ever believed.
func (a *answer) Examine(ctx context.Context, l sso.Login) (out sso.Examination) {
	x := &examination{p: a.p}
	var m *metadata
	var t tokens
	got, err := a.verify(ctx, l, func(found *metadata, seen tokens) { m, t = found, seen })
	x.ask("in_response_to", a.matches(l, parties{a.p.cfg.ID, a.p.cfg.OIDC.Issuer, a.p.redirect}, a.p.now()), "state is that of this sign-in")
	if m == nil {
		m, _, _, _ = a.p.disc.state()
	}
	if m != nil {
		x.pass("discovery", "%s", m.Issuer)
		x.ask("issuer", a.checkIssuer(m), "the answer is of %s", m.Issuer)
	}
	if t.id != "" {
		x.pass("token", "the code was exchanged")
		x.token(ctx, m, t, l)
	}
	if err == nil {
		x.mapped(got)
		x.pass("status", "the provider signed the person in")
	}
	out.Checks = x.checks
	if err != nil {
		out.Checks = refused(err, x.checks)
	} else if sso.Passed(x.checks) {
		out.Assertion = got
	}
	return out
}

// refused files what Verify answered. An endpoint that could not be asked is a check
// of its own: its mending is the registration, not the person.
func refused(err error, found []sso.Check) []sso.Check {
	u, ok := errors.AsType[*UnavailableError](err)
	if !ok {
		return sso.Refused(err, found)
	}
	name := map[string]string{"discovery": "discovery", "keys": "discovery", "token": "token", "userinfo": "token", "authorization": "status"}[u.Step]
	if name == "" {
		name = "answer"
	}
	return append(found, sso.Check{Name: name, Verdict: sso.Fail, Evidence: u.Error()})
}

// examination collects checks.
type examination struct {
	p      *Provider
	checks []sso.Check
}

func (x *examination) add(name string, v sso.Verdict, evidence string, args ...any) {
	x.checks = append(x.checks, sso.Check{Name: name, Verdict: v, Evidence: fmt.Sprintf(evidence, args...)})
}

func (x *examination) pass(name, evidence string, args ...any) {
	x.add(name, sso.Pass, evidence, args...)
}

// ask files the answer of one checker under the name it belongs to.
func (x *examination) ask(name string, err error, evidence string, args ...any) {
	v, refused := errors.AsType[*sso.VerifyError](err)
	switch {
	case err == nil:
		x.pass(name, evidence, args...)
	case refused && v.Err != nil:
		x.add(sso.CheckOf(v.Reason), sso.Fail, "%s: %s", v.Reason, v.Err)
	case refused:
		x.add(sso.CheckOf(v.Reason), sso.Fail, "%s", v.Reason)
	default:
		x.add(name, sso.Fail, "%s", err)
	}
}

// token asks what checkIDToken asks.
func (x *examination) token(ctx context.Context, m *metadata, t tokens, l sso.Login) {
	_, payload, err := checkSignature(ctx, m.keys, t.id, "")
	if err == nil {
		x.pass("signature", "the ID token is signed with %s", algorithmOf(t.id))
	} else {
		x.ask("signature", err, "")
		if payload = unverified(t.id); payload == nil {
			return
		}
	}
	c, err := parseClaims(payload)
	if err != nil {
		return // Verify says so
	}
	id := printable(x.p.cfg.OIDC.ClientID, 200)
	x.ask("audience", x.p.checkParties(c, m), "issuer and audience %s", id)
	x.ask("times", x.p.checkTimes(c), "the ID token is in time")
	if iat, err := c.when("iat"); err == nil && !iat.IsZero() {
		x.checks = append(x.checks, sso.ClockCheck(iat.UTC().Format(http.TimeFormat), x.p.now())...)
	}
	x.ask("in_response_to", checkNonce(c, l.Start.Nonce), "nonce is that of this sign-in")
	x.ask("times", x.p.checkFreshness(c, l), "the person's sign-in is fresh enough")
	x.ask("name_id", checkSubject(c), "a subject came")
	if d := x.p.cfg.OIDC.HostedDomains; len(d) > 0 {
		x.ask("organization", x.p.checkHostedDomain(c), "the account belongs to one of %s", strings.Join(d, ", "))
	}
	names := slices.Sorted(maps.Keys(c))
	for i, n := range names {
		names[i] = printable(n, 60)
	}
	x.pass("attributes", "the ID token carried: %s", strings.Join(names, ", "))
	if v := x.p.cfg.OIDC.UnverifiedEmail; c.has("email") && !c.truth("email_verified") && v != "" {
		x.add("attribute:email", sso.Warn, "email_verified is not true; this provider's policy is %q", string(v))
	}
}

// algorithmOf names the algorithm of a token that was verified.
func algorithmOf(raw string) string {
	jws, err := jose.ParseSignedCompact(raw, joseAlgorithms())
	if err != nil || len(jws.Signatures) != 1 {
		return "an unknown algorithm"
	}
	return jws.Signatures[0].Protected.Algorithm
}

// unverified is the payload of a token that did not verify, for the report only.
func unverified(raw string) []byte {
	jws, err := jose.ParseSignedCompact(raw, joseAlgorithms())
	if err != nil {
		return nil
	}
	return jws.UnsafePayloadWithoutVerification()
}

// mapped reports what an accepted answer was mapped to. Values may come from the
// userinfo endpoint as well.
func (x *examination) mapped(a sso.Assertion) {
	n := x.p.names()
	x.pass("attribute:subject", "%s", printable(a.Identity.Subject, 255))
	for _, w := range []struct {
		what, value string
		names       []string
	}{
		{"user_name", a.Profile.UserName, n.UserName},
		{"email", a.Profile.Email, n.Email},
		{"display_name", a.Profile.DisplayName, n.DisplayName},
		{"given_name", a.Profile.GivenName, n.GivenName},
		{"family_name", a.Profile.FamilyName, n.FamilyName},
	} {
		if w.value == "" {
			x.add("attribute:"+w.what, sso.Warn, "none of %s arrived", strings.Join(w.names, ", "))
			continue
		}
		x.pass("attribute:"+w.what, "%s, of %s", w.value, strings.Join(w.names, ", "))
	}
	if len(a.Groups) == 0 {
		x.add("groups", sso.Warn, "no groups came as %s", strings.Join(n.Groups, ", "))
		return
	}
	x.pass("groups", "%d: %s", len(a.Groups), strings.Join(a.Groups, ", "))
}

// Inspect implements sso.Inspector: what can be told without a browser. It fetches
// the discovery document and keys, unless that was done lately, and asks for the
// authorization endpoint.
func (p *Provider) Inspect(ctx context.Context) []sso.Check {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	x := &examination{p: p}
	m, err := p.disc.get(ctx)
	if err != nil {
		x.add("discovery", sso.Fail, "%s", err)
		return x.checks
	}
	x.pass("discovery", "%s", m.Issuer)
	if err := m.keys.refresh(ctx); err != nil {
		x.add("discovery", sso.Fail, "%s", err)
	} else {
		x.pass("signature", "the provider's keys could be read")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Authorization, nil)
	if err != nil {
		x.add("endpoint", sso.Fail, "%s", err)
		return x.checks
	}
	resp, err := p.direct.Do(req)
	if err != nil {
		x.add("endpoint", sso.Warn, "the authorization endpoint did not answer this host: %s", bounded(err))
		return x.checks
	}
	_ = resp.Body.Close()
	x.pass("endpoint", "%s answered with status %d", printable(req.URL.Host, 200), resp.StatusCode)
	x.checks = append(x.checks, sso.ClockCheck(resp.Header.Get("Date"), p.now())...)
	return x.checks
}

// Interface guards.
var (
	_ sso.Examiner  = (*answer)(nil)
	_ sso.Inspector = (*Provider)(nil)
)
