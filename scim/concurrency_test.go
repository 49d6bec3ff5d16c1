package scim_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
)

// onBoth runs a test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { test(t, newServer(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newServerOn(t, testserver.Postgres(t))) })
}

// at once runs f n times together and answers the statuses, sorted.
func atOnce(n int, f func(i int) int) []int {
	codes := make([]int, n)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			codes[i] = f(i)
		})
	}
	close(begin)
	wg.Wait()
	slices.Sort(codes)
	return codes
}

// TestFiftyWritersOnOneGroupLoseNobody (G7): adds, removes and renames at once.
func TestFiftyWritersOnOneGroupLoseNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ids := s.seed(75)
		group := s.createGroup("All", ids[50:]...)
		codes := atOnce(50, func(i int) int {
			ops := []string{`{"op":"add","path":"members","value":` + refs(ids[i]) + `}`}
			if i < 25 {
				ops = append(ops, `{"op":"remove","path":"members[value eq \"`+ids[50+i]+`\"]"}`)
			}
			if i%10 == 0 {
				ops = append(ops, `{"op":"replace","path":"externalId","value":"`+itoa(i)+`"}`)
			}
			return s.do("PATCH", "/Groups/"+group, patchBody(ops...)).status
		})
		if codes[0] != 204 || codes[49] != 204 {
			t.Errorf("statuses %v", codes)
		}
		if got := s.members(group); !slices.Equal(sorted(got...), sorted(ids[:50]...)) {
			t.Errorf("%d members, want the 50 who were added and none of the 25 who were removed", len(got))
		}
	})
}

func TestTwentyCreatesOfOneNameGiveOne201(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		spellings := []string{"ana@example.com", "ANA@example.com", "Ana@Example.com", "ａna@example.com"}
		codes := atOnce(20, func(i int) int {
			return s.do("POST", "/Users", `{"userName":"`+spellings[i%len(spellings)]+`"}`).status
		})
		if codes[0] != 201 || codes[1] != 409 || codes[19] != 409 {
			t.Errorf("users: %v", codes)
		}
		codes = atOnce(20, func(i int) int {
			return s.do("POST", "/Groups", `{"displayName":"`+[]string{"Sales", "SALES"}[i%2]+`"}`).status
		})
		if codes[0] != 201 || codes[1] != 409 || codes[19] != 409 {
			t.Errorf("groups: %v", codes)
		}
		if a := s.want(200, "GET", "/Users?count=0", ""); a.get("totalResults") != 1.0 {
			t.Errorf("users: %s", a.raw)
		}
	})
}

// TestOverlappingChangesOfOneUserAreAllThere: twenty clients change different
// attributes at once; a document that is read, changed and written back would lose some.
func TestOverlappingChangesOfOneUserAreAllThere(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		id := s.createUser("ana")
		attributes := []string{
			"displayName", "nickName", "title", "userType", "preferredLanguage", "locale", "timezone", "externalId",
			"name.givenName", "name.familyName", "name.middleName", "name.formatted",
		}
		codes := atOnce(len(attributes), func(i int) int {
			return s.do("PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"`+attributes[i]+`","value":"`+attributes[i]+`"}`)).status
		})
		if codes[0] != 200 || codes[len(codes)-1] != 200 {
			t.Errorf("statuses %v", codes)
		}
		a := s.want(200, "GET", "/Users/"+id, "")
		for _, path := range attributes {
			got := a.text(path)
			if len(path) > 5 && path[:5] == "name." {
				got = a.text("name", path[5:])
			}
			if got != path {
				t.Errorf("%s was lost: %s", path, a.raw)
			}
		}
	})
}

// TestC10DeactivationsRacingReactivationsEndInOneOfTheTwo: whatever the order, what
// is answered is what is stored, each change of the wish raised the epoch, and each
// deactivation waited for its cut-off.
func TestC10DeactivationsRacingReactivationsEndInOneOfTheTwo(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		id := s.createUser("ana")
		s.change(id, accept)
		codes := atOnce(30, func(i int) int {
			value := "false"
			if i%2 == 0 {
				value = "true"
			}
			return s.do("PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":`+value+`}`)).status
		})
		if codes[0] != 200 || codes[29] != 200 {
			t.Errorf("statuses %v", codes)
		}
		m := s.stored(id)
		changes := m.Epoch - 1
		if (changes%2 == 0) != m.Wish {
			t.Errorf("%d changes and wanted %v: one was not counted", changes, m.Wish)
		}
		if s.revoker.waits() < 15 {
			t.Errorf("%d waits for 15 deactivations", s.revoker.waits())
		}
		s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":false}`))
		if s.stored(id).Wish {
			t.Error("the last word was not kept")
		}
	})
}
