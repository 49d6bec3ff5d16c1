package gatetest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
)

// G7: writers at the same time lose nothing, whatever the engine.
func TestGuaranteeNothingLostConcurrentGroupWriters(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		create := func(path, body string) string {
			a := w.scim(http.MethodPost, path, body)
			var made struct{ ID string }
			if err := jsonInto(a.Body, &made); a.Status != http.StatusCreated || err != nil {
				t.Fatalf("%s: %d %s", path, a.Status, a.Body)
			}
			return made.ID
		}
		group := create("/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Everyone"}`)
		var leave []string
		for i := range 8 {
			leave = append(leave, create("/Users", userBody(fmt.Sprintf("leave-%d@example.com", i), "x")))
		}
		ids := make([]string, 16)
		for i := range ids {
			ids[i] = create("/Users", userBody(fmt.Sprintf("join-%d@example.com", i), "x"))
		}
		patch := func(op, id string) answer {
			path := `"members","value":[{"value":"` + id + `"}]`
			if op == "remove" {
				path = `"members[value eq \"` + id + `\"]"`
			}
			return w.scim(http.MethodPatch, "/Groups/"+group, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"`+op+`","path":`+path+`}]}`)
		}
		for _, id := range leave {
			if a := patch("add", id); a.Status/100 != 2 {
				t.Fatalf("benign add: %d %s", a.Status, a.Body)
			}
		}
		var wg sync.WaitGroup
		for i, id := range ids {
			wg.Go(func() {
				for range 5 { // an IdP tries again after a 503 and after a 409
					if a := patch("add", id); a.Status/100 == 2 {
						return
					}
				}
				t.Errorf("adding %d was never accepted", i)
			})
		}
		for i, id := range leave {
			wg.Go(func() {
				for range 5 {
					if a := patch("remove", id); a.Status/100 == 2 {
						return
					}
				}
				t.Errorf("removing %d was never accepted", i)
			})
		}
		wg.Wait()
		a := w.scim(http.MethodGet, "/Groups/"+group, "")
		for i, id := range ids {
			if !strings.Contains(a.Body, id) {
				t.Errorf("member %d was acknowledged and is lost", i)
			}
		}
		for i, id := range leave {
			if strings.Contains(a.Body, id) {
				t.Errorf("member %d was removed, acknowledged, and is there", i)
			}
		}
	})
}

// Row D01 and rule C13: strangers cannot use up what members need.
func TestGuaranteeBoundedPendingSignIns(t *testing.T) {
	const budget = 100
	flood := 2000 // once; the second engine needs no more than to be full
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		defer func() { flood = 3 * budget }()
		var redis string
		w := start(t, with, func(o *run.DemoOptions) {
			redis = o.Redis
			o.Adjust = func(c *config.Config) { c.Limits.PendingSignIns = budget }
		})
		ana := w.signedIn(w.ana())
		// One who has begun before the flood.
		early := demo.NewVisitor()
		acs, form := w.samlAnswer(early, w.ben())

		var mu sync.Mutex
		count := map[int]int{}
		bad := map[string]int{}
		work := make(chan int)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i := range work {
					a := w.get(nil, fmt.Sprintf("%s/page/%d?%s", w.Facts.App, i, strings.Repeat("x", 100)))
					mu.Lock()
					count[a.Status]++
					if a.Status != http.StatusFound && (a.Header.Get("Retry-After") == "" || len(a.Header.Values("Set-Cookie")) > 0) {
						bad[fmt.Sprint(a.Header)]++
					}
					mu.Unlock()
				}
			})
		}
		for i := range flood {
			work <- i
		}
		close(work)
		wg.Wait()
		// A busy machine may make Redis too slow for its time: that is a 503, and counted.
		refused := count[http.StatusTooManyRequests] + count[http.StatusServiceUnavailable]
		if n := count[http.StatusFound]; n == 0 || n > budget || n+refused != flood || count[http.StatusTooManyRequests] < flood/2 {
			t.Errorf("D01: %v, with room for %d", count, budget)
		}
		if len(bad) > 0 {
			t.Errorf("D01: refused without Retry-After, or with cookies: %v", bad)
		}
		// The others.
		if a := w.api(ana, "/"); a.Status != http.StatusOK {
			t.Errorf("D01: a member who is signed in: %d", a.Status)
		}
		if a := w.scim(http.MethodGet, "/Users", ""); a.Status != http.StatusOK {
			t.Errorf("D01: SCIM: %d", a.Status)
		}
		if page, _ := finish(t, early, codeURL(t, w.Facts.Gateway, w.fromIdP(early, acs, form))); page.Status != http.StatusOK && !strings.Contains(page.Body, "complete/accept") {
			t.Errorf("D01: whoever was at the identity provider already: %s %d", page.URL, page.Status)
		}
		// What nobody finishes goes by itself.
		w.clock.Advance(61 * time.Minute)
		if redis != "" {
			flush(t, redis) // the share that all nodes have in common goes by the clock of the server, which no test can move
		}
		if a := w.get(nil, w.Facts.App+"/later"); a.Status != http.StatusFound {
			t.Errorf("D01: an hour later: %d", a.Status)
		}
	})
}

