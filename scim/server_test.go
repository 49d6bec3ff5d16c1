package scim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/store/sql"
)

const (
	base      = "/api/0/organizations/acme/scim/v2"
	tokenOkta = "declared-token-of-okta-0123456789abcdef"
	tokenRole = "declared-token-of-hr-0123456789abcdefgh"
)

// server is the real handler over the real Directory and a real SQLite file.
type server struct {
	t       *testing.T
	http    *httptest.Server
	db      *sql.DB
	dir     *member.Directory
	revoker *revoker
	audit   *recorder
	live    *settings.Live
	now     *clock.Manual
	token   string
	log     *bytes.Buffer
	flight  *scim.Recorder
	vars    map[string]string
	open    int // sessions that every member has, as the flight recorder counts them
}

// revoker stands for session.Cutoff: it records what was waited for, and can
// be made to fail.
type revoker struct {
	mu   sync.Mutex
	seqs []int64
	fail error
}

func (r *revoker) Barrier(_ context.Context, seq int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seqs = append(r.seqs, seq)
	return r.fail
}

func (r *revoker) waits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seqs)
}

func (r *revoker) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// recorder keeps audit events of refusals.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorder) Record(_ context.Context, e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

func newServer(t *testing.T) *server {
	t.Helper()
	return newServerOn(t, emptyDatabase(t))
}

var emptyDatabase = testserver.SQLite(func(url string) error {
	db, err := sql.Open(context.Background(), url)
	if err != nil {
		return err
	}
	return db.Close() // writes everything into the one file
})

