package scim_test

import (
	"sync"
	"testing"
)

// TestPreconditions is RFC 7644 section 3.14 with RFC 9110 section 13.1.
func TestPreconditions(t *testing.T) {
	put := `{"userName":"ana","title":"x"}`
	for _, tc := range []struct {
		name           string
		method         string
		body           string
		header, value  string
		user, group    int
		noteOnExpected string
	}{
		{"read, not changed", "GET", "", "If-None-Match", `W/"2"`, 304, 304, "weak comparison"},
		{"read, strong form of the tag", "GET", "", "If-None-Match", `"2"`, 304, 304, "weak comparison"},
		{"read, one of several", "GET", "", "If-None-Match", `"1", W/"2"`, 304, 304, ""},
		{"read, any", "GET", "", "If-None-Match", `*`, 304, 304, ""},
		{"read, changed", "GET", "", "If-None-Match", `W/"1"`, 200, 200, ""},
		{"read, not a tag", "GET", "", "If-None-Match", `2`, 200, 200, ""},
		{"write, current", "PUT", put, "If-Match", `W/"2"`, 200, 200, ""},
		{"write, current among several", "PUT", put, "If-Match", `W/"1", W/"2"`, 200, 200, ""},
		{"write, any", "PUT", put, "If-Match", `*`, 200, 200, ""},
		{"write, stale", "PUT", put, "If-Match", `W/"1"`, 412, 412, ""},
		{"write, stale among several", "PUT", put, "If-Match", `W/"1", W/"7"`, 412, 412, ""},
		{"write, not a tag", "PUT", put, "If-Match", `2`, 412, 412, "no version of ours"},
		{"write, a tag with zeros", "PUT", put, "If-Match", `W/"02"`, 412, 412, "another opaque string"},
		{"write, empty", "PUT", put, "If-Match", ``, 200, 200, "the client library sent none"},
		{"write unless it exists", "PUT", put, "If-None-Match", `*`, 412, 412, "PUT never creates"},
		{"write unless current", "PUT", put, "If-None-Match", `W/"2"`, 412, 412, ""},
		{"write unless older", "PUT", put, "If-None-Match", `W/"1"`, 200, 200, ""},
		{"patch, stale", "PATCH", patchBody(`{"op":"replace","path":"externalId","value":"y"}`), "If-Match", `"1"`, 412, 412, ""},
		{"patch, current", "PATCH", patchBody(`{"op":"replace","path":"externalId","value":"y"}`), "If-Match", `"2"`, 200, 204, ""},
		{"delete, stale", "DELETE", "", "If-Match", `"1"`, 412, 412, ""},
		{"delete, current", "DELETE", "", "If-Match", `"2"`, 204, 204, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t)
			user, group := s.createUser("ana"), s.createGroup("Sales")
			change := patchBody(`{"op":"replace","path":"externalId","value":"1"}`)
			s.want(200, "PATCH", "/Users/"+user, change)
			s.want(204, "PATCH", "/Groups/"+group, change)
			a := s.do(tc.method, "/Users/"+user, tc.body, tc.header, tc.value)
			body := tc.body
			if tc.method == "PUT" {
				body = `{"displayName":"Sales"}`
			}
			g := s.do(tc.method, "/Groups/"+group, body, tc.header, tc.value)
			if a.status != tc.user || g.status != tc.group {
				t.Fatalf("user %d want %d, group %d want %d: %s %s", a.status, tc.user, g.status, tc.group, a.raw, g.raw)
			}
			for _, a := range []answer{a, g} {
				switch a.status {
				case 200, 304:
					if a.header.Get("ETag") == "" || a.status == 304 && a.raw != "" {
						t.Errorf("ETag %q, body %q", a.header.Get("ETag"), a.raw)
					}
					if a.status == 200 && (a.text("meta", "version") != a.header.Get("ETag") || a.header.Get("Content-Location") != a.text("meta", "location")) {
						t.Errorf("meta %v, headers %v", a.get("meta"), a.header)
					}
				case 412:
					errorBody(t, a, 412, "")
				}
			}
		})
	}
	s := newServer(t)
	errorBody(t, s.do("DELETE", "/Users/unknown", "", "If-None-Match", `"1"`), 404, "")
	errorBody(t, s.do("PUT", "/Groups/unknown", `{"displayName":"x"}`, "If-Match", `"1"`), 404, "")
}

func TestC08OfManyWritersWithOneTagOneWins(t *testing.T) {
	s := newServer(t)
	user, group := s.createUser("ana"), s.createGroup("Sales")
	for _, path := range []string{"/Users/" + user, "/Groups/" + group} {
		tag := s.want(200, "GET", path, "").header.Get("ETag")
		var wg sync.WaitGroup
		statuses := make([]int, 12)
		for i := range statuses {
			wg.Go(func() {
				statuses[i] = s.do("PATCH", path, patchBody(`{"op":"replace","path":"externalId","value":"`+itoa(i)+`"}`), "If-Match", tag).status
			})
		}
		wg.Wait()
		won := 0
		for _, st := range statuses {
			switch st {
			case 200, 204:
				won++
			case 412:
			default:
				t.Errorf("%s: %d", path, st)
			}
		}
		if won != 1 {
			t.Errorf("%s: %d winners: %v", path, won, statuses)
		}
	}
}
