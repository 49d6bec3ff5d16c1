package saml

import (
	"context"
	"encoding/xml"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	crewjam "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/sso/ssotest"
)

var (
	rounds = flag.Int("saml.rounds", 3, "rounds, each of one batch by either reader")
	batch  = flag.Int("saml.batch", 5, "responses in a batch")
	out    = flag.String("saml.out", "", "where to write the report; empty = only the test log")
)

const gateway = "https://sso.example.com"

// rig is one IdP and the two readers that trust it.
type rig struct {
	idp  *ssotest.SAMLIdP
	ours *saml.Provider
	bare *crewjam.ServiceProvider
}

func newRig(t *testing.T) rig {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	idp, err := ssotest.NewSAMLIdP(ssotest.SAMLOptions{
		BaseURL: "https://idp.example.com",
		People: []ssotest.Person{{
			User: "alice", Password: "wonderland", Email: "alice@example.com", GivenName: "Alice",
			FamilyName: "Liddell", DisplayName: "Alice Liddell", Groups: []string{"staff", "finance"},
		}},
	})
	ok(err)
	metadata, err := idp.Metadata()
	ok(err)
	keyPEM, certPEM, err := saml.NewKey()
	ok(err)
	key, cert, err := saml.ParseKey(keyPEM, certPEM)
	ok(err)
	ours, err := saml.New(saml.Options{
		Provider: settings.Provider{ID: "okta", Protocol: settings.SAML, Active: true, SAML: settings.SAMLProvider{MetadataXML: metadata}},
		URL:      gateway, Keys: []saml.KeyPair{{Key: key, Cert: cert}},
	})
	ok(err)
	sp, err := ours.Metadata()
	ok(err)
	ok(idp.RegisterMetadata(sp))
	var entity crewjam.EntityDescriptor
	ok(xml.Unmarshal(metadata, &entity))
	acs, err := url.Parse(ours.ACS())
	ok(err)
	return rig{idp, ours, &crewjam.ServiceProvider{
		EntityID: ours.EntityID(), AcsURL: *acs, IDPMetadata: &entity, Key: key, Certificate: cert,
	}}
}

// reader verifies one posted form and answers whom it names.
type reader func(form string, l sso.Login) (string, error)

func post(form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, gateway+"/saml/okta/acs", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (r rig) byOurs(form string, l sso.Login) (string, error) {
	response, err := r.ours.Receive(httptest.NewRecorder(), post(form))
	if err != nil {
		return "", err
	}
	a, err := response.Verify(context.Background(), l)
	return a.Identity.Subject, err
}

func (r rig) byCrewjam(form string, l sso.Login) (string, error) {
	req := post(form)
	if err := req.ParseForm(); err != nil {
		return "", err
	}
	a, err := r.bare.ParseResponse(req, []string{l.Start.RequestID})
	if err != nil {
		return "", err
	}
	return a.Subject.NameID.Value, nil
}

// kind is a form of message that both readers can read: crewjam has no
// AES-256-GCM, so that AES-128 stands for encryption.
type kind struct {
	name   string
	mutate func(*ssotest.SAMLDraft)
}

var kinds = []kind{
	{"signed assertion", func(*ssotest.SAMLDraft) {}},
	{"signed response and assertion", func(d *ssotest.SAMLDraft) { d.SignResponse = true }},
	{"encrypted signed assertion", func(d *ssotest.SAMLDraft) {
		d.Encrypt = &ssotest.SAMLEncryption{Cipher: ssotest.AES128GCM}
	}},
}

// result are the rates of one kind.
type result struct {
	kind          string
	ours, crewjam []float64 // responses a second, by round
	allocs        [2]uint64 // bytes for one response, ours and crewjam's
}

func (r rig) measure(t *testing.T, k kind) result {
	t.Helper()
	res := result{kind: k.name}
	login := sso.Login{ID: strings.Repeat("a", 43), Kind: sso.Live, Provider: "okta", ReturnPath: "/", Expires: time.Now().Add(sso.LoginLifetime)}
	readers := []reader{r.byOurs, r.byCrewjam}
	rates := [2][]float64{}
	for round := range *rounds {
		// Fresh in each round: crewjam refuses an IssueInstant of 90 s ago.
		l := login
		start, err := r.ours.Begin(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		l.Start = start
		_, response, _, err := r.idp.Respond(start.URL, "alice", k.mutate)
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"SAMLResponse": {response}, "RelayState": {l.ID}}.Encode()
		for n := range readers {
			i := (n + round) % len(readers) // either goes first as often
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			for range *batch {
				if who, err := readers[i](form, l); err != nil || who != "alice" {
					t.Fatalf("%s, reader %d: %q, %v", k.name, i, who, err)
				}
			}
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			rates[i] = append(rates[i], float64(*batch)/took.Seconds())
			res.allocs[i] = (after.TotalAlloc - before.TotalAlloc) / uint64(*batch) //nolint:gosec // positive
		}
	}
	res.ours, res.crewjam = rates[0], rates[1]
	return res
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// ratio is the median of how many times as long as crewjam we take, round by
// round: what else the machine does strikes both readers of a round.
func (r result) ratio() float64 {
	var list []float64
	for i := range r.ours {
		list = append(list, r.crewjam[i]/r.ours[i])
	}
	return median(list)
}

// TestVerificationRate measures, and fails only where a reader does not accept.
// The rates of a busy machine mean nothing; the ratio does.
func TestVerificationRate(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r := newRig(t)
	var results []result
	for _, k := range kinds {
		results = append(results, r.measure(t, k))
	}
	text := report(results)
	t.Log("\n" + text)
	if *out != "" {
		if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func report(results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Verification of SAML responses

What `+"`make samlbench`"+` measured last, on one core (GOMAXPROCS 1, %s/%s, %s), RSA-2048 on both sides: from the posted form to the
assertion, by ssogate (scan, shape, signature, all checks of [decision 011](decisions/011-saml-responses-are-verified-on-goxmldsig.md))
and by bare crewjam/saml, which skips most of them. %d rounds, in each %d responses by one reader and then by the other, turn about. Rates
are medians over the rounds; "times as long" is the median of the ratio within a round. Times of another machine differ, ratios hardly.

| Message | ssogate, a second | crewjam, a second | times as long as crewjam | KiB allocated, ssogate | crewjam |
|---|---|---|---|---|---|
`, runtime.GOOS, runtime.GOARCH, runtime.Version(), *rounds, *batch)
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.2f | %d | %d |\n", r.kind, median(r.ours), median(r.crewjam), r.ratio(), r.allocs[0]>>10, r.allocs[1]>>10)
	}
	b.WriteString("\nEncryption is AES-128-GCM with RSA-OAEP, since crewjam has no AES-256-GCM.\n")
	return b.String()
}