func newServerOn(t *testing.T, url string) *server {
	t.Helper()
	db, err := sql.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &server{t: t, db: db, revoker: &revoker{}, audit: &recorder{}, live: &settings.Live{}, now: &clock.Manual{}, token: tokenOkta, log: &bytes.Buffer{}}
	s.dir = &member.Directory{Store: db, Revoker: s.revoker, Now: s.now.Now}
	s.live.Store(&settings.Settings{Version: 1, Providers: samlProviders("okta", "hr"), Connections: []settings.Connection{
		{
			Connection: member.Connection{ID: "okta", Provider: "okta", Activation: member.ActivateInvitation, Match: member.MatchUserName},
			Tokens:     []settings.Token{{Name: "config", Hash: secret.Sum(tokenOkta).String()}},
		},
		{
			Connection: member.Connection{ID: "hr", Provider: "hr", Activation: member.ActivateImmediate, Match: member.MatchUserName, MaySetRole: true},
			Tokens:     []settings.Token{{Name: "config", Hash: secret.Sum(tokenRole).String()}},
		},
	}})
	if s.flight, err = scim.NewRecorder(db, s.now.Now, slog.New(slog.NewTextHandler(s.log, nil)), nil); err != nil {
		t.Fatal(err)
	}
	h, err := scim.New(scim.Options{
		BaseURL: "https://sso.example.com", Org: "acme", Recorder: s.flight,
		Sessions: func(context.Context, member.ID) (int, error) { return s.open, nil },
		Members:  s.dir, Teams: s.dir, Searcher: db, Access: db, Live: s.live, Audit: s.audit, Sealer: sealer(t), Now: s.now.Now,
		Log: slog.New(slog.NewTextHandler(s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(h)
	t.Cleanup(s.http.Close)
	return s
}

func samlProviders(ids ...string) (out []settings.Provider) {
	for _, id := range ids {
		out = append(out, settings.Provider{ID: id, Protocol: settings.SAML, Active: true})
	}
	return out
}

func sealer(t testing.TB) *secret.Sealer {
	t.Helper()
	s, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logged is what the flight recorder holds, oldest first.
func (s *server) logged(f record.LogFilter) []record.Entry {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	cancel()
	s.flight.Run(ctx) // writes what is queued
	if f.Limit == 0 {
		f.Limit = 1000
	}
	list, err := s.db.SearchLog(s.t.Context(), f)
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// answer is one response, decoded.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (s *server) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.send(method, path, strings.NewReader(body), headers...)
}

func (s *server) send(method, path string, body io.Reader, headers ...string) answer {
	s.t.Helper()
	if !strings.HasPrefix(path, "/api/") {
		path = base + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	req.Header.Set("Content-Type", "application/scim+json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	res, err := s.http.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &a.body); err != nil {
			s.t.Fatalf("%s %s: body is not JSON: %s", method, path, raw)
		}
	}
	return a
}

// want sends and checks the status.
func (s *server) want(status int, method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.do(method, path, body, headers...)
	if a.status != status {
		s.t.Fatalf("%s %s: got %d, want %d\n%s\nrequest: %.300s\nlog: %s", method, path, a.status, status, a.raw, body, s.log)
	}
	return a
}

// get follows keys and list positions into a body.
func (a answer) get(keys ...any) any {
	var v any = a.body
	for _, k := range keys {
		switch k := k.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[k]
		case int:
			list, _ := v.([]any)
			if k >= len(list) {
				return nil
			}
			v = list[k]
		}
	}
	return v
}

func (a answer) text(keys ...any) string {
	s, _ := a.get(keys...).(string)
	return s
}

// createUser posts a minimal user and answers its id.
func (s *server) createUser(name string) string {
	s.t.Helper()
	return s.want(201, "POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+name+`","displayName":"`+name+`"}`).text("id")
}

func (s *server) createGroup(name string, members ...string) string {
	s.t.Helper()
	return s.want(201, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`","members":`+refs(members...)+`}`).text("id")
}

func refs(ids ...string) string {
	list := make([]map[string]string, 0, len(ids))
	for _, id := range ids {
		list = append(list, map[string]string{"value": id})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "[]"
	}
	return string(b)
}

func patchBody(ops ...string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + strings.Join(ops, ",") + `]}`
}

// members lists the ids in a group as the server shows them.
func (s *server) members(group string) []string {
	s.t.Helper()
	a := s.want(200, "GET", "/Groups/"+group, "")
	list, _ := a.get("members").([]any)
	var ids []string
	for i := range list {
		ids = append(ids, a.text("members", i, "value"))
	}
	return ids
}

// seed inserts members directly, a few hundred to a transaction: the store ends
// one that takes too long.
func (s *server) seed(n int) []string {
	s.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "seed" + itoa(i)
	}
	for batch := range slices.Chunk(ids, 500) {
		err := s.db.Update(s.t.Context(), func(tx member.Tx) error {
			for _, id := range batch {
				m := member.Member{
					ID: member.ID(id), UserName: id, DisplayName: id, Role: member.RoleMember, Source: member.SourceSCIM, Wish: true,
					Epoch: 1, Version: 1, Connection: "okta", Created: s.now.Now(), Modified: s.now.Now(),
				}
				if err := tx.InsertMember(m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return ids
}

// stored reads the member itself.
func (s *server) stored(id string) member.Member {
	s.t.Helper()
	var m member.Member
	err := s.db.View(s.t.Context(), func(tx member.Tx) (err error) {
		m, err = tx.Member(member.ID(id))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// change edits a stored member directly, as an owner or sign-in would.
func (s *server) change(id string, edit func(*member.Member)) {
	s.t.Helper()
	err := s.db.Update(s.t.Context(), func(tx member.Tx) error {
		m, err := tx.Member(member.ID(id))
		if err != nil {
			return err
		}
		v := m.Version
		edit(&m)
		m.Version++
		return tx.UpdateMember(m, v)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// errorBody checks the shape of an error (RFC 7644 section 3.12).
func errorBody(t *testing.T, a answer, status int, scimType string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d, want %d: %s", a.status, status, a.raw)
	}
	if a.text("schemas", 0) != scim.ErrorURN || a.text("status") != itoa(status) || a.text("detail") == "" {
		t.Fatalf("not a SCIM error: %s", a.raw)
	}
	if got := a.text("scimType"); got != scimType {
		t.Fatalf("scimType %q, want %q: %s", got, scimType, a.raw)
	}
	if ct := a.header.Get("Content-Type"); ct != "application/scim+json" {
		t.Fatalf("Content-Type %q", ct)
	}
}

func itoa(n int) string {
	b, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(b)
}

// within fails when f takes longer than limit, by the wall clock.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d > limit {
		t.Fatalf("took %v, more than %v", d, limit)
	}
}
