package scim_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// TestTheFlightRecorderSaysWhatEachRequestMeant plays a life and reads it back.
func TestTheFlightRecorderSaysWhatEachRequestMeant(t *testing.T) {
	s := newServer(t)
	s.open = 2
	okta := []string{"User-Agent", "Okta SCIM Client 1.0.0"}
	var want []string
	step := func(sentence, method, path, body string, headers ...string) answer {
		t.Helper()
		a := s.do(method, path, body, headers...)
		want = append(want, sentence)
		s.now.Advance(time.Second)
		return a
	}
	step(`Okta asked whether there is a user with userName eq "ana@example.com": no`, "GET", "/Users?filter="+escape(`userName eq "ana@example.com"`), "", okta...)
	ana := step(`Okta created ana@example.com`, "POST", "/Users", `{"userName":"ana@example.com","displayName":"Ana","password":"1mz050nq"}`, okta...).text("id")
	step(`Okta tried: create ANA@example.com; answered 409, the name is already taken`, "POST", "/Users", `{"userName":"ANA@example.com"}`, okta...)
	step(`Okta asked whether there is a user with userName eq "ana@example.com": yes`, "GET", "/Users?filter="+escape(`userName eq "ana@example.com"`), "", okta...)
	step(`Okta changed title of ana@example.com`, "PATCH", "/Users/"+ana, patchBody(`{"op":"replace","path":"title","value":"x"}`), okta...)
	step(`Okta changed nothing about ana@example.com`, "PATCH", "/Users/"+ana, patchBody(`{"op":"replace","path":"title","value":"x"}`), okta...)
	step(`Entra deactivated ana@example.com: 2 sessions ended in N ms; also changed displayName`, "PATCH", "/Users/"+ana,
		patchBody(`{"op":"Replace","path":"active","value":"False"}`, `{"op":"Replace","path":"displayName","value":"A"}`))
	s.open = 0
	step(`okta re-activated ana@example.com`, "PATCH", "/Users/"+ana, patchBody(`{"op":"replace","path":"active","value":true}`))
	group := step(`okta created Sales with 1 members`, "POST", "/Groups", `{"displayName":"Sales","members":[{"value":"`+ana+`"}]}`).text("id")
	step(`okta in Sales removed 1 members`, "PATCH", "/Groups/"+group, patchBody(`{"op":"remove","path":"members[value eq \"`+ana+`\"]"}`))
	step(`okta in Sales added 1 members`, "PATCH", "/Groups/"+group, patchBody(`{"op":"add","path":"members","value":[{"value":"`+ana+`"}]}`))
	step(`okta in EMEA set the name to "EMEA" and removed all members`, "PUT", "/Groups/"+group, `{"displayName":"EMEA"}`)
	step(`okta tried: in group `+group+` add 1 members; answered 400, unknown members: nobody`, "PATCH", "/Groups/"+group, patchBody(`{"op":"add","path":"members","value":[{"value":"nobody"}]}`))
	step(`okta deleted EMEA`, "DELETE", "/Groups/"+group, "")
	step(`okta listed users: 1 in all`, "GET", "/Users?count=1", "")
	step(`okta searched users by title pr: 1 found`, "GET", "/Users?filter="+escape("title pr"), "")
	step(`okta read ana@example.com`, "GET", "/Users/"+ana, "")
	s.open = 1
	step(`okta tried: read user nobody; answered 404, resource not found`, "GET", "/Users/nobody", "")
	step(`okta deleted ana@example.com: 1 session ended in N ms`, "DELETE", "/Users/"+ana, "")
	step(`okta GET discovery`, "GET", "/Schemas", "")
	step(`okta tried: GET Me; answered 501, this endpoint is not supported`, "GET", "/Me", "")
	step(`curl tried: request without a valid token; answered 401, the bearer token is missing or not valid`, "GET", "/Users", "", "Authorization", "Bearer nonsense", "User-Agent", "curl/8")
	number := regexp.MustCompile(`\d+ ms`)
	list := s.logged(record.LogFilter{Bodies: true})
	var got []string
	for _, e := range list {
		got = append(got, number.ReplaceAllString(e.Meaning, "N ms"))
	}
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Errorf("line %d:\n got %v\nwant %v", i, got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
			}
		}
	}
	cut := list[6]
	if cut.Sessions != 2 || cut.Tolerated != "T1,T2" || cut.Resource != ana || cut.Connection != "okta" || cut.Token != "config" || cut.Status != 200 || cut.Method != "PATCH" || cut.Path != "/Users/"+ana {
		t.Errorf("the deactivation: %+v", cut)
	}
	if e := list[1]; strings.Contains(e.Request, "1mz050nq") || !strings.Contains(e.Request, `"password":"[redacted]"`) || !strings.Contains(e.Response, `"displayName":"Ana"`) {
		t.Errorf("bodies of the creation: %s %s", e.Request, e.Response)
	}
	if e := list[2]; e.Type != "uniqueness" || !strings.Contains(e.Response, scim.ErrorURN) {
		t.Errorf("the refusal: %+v", e)
	}
	if got := s.logged(record.LogFilter{Who: "ANA@example.com"}); len(got) != 8 {
		t.Errorf("%d requests about ana by name", len(got))
	}
	if got := s.logged(record.LogFilter{Who: ana}); len(got) != 7 {
		t.Errorf("%d requests about ana by id", len(got))
	}
	if got := s.logged(record.LogFilter{Errors: true}); len(got) != 5 {
		t.Errorf("%d failures", len(got))
	}
}

