package scim_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/schema"
)

const bulkURN = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

func bulkBody(failOnErrors int, ops ...string) string {
	return fmt.Sprintf(`{"schemas":[%q],"failOnErrors":%d,"Operations":[%s]}`, bulkURN, failOnErrors, strings.Join(ops, ","))
}

func bulkUser(id, name, more string) string {
	return fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":%q,"data":{"schemas":[%q],"userName":%q%s}}`, id, schema.UserURN, name, more)
}

func bulkGroup(id, name string, members ...string) string {
	return fmt.Sprintf(`{"method":"POST","path":"/Groups","bulkId":%q,"data":{"schemas":[%q],"displayName":%q,"members":%s}}`, id, schema.GroupURN, name, refs(members...))
}

// statuses are those of the operations, in order.
func (a answer) statuses() string {
	list, _ := a.get("Operations").([]any)
	var out []string
	for i := range list {
		out = append(out, a.text("Operations", i, "status"))
	}
	return strings.Join(out, " ")
}

func TestC07BulkRunsEachOperationAsARequestOfItsOwn(t *testing.T) {
	s := newServer(t)
	ana := s.createUser("ana")
	ben := s.createUser("ben")
	s.change(ana, accept)
	a := s.want(200, "POST", "/Bulk", bulkBody(0,
		bulkUser("qwerty", "cleo", ""),
		`{"method":"PUT","path":"/Users/`+ben+`","version":"W/\"1\"","data":{"schemas":["`+schema.UserURN+`"],"userName":"ben","title":"Chief"}}`,
		`{"method":"PATCH","path":"/Users/`+ana+`","data":`+patchBody(`{"op":"replace","path":"active","value":false}`)+`}`,
		`{"method":"DELETE","path":"/Users/`+ben+`","version":"W/\"2\""}`,
	))
	if got := a.statuses(); got != "201 200 200 204" {
		t.Fatalf("statuses %s: %s", got, a.raw)
	}
	if a.text("schemas", 0) != "urn:ietf:params:scim:api:messages:2.0:BulkResponse" || a.text("Operations", 0, "bulkId") != "qwerty" ||
		a.text("Operations", 0, "method") != "POST" || a.text("Operations", 1, "version") != `W/"2"` {
		t.Errorf("%s", a.raw)
	}
	made := a.text("Operations", 0, "location")
	if id := made[strings.LastIndex(made, "/")+1:]; s.want(200, "GET", "/Users/"+id, "").text("meta", "location") != made {
		t.Errorf("location %s", made)
	}
	if s.revoker.waits() == 0 {
		t.Error("a bulk that deprovisions did not wait for the cut-off (G1)")
	}
	if s.stored(ana).Wish {
		t.Error("ana is still wanted")
	}
	s.want(404, "GET", "/Users/"+ben, "")
}

// TestC07BulkResolvesReferences is RFC 7644 section 3.7.2: back, forward, in a
// path, in a PATCH's filter, and in a circle.
func TestC07BulkResolvesReferences(t *testing.T) {
	s := newServer(t)
	boss := func(id string) string {
		return `,"` + schema.EnterpriseURN + `":{"manager":{"value":"bulkId:` + id + `"}}`
	}
	a := s.want(200, "POST", "/Bulk", bulkBody(0,
		bulkGroup("g", "Sales", "bulkId:late", "bulkId:a"), // forward
		bulkUser("a", "ana", boss("b")),                    // a circle of managers
		bulkUser("b", "ben", boss("a")),
		bulkUser("late", "late", boss("late")), // his own
		`{"method":"PATCH","path":"/Groups/bulkId:g","data":`+patchBody(`{"op":"remove","path":"members[value eq \"bulkId:late\"]"}`, `{"op":"add","path":"members","value":[{"value":"bulkId:b"}]}`)+`}`,
		bulkUser("text", "not a bulkId:x", ""),
	))
	if got := a.statuses(); got != "201 201 201 201 204 201" {
		t.Fatalf("statuses %s: %s", got, a.raw)
	}
	id := func(i int) string {
		loc := a.text("Operations", i, "location")
		return loc[strings.LastIndex(loc, "/")+1:]
	}
	manager := func(of string) string {
		return s.want(200, "GET", "/Users/"+of, "").text(schema.EnterpriseURN, "manager", "value")
	}
	if manager(id(1)) != id(2) || manager(id(2)) != id(1) || manager(id(3)) != id(3) {
		t.Errorf("managers %s %s %s of %s", manager(id(1)), manager(id(2)), manager(id(3)), a.raw)
	}
	got := s.members(id(0))
	if len(got) != 2 || strings.Join(got, " ") != strings.Join(sorted(id(1), id(2)), " ") {
		t.Errorf("members %v", got)
	}
}

