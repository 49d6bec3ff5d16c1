package scim

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	scimserver "github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/store/sql"
)

var (
	members  = flag.Int("scim.members", 600, "members of the organisation")
	inGroup  = flag.Int("scim.group", 200, "members of the large group")
	inPatch  = flag.Int("scim.patch", 60, "members of the large PATCH")
	syncUser = flag.Int("scim.sync", 60, "users of the initial sync")
	samples  = flag.Int("scim.samples", 4, "requests of each kind")
	out      = flag.String("scim.out", "", "where to write the report; empty = only the test log")
)

const token = "declared-token-of-the-benchmark-0123456789"

// rig is one engine with the real handler before it.
type rig struct {
	t    *testing.T
	name string
	db   *sql.DB
	url  string
	ids  []string
}

// at once is for SQLite alone: the barrier of a single node returns at once. The
// time of a cut-off over several is measured by `make cutoff`.
type atOnce struct{}

func (atOnce) Barrier(context.Context, int64) error { return nil }

func newRig(t *testing.T, name, database string) *rig {
	t.Helper()
	db, err := sql.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	live := &settings.Live{}
	live.Store(&settings.Settings{
		Providers: []settings.Provider{{ID: "okta", Protocol: settings.SAML, Active: true}},
		Connections: []settings.Connection{{
			Connection: member.Connection{ID: "okta", Provider: "okta", Activation: member.ActivateInvitation, Match: member.MatchUserName},
			Tokens:     []settings.Token{{Name: "bench", Hash: secret.Sum(token).String()}},
		}},
	})
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	dir := &member.Directory{Store: db, Revoker: atOnce{}}
	recorder, err := scimserver.NewRecorder(db, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { recorder.Run(ctx) })
	t.Cleanup(wg.Wait)
	t.Cleanup(stop)
	h, err := scimserver.New(scimserver.Options{
		BaseURL: "https://sso.example.com", Org: "acme", Members: dir, Teams: dir, Searcher: db, Access: db, Live: live, Audit: db,
		Sealer: sealer, Rate: 1_000_000, Burst: 1_000_000, Recorder: recorder,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64 //nolint:forcetypeassert // httptest's own
	t.Cleanup(srv.Close)
	r := &rig{t: t, name: name, db: db, url: srv.URL + scimserver.Mount + "acme/scim/v2"}
	client = srv.Client()
	return r
}

var client *http.Client

// send is one request, read whole. It answers how long it took and the body.
func (r *rig) send(want int, method, path, body string) (time.Duration, []byte) {
	start := time.Now()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/scim+json")
	res, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	took := time.Since(start)
	if err != nil || res.StatusCode != want {
		r.t.Fatalf("%s: %s %.80s: %d, want %d, %v: %.300s", r.name, method, path, res.StatusCode, want, err, b)
	}
	return took, b
}

// seed makes the organisation, past HTTP but through the store's own statements.
func (r *rig) seed() {
	start := time.Now()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r.ids = make([]string, *members)
	for i := range r.ids {
		r.ids[i] = string(member.NewID())
	}
	for from := 0; from < *members; from += 2000 {
		err := r.db.Update(r.t.Context(), func(tx member.Tx) error {
			for i := from; i < min(from+2000, *members); i++ {
				m := member.Member{
					ID: member.ID(r.ids[i]), UserName: fmt.Sprintf("user%07d@example.com", i), DisplayName: fmt.Sprint("User ", i), Email: fmt.Sprintf("user%07d@example.com", i),
					GivenName: "User", FamilyName: fmt.Sprint(i), ExternalID: fmt.Sprint("ext-", i), Connection: "okta", Role: member.RoleMember, Source: member.SourceSCIM,
					Wish: true, Epoch: 1, Version: 1, Created: day.Add(time.Duration(i) * time.Millisecond), Modified: day,
				}
				if err := tx.InsertMember(m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.t.Logf("%s: %d members seeded in %s", r.name, *members, time.Since(start).Round(time.Millisecond))
}

func patch(op string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + op + `]}`
}

func refs(ids []string) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"value":"` + id + `"}`)
	}
	return "[" + b.String() + "]"
}

// row is one line of the report.
type row struct {
	what          string
	n             int
	p50, p99, max time.Duration
	allocs, bytes uint64 // of one request, client included
}

// measure runs one kind of request n times.
func (r *rig) measure(what string, n int, do func(i int) time.Duration) row {
	do(0) // connections and plans are made
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	times := make([]time.Duration, n)
	for i := range times {
		times[i] = do(i + 1)
	}
	runtime.ReadMemStats(&after)
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[min(int(q*float64(n)), n-1)] }
	x := row{what, n, at(.5), at(.99), times[n-1], (after.Mallocs - before.Mallocs) / uint64(n), (after.TotalAlloc - before.TotalAlloc) / uint64(n)}
	r.t.Logf("%s: %-40s p50 %v p99 %v", r.name, what, x.p50, x.p99)
	return x
}

func TestProvisioningAtScale(t *testing.T) {
	var report strings.Builder
	for _, engine := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { t.Helper(); return "sqlite:" + filepath.Join(t.TempDir(), "bench.db") }},
		{"PostgreSQL", func(t *testing.T) string { t.Helper(); return testserver.StartPostgres(t).Database(t) }},
	} {
		t.Run(engine.name, func(t *testing.T) {
			r := newRig(t, engine.name, engine.url(t))
			synced := r.initialSync()
			r.seed()
			rows := r.all()
			report.WriteString(section(engine.name, rows, synced))
		})
	}
	if *out != "" && !t.Failed() {
		if err := os.WriteFile(*out, []byte(head()+report.String()), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
}

// initialSync creates users from an empty directory, as an IdP does that sends 32
// at a time. It answers users a second.
func (r *rig) initialSync() float64 {
	var next atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(*syncUser); i = next.Add(1) {
				r.send(http.StatusCreated, "POST", "/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"sync%06d@example.com",
					"externalId":"sync-%d","name":{"givenName":"Sync","familyName":"%d"},"emails":[{"value":"sync%06d@example.com","type":"work","primary":true}],"active":true}`, i, i, i, i))
			}
		})
	}
	wg.Wait()
	rate := float64(*syncUser) / time.Since(start).Seconds()
	r.t.Logf("%s: initial sync of %d users: %.0f a second", r.name, *syncUser, rate)
	return rate
}

