package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The lines are those of slog's own JSON handler, whatever a client sends (C11): who
// reads one log reads the other.
func TestAccessLogSaysWhatSlogSays(t *testing.T) {
	clock := time.Date(2026, 11, 27, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	for _, c := range []struct{ host, path, note string }{
		{"app.example.com", "/a/b", "plain"},
		{`h"o\st`, "/%22%5C%0A", "line\nbreak\x1b[31m\u2028 é \xff" + strings.Repeat("x", 300)},
		{"", "/invite/secret", "<b>&\u202e"},
	} {
		var one, other bytes.Buffer
		access := NewAccessLog(&other)
		for _, o := range []Options{{Log: slog.New(slog.NewJSONHandler(&one, nil))}, {Access: access}} {
			o.Now = func() time.Time { return clock }
			r := httptest.NewRequest("GET", c.path, nil)
			r.Host, r.RemoteAddr = c.host, "[2001:db8::1]:99"
			Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} { // more than there is room for at first
					Annotate(r.Context(), k, c.note)
				}
				Annotate(r.Context(), "a", c.note+"2")
				w.WriteHeader(http.StatusTeapot)
			}), o).ServeHTTP(httptest.NewRecorder(), r)
		}
		if err := access.Flush(); err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if err := errors.Join(json.Unmarshal(one.Bytes(), &want), json.Unmarshal(other.Bytes(), &got)); err != nil {
			t.Fatalf("%v\n%s", err, other.String())
		}
		if at, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil || !at.Equal(clock) {
			t.Errorf("time %v", got["time"])
		}
		for _, m := range []map[string]any{want, got} {
			delete(m, "time")
			delete(m, "request_id")
		}
		if !reflect.DeepEqual(want, got) || strings.Count(other.String(), "\n") != 1 {
			t.Errorf("slog: %v\nours: %v", want, got)
		}
	}
}

// What waits comes before what is written after it, and never waits for ever or without
// bound; a disk that is full does not fill the memory, too.
func TestAccessLogKeepsOrderAndBounds(t *testing.T) {
	var out broken
	l := NewAccessLog(&out)
	x, rec := &exchange{id: "abc"}, &record{method: "GET", path: "/" + strings.Repeat("p", 500), status: 200}
	l.record(time.Now(), x, rec)
	if out.Len() != 0 {
		t.Error("a record does not wait for others")
	}
	if _, err := l.Write([]byte("later\n")); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, `"abc"`) || !strings.HasSuffix(s, "\nlater\n") {
		t.Errorf("order: %q", s)
	}
	out.Reset()
	for range 200 {
		l.record(time.Now(), x, rec)
	}
	if len(l.buf) >= accessFull || out.Len() == 0 {
		t.Errorf("%d bytes wait, %d were written", len(l.buf), out.Len())
	}
	out.err = errors.New("disk full")
	for range 1000 {
		l.record(time.Now(), x, rec)
	}
	if cap(l.buf) > 2*accessFull {
		t.Errorf("%d bytes wait for a disk that is full", cap(l.buf))
	}
	l.due() // what the timer does
	if len(l.buf) != 0 || l.armed {
		t.Error("the timer leaves something")
	}
}

type broken struct {
	bytes.Buffer
	err error
}

func (b *broken) Write(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return b.Buffer.Write(p)
}

func FuzzAccessText(f *testing.F) {
	f.Add("a\"\\\n\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		b := appendText(nil, s)
		if err := json.Unmarshal(b, &got); err != nil || utf8.ValidString(s) && got != s || bytes.ContainsAny(b, "\n\r") {
			t.Errorf("%q: %s, %v", s, b, err)
		}
	})
}
