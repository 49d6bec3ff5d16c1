package redis_test

import (
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/store/redis"
)

// TestTLS: a private CA on every topology; the certificate is always verified,
// and for the host that was dialled.
func TestTLS(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, f *testserver.TLSFiles) string{
		"single":   func(t *testing.T, f *testserver.TLSFiles) string { return testserver.StartRedisTLS(t, f).URL },
		"sentinel": func(t *testing.T, f *testserver.TLSFiles) string { return testserver.StartSentinelTLS(t, f).URL },
		"cluster":  func(t *testing.T, f *testserver.TLSFiles) string { return testserver.StartClusterTLS(t, f).URL },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := testserver.NewTLS(t)
			url := start(t, files)
			w := watchWith(t, redis.Options{URL: url, CAFile: files.CAFile, Timeout: patient})
			r := w.create("a")
			w.wantLive(r)
			e := listen(t, w.DB)
			e.heard("the subscription")
			wakeUntilHeard(t, w.DB, e)
			if err := w.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			for why, o := range map[string]redis.Options{
				"the system does not know this CA": {URL: url},
				"another CA":                       {URL: url, CAFile: testserver.NewTLS(t).CAFile},
				"no TLS":                           {URL: strings.Replace(url, "rediss", "redis", 1)},
			} {
				o.Timeout = patient
				if err := open(t, o).Ping(t.Context()); err == nil {
					t.Errorf("%s: accepted", why)
				}
			}
		})
	}
}

func TestTLSCertificateOfAnotherHost(t *testing.T) {
	files := testserver.NewTLS(t, "localhost")
	srv := testserver.StartRedisTLS(t, files)
	if err := open(t, redis.Options{URL: srv.URL, CAFile: files.CAFile, Timeout: patient}).Ping(t.Context()); err == nil {
		t.Error("the certificate names localhost, and 127.0.0.1 was dialled")
	}
	byName := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	if err := open(t, redis.Options{URL: byName, CAFile: files.CAFile, Timeout: patient}).Ping(t.Context()); err != nil {
		t.Errorf("the benign twin: %v", err)
	}
}

func TestCAFileFaults(t *testing.T) {
	files := testserver.NewTLS(t)
	for _, path := range []string{"/does/not/exist", t.TempDir(), files.KeyFile} {
		if _, _, err := redis.Open(t.Context(), redis.Options{URL: "rediss://127.0.0.1:1", CAFile: path}); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
}
