package scim_test

import (
	"testing"
	"time"
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