func TestC07BulkReferencesThatCannotBeResolved(t *testing.T) {
	s := newServer(t)
	s.createUser("taken")
	boss := `,"` + schema.EnterpriseURN + `":{"manager":{"value":"bulkId:%s"}}`
	for _, tc := range []struct {
		name, want string
		ops        []string
		left       float64 // users of the request that exist afterwards
	}{
		{"unknown", "400", []string{bulkUser("a", "u1", fmt.Sprintf(boss, "nobody"))}, 0},
		{"to one that failed", "409 409", []string{bulkUser("a", "taken", ""), bulkGroup("g", "G1", "bulkId:a")}, 0},
		{"forward to one that failed", "409 409", []string{bulkGroup("g", "G2", "bulkId:a"), bulkUser("a", "taken", "")}, 0},
		{"a circle of which one fails", "409 409", []string{bulkUser("a", "taken", fmt.Sprintf(boss, "b")), bulkUser("b", "u2", fmt.Sprintf(boss, "a"))}, 0},
		{"teams in a circle", "409 409", []string{bulkGroup("g", "G3", "bulkId:h"), bulkGroup("h", "G4", "bulkId:g")}, 0},
		{"benign twin", "201 201", []string{bulkUser("a", "u3", fmt.Sprintf(boss, "b")), bulkUser("b", "u4", fmt.Sprintf(boss, "a"))}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			before := s.want(200, "GET", "/Users?count=0", "").get("totalResults").(float64)
			a := s.want(200, "POST", "/Bulk", bulkBody(0, tc.ops...))
			if got := a.statuses(); got != tc.want {
				t.Errorf("statuses %s, want %s: %s", got, tc.want, a.raw)
			}
			after := s.want(200, "GET", "/Users?count=0", "").get("totalResults").(float64)
			if after-before != tc.left {
				t.Errorf("%v users were left, want %v", after-before, tc.left)
			}
		})
	}
}

func TestC07BulkStopsAtFailOnErrors(t *testing.T) {
	s := newServer(t)
	s.createUser("taken")
	dup := func(id string) string { return bulkUser(id, "taken", "") }
	a := s.want(200, "POST", "/Bulk", bulkBody(2, dup("1"), bulkUser("2", "new1", ""), dup("3"), bulkUser("4", "new2", ""), dup("5")))
	if got := a.statuses(); got != "409 201 409" {
		t.Errorf("with failOnErrors 2: %s", got)
	}
	if a.text("Operations", 0, "response", "scimType") != "uniqueness" || a.text("Operations", 0, "response", "status") != "409" || a.get("Operations", 0, "location") != nil {
		t.Errorf("failed POST: %s", a.raw)
	}
	if got := s.want(200, "POST", "/Bulk", bulkBody(0, dup("1"), bulkUser("2", "new3", ""), dup("3"), bulkUser("4", "new4", ""))).statuses(); got != "409 201 409 201" {
		t.Errorf("without: %s", got)
	}
	if got := s.want(200, "GET", "/Users?filter="+escape(`userName eq "new2"`), "").get("totalResults"); got != 0.0 {
		t.Errorf("an operation after the stop was run")
	}
}

func TestC07BulkRefusesWhatItCannotRunBeforeAnythingIsDone(t *testing.T) {
	s := newServer(t)
	ok := bulkUser("ok", "first", "")
	many := make([]string, 1001)
	for i := range many {
		many[i] = bulkUser("b"+itoa(i), "u"+itoa(i), "")
	}
	for _, tc := range []struct {
		name, body string
		status     int
		detail     string
	}{
		{"too many operations", bulkBody(0, many...), 413, "maxOperations"},
		{"no operations", bulkBody(0), 400, "Operations"},
		{"operations is no list", `{"schemas":["` + bulkURN + `"],"Operations":{}}`, 400, "Operations"},
		{"operation is no object", bulkBody(0, ok, `7`), 400, "operation 1"},
		{"no method", bulkBody(0, ok, `{"path":"/Users","bulkId":"x","data":{}}`), 400, "operation 1"},
		{"GET", bulkBody(0, ok, `{"method":"GET","path":"/Users/x"}`), 400, "operation 1"},
		{"POST without bulkId", bulkBody(0, ok, `{"method":"POST","path":"/Users","data":{"userName":"a"}}`), 400, "bulkId"},
		{"bulkId twice", bulkBody(0, ok, ok), 400, "bulkId"},
		{"no path", bulkBody(0, ok, `{"method":"DELETE"}`), 400, "path"},
		{"data is text", bulkBody(0, ok, `{"method":"PUT","path":"/Users/x","data":"y"}`), 400, "data"},
		{"no data", bulkBody(0, ok, `{"method":"PUT","path":"/Users/x"}`), 400, "data"},
		{"key twice in two spellings", bulkBody(0, ok, `{"method":"DELETE","Method":"PUT","path":"/Users/x"}`), 400, "method"},
		{"failOnErrors is text", `{"schemas":["` + bulkURN + `"],"failOnErrors":"1","Operations":[` + ok + `]}`, 400, "failOnErrors"},
		{"failOnErrors is negative", `{"schemas":["` + bulkURN + `"],"failOnErrors":-1,"Operations":[` + ok + `]}`, 400, "failOnErrors"},
		{"no body", ``, 400, ""},
	} {
		a := s.do("POST", "/Bulk", tc.body)
		if a.status != tc.status || !strings.Contains(a.text("detail"), tc.detail) {
			t.Errorf("%s: got %d %s", tc.name, a.status, a.raw)
		}
		s.now.Advance(10 * time.Second) // the rate limit is another test's
	}
	if got := s.want(200, "GET", "/Users?count=0", "").get("totalResults"); got != 0.0 {
		t.Errorf("%v users were made by requests that were refused", got)
	}
	s.want(200, "POST", "/Bulk", bulkBody(0, ok))
}

