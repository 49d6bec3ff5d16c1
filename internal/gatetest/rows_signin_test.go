package gatetest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// refusal is outcome D of the threat table, as the browser sees it.
func (w *world) refusal(what string, v *demo.Visitor, a answer) {
	w.t.Helper()
	if a.Status/100 != 4 {
		w.t.Errorf("%s: status %d", what, a.Status)
	}
	if !strings.Contains(a.Body, "Reference") || strings.Contains(a.Body, "goroutine ") {
		w.t.Errorf("%s: not a plain page with a reference: %.600s", what, a.Body)
	}
	if strings.Contains(a.Body, "complete?code=") || a.Header.Get("Location") != "" {
		w.t.Errorf("%s: the page leads on: %s %.600s", what, a.Header.Get("Location"), a.Body)
	}
	if c := strings.Join(a.Header.Values("Set-Cookie"), "; "); strings.Contains(c, "session=") {
		w.t.Errorf("%s: a session cookie: %s", what, c)
	}
	if v != nil {
		if got := w.api(v, "/"); got.Status != http.StatusUnauthorized {
			w.t.Errorf("%s: the application answers %d afterwards", what, got.Status)
		}
	}
}

// finish follows redirects and refreshes by itself, as a browser does, and
// answers where it comes to rest and after how many steps.
func finish(t *testing.T, v *demo.Visitor, u string) (*demo.Sheet, int) {
	t.Helper()
	for n := range 12 {
		page, err := v.Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		if page.Refresh == "" {
			return page, n
		}
		u = page.Refresh
	}
	t.Fatalf("%s never comes to rest", u)
	return nil, 0
}

// codeURL is where the page after an accepted answer leads.
func codeURL(t *testing.T, origin string, a answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(a.Body, "/complete?code=")
	if a.Status != http.StatusOK || !ok {
		t.Fatalf("the answer was not accepted: %d %.800s", a.Status, a.Body)
	}
	return origin + "/complete?code=" + rest[:43]
}

// samlAnswer begins a SAML sign-in in v's browser and makes the IdP's answer.
func (w *world) samlAnswer(v *demo.Visitor, p ssotest.Person, mutate ...func(*ssotest.SAMLDraft)) (acs string, form url.Values) {
	w.t.Helper()
	acs, resp, state, err := w.SAML.Respond(w.begin(v, run.DemoSAML), p.User, mutate...)
	if err != nil {
		w.t.Fatal(err)
	}
	return acs, url.Values{"SAMLResponse": {resp}, "RelayState": {state}}
}

// fromIdP posts as a page of the identity provider does.
func (w *world) fromIdP(v *demo.Visitor, acs string, form url.Values) answer {
	w.t.Helper()
	return w.postForm(v, acs, form, "Origin", strings.TrimSuffix(w.Facts.SAML, "/metadata"), "Sec-Fetch-Site", "cross-site")
}

// twoIdPs is a world with a second SAML provider that trusts the same identity
// provider under another entity ID.
func twoIdPs(t *testing.T) *world {
	t.Helper()
	w := start(t, func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) {
			c.Providers = append(c.Providers, config.Provider{ID: "other", Name: "Other SAML", Protocol: config.ProtocolSAML, Join: config.JoinIDP, Binding: config.BindingRedirect, MetadataURL: c.Providers[0].MetadataURL})
		}
	})
	xml, err := w.Server.SAMLMetadata("other")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SAML.RegisterMetadata(xml); err != nil {
		t.Fatal(err)
	}
	return w
}