func TestBulkOperationsAreRecordedOneByOne(t *testing.T) {
	s := newServer(t)
	s.createUser("taken")
	s.want(200, "POST", "/Bulk", bulkBody(0, bulkUser("1", "ana", ""), bulkUser("2", "taken", "")))
	var got []string
	for _, e := range s.logged(record.LogFilter{})[1:] {
		got = append(got, e.Path+" "+itoa(e.Status)+" "+e.Meaning)
	}
	slices.Sort(got)
	want := []string{
		"/Bulk 200 okta ran 2 bulk operations, 1 of which failed",
		"bulk: /Users 201 okta created ana",
		"bulk: /Users 409 okta tried: create taken; answered 409, the name is already taken",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestDriftIsWhatTheIdPSaidAgainstWhatIsHere covers refusals that were not
// repeated, and changes that were made here.
func TestDriftIsWhatTheIdPSaidAgainstWhatIsHere(t *testing.T) {
	s := newServer(t)
	ana, ben, cleo, dora := s.createUser("ana"), s.createUser("ben"), s.createUser("cleo"), s.createUser("dora")
	s.createUser("fine")
	s.do("POST", "/Users", `{"userName":"FINE"}`) // a repeat, refused: it is here
	s.do("POST", "/Users", `{"userName":"foreign"}`)
	s.token = tokenRole
	s.createUser("elsewhere")
	s.token = tokenOkta
	s.do("POST", "/Users", `{"userName":"elsewhere"}`) // taken by another connection: not here
	s.revoker.set(errTest)
	s.do("PATCH", "/Users/"+ana, patchBody(`{"op":"replace","path":"active","value":false}`)) // committed, not confirmed
	s.revoker.set(nil)
	s.change(ben, suspend)
	s.change(cleo, rename)
	s.change(dora, accept)
	s.want(200, "PATCH", "/Users/"+dora, patchBody(`{"op":"replace","path":"title","value":"x"}`))
	s.createGroup("Sales")
	s.logged(record.LogFilter{})
	list, next, err := s.db.Drifts(t.Context(), "okta", "", 100)
	if err != nil || next != "" {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range list {
		name := d.Name
		if name == "" {
			name = d.Resource
		}
		got[name] = strings.Join(d.What, "; ")
	}
	want := map[string]string{
		"ben":            "suspended here by an owner",
		"cleo":           `displayName: said "cleo", here "Cleo C."`,
		"name:elsewhere": "it is not here: the last request about it was answered 409",
	}
	if len(got) != len(want) {
		t.Errorf("got %q", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
	// The IdP says it again, and all is well.
	s.change(ben, func(m *member.Member) { m.Suspended = false })
	s.want(200, "PUT", "/Users/"+cleo, `{"userName":"cleo","displayName":"Cleo C."}`)
	s.logged(record.LogFilter{})
	if list, _, err := s.db.Drifts(t.Context(), "okta", "", 100); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestL01NoSecretReachesTheFlightRecorder puts secrets wherever a client can.
func TestL01NoSecretReachesTheFlightRecorder(t *testing.T) {
	s := newServer(t)
	token, _, err := scim.CreateToken(t.Context(), s.db, "okta", "prod", "cli", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	id := s.createUser("ana")
	const secret = "hunter2-and-more"
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
		key := draw("key", "password", "PASSWORD", "Pass\\u0077ord", "newPassword", "clientSecret", "api_key", "accessToken", "urn:ietf:params:scim:schemas:core:2.0:User:password", "Authorization")
		value := draw("value", secret, token, "prefix "+token+" suffix", tokenOkta)
		if strings.Contains(value, "okta") || strings.Contains(value, token) {
			key = draw("anywhere", "title", "displayName", "nickName", key)
		}
		object := draw("shape",
			`{"`+key+`":"`+value+`"}`, `{"`+key+`":["`+value+`"]}`, `{"`+key+`":{"value":"`+value+`"}}`, `{"name":{"`+key+`":"`+value+`"}}`,
			`{"emails":[{"`+key+`":"`+value+`"}]}`)
		var method, path, body string
		switch draw("where", "post", "patch", "pathless", "string", "query", "path", "broken", "search", "bulk") {
		case "post":
			method, path, body = "POST", "/Users", object
		case "patch":
			method, path, body = "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"`+key+`","value":"`+value+`"}`)
		case "pathless":
			method, path, body = "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":`+object+`}`)
		case "string":
			method, path, body = "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":"`+strings.ReplaceAll(object, `"`, `\"`)+`"}`)
		case "query":
			method, path = "GET", "/Users?filter="+escape(`password eq "`+value+`"`)+"&"+draw("parameter", "access_token", "x", "password")+"="+escape(value)+"&sortBy="+escape(draw("sort", "userName", token))
		case "path":
			method, path = "GET", "/Users/"+draw("token", token, tokenOkta)
		case "broken":
			method, path, body = "POST", "/Users", object[:len(object)-1]
		case "search":
			method, path, body = "POST", "/Users/.search", `{"filter":"password eq \"`+value+`\""}`
		case "bulk":
			method, path, body = "POST", "/Bulk", bulkBody(0, `{"method":"PUT","path":"/Users/`+id+`","data":`+object+`}`)
		}
		s.now.Advance(time.Minute)
		s.do(method, path, body, "Authorization", "Bearer "+draw("as", token, tokenOkta, "Bearer"))
		for _, e := range s.logged(record.LogFilter{Bodies: true, Limit: 5}) {
			text := strings.Join([]string{e.Token, e.Client, e.Path, e.Meaning, e.Detail, e.Subject, e.Request, e.Response, e.Resource}, "\n")
			for _, bad := range []string{secret, token} {
				if strings.Contains(text, bad) {
					t.Fatalf("%s %s %s\nrecorded as %s", method, path, body, text)
				}
			}
		}
	})
}

// failing is a log whose store is down, or slow.
type failing struct {
	record.Log
	append func([]record.Entry) error
}

func (f failing) AppendLog(_ context.Context, e []record.Entry) error { return f.append(e) }

func TestTheFlightRecorderNeverMakesAnybodyWait(t *testing.T) {
	var kept []record.Entry
	down := true
	r, err := scim.NewRecorder(failing{append: func(e []record.Entry) error {
		if down {
			return errTest
		}
		kept = append(kept, e...)
		return nil
	}}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 { // nothing writes: the queue is bounded, and full
		r.Record(record.Entry{Time: time.Now(), Meaning: "x"})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.Run(ended) // the store is down: everything is lost, and counted
	down = false
	r.Record(record.Entry{Time: time.Now(), Meaning: "after"})
	r.Run(ended)
	if len(kept) != 2 || !slices.ContainsFunc(kept, func(e record.Entry) bool {
		return e.Meaning == "10000 requests before this moment were not recorded: the recorder could not keep up"
	}) {
		t.Errorf("kept %+v", kept)
	}
}

func TestHostileValuesStayDataInTheFlightRecorder_C11(t *testing.T) {
	s := newServer(t)
	name := "=cmd()\u001b[31m\r\nX\u202e"
	s.do("POST", "/Users", `{"userName":"x","displayName":"`+strings.NewReplacer("\u001b", `\u001b`, "\r", `\r`, "\n", `\n`).Replace(name)+`"}`)
	s.do("GET", "/Users?filter="+escape(`userName eq "a\u0000b"`), "", "User-Agent", "\x80\xff")
	if n := len(s.logged(record.LogFilter{})); n != 2 {
		t.Errorf("%d entries", n)
	}
}

// TestL01WhatTheFlightRecorderKeepsOfABody has, for each way in which a secret travels,
// what is kept beside it: a recorder that keeps nothing helps nobody.
func TestL01WhatTheFlightRecorderKeepsOfABody(t *testing.T) {
	const presented = "corp-vault-issued-0123456789"
	ours := "ssogate_scim_" + strings.Repeat("A", 43)
	for _, tc := range []struct{ body, want, why string }{
		{`{"userName":"ana","active":true,"n":1}`, `{"active":true,"n":1,"userName":"ana"}`, "nothing is secret"},
		{`{"title":"x ` + presented + ` y"}`, `{"title":"x [redacted] y"}`, "the request's own token, whatever its form"},
		{`{"` + presented + `":1}`, `{"[redacted]":1}`, "a token as a name"},
		{`{"title":"` + strings.Repeat("a", 1000) + " " + ours + `"}`, `{"title":"` + strings.Repeat("a", 512) + `…"}`, "a token across the place of the cut"},
		{`{"title":"` + strings.Repeat("é", 400) + `"}`, `{"title":"` + strings.Repeat("é", 256) + `…"}`, "a long value is cut between characters"},
		{`{"value":"{\"password\":\"hunter2"}`, `{"value":"[redacted]"}`, "a body in a string that is not whole"},
		{`{"value":"{\"title\":\"boss"}`, `{"value":"{\"title\":\"boss"}`, "the same without a secret"},
		{`{"path":"password","value":["hunter2"]}`, `{"path":"password","value":"[redacted]"}`, "that it was sent is worth knowing"},
		{`{"path":"emails[password eq \"hunter2\"]","value":"x"}`, `{"path":"[redacted]","value":"[redacted]"}`, "a secret in a path"},
		{`{"changePassword":{"supported":false},"password":null}`, `{"changePassword":{"supported":false},"password":null}`, "what says nothing stays"},
		{`{"password":{"supported":false,"value":"hunter2"}}`, `{"password":"[redacted]"}`, "half of it says something"},
		{`{"a":"` + strings.Repeat("x", 64<<10) + `"}`, `{"not kept":"65544 bytes"}`, "too large to look through"},
	} {
		if got := scim.Redacted(tc.body, presented); got != tc.want {
			t.Errorf("%s: %.60s\n got %.200s\nwant %.200s", tc.why, tc.body, got, tc.want)
		}
	}
	list := `[` + strings.TrimSuffix(strings.Repeat(`"0123456789",`, 3000), ",") + `]`
	if got := scim.Redacted(list, ""); len(got) > 16<<10+len("…") || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes of a long list are kept", len(got))
	}
}

func FuzzRedactedBodies(f *testing.F) {
	f.Add(`{"password":"hunter2-and-more"}`)
	f.Add(`{"Operations":[{"op":"add","path":"password","value":["hunter2-and-more"]}]}`)
	f.Add(`{"value":"{\"pass\\u0077ord\":\"hunter2-and-more\"}"}`)
	f.Add(`{"a":[[[{"clientSecret":{"x":"hunter2-and-more"}}]]],"schemas":["` + schema.UserURN + `"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		out := scim.Redacted(body, "presented-token-0123456789")
		if strings.Contains(out, "presented-token-0123456789") || len(out) > 17<<10 {
			t.Fatalf("%q became %q", body, out)
		}
	})
}

func suspend(m *member.Member) { m.Suspended = true }

func rename(m *member.Member) { m.DisplayName = "Cleo C." }

// TestStrangersCannotFloodTheFlightRecorder: whoever has no token leaves a trace, and
// no more than that.
func TestStrangersCannotFloodTheFlightRecorder(t *testing.T) {
	s := newServer(t)
	for range 300 {
		s.do("GET", "/Users", "", "Authorization", "Bearer nonsense")
	}
	s.createUser("ana")
	n := len(s.logged(record.LogFilter{}))
	if n < 20 || n > 60 {
		t.Errorf("%d entries of 300 refused requests and one that was not", n)
	}
	if len(s.logged(record.LogFilter{Who: "ana"})) != 1 {
		t.Error("the one that was not is missing")
	}
}
