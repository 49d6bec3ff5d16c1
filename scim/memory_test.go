package scim_test

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ssogate/ssogate/internal/testserver"
)

// TestTheStoreAndMemoryAnswerAlike draws filters and orders that the store can
// answer, and asks them again in a form that only memory can: nobody may be able
// to tell which of the two looked.
func TestTheStoreAndMemoryAnswerAlike(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"SQLite":     func(t *testing.T) string { t.Helper(); return "sqlite:" + t.TempDir() + "/scim.db" },
		"PostgreSQL": func(t *testing.T) string { t.Helper(); return testserver.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) { storeAndMemory(t, newServerOn(t, url(t))) })
	}
}

func storeAndMemory(t *testing.T, s *server) {
	names := []string{"ana", "Ana", "ÄNA", "straße", "STRASSE", "a_b", "a%b", "zoe\U0001F600", "İstanbul", "ß"}
	for i, n := range names {
		body := `{"userName":"` + n + strconv.Itoa(i) + `","active":` + strconv.FormatBool(i%2 == 0)
		if i%3 != 0 {
			body += `,"displayName":"` + names[(i*7)%len(names)] + `","externalId":"` + n + `"`
		}
		if i%4 != 0 {
			body += `,"name":{"givenName":"` + names[(i*3)%len(names)] + `"},"emails":[{"type":"work","primary":true,"value":"` + n + `@x"}]`
		}
		if a := s.do("POST", "/Users", body+"}"); a.status != 201 && a.status != 409 {
			t.Fatalf("%s: %d %s", body, a.status, a.raw)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		filter := drawFilter(rt, 2)
		query := "&count=20"
		if by := rapid.SampledFrom([]string{"", "userName", "displayName", "name.givenName", "externalId", "active", "meta.created"}).Draw(rt, "by"); by != "" {
			query += "&sortBy=" + by + "&sortOrder=" + rapid.SampledFrom([]string{"ascending", "descending"}).Draw(rt, "order")
		}
		s.now.Advance(1e9)
		store := s.do("GET", "/Users?filter="+escape(filter)+query, "")
		memory := s.do("GET", "/Users?filter="+escape("("+filter+") and (title pr or not (title pr))")+query, "")
		if store.status != 200 || store.raw != memory.raw {
			rt.Fatalf("%s%s\n store %d %s\nmemory %d %s", filter, query, store.status, store.column("userName"), memory.status, memory.column("userName"))
		}
	})
}

func drawFilter(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			return drawFilter(t, depth-1) + " and " + drawFilter(t, depth-1)
		case 1:
			return "(" + drawFilter(t, depth-1) + " or " + drawFilter(t, depth-1) + ")"
		case 2:
			return "not (" + drawFilter(t, depth-1) + ")"
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
		return rapid.SampledFrom([]string{
			"active eq true", "active ne true", `active eq "False"`, "displayName pr", "externalId eq null", `emails[type eq "work"].value sw "a"`,
			"groups pr", `meta.created gt "2020-01-01T00:00:00Z"`, `meta.lastModified lt "2020-01-01T00:00:00Z"`, `emails[primary eq true]`,
		}).Draw(t, "term")
	}
	attr := rapid.SampledFrom([]string{"userName", "displayName", "externalId", "name.givenName", "emails", "emails.value"}).Draw(t, "attr")
	op := rapid.SampledFrom(strings.Fields("eq ne co sw ew gt ge lt le")).Draw(t, "op")
	value := rapid.SampledFrom([]string{"ana", "ANA", "ana0", "ä", "strasse", "Straße", "_", "%", "b", "", "\U0001F600", "i", "İ", "z", "@x"}).Draw(t, "value")
	return attr + " " + op + " " + strconv.Quote(value)
}