func (r *rig) all() []row {
	pick := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a repeatable choice
	some := func() string { return r.ids[pick.IntN(len(r.ids))] }
	n := *samples
	var groupID string
	{
		_, b := r.send(http.StatusCreated, "POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"All"}`)
		var g struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(b, &g); err != nil {
			r.t.Fatal(err)
		}
		groupID = "/Groups/" + g.ID
	}
	for part := range slices.Chunk(r.ids[:*inGroup], 10_000) {
		r.send(http.StatusNoContent, "PATCH", groupID, patch(`{"op":"add","path":"members","value":`+refs(part)+`}`))
	}
	total := *members + *syncUser
	timed := func(want int, method, path, body string) time.Duration {
		d, _ := r.send(want, method, path, body)
		return d
	}
	rows := []row{
		r.measure("create a user", n, func(i int) time.Duration {
			return timed(201, "POST", "/Users", fmt.Sprintf(`{"userName":"new%d@example.com","displayName":"New"}`, i))
		}),
		r.measure("get a user", n, func(int) time.Duration { return timed(200, "GET", "/Users/"+some(), "") }),
		r.measure("`userName eq`", n, func(int) time.Duration {
			return timed(200, "GET", "/Users?filter="+url.QueryEscape(fmt.Sprintf(`userName eq "USER%07d@example.com"`, pick.IntN(*members))), "")
		}),
		r.measure("PATCH active", n, func(int) time.Duration {
			return timed(200, "PATCH", "/Users/"+some(), patch(`{"op":"replace","path":"active","value":false}`))
		}),
		r.measure("PATCH one member of the group", n, func(i int) time.Duration {
			op := `{"op":"remove","path":"members[value eq \"` + r.ids[i%*inGroup] + `\"]"}`
			return timed(204, "PATCH", groupID, patch(op))
		}),
		r.measure("get the group without members", n, func(int) time.Duration {
			return timed(200, "GET", groupID+"?excludedAttributes=members", "")
		}),
		r.measure("first page of 100", n, func(int) time.Duration { return timed(200, "GET", "/Users?startIndex=1&count=100", "") }),
		r.measure("last page of 100", n, func(int) time.Duration {
			return timed(200, "GET", fmt.Sprintf("/Users?startIndex=%d&count=100", total-99), "")
		}),
		r.measure("page in the middle, after the one before it", n, func(i int) time.Duration {
			return timed(200, "GET", fmt.Sprintf("/Users?startIndex=%d&count=100", total/2+100*i), "")
		}),
		r.measure("get the whole group, streamed", max(n/20, 3), func(int) time.Duration { return timed(200, "GET", groupID, "") }),
	}
	change := refs(r.ids[*inGroup : *inGroup+*inPatch])
	rows = append(rows, r.measure(fmt.Sprintf("PATCH %d members", *inPatch), max(n/20, 3), func(i int) time.Duration {
		op := "add"
		if i%2 == 1 {
			op = "remove"
		}
		return timed(204, "PATCH", groupID, patch(`{"op":"`+op+`","path":"members","value":`+change+`}`))
	}))
	return rows
}

func head() string {
	return fmt.Sprintf(`# Provisioning at scale

What `+"`make scimbench`"+` measured last, on a machine with %d cores: %d members, one group of %d, each request over HTTP on
loopback through the real handler, with its audit event, its flight recorder and a durable commit. One client
at a time, except for the initial sync (32). Times include the client. The cut-off barrier of a
single node returns at once; over several nodes it is measured in [cutoff.md](cutoff.md).

The promises are: single requests and one-member PATCH p99 below 50 ms, a PATCH of 10,000 members below 2 s, the last
page as fast as the first, initial sync of 100,000 users at 1,000 a second or better on SQLite.

`, runtime.NumCPU(), *members, *inGroup)
}

func section(name string, rows []row, synced float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\nInitial sync of %d users: %.0f a second. Largest resident set of the process so far: %d MiB.\n\n", name, *syncUser, synced, peak()>>20)
	b.WriteString("| Request | n | p50 | p99 | max | allocations | bytes |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %d | %d |\n", r.what, r.n, short(r.p50), short(r.p99), short(r.max), r.allocs, r.bytes)
	}
	b.WriteString("\n")
	return b.String()
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// peak is the largest resident set of this process, in bytes; 0 where it is not told.
func peak() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