// TestC07BulkOperationsFailAlone has operations that are refused one by one, for
// the reason that the single request would be.
func TestC07BulkOperationsFailAlone(t *testing.T) {
	s := newServer(t)
	ana := s.createUser("ana")
	s.token = tokenRole
	foreign := s.createUser("foreign")
	s.token = tokenOkta
	for _, tc := range []struct{ name, op, want string }{
		{"a foreign member", `{"method":"DELETE","path":"/Users/` + foreign + `"}`, "404"},
		{"a stale version", `{"method":"DELETE","path":"/Users/` + ana + `","version":"W/\"9\""}`, "412"},
		{"bulk in bulk", `{"method":"POST","path":"/Bulk","bulkId":"x","data":{}}`, "400"},
		{"a search", `{"method":"POST","path":"/Users/.search","bulkId":"x","data":{}}`, "400"},
		{"an unknown path", `{"method":"DELETE","path":"/Nothing/1"}`, "404"},
		{"out of the tree", `{"method":"DELETE","path":"/../../other/scim/v2/Users/` + ana + `"}`, "404"},
		{"a method that the path does not have", `{"method":"DELETE","path":"/Users"}`, "405"},
		{"a PATCH that is none", `{"method":"PATCH","path":"/Users/` + ana + `","data":{"schemas":[]}}`, "400"},
		{"an unreadable path", `{"method":"DELETE","path":"/Users/%zz"}`, "400"},
		{"benign, without the first slash", `{"method":"DELETE","path":"Users/` + ana + `"}`, "204"},
	} {
		a := s.want(200, "POST", "/Bulk", bulkBody(0, tc.op))
		if got := a.statuses(); got != tc.want {
			t.Errorf("%s: %s, want %s: %s", tc.name, got, tc.want, a.raw)
		}
	}
}

func TestC07BulkCostsAsMuchAsItsOperations(t *testing.T) {
	s := newServer(t)
	now := s.now.Now()
	h := s.handler(func(o *scim.Options) { o.Now = func() time.Time { return now } }) // a clock that stands
	send := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+tokenOkta)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	ops := make([]string, 1000)
	for i := range ops {
		ops[i] = `{"method":"DELETE","path":"/Users/x` + itoa(i) + `"}`
	}
	if w := send("POST", "/Bulk", bulkBody(0, ops...)); w.Code != 200 {
		t.Fatalf("%d %.200s", w.Code, w.Body)
	}
	w := send("GET", "/Users", "")
	wait, err := strconv.Atoi(w.Header().Get("Retry-After")) // whole seconds, and true
	if w.Code != http.StatusTooManyRequests || err != nil || wait != 3 {
		t.Fatalf("%d, Retry-After %q: 500 are owed at 200 a second", w.Code, w.Header().Get("Retry-After"))
	}
	now = now.Add(time.Duration(wait) * time.Second)
	if w := send("GET", "/Users", ""); w.Code != 200 {
		t.Errorf("after it: %d", w.Code)
	}
}

func TestC07BulkAnswers503ForWhatTheDirectoryCannotDo(t *testing.T) {
	s := newServer(t)
	ana := s.createUser("ana")
	s.change(ana, func(m *member.Member) { m.Accepted = true })
	s.revoker.set(errTest)
	op := `{"method":"PATCH","path":"/Users/` + ana + `","data":` + patchBody(`{"op":"replace","path":"active","value":false}`) + `}`
	if a := s.want(200, "POST", "/Bulk", bulkBody(0, op)); a.statuses() != "503" || strings.Contains(a.raw, "secret detail") {
		t.Errorf("a cut-off that is not confirmed: %s", a.raw)
	}
	s.revoker.set(nil)
	if a := s.want(200, "POST", "/Bulk", bulkBody(0, op)); a.statuses() != "200" {
		t.Errorf("the repeat: %s", a.raw)
	}
}