// Rows S12, S13, S17, S27, S28 and S30 from the browser's side, and a few of the
// wrapper's own to see that refusals of the wrapper end well.
func TestSAMLRowsThroughTheWholeProduct(t *testing.T) {
	w := twoIdPs(t)
	w.member(w.ana())
	benign := demo.NewVisitor()
	acs, form := w.samlAnswer(benign, w.ana())
	if page, _ := finish(t, benign, codeURL(t, w.Facts.Gateway, w.fromIdP(benign, acs, form))); page.Status != http.StatusOK || !strings.HasPrefix(page.URL.String(), w.Facts.App) {
		t.Fatalf("benign: %s %d", page.URL, page.Status)
	}

	t.Run("S12", func(t *testing.T) {
		w := w.as(t)
		v := demo.NewVisitor()
		_, first := w.samlAnswer(v, w.ana())
		acs, second := w.samlAnswer(v, w.ana())
		w.refusal("answer to another request of the same browser", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": first["SAMLResponse"], "RelayState": second["RelayState"]}))
		w.refusal("a request nobody made", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": first["SAMLResponse"], "RelayState": {strings.Repeat("A", 43)}}))
		w.refusal("no RelayState", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": first["SAMLResponse"]}))
		finish(t, v, codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, second)))
		stranger := demo.NewVisitor()
		a := w.fromIdP(stranger, acs, second)
		w.refusal("used twice", stranger, a)
		if !strings.Contains(a.Body, "Sign in again") {
			t.Error("the page offers no way on")
		}
		late := demo.NewVisitor()
		acs, form := w.samlAnswer(late, w.ana())
		w.clock.Advance(61 * time.Minute)
		w.refusal("expired", late, w.fromIdP(late, acs, form))
	})
	t.Run("S13", func(t *testing.T) {
		w := w.as(t)
		v := demo.NewVisitor()
		acs, resp, err := w.SAML.Unsolicited("", w.ana().User)
		if err != nil {
			t.Fatal(err)
		}
		a := w.fromIdP(v, acs, url.Values{"SAMLResponse": {resp}})
		if a.Status != http.StatusOK || strings.Contains(a.Body, "complete?code=") || w.api(v, "/").Status != http.StatusUnauthorized {
			t.Fatalf("an unsolicited response is believed: %d %s", a.Status, a.Body)
		}
		// The sign-in of our own that it becomes.
		page, steps := finish(t, v, w.Facts.Gateway+"/login?provider="+run.DemoSAML+"&bounce=1")
		if !strings.HasPrefix(page.URL.String(), strings.TrimSuffix(w.Facts.SAML, "/metadata")) || steps > 3 {
			t.Errorf("it leads to %s after %d steps", page.URL, steps)
		}
		// With the RelayState of a real sign-in it is still unsolicited.
		_, form := w.samlAnswer(v, w.ana())
		a = w.fromIdP(v, acs, url.Values{"SAMLResponse": {resp}, "RelayState": form["RelayState"]})
		if strings.Contains(a.Body, "complete?code=") || strings.Contains(strings.Join(a.Header.Values("Set-Cookie"), ";"), "session=") || w.api(v, "/").Status != http.StatusUnauthorized {
			t.Errorf("unsolicited, with a RelayState of ours: %d %s", a.Status, a.Body)
		}
	})
	t.Run("S17", func(t *testing.T) {
		w := w.as(t)
		v := demo.NewVisitor()
		acs, form := w.samlAnswer(v, w.ana())
		code := codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form))
		w.refusal("same bytes twice, before completion", v, w.fromIdP(v, acs, form))
		doc := etree.NewDocument()
		raw, _ := base64.StdEncoding.DecodeString(form.Get("SAMLResponse"))
		if err := doc.ReadFromBytes(raw); err != nil {
			t.Fatal(err)
		}
		doc.Root().CreateAttr("ID", "id-wrapped-again")
		again, err := doc.WriteToBytes()
		if err != nil {
			t.Fatal(err)
		}
		w.refusal("the assertion in a new Response", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(again)}, "RelayState": form["RelayState"]}))
		if page, _ := finish(t, v, code); page.Status != http.StatusOK {
			t.Errorf("the genuine one after the replays: %s %d", page.URL, page.Status)
		}
	})
	t.Run("S27", func(t *testing.T) {
		w := w.as(t)
		acs, resp, err := w.SAML.Unsolicited("", w.ana().User)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{
			"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)", strings.Repeat("x", 5<<10), "/\tevil.example", "／／evil.example", "data:text/html,x", `"><script>alert(1)</script>`,
		} {
			for what, v := range map[string]string{"unsolicited": resp, "solicited": form.Get("SAMLResponse")} {
				a := w.fromIdP(nil, acs, url.Values{"SAMLResponse": {v}, "RelayState": {state}})
				if a.Status >= 500 || a.Header.Get("Location") != "" || strings.Contains(a.Body, "evil.example") || strings.Contains(a.Body, "alert(1)") || strings.Contains(a.Body, "complete?code=") {
					t.Errorf("%s with RelayState %.40q: %d to %q: %.300s", what, state, a.Status, a.Header.Get("Location"), a.Body)
				}
			}
		}
	})
	t.Run("S28", func(t *testing.T) {
		w := w.as(t)
		v := demo.NewVisitor()
		acs, form := w.samlAnswer(v, w.ana())
		w.refusal("GET", v, w.get(v, acs+"?"+form.Encode()))
		w.refusal("query on a POST", v, w.fromIdP(v, acs+"?x=1", form))
		w.refusal("SAMLart by GET", v, w.get(v, acs+"?SAMLart=AAQAAMh48"))
		w.refusal("SAMLart by POST", v, w.fromIdP(v, acs, url.Values{"SAMLart": {"AAQAAMh48"}, "RelayState": form["RelayState"]}))
		w.refusal("SAMLart beside the response", v, w.fromIdP(v, acs, url.Values{"SAMLart": {"AAQAAMh48"}, "SAMLResponse": form["SAMLResponse"], "RelayState": form["RelayState"]}))
		multi := "--b\r\nContent-Disposition: form-data; name=\"SAMLResponse\"\r\n\r\n" + form.Get("SAMLResponse") + "\r\n--b--\r\n"
		w.refusal("multipart", v, w.send(v, http.MethodPost, acs, strings.NewReader(multi), "Content-Type", "multipart/form-data; boundary=b"))
		w.refusal("two responses", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": {form.Get("SAMLResponse"), form.Get("SAMLResponse")}, "RelayState": form["RelayState"]}))
		if a := w.fromIdP(v, acs, form); !strings.Contains(a.Body, "complete?code=") {
			t.Errorf("the genuine one after that: %d: a refusal must not use it up", a.Status)
		}
	})
	t.Run("S04 S10 S11 S18", func(t *testing.T) {
		w := w.as(t)
		for what, mutate := range map[string]func(*ssotest.SAMLDraft){
			"no signature": func(d *ssotest.SAMLDraft) { d.SignAssertion, d.SignResponse = false, false },
			"other audience": func(d *ssotest.SAMLDraft) {
				d.EditAssertion = setText(".//AudienceRestriction/Audience", "https://evil.example")
			},
			"other recipient": func(d *ssotest.SAMLDraft) {
				d.EditAssertion = func(e *etree.Element) {
					e.FindElement(".//SubjectConfirmationData").CreateAttr("Recipient", "https://evil.example/acs")
				}
			},
			"other issuer": func(d *ssotest.SAMLDraft) { d.EditAssertion = setText("./Issuer", "https://evil.example") },
		} {
			v := demo.NewVisitor()
			acs, form := w.samlAnswer(v, w.ana(), mutate)
			w.refusal(what, v, w.fromIdP(v, acs, form))
		}
	})
	t.Run("S30", func(t *testing.T) { lanes(t, w.as(t)) })
}

