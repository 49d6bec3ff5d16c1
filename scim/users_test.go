package scim_test

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/schema"
)

const full = `{"schemas":["` + schema.UserURN + `","` + schema.EnterpriseURN + `"],"userName":"ana@example.com","externalId":"00u1",
"name":{"givenName":"Ana","familyName":"Lee","honorificPrefix":"Dr"},"displayName":"Ana Lee","title":"Head","locale":"de-CH",
"emails":[{"value":"ana@home.example","type":"home"},{"value":"ana@example.com","type":"work","primary":true}],
"roles":[{"value":"admin"}],"password":"hunter2","groups":[],"active":true,
"` + schema.EnterpriseURN + `":{"department":"Sales"}}`

func TestCreateUserAnswersTheWholeResource(t *testing.T) {
	s := newServer(t)
	a := s.want(201, "POST", "/Users", full)
	id := a.text("id")
	location := "https://sso.example.com" + base + "/Users/" + id
	if a.header.Get("Location") != location || a.text("meta", "location") != location || a.header.Get("Content-Location") != location {
		t.Errorf("Location %q, meta.location %q", a.header.Get("Location"), a.text("meta", "location"))
	}
	if a.header.Get("ETag") != `W/"1"` || a.text("meta", "version") != `W/"1"` || a.text("meta", "created") != a.text("meta", "lastModified") {
		t.Errorf("ETag or meta: %s", a.raw)
	}
	if a.text("meta", "resourceType") != "User" || a.get("active") != true || a.text("name", "honorificPrefix") != "Dr" ||
		a.text(schema.EnterpriseURN, "department") != "Sales" || a.text(schema.MemberURN, "state") != "invited" || a.text("emails", 1, "value") != "ana@example.com" {
		t.Errorf("parts are missing: %s", a.raw)
	}
	for _, urn := range []string{schema.UserURN, schema.EnterpriseURN} {
		if list, _ := a.get("schemas").([]any); !slices.Contains(list, any(urn)) {
			t.Errorf("schemas lacks %s", urn)
		}
	}
	if strings.Contains(a.raw, "hunter2") || strings.Contains(a.raw, "null") {
		t.Errorf("answer holds a password or null: %s", a.raw)
	}
	got := s.want(200, "GET", "/Users/"+id, "")
	if !reflect.DeepEqual(got.body, a.body) {
		t.Errorf("GET differs from the 201:\n%s\n%s", got.raw, a.raw)
	}
	m := s.stored(id)
	if m.Accepted || !m.Wish || m.Role != member.RoleMember || m.Source != member.SourceSCIM || m.Connection != "okta" || m.Email != "ana@example.com" {
		t.Errorf("stored as %+v", m)
	}
}

