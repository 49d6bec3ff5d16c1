package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

const events = `{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"chatter\n"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestRedis","Output":"    x_test.go:3: testserver: redis-server is not installed\n"}
{"Action":"skip","Package":"a","Test":"TestRedis"}
{"Action":"output","Package":"a","Test":"TestOther","Output":"    x_test.go:9: only on Plan 9\n"}
{"Action":"skip","Package":"a","Test":"TestOther"}
{"Action":"output","Package":"a","Output":"PASS\n"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.200s\n"}
{"Action":"pass","Package":"a","Elapsed":0.2}
`

const failing = `{"Action":"output","Package":"b","Test":"TestBad","Output":"    b_test.go:1: why it failed\n"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"output","Package":"b","Test":"TestHangs","Output":"still running\n"}
{"Action":"output","Package":"b","Output":"FAIL\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t0.300s\n"}
{"Action":"fail","Package":"b","Elapsed":0.3}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: syntax error\n"}
`

func play(t *testing.T, r *report, text string, passed bool) (string, bool) {
	t.Helper()
	r.began = time.Now()
	var out bytes.Buffer
	if err := r.read(strings.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	ok := r.finish(&out, passed)
	return out.String(), ok
}

func TestGoodRunEndsWithGoTestsLines(t *testing.T) {
	out, ok := play(t, &report{steps: "  vet  ok 3s\n"}, strings.ReplaceAll(events, "not installed", "asleep"), true)
	if !ok || !strings.HasSuffix(out, "\nok  \ta\t0.200s\n") {
		t.Errorf("a good run ended with:\n%s", out)
	}
	if strings.Contains(out, "chatter") || !strings.Contains(out, "  vet  ok 3s") {
		t.Errorf("chatter of good tests, or no summary:\n%s", out)
	}
}

func TestMissingServerIsNamedWithItsTests(t *testing.T) {
	out, ok := play(t, &report{missing: "redis-server "}, events, true)
	if !ok || !strings.Contains(out, "not installed: redis-server\n") || !strings.Contains(out, "a: TestRedis: ") {
		t.Errorf("ok %v:\n%s", ok, out)
	}
	if strings.Contains(out, "TestOther") {
		t.Error("a skip for another reason was counted as a missing server")
	}
}

func TestMissingServerFailsUnderCI(t *testing.T) {
	for name, r := range map[string]*report{"by a skipped test": {ci: true}, "by its absence": {ci: true, missing: "gcc"}} {
		text := events
		if r.missing != "" {
			text = strings.ReplaceAll(events, "not installed", "asleep")
		}
		out, ok := play(t, r, text, true)
		if ok || !strings.HasSuffix(out, "FAIL\n") || !strings.Contains(out, "CI=true") {
			t.Errorf("%s: ok %v:\n%s", name, ok, out)
		}
	}
}

func TestFailuresAreShownAndCounted(t *testing.T) {
	out, ok := play(t, &report{}, events+failing, false)
	for _, want := range []string{"why it failed", "still running", "c.go:1: syntax error", "FAIL\tb\t0.300s"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if ok || !strings.HasSuffix(out, "FAIL\n") {
		t.Errorf("a failed run was called good:\n%s", out)
	}
}

func TestFailedStepFailsTheRun(t *testing.T) {
	out, ok := play(t, &report{failed: " lint"}, strings.ReplaceAll(events, "not installed", "asleep"), true)
	if ok || !strings.Contains(out, "FAILED before the tests: lint") {
		t.Errorf("ok %v:\n%s", ok, out)
	}
}