func setText(path, text string) func(*etree.Element) {
	return func(e *etree.Element) { e.FindElement(path).SetText(text) }
}

// lanes: a response counts only for the provider that was asked, while it is active.
func lanes(t *testing.T, w *world) {
	v := demo.NewVisitor()
	acs, form := w.samlAnswer(v, w.ana())
	other := strings.Replace(acs, "/"+run.DemoSAML+"/", "/other/", 1)
	w.refusal("at another provider's ACS", v, w.fromIdP(v, other, form))
	w.refusal("at an ACS of nobody", v, w.fromIdP(v, strings.Replace(acs, "/"+run.DemoSAML+"/", "/nobody/", 1), form))
	w.refusal("at the ACS of an OpenID provider", v, w.fromIdP(v, strings.Replace(acs, "/"+run.DemoSAML+"/", "/"+run.DemoOIDC+"/", 1), form))

	// A browser that asked both: each answer fits only its own question.
	otherAt := w.begin(v, "other")
	_, resp, state, err := w.SAML.Respond(otherAt, w.ana().User)
	if err != nil {
		t.Fatal(err)
	}
	w.refusal("other's answer for our question", v, w.fromIdP(v, acs, url.Values{"SAMLResponse": {resp}, "RelayState": form["RelayState"]}))
	w.refusal("our answer for other's question", v, w.fromIdP(v, other, url.Values{"SAMLResponse": form["SAMLResponse"], "RelayState": {state}}))

	// Disabled between question and answer, and between answer and completion.
	code := codeURL(t, w.Facts.Gateway, w.fromIdP(v, acs, form))
	late := demo.NewVisitor()
	_, lateForm := w.samlAnswer(late, w.ana())
	session := w.signedIn(w.ben())
	live := w.Server.Settings()
	before := live.Load()
	off := *before
	off.Providers = append([]settings.Provider(nil), before.Providers...)
	for i := range off.Providers {
		if off.Providers[i].ID == run.DemoSAML {
			off.Providers[i].Active = false
		}
	}
	live.Store(&off)
	defer live.Store(before)
	w.refusal("disabled since the question", late, w.fromIdP(late, acs, lateForm))
	page, _ := finish(t, v, code)
	if page.Status != http.StatusForbidden || w.api(v, "/").Status != http.StatusUnauthorized {
		t.Errorf("disabled since the answer: %s %d", page.URL, page.Status)
	}
	if a := w.get(demo.NewVisitor(), w.Facts.Gateway+"/login?provider="+run.DemoSAML); a.Status != http.StatusNotFound {
		t.Errorf("a new sign-in through it: %d", a.Status)
	}
	_ = session // whether its sessions end is the console's to decide and to tell
}