// TestC07BulkNeverDeletesWhoWasHereBefore: what a failed circle made is deleted
// again; a member whom it adopted is not.
func TestC07BulkNeverDeletesWhoWasHereBefore(t *testing.T) {
	s := newServer(t)
	s.createUser("taken")
	old := member.Member{ID: "old", UserName: "old", Role: member.RoleMember, Source: member.SourceSSO, Wish: true, Accepted: true, Epoch: 1, Version: 1}
	err := s.db.Update(t.Context(), func(tx member.Tx) error {
		if err := tx.InsertMember(old); err != nil {
			return err
		}
		return tx.InsertIdentity("old", member.Identity{Provider: "okta", Issuer: "iss", Subject: "old"})
	})
	if err != nil {
		t.Fatal(err)
	}
	boss := func(id string) string {
		return `,"` + schema.EnterpriseURN + `":{"manager":{"value":"bulkId:` + id + `"}}`
	}
	a := s.want(200, "POST", "/Bulk", bulkBody(0, bulkUser("a", "taken", boss("b")), bulkUser("b", "old", boss("a"))))
	if got := a.statuses(); got != "409 201" {
		t.Errorf("%s: %s", got, a.raw)
	}
	if m := s.stored("old"); m.Connection != "okta" || !m.Admitted() {
		t.Errorf("the member who was here: %+v", m)
	}
}

// TestC07BulkLeavesNobodyWithAnIdThatCameToNothing: in a circle somebody is made with the
// id of one who is not there yet. When that one fails, or turns out to be here under
// another id, he goes, and so do those who were made with his.
func TestC07BulkLeavesNobodyWithAnIdThatCameToNothing(t *testing.T) {
	boss := func(ids ...string) string {
		out := `,"` + schema.EnterpriseURN + `":{"manager":{"value":"bulkId:` + ids[0] + `"}}`
		for _, id := range ids[1:] {
			out += `,"nickName":"bulkId:` + id + `"`
		}
		return out
	}
	for name, tc := range map[string]struct {
		ops        []string
		want, gone string
	}{
		"adopted under his own id": {[]string{bulkUser("a", "old", boss("b")), bulkUser("b", "new1", boss("a"))}, "201 409", "new1"},
		"two steps from a failure": {[]string{bulkUser("a", "taken", boss("b")), bulkUser("b", "new1", boss("c")), bulkUser("c", "new2", boss("a", "b"))}, "409 409 409", "new1 new2"},
		"beside an adopted one": {[]string{
			bulkUser("a", "old", boss("b")), bulkUser("b", "new1", boss("a")), bulkUser("c", "stays", boss("a")),
		}, "201 409 201", "new1"},
		"nothing failed": {[]string{bulkUser("a", "new1", boss("b")), bulkUser("b", "new2", boss("c")), bulkUser("c", "stays", boss("a", "b"))}, "201 201 201", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.createUser("taken")
			err := s.db.Update(t.Context(), func(tx member.Tx) error {
				old := member.Member{ID: "old", UserName: "old", Role: member.RoleMember, Source: member.SourceSSO, Wish: true, Accepted: true, Epoch: 1, Version: 1}
				return errors.Join(tx.InsertMember(old), tx.InsertIdentity("old", member.Identity{Provider: "okta", Issuer: "iss", Subject: "old"}))
			})
			if err != nil {
				t.Fatal(err)
			}
			a := s.want(200, "POST", "/Bulk", bulkBody(0, tc.ops...))
			if got := a.statuses(); got != tc.want {
				t.Errorf("%s: %s", got, a.raw)
			}
			for who := range strings.FieldsSeq(tc.gone) {
				if s.want(200, "GET", "/Users?filter="+escape(`userName eq "`+who+`"`), "").get("totalResults") != 0.0 {
					t.Errorf("%s was left behind", who)
				}
			}
		})
	}
}

func TestC07BulkWithAMillionReferencesIsAnsweredAtOnce(t *testing.T) {
	s := newServer(t)
	var b strings.Builder
	for i := range 400_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"bulkId:%d"`, i)
	}
	op := `{"method":"PUT","path":"/Users/x","data":{"userName":"a","x":[` + b.String() + `]}}`
	within(t, 10*time.Second, func() {
		if a := s.do("POST", "/Bulk", bulkBody(0, op)); a.status != 200 && a.status != 400 {
			t.Errorf("%d %.200s", a.status, a.raw)
		}
	})
}