func TestC02MassAssignmentIsInert(t *testing.T) {
	s := newServer(t)
	id := s.want(201, "POST", "/Users", `{"userName":"a","id":"chosen","meta":{"version":"9"},"isAdmin":true,"accepted":true,"fallback":true,"epoch":9,
		"roles":[{"value":"owner"}],"password":"hunter2","`+schema.MemberURN+`":{"role":"manager","state":"active","isAdmin":true}}`).text("id")
	check := func(when string) {
		t.Helper()
		m := s.stored(id)
		if id == "chosen" || m.Role != member.RoleMember || m.Accepted || m.Fallback || m.Epoch > 2 || m.State() != member.StateInvited {
			t.Fatalf("%s: %+v", when, m)
		}
		if strings.Contains(string(m.Document), "hunter2") || strings.Contains(string(m.Document), "isAdmin") {
			t.Fatalf("%s: stored %s", when, m.Document)
		}
	}
	check("POST")
	s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","value":{"id":"x","isAdmin":true,"role":"owner","password":"hunter2","`+schema.MemberURN+`":{"role":"manager","state":"active"}}}`))
	check("path-less PATCH")
	s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"password","value":"hunter2"}`, `{"op":"add","path":"`+schema.MemberURN+`:role","value":"manager"}`))
	check("PATCH with paths")
	s.want(200, "PUT", "/Users/"+id, `{"userName":"a","password":"hunter2","`+schema.MemberURN+`":{"role":"manager"}}`)
	check("PUT")

	s.token = tokenRole // the benign twin: this connection may set roles
	a := s.want(201, "POST", "/Users", `{"userName":"b","`+schema.MemberURN+`":{"role":"manager"}}`)
	if s.stored(a.text("id")).Role != member.RoleManager || a.text(schema.MemberURN, "role") != "manager" {
		t.Fatalf("may_set_role does not work: %s", a.raw)
	}
}

func TestC03NoSecondMemberByALookalikeName(t *testing.T) {
	s := newServer(t)
	id := s.createUser("kim.isik@example.com")
	s.createUser("kim.other@example.com") // benign twin: another name is free
	for name, why := range map[string]string{
		"Kim.Isik@Example.COM":       "case",
		"\u212Aim.isik@example.com":  "Kelvin sign",
		"kim.\u0131sik@example.com":  "dotless i",
		"\uFF4Bim.isik@example.com":  "full-width k",
		"kim.isik\u200B@example.com": "zero-width space",
		"kim.isik@example.com.":      "trailing dot",
		" kim.isik@example.com ":     "spaces",
		"k\u0456m.isik@example.com":  "Cyrillic i",
		"kim.isik@exam\u00ADple.com": "soft hyphen",
		"kim\uFF0Eisik@example.com":  "full-width dot",
		"\u202Ekim.isik@example.com": "direction override",
	} {
		a := s.do("POST", "/Users", `{"userName":"`+name+`"}`)
		errorBody(t, a, http.StatusConflict, "uniqueness")
		if t.Failed() {
			t.Fatalf("%s", why)
		}
	}
	other := s.createUser("third@example.com")
	errorBody(t, s.do("PATCH", "/Users/"+other, patchBody(`{"op":"replace","path":"userName","value":"KIM.ISIK@example.com"}`)), 409, "uniqueness")
	if m := s.stored(id); m.UserName != "kim.isik@example.com" || m.Version != 1 {
		t.Fatalf("the member was touched: %+v", m)
	}
	if a := s.want(200, "GET", "/Users?filter=userName+eq+%22KIM.ISIK@EXAMPLE.COM%22", ""); a.get("totalResults") != 1.0 || a.text("Resources", 0, "id") != id {
		t.Fatalf("not found in another case: %s", a.raw)
	}
}

func TestC04FallbackOwnerIsOutOfReach(t *testing.T) {
	s := newServer(t)
	owner, fallback := s.createUser("owner"), s.createUser("fallback")
	s.change(owner, func(m *member.Member) { m.Role, m.Accepted = member.RoleOwner, true })
	s.change(fallback, func(m *member.Member) { m.Role, m.Fallback, m.Accepted = member.RoleOwner, true, true })

	// Benign twin: an ordinary owner is deprovisioned like anyone.
	waits := s.revoker.waits()
	s.want(200, "PATCH", "/Users/"+owner, patchBody(`{"op":"replace","path":"active","value":false}`))
	if s.stored(owner).Admitted() || s.revoker.waits() == waits {
		t.Fatal("an ordinary owner made inactive is not cut off")
	}
	for name, a := range map[string]answer{
		"delete":             s.do("DELETE", "/Users/"+fallback, ""),
		"deactivate":         s.do("PATCH", "/Users/"+fallback, patchBody(`{"op":"replace","path":"active","value":false}`)),
		"deactivate as text": s.do("PATCH", "/Users/"+fallback, patchBody(`{"op":"Replace","value":{"active":"False"}}`)),
		"deactivate by PUT":  s.do("PUT", "/Users/"+fallback, `{"userName":"fallback","active":false}`),
		"rename":             s.do("PATCH", "/Users/"+fallback, patchBody(`{"op":"replace","path":"userName","value":"x"}`)),
		"make an owner":      s.do("POST", "/Users", `{"userName":"new","`+schema.MemberURN+`":{"role":"owner"}}`),
	} {
		if a.status != http.StatusForbidden {
			t.Errorf("%s: got %d %s", name, a.status, a.raw)
			continue
		}
		errorBody(t, a, http.StatusForbidden, "")
	}
	s.token = tokenRole
	id := s.createUser("plain")
	errorBody(t, s.do("PATCH", "/Users/"+id, patchBody(`{"op":"add","path":"`+schema.MemberURN+`:role","value":"owner"}`)), 403, "")
	if m := s.stored(fallback); !m.Admitted() || m.UserName != "fallback" {
		t.Fatalf("the fallback owner was changed: %+v", m)
	}
}

func TestDeactivationAnswersAfterTheCutOff(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	s.change(id, func(m *member.Member) { m.Accepted = true })
	off := patchBody(`{"op":"replace","path":"active","value":false}`)

	s.revoker.set(errors.New("a node did not acknowledge"))
	for range 2 { // the retry changes nothing and waits all the same (C2)
		a := s.do("PATCH", "/Users/"+id, off)
		errorBody(t, a, http.StatusServiceUnavailable, "")
		if a.header.Get("Retry-After") != "5" {
			t.Fatalf("Retry-After %q is not an integer of seconds", a.header.Get("Retry-After"))
		}
		if strings.Contains(a.raw, "acknowledge") {
			t.Fatal("the cause was told to the client")
		}
	}
	if s.stored(id).Wish {
		t.Fatal("the change is not durable")
	}
	s.revoker.set(nil)
	waits := s.revoker.waits()
	a := s.want(200, "PATCH", "/Users/"+id, off)
	if a.get("active") != false || s.revoker.waits() == waits {
		t.Fatal("success without the barrier")
	}
	for what, body := range map[string]string{"PUT": `{"userName":"ana","active":false}`} {
		waits = s.revoker.waits()
		s.want(200, what, "/Users/"+id, body)
		if s.revoker.waits() == waits {
			t.Fatalf("%s: success without the barrier", what)
		}
	}
	waits = s.revoker.waits()
	s.want(204, "DELETE", "/Users/"+id, "")
	if s.revoker.waits() == waits {
		t.Fatal("DELETE: success without the barrier")
	}
}

func TestPutWithoutActiveKeepsIt(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":false}`))
	for _, body := range []string{`{"userName":"ana"}`, `{"userName":"ana","active":null}`, `{"userName":"ana","active":""}`} {
		if a := s.want(200, "PUT", "/Users/"+id, body); a.get("active") != false {
			t.Fatalf("%s re-activated: %s", body, a.raw)
		}
	}
	if a := s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"remove","path":"active"}`)); a.get("active") != false {
		t.Fatalf("removing active re-activated: %s", a.raw)
	}
	if a := s.want(200, "PUT", "/Users/"+id, `{"userName":"ana","active":true,"title":"x"}`); a.get("active") != true || a.text("title") != "x" {
		t.Fatalf("benign twin: %s", a.raw)
	}
	if a := s.want(200, "PUT", "/Users/"+id, `{"userName":"ana"}`); a.get("title") != nil {
		t.Fatalf("PUT keeps what it left out: %s", a.raw)
	}
	errorBody(t, s.do("PUT", "/Users/"+id, `{"displayName":"x"}`), 400, "invalidValue")
}

func TestDeletedUserIsGone(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	s.want(204, "DELETE", "/Users/"+id, "")
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
		body := map[string]string{"PUT": `{"userName":"ana"}`, "PATCH": patchBody(`{"op":"replace","path":"title","value":"x"}`)}[method]
		errorBody(t, s.do(method, "/Users/"+id, body), 404, "")
	}
	if a := s.want(200, "GET", "/Users?filter=userName+eq+%22ana%22", ""); a.get("totalResults") != 0.0 || a.get("Resources") != nil {
		t.Fatalf("still listed: %s", a.raw)
	}
	if again := s.createUser("ana"); again == id {
		t.Fatal("the id was reused")
	}
}

func TestC08PatchIsAtomic(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	before := s.want(200, "GET", "/Users/"+id, "")
	good := []string{`{"op":"replace","path":"title","value":"x"}`, `{"op":"replace","path":"active","value":false}`}
	for _, bad := range []string{
		`{"op":"replace","path":"nonsense","value":"x"}`, `{"op":"replace","path":"active","value":"maybe"}`, `{"op":"remove"}`, `{"op":"remove","path":"userName"}`,
		`{"op":"bad","path":"title","value":"x"}`, `{"op":"replace","path":"id","value":"x"}`, `{"op":"add","path":"emails[","value":"x"}`, `{"op":"add"}`, `7`, `{"op":7}`, `{"op":"add","path":7,"value":1}`,
	} {
		a := s.do("PATCH", "/Users/"+id, patchBody(append(slices.Clone(good), bad)...))
		if a.status != 400 || !strings.Contains(a.text("detail"), "operation 2") {
			t.Errorf("%s: got %d %s, want 400 naming operation 2", bad, a.status, a.raw)
		}
		if now := s.want(200, "GET", "/Users/"+id, ""); !reflect.DeepEqual(now.body, before.body) {
			t.Fatalf("%s: half applied: %s", bad, now.raw)
		}
	}
	if a := s.want(200, "PATCH", "/Users/"+id, patchBody(good...)); a.text("title") != "x" || a.get("active") != false {
		t.Fatalf("benign twin: %s", a.raw)
	}
}

func TestC08TwoWritersWithOneETagGiveOneWinner(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	tag := s.want(200, "GET", "/Users/"+id, "").header.Get("ETag")
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		wg.Go(func() {
			codes[i] = s.do("PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"title","value":"`+itoa(i)+`"}`), "If-Match", tag).status
		})
	}
	wg.Wait()
	slices.Sort(codes)
	if codes[0] != 200 || codes[1] != 412 || codes[7] != 412 {
		t.Fatalf("got %v, want one 200 and the rest 412", codes)
	}
	for _, bad := range []string{`W/"99"`, `"x"`, `x`, `W/"0"`, `W/"-1"`, `W/"3", W/"4"`} {
		errorBody(t, s.do("DELETE", "/Users/"+id, "", "If-Match", bad), 412, "")
	}
	s.want(200, "GET", "/Users/"+id, "", "If-None-Match", `W/"1"`)
	a := s.do("GET", "/Users/"+id, "", "If-None-Match", `W/"7", W/"2"`)
	if a.status != 304 || a.raw != "" {
		t.Fatalf("If-None-Match: %d %s", a.status, a.raw)
	}
	s.want(204, "DELETE", "/Users/"+id, "", "If-Match", "*")
}