// Rows O01, O02, O03, O05 to O09 from the browser's side.
func TestOIDCRowsThroughTheWholeProduct(t *testing.T) {
	w := start(t)
	ask := func(v *demo.Visitor) string { return w.begin(v, run.DemoOIDC) }
	answerTo := func(t *testing.T, question string) string {
		t.Helper()
		u, err := w.OP.SignIn(question, w.ben().User)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	benign := demo.NewVisitor()
	question := ask(benign)
	back := answerTo(t, question)
	page, _ := finish(t, benign, back)
	if !strings.HasPrefix(page.URL.String(), w.Facts.App) || page.Status != http.StatusOK {
		t.Fatalf("benign: %s %d", page.URL, page.Status)
	}
	t.Run("O07", func(t *testing.T) {
		q := query(t, question)
		if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("nonce")) < 22 || len(q.Get("state")) < 22 {
			t.Errorf("the request is %v", q)
		}
	})
	t.Run("O08", func(t *testing.T) {
		w := w.as(t)
		a := w.get(benign, back)
		if a.Status/100 != 4 || !strings.Contains(a.Body, "Sign in again") || strings.Contains(a.Body, "complete?code=") {
			t.Errorf("callback reloaded: %d %.400s", a.Status, a.Body)
		}
		if got := w.api(benign, "/"); got.Status != http.StatusOK {
			t.Errorf("the session after a reload: %d", got.Status)
		}
		w.refusal("the code in another browser", demo.NewVisitor(), w.get(nil, back))
	})
	t.Run("O01", func(t *testing.T) {
		w := w.as(t)
		for what, change := range map[string]func(url.Values){
			"missing": func(q url.Values) { q.Del("state") }, "empty": func(q url.Values) { q.Set("state", "") },
			"wrong": func(q url.Values) { q.Set("state", strings.Repeat("A", 43)) }, "twice": func(q url.Values) { q.Add("state", q.Get("state")) },
		} {
			v := demo.NewVisitor()
			good := answerTo(t, ask(v))
			u, _ := url.Parse(good)
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			w.refusal("state "+what, v, w.get(v, u.String()))
			if page, _ := finish(t, v, good); page.Status != http.StatusOK {
				t.Errorf("state %s used up the genuine answer: %s %d", what, page.URL, page.Status)
			}
		}
		attacker, victim := demo.NewVisitor(), demo.NewVisitor()
		w.notSignedInBy(victim, answerTo(t, ask(attacker)), w.ben().User)
	})
	for _, tt := range []struct {
		row, what string
		hooks     ssotest.OPHooks
	}{
		{"O02", "wrong iss parameter", ssotest.OPHooks{Callback: func(q url.Values) { q.Set("iss", "https://evil.example") }}},
		{"O02", "wrong iss in the ID token", claim("iss", "https://evil.example")},
		{"O03", "wrong nonce", claim("nonce", strings.Repeat("n", 43))},
		{"O03", "no nonce", claim("nonce", nil)},
		{"O05", "other audience", claim("aud", "somebody-else")},
		{"O05", "ours and another, azp another", ssotest.OPHooks{Claims: func(c map[string]any) { c["aud"], c["azp"] = []string{"ssogate-demo", "x"}, "x" }}},
		{"O06", "expired", claim("exp", time.Now().Add(-time.Hour).Unix())},
		{"O06", "from tomorrow", claim("iat", time.Now().Add(24*time.Hour).Unix())},
	} {
		t.Run(tt.row+" "+tt.what, func(t *testing.T) {
			w := w.as(t)
			w.OP.SetHooks(tt.hooks)
			defer w.OP.SetHooks(ssotest.OPHooks{})
			v := demo.NewVisitor()
			w.refusal(tt.what, v, w.get(v, answerTo(t, ask(v))))
		})
	}
	t.Run("O09", func(t *testing.T) {
		w := w.as(t)
		for _, description := range []string{"no", "<script>alert(1)</script>", "a\r\nSet-Cookie: x=1", `"><img src=x onerror=alert(1)>`, strings.Repeat("x", 2000)} {
			v := demo.NewVisitor()
			q := url.Values{"error": {"access_denied"}, "error_description": {description}, "state": {query(t, ask(v)).Get("state")}}
			a := w.get(v, w.Facts.Gateway+"/oauth/"+run.DemoOIDC+"/callback?"+q.Encode())
			w.refusal("error callback", v, a)
			if strings.Contains(a.Body, "alert(1)") || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("the description arrives: %.600s", a.Body)
			}
		}
	})
}

func claim(name string, value any) ssotest.OPHooks {
	return ssotest.OPHooks{Claims: func(c map[string]any) {
		if value == nil {
			delete(c, name)
			return
		}
		c[name] = value
	}}
}

func query(t *testing.T, u string) url.Values {
	t.Helper()
	p, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return p.Query()
}

// notSignedInBy opens a link of an attacker in a victim's browser, follows it
// to its end, and checks that the victim is not the attacker now.
func (w *world) notSignedInBy(victim *demo.Visitor, link, attacker string) {
	w.t.Helper()
	before := w.api(victim, "/.sso/whoami")
	finish(w.t, victim, link)
	for what, a := range map[string]answer{
		"the application": w.api(victim, "/.sso/whoami"),
		"the gateway":     w.get(victim, w.Facts.Gateway+"/me"),
	} {
		if strings.Contains(a.Body, attacker) {
			w.t.Errorf("login CSRF: at %s the victim acts as %s", what, attacker)
		}
	}
	if after := w.api(victim, "/.sso/whoami"); after.Status != before.Status {
		w.t.Errorf("the victim's own state changed: %d, was %d", after.Status, before.Status)
	}
}
