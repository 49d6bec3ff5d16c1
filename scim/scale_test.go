package scim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
)

// TestBigMembershipPatch changes bigGroup members in one request (the
// promise for 10,000 is under 2 s on ordinary hardware; the bound here is generous
// so that a busy CI machine does not fail, and still tells a quadratic path).
func TestBigMembershipPatch(t *testing.T) {
	s := newServer(t)
	const many = bigGroup
	ids := s.seed(many)
	group := s.createGroup("All")
	within(t, 10*time.Second, func() {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"add","path":"members","value":`+refs(ids...)+`}`))
	})
	if got := s.members(group); len(got) != many {
		t.Fatalf("%d of %d are members", len(got), many)
	}
	within(t, 5*time.Second, func() {
		s.want(204, "PATCH", "/Groups/"+group, patchBody(`{"op":"Remove","path":"members","value":`+refs(ids[:many-1]...)+`}`))
	})
	if got := s.members(group); len(got) != 1 || got[0] != ids[many-1] {
		t.Fatalf("%d are left", len(got))
	}
}

// TestABigGroupIsStreamed reads a group of more than one page whole, in parts, and
// with a store that fails in the middle.
func TestABigGroupIsStreamed(t *testing.T) {
	s := newServer(t)
	before := scim.SetStreamPage(100)
	defer scim.SetStreamPage(before)
	ids := s.seed(250)
	group := s.createGroup("All", ids...)
	if got := s.members(group); !slices.Equal(got, sorted(ids...)) {
		t.Fatalf("%d of %d members", len(got), len(ids))
	}
	a := s.want(200, "GET", "/Groups/"+group+"?attributes=members.value,displayName", "")
	list, _ := a.get("members").([]any)
	if len(list) != len(ids) || a.text("displayName") != "All" || a.get("meta") != nil || a.get("members", 0, "$ref") != nil || a.text("members", 0, "value") == "" {
		t.Errorf("with a projection: %d members, %.300s", len(list), a.raw)
	}
	if a := s.want(200, "GET", "/Groups/"+group+"?excludedAttributes=members.value,members.display,members.type,members.$ref", ""); a.get("members") == nil || len(a.get("members").([]any)) != 0 {
		t.Errorf("members without any attribute: %.300s", a.raw)
	}
	if a := s.do("GET", "/Groups/"+group, "", "If-None-Match", s.want(200, "GET", "/Groups/"+group+"?excludedAttributes=members", "").header.Get("ETag")); a.status != 304 || a.raw != "" {
		t.Errorf("not modified: %d %.100s", a.status, a.raw)
	}
	h := s.handler(func(o *scim.Options) { o.Searcher = failingPage{Searcher: o.Searcher, at: 2} })
	srv := httptest.NewServer(h)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+base+"/Groups/"+group, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tokenOkta)
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if b, err := io.ReadAll(res.Body); err == nil || len(b) == 0 {
		t.Errorf("a store that fails in the middle: %d bytes, %v; half a group must not look whole", len(b), err)
	}
}

// failingPage is a store that fails at one page of a group.
type failingPage struct {
	scim.Searcher
	at int
}

func (f failingPage) MembersOfTeam(ctx context.Context, team, after member.ID, limit int) ([]member.TeamMember, error) {
	if after != "" && f.at == 2 {
		return nil, errTest
	}
	return f.Searcher.MembersOfTeam(ctx, team, after, limit)
}