func TestNoOpPatchDoesNotBumpTheVersion(t *testing.T) {
	s := newServer(t)
	id := s.want(201, "POST", "/Users", full).text("id")
	before := s.want(200, "GET", "/Users/"+id, "")
	for _, o := range []string{
		`{"op":"add","path":"roles","value":[{"value":"admin"}]}`, `{"op":"replace","path":"title","value":"Head"}`, `{"op":"remove","path":"nickName"}`,
		`{"op":"replace","value":{"id":"x"}}`, `{"op":"replace","path":"active","value":true}`,
	} {
		if a := s.want(200, "PATCH", "/Users/"+id, patchBody(o)); !reflect.DeepEqual(a.body, before.body) {
			t.Errorf("%s changed\n%s\n%s", o, before.raw, a.raw)
		}
	}
	// Okta's AIW applications PUT back what they have just read.
	if a := s.want(200, "PUT", "/Users/"+id, before.raw); !reflect.DeepEqual(a.body, before.body) {
		t.Errorf("PUT of what was read changed\n%s\n%s", before.raw, a.raw)
	}
}

func TestReactivationKeepsTeamsAndAcceptance(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	group := s.createGroup("Sales", id)
	s.change(id, func(m *member.Member) { m.Accepted, m.Suspended = true, true })
	epoch := s.stored(id).Epoch
	s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":false}`))
	if got := s.members(group); !slices.Equal(got, []string{id}) {
		t.Fatalf("an inactive member lost his team: %v", got)
	}
	a := s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":true}`))
	m := s.stored(id)
	if a.text("groups", 0, "value") != group || a.text("groups", 0, "display") != "Sales" || a.text("groups", 0, "type") != "direct" {
		t.Fatalf("groups: %s", a.raw)
	}
	if !m.Suspended || !m.Accepted || m.Epoch != epoch+2 {
		t.Fatalf("active=true lifted a suspension or kept the epoch: %+v", m)
	}
}

func TestTeamsOfOthersAreNotShown(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	own := s.createGroup("Own", id)
	// An owner put her into a team that this connection did not make.
	err := s.db.Update(t.Context(), func(tx member.Tx) error {
		team := member.Team{ID: "local", Slug: "local", DisplayName: "Local", Version: 1, Created: s.now.Now(), Modified: s.now.Now()}
		if err := tx.InsertTeam(team); err != nil {
			return err
		}
		_, err := tx.AddMemberships("local", []member.ID{member.ID(id)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []answer{
		s.want(200, "GET", "/Users/"+id, ""), s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"title","value":"x"}`)),
	} {
		if list, _ := a.get("groups").([]any); len(list) != 1 || a.text("groups", 0, "value") != own {
			t.Errorf("groups: %s", a.raw)
		}
	}
}
