package gatetest

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/proxy/canonical"
)

// wireRows are the streams of a table in proxy/wire/testdata: reason (or ""), bytes.
func wireRows(t *testing.T, file string) (out [][2]string) {
	t.Helper()
	b, err := os.ReadFile("../../proxy/wire/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		reason, quoted, ok := strings.Cut(line, "\t")
		if !ok || line[0] == '"' {
			reason, quoted = "", line
		}
		quoted, _, _ = strings.Cut(quoted, "\t")
		s, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %s: %v", file, line, err)
		}
		out = append(out, [2]string{reason, s})
	}
	return out
}

// Rows T01, T02 and T03 through the whole product, at an application's origin and at the
// gateway's own: refused once, on record, and nothing reaches anybody.
func TestGuaranteeOneFramingOfEveryRequest(t *testing.T) {
	w, seen := gated(t)
	v := w.signedIn(w.ana())
	cookie := "Cookie: " + cookieHeader(t, v, w.Facts.App)
	seen.take()
	if status, _, _ := w.raw("POST / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + cookie + "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"); status != http.StatusOK || len(seen.take()) != 1 {
		t.Fatalf("benign: %d", status)
	}
	rows := wireRows(t, "heads.txt")
	for _, e := range wireRows(t, "encodings.txt") {
		rows = append(rows, [2]string{"", "POST / HTTP/1.1\r\nH\r\n" + e[1] + "\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"})
	}
	for _, c := range wireRows(t, "chunks.txt") {
		rows = append(rows, [2]string{c[0], "POST / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n" + c[1]})
	}
	gateway := strings.TrimPrefix(w.Facts.Gateway, "http://")
	for _, row := range rows {
		for _, host := range []string{"HOST", gateway} {
			stream := strings.Replace(row[1], "H\r\n", "Host: "+host+"\r\n"+cookie+"\r\n", 1)
			stream = strings.Replace(stream, "H\n", "Host: "+host+"\n", 1)
			status, h, body := w.raw(stream + "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n" + cookie + "\r\n\r\n")
			if got := seen.take(); len(got) > 0 {
				t.Fatalf("%q reached the application as %s %s", row[1], got[0].Method, got[0].RequestURI)
			}
			if status != http.StatusBadRequest || h.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "reference") {
				t.Errorf("%q to %s: %d %.100s", row[1], host, status, body)
			}
		}
	}
	eventually(t, "the records", func() bool {
		log := w.log.String()
		return strings.Contains(log, `"reason":"transfer_encoding"`) && strings.Contains(log, `"reason":"chunk_size"`) && strings.Contains(log, `"reason":"host_twice"`)
	})
}

// The liberties of a config, through the whole product.
func TestPathFormsAreAllowedByConfig(t *testing.T) {
	seen := &upstreamSeen{}
	w := start(t, withApp(t, seen.ServeHTTP), func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) {
			c.Routes[0].Allow = []string{"encoded_slash", "path_parameters"}
			c.Routes[0].Methods = []string{"GET", "PROPFIND"}
		}
	})
	v := w.signedIn(w.ana())
	cookie := "Cookie: " + cookieHeader(t, v, w.Facts.App)
	for target, want := range map[string]int{"/a%2Fb": 200, "/a;b=1/c": 200, "/a//b": 400, "/%61": 400, "/a%2F..%2Fb": 400} {
		seen.take()
		status, _, _ := w.raw(line(target, cookie))
		got := seen.take()
		if status != want || len(got) != want/200%2 || len(got) == 1 && got[0].RequestURI != target {
			t.Errorf("%s: %d, want %d; the application saw %d requests", target, status, want, len(got))
		}
	}
	for method, want := range map[string]int{"PROPFIND": 200, "GET": 200, "REPORT": 405, "POST": 405, "TRACE": 405} {
		seen.take()
		if status, _, _ := w.raw(strings.Replace(line("/x", cookie), "GET", method, 1)); status != want || len(seen.take()) != want/200%2 {
			t.Errorf("%s: %d, want %d", method, status, want)
		}
	}
}

// Every form that a config may name is one that the proxy knows.
func TestPathFormsOfConfigAndProxyAgree(t *testing.T) {
	for _, f := range config.PathForms {
		if _, ok := canonical.ParseLeniency(f); !ok {
			t.Errorf("%s: the proxy does not know it", f)
		}
	}
	if len(config.PathForms) != len(canonical.Leniencies()) {
		t.Errorf("config knows %v, the proxy %v", config.PathForms, canonical.Leniencies())
	}
}
