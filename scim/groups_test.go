package scim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/scim/schema"
)

func TestGroupLifeCycle(t *testing.T) {
	s := newServer(t)
	ana, ben := s.createUser("ana"), s.createUser("ben")
	a := s.want(201, "POST", "/Groups", `{"schemas":["`+schema.GroupURN+`","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
		"displayName":"Sales","externalId":"g-1","members":[{"value":"`+ana+`"}]}`)
	id := a.text("id")
	if a.header.Get("Location") != "https://sso.example.com"+base+"/Groups/"+id || a.text("members", 0, "display") != "ana" ||
		a.text("members", 0, "type") != "User" || !strings.HasSuffix(a.text("members", 0, "$ref"), "/Users/"+ana) || a.text("schemas", 0) != schema.GroupURN {
		t.Errorf("201: %s", a.raw)
	}
	if a := s.want(200, "GET", "/Groups/"+id+"?excludedAttributes=members", ""); a.get("members") != nil || a.text("displayName") != "Sales" {
		t.Errorf("excludedAttributes: %s", a.raw)
	}
	errorBody(t, s.do("POST", "/Groups", `{"displayName":"sALES"}`), 409, "uniqueness")
	errorBody(t, s.do("POST", "/Groups", `{"externalId":"x"}`), 400, "invalidValue")

	a = s.want(204, "PATCH", "/Groups/"+id, patchBody(`{"op":"add","path":"members","value":`+refs(ben, ana)+`}`))
	if a.raw != "" || a.header.Get("Content-Type") != "" {
		t.Errorf("204 with a body: %q", a.raw)
	}
	if a := s.want(200, "PATCH", "/Groups/"+id+"?attributes=displayName", patchBody(`{"op":"replace","path":"displayName","value":"Verkauf"}`)); a.text("displayName") != "Verkauf" || a.get("members") != nil {
		t.Errorf("with attributes the answer must be the resource: %s", a.raw)
	}
	a = s.want(200, "PUT", "/Groups/"+id, `{"displayName":"Sales","members":`+refs(ben)+`}`)
	if a.get("externalId") != nil || !slices.Equal(s.members(id), []string{ben}) {
		t.Errorf("PUT: %s", a.raw)
	}
	s.want(200, "PUT", "/Groups/"+id, `{"displayName":"Sales"}`)
	if got := s.members(id); len(got) != 0 {
		t.Errorf("PUT without members keeps %v", got)
	}
	s.want(204, "DELETE", "/Groups/"+id, "")
	for _, method := range []string{"GET", "DELETE"} {
		errorBody(t, s.do(method, "/Groups/"+id, ""), 404, "")
	}
	errorBody(t, s.do("PATCH", "/Groups/"+id, patchBody(`{"op":"add","path":"members","value":[]}`)), 404, "")
}

func TestUnknownMembersAreNamedAndNothingIsApplied(t *testing.T) {
	s := newServer(t)
	ana := s.createUser("ana")
	id := s.createGroup("Sales", ana)
	s.token = tokenRole
	foreign := s.createUser("foreign")
	s.token = tokenOkta
	for _, unknown := range []string{"nobody", foreign, "", `a\u0022b`} {
		for _, op := range []string{
			`{"op":"add","path":"members","value":[{"value":"` + ana + `"},{"value":"` + unknown + `"}]}`,
			`{"op":"replace","path":"members","value":[{"value":"` + unknown + `"}]}`,
		} {
			a := s.do("PATCH", "/Groups/"+id, patchBody(`{"op":"replace","path":"displayName","value":"changed"}`, op))
			errorBody(t, a, 400, "invalidValue")
			if unknown == "nobody" && !strings.Contains(a.text("detail"), unknown) {
				t.Errorf("the unknown id is not named: %s", a.raw)
			}
		}
	}
	errorBody(t, s.do("POST", "/Groups", `{"displayName":"New","members":[{"value":"nobody"}]}`), 400, "invalidValue")
	g := s.want(200, "GET", "/Groups/"+id, "")
	if g.text("displayName") != "Sales" || len(s.members(id)) != 1 {
		t.Fatalf("half applied: %s", g.raw)
	}
	if a := s.want(200, "GET", "/Groups", ""); a.get("totalResults") != 1.0 {
		t.Fatalf("the refused group exists: %s", a.raw)
	}
}

func TestGroupChangeWaitsForTheCutOff(t *testing.T) {
	s := newServer(t)
	ana := s.createUser("ana")
	s.change(ana, accept)
	id := s.createGroup("Sales", ana)
	waits := s.revoker.waits()
	s.want(204, "PATCH", "/Groups/"+id, patchBody(`{"op":"remove","path":"members[value eq \"`+ana+`\"]"}`))
	if s.revoker.waits() == waits {
		t.Fatal("a lost team was answered before it was true everywhere")
	}
	s.revoker.set(errTest)
	errorBody(t, s.do("PATCH", "/Groups/"+id, patchBody(`{"op":"add","path":"members","value":`+refs(ana)+`}`)), 503, "")
}

func TestGroupsOfAnotherConnectionDoNotExistC09(t *testing.T) {
	s := newServer(t)
	id := s.createGroup("Sales")
	s.token = tokenRole
	missing := s.do("GET", "/Groups/0123456789abcdef", "")
	for _, a := range []answer{
		s.do("GET", "/Groups/"+id, ""), s.do("DELETE", "/Groups/"+id, ""), s.do("PUT", "/Groups/"+id, `{"displayName":"x"}`),
		s.do("PATCH", "/Groups/"+id, patchBody(`{"op":"replace","path":"displayName","value":"x"}`)),
	} {
		if a.status != 404 || a.raw != missing.raw {
			t.Errorf("got %d %s, want exactly %s", a.status, a.raw, missing.raw)
		}
	}
	if a := s.want(200, "GET", "/Groups", ""); a.get("totalResults") != 0.0 {
		t.Errorf("listed: %s", a.raw)
	}
	s.createGroup("Sales") // the name is free in this connection
}
