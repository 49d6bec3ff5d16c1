package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fakeSCIM is the far side of the wire: just enough SCIM to see what the client
// sends. The real server is tested with the whole product.
type fakeSCIM struct {
	mu     sync.Mutex
	users  map[string]map[string]any // by id
	groups map[string]map[string]any
	calls  []string
	hide   bool // answers no user to a filter once, as when a creation races
	down   bool
}

const testToken = "ssogate_scim_t0ken"

func (f *fakeSCIM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	if f.down {
		http.Error(w, `{"detail":"try later"}`, http.StatusServiceUnavailable)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+testToken || strings.Contains(r.URL.RawQuery, testToken) {
		http.Error(w, "{}", http.StatusUnauthorized)
		return
	}
	kind, key, id := f.users, "userName", strings.TrimPrefix(r.URL.Path, "/scim/v2/Users/")
	if strings.HasPrefix(r.URL.Path, "/scim/v2/Groups") {
		kind, key, id = f.groups, "displayName", strings.TrimPrefix(r.URL.Path, "/scim/v2/Groups/")
	}
	var in map[string]any
	if r.Method != http.MethodGet && json.NewDecoder(r.Body).Decode(&in) != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet:
		var found []any
		for id, u := range kind {
			if !f.hide && r.FormValue("filter") == fmt.Sprintf("%s eq %q", key, u[key]) {
				u["id"] = id
				found = append(found, u)
			}
		}
		f.hide = false
		_ = json.NewEncoder(w).Encode(map[string]any{"totalResults": len(found), "Resources": found})
	case http.MethodPost:
		for _, u := range kind {
			if u[key] == in[key] {
				http.Error(w, `{"scimType":"uniqueness"}`, http.StatusConflict)
				return
			}
		}
		in["id"] = fmt.Sprintf("%s-%d", key, len(kind))
		kind[in["id"].(string)] = in
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(in)
	case http.MethodPatch:
		op := in["Operations"].([]any)[0].(map[string]any)
		if op["path"] == "active" {
			kind[id]["active"] = op["value"]
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func scimPair(t *testing.T) (*fakeSCIM, *Client) {
	t.Helper()
	f := &fakeSCIM{users: map[string]map[string]any{}, groups: map[string]map[string]any{}}
	srv := httptest.NewServer(f)
	hc := srv.Client()
	t.Cleanup(func() { hc.CloseIdleConnections(); srv.Close() })
	return f, SCIMClient(Options{BaseURL: srv.URL + "/scim/v2/", Token: testToken, People: People(), HTTP: hc})
}

func press(c *Client, user, do string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8084/people/"+url.PathEscape(user), strings.NewReader("do="+do))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func view(c *Client) string {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost:8084/", nil))
	return w.Body.String()
}

func TestSeedMakesPeopleAndGroupsOnce(t *testing.T) {
	f, c := scimPair(t)
	for range 3 {
		if err := c.Seed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.users) != 3 || len(f.groups) != 2 {
		t.Errorf("%d people and %d groups after three runs", len(f.users), len(f.groups))
	}
	for _, u := range f.users {
		if u["active"] != true || u["password"] != nil {
			t.Errorf("user %v", u)
		}
	}
}

func TestSeedRevivesThoseLeftDeactivated(t *testing.T) {
	f, c := scimPair(t)
	if err := c.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, u := range f.users {
		u["active"] = false
	}
	if err := c.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, u := range f.users {
		if u["active"] != true {
			t.Errorf("user %v stayed deactivated", u["userName"])
		}
	}
}

func TestSeedSurvivesARacingCreation(t *testing.T) {
	f, c := scimPair(t)
	if err := c.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.hide = true
	if err := c.Seed(t.Context()); err != nil {
		t.Errorf("409 for a person that exists after all: %v", err)
	}
}

func TestSeedReportsARefusal(t *testing.T) {
	f, c := scimPair(t)
	f.down = true
	var refused *statusError
	if err := c.Seed(t.Context()); !errors.As(err, &refused) || refused.code != http.StatusServiceUnavailable {
		t.Errorf("error %v, want status 503", err)
	}
}

func TestButtonsDeactivateAndReactivate(t *testing.T) {
	f, c := scimPair(t)
	if err := c.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	const user = "ben@example.com"
	for _, step := range []struct {
		do   string
		want bool
	}{{"deactivate", false}, {"reactivate", true}} {
		if w := press(c, user, step.do, nil); w.Code != http.StatusSeeOther {
			t.Fatalf("%s answered %d: %s", step.do, w.Code, w.Body)
		}
		for _, u := range f.users {
			if want := step.want || u["userName"] != user; u["active"] != want {
				t.Errorf("after %s: %v active is %v, want %v", step.do, u["userName"], u["active"], want)
			}
		}
	}
	body := view(c)
	for _, want := range []string{"PATCH", "204 No Content", " ms", "&#34;active&#34;", "(no body)", "Cléo Nørgaard"} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if strings.Contains(body, testToken) {
		t.Error("the bearer token is on the page")
	}
}

func TestMissingPersonCanBeCreated(t *testing.T) {
	f, c := scimPair(t)
	if !strings.Contains(view(c), "Not provisioned") {
		t.Error("a person who does not exist is not shown so")
	}
	press(c, "ana@example.com", "create", nil)
	if len(f.users) != 1 {
		t.Errorf("%d users after create", len(f.users))
	}
}

func TestPageStaysUsableWhileTheServerIsDown(t *testing.T) {
	f, c := scimPair(t)
	f.down = true
	press(c, "ana@example.com", "deactivate", nil)
	if body := view(c); !strings.Contains(body, `role="alert"`) || !strings.Contains(body, "status 503") || !strings.Contains(body, "not sent") {
		t.Error("the page does not say what the server answered")
	}
}

func TestStrangersCannotPressTheButtons(t *testing.T) {
	f, c := scimPair(t)
	if err := c.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(f.calls)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"form of another site": press(c, "ana@example.com", "deactivate", http.Header{"Sec-Fetch-Site": {"cross-site"}}),
		"form of another port": press(c, "ana@example.com", "deactivate", http.Header{"Sec-Fetch-Site": {"same-site"}}),
		"foreign Origin":       press(c, "ana@example.com", "deactivate", http.Header{"Origin": {"http://evil.example"}}),
		"unknown person":       press(c, "eve@example.com", "deactivate", nil),
		"unknown action":       press(c, "ana@example.com", "delete", nil),
	} {
		if w.Code < 400 {
			t.Errorf("%s answered %d", name, w.Code)
		}
	}
	for _, host := range []string{"evil.example", "evil.example:8084", "192.0.2.1:8084", "localhost.evil.example", "127.0.0.1.evil.example", ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != http.StatusMisdirectedRequest {
			t.Errorf("Host %q (DNS rebinding) answered %d", host, w.Code)
		}
	}
	if len(f.calls) != before {
		t.Errorf("refused requests reached the SCIM server: %v", f.calls[before:])
	}
}

func TestHistoryIsBounded(t *testing.T) {
	_, c := scimPair(t)
	for range 3 * historySize {
		press(c, "ana@example.com", "deactivate", nil)
	}
	if n := strings.Count(view(c), "<details"); n != historySize {
		t.Errorf("%d exchanges are kept, want %d", n, historySize)
	}
}