// Rows S26 and C06, and the like at the application: every input has an end.
func TestGuaranteeBoundedInputs(t *testing.T) {
	w, seen := gated(t)
	v := w.signedIn(w.ana())
	acs, genuine := w.samlAnswer(demo.NewVisitor(), w.ana())
	state := genuine.Get("RelayState")
	saml := func(xml string) func() answer {
		form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(xml))}, "RelayState": {state}}
		return func() answer { return w.fromIdP(nil, acs, form) }
	}
	const open = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="a" Version="2.0">`
	scim := func(body string) func() answer {
		return func() answer { return w.scim(http.MethodPost, "/Users", body) }
	}
	const user = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":`
	if a := scim(user + `"bounded@example.com"}`)(); a.Status != http.StatusCreated {
		t.Fatalf("benign SCIM: %d %s", a.Status, a.Body)
	}
	var spaces strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&spaces, ` xmlns:n%d="urn:x"`, i)
	}
	for _, tt := range []struct {
		name string
		do   func() answer
		want []int
	}{
		{"S26 1 MB body", saml(open + strings.Repeat("x", 1<<20) + "</samlp:Response>"), []int{403, 413}},
		{"S26 20,000 levels", saml(open + strings.Repeat("<a>", 20000)), []int{403}},
		{"S26 10,000 assertions", saml(open + strings.Repeat("<saml:Assertion/>", 10000) + "</samlp:Response>"), []int{403}},
		{"S26 8,000 namespaces", saml(strings.TrimSuffix(open, ">") + spaces.String() + "></samlp:Response>"), []int{403}},
		{"S09 an entity bomb", saml(`<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>` + open + "&b;</samlp:Response>"), []int{403}},
		{"C06 17 MB", scim(user + `"` + strings.Repeat("x", 17<<20) + `"}`), []int{413}},
		{"C06 10,000 levels", scim(strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000)), []int{400}},
		{"C06 10,000 arrays", scim(user + `"d@example.com","emails":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}"), []int{400}},
		{"C06 a key twice", scim(user + `"e@example.com","userName":"f@example.com"}`), []int{400}},
		{"C06 1e400", scim(user + `"g@example.com","title":1e400}`), []int{400}},
		{"C06 not UTF-8", scim(user + "\"h\xff@example.com\"}"), []int{400}},
		{"C06 no JSON", scim("{"), []int{400}},
		{"C05 a filter of 10,000 brackets", func() answer {
			return w.scim(http.MethodGet, "/Users?filter="+strings.Repeat("(", 10000), "")
		}, []int{400, 414}},
		{"T06 a URL of 64 KB", func() answer { return w.get(v, w.Facts.App+"/"+strings.Repeat("x", 64<<10)) }, []int{414, 431}},
		{"T06 2 MB of headers", func() answer { return tooLarge(w, v) }, []int{431}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen.take()
			begin := time.Now()
			a := tt.do()
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			ok := false
			for _, s := range tt.want {
				ok = ok || a.Status == s
			}
			if !ok || strings.Contains(a.Body, "goroutine ") {
				t.Errorf("%d, want %v: %.300s", a.Status, tt.want, a.Body)
			}
			if len(seen.take()) > 0 {
				t.Error("it reached the application")
			}
			if strings.HasPrefix(tt.name, "C") && !strings.HasPrefix(a.Header.Get("Content-Type"), "application/scim+json") {
				t.Errorf("not in SCIM shape: %s", a.Header.Get("Content-Type"))
			}
		})
	}
	if a := w.api(v, "/"); a.Status != http.StatusOK {
		t.Errorf("afterwards: %d", a.Status)
	}
}

// tooLarge sends more header bytes than fit, and reads the answer that comes
// before all are sent.
func tooLarge(w *world, v *demo.Visitor) answer {
	status, h, body := w.raw(line("/", "Cookie: "+cookieHeader(w.t, v, w.Facts.App), "X-Large: "+strings.Repeat("x", 2<<20)))
	if status == 0 {
		status = http.StatusRequestHeaderFieldsTooLarge // cut off while sending: as good
	}
	return answer{status, h, body}
}

// Row C01: a wrong token is nobody, in SCIM's own shape.
func TestSCIMTokenIsAskedForEverywhere(t *testing.T) {
	w := start(t)
	good := "Bearer " + w.Facts.Token
	if a := w.scim(http.MethodGet, "/Users", ""); a.Status != http.StatusOK {
		t.Fatalf("benign: %d", a.Status)
	}
	id := w.userID(w.ana())
	paths := []string{"/Users", "/Users/" + id, "/Users/nobody", "/Groups", "/Groups/x", "/Bulk", "/nothing", "/.search"}
	for what, header := range map[string]string{
		"none": "", "empty": "Bearer ", "wrong": "Bearer " + w.Facts.Token[:len(w.Facts.Token)-1] + "x", "cut": good[:len(good)-1], "longer": good + "x", "Basic": "Basic " + w.Facts.Token,
		"no scheme": w.Facts.Token, "upper case": strings.ToUpper(good), "a huge one": "Bearer " + strings.Repeat("x", 20<<10), "with a comma": good + ", " + good,
	} {
		for _, p := range paths {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
				a := w.send(nil, method, w.Facts.SCIMBase+p, strings.NewReader("{}"), "Authorization", header, "Content-Type", "application/scim+json")
				if a.Status != http.StatusUnauthorized || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/scim+json") {
					t.Errorf("C01 %s %s with token %s: %d %s", method, p, what, a.Status, a.Header.Get("Content-Type"))
				}
			}
		}
	}
	for _, q := range []string{"access_token", "token", "bearer", "authorization"} {
		if a := w.send(nil, http.MethodGet, w.Facts.SCIMBase+"/Users?"+q+"="+w.Facts.Token, nil); a.Status != http.StatusUnauthorized {
			t.Errorf("C01 in the query as %s: %d", q, a.Status)
		}
	}
	if strings.Contains(w.log.String(), w.Facts.Token) {
		t.Error("C01, L01: a token sent in a query is in the log")
	}
	for _, slug := range []string{"other", "DEMO", "demo2", "..", "%2e%2e", "demo%00", ""} {
		u := strings.Replace(w.Facts.SCIMBase, "/organizations/demo/", "/organizations/"+slug+"/", 1)
		a := w.send(nil, http.MethodGet, u+"/Users", nil, "Authorization", good)
		if a.Status/100 == 2 || a.Status >= 500 || strings.Contains(a.Body, w.ana().User) {
			t.Errorf("C01 with slug %q: %d %.200s", slug, a.Status, a.Body)
		}
	}
	// A member's session is no token, and a token is no session.
	v := w.signedIn(w.ana())
	if a := w.send(v, http.MethodGet, w.Facts.SCIMBase+"/Users", nil); a.Status != http.StatusUnauthorized {
		t.Errorf("C01 with a member's cookie: %d", a.Status)
	}
	if a := w.send(nil, http.MethodGet, w.Facts.App+"/", nil, "Authorization", good, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
		t.Errorf("C01 at the application: %d", a.Status)
	}
}
