package cluster

import (
	"strings"
	"testing"
	"time"
)

// A judge that finds nothing must be able to find something.
func TestHistoryShowsWhatBreaksTheGuarantee(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name, why string
		session   int
		began     time.Duration
		verdict   Verdict
		want      bool
	}{
		{"admitted before the 2xx", "he may be: the call had not been answered", 0, 9 * s, Admitted, false},
		{"refused after the 2xx", "that is the promise", 0, 11 * s, Refused, false},
		{"503 after the 2xx", "nobody was admitted", 0, 11 * s, Unavailable, false},
		{"admitted after the 2xx", "G1", 0, 10*s + 1, Admitted, true},
		{"admitted after the 2xx with a session of the race", "his sign-in was under way", 1, 11 * s, Admitted, true},
		{"admitted after the 2xx with a session that nobody ended", "he is out, whatever he shows", 7, 11 * s, Admitted, true},
		{"admitted after the re-activation with a new session", "he is in again", 2, 21 * s, Admitted, false},
		{"admitted after the re-activation with an old session", "an earlier epoch is dead for good", 0, 21 * s, Admitted, true},
		{"admitted after the second 2xx", "the second one counts as the first", 2, 31 * s, Admitted, true},
		{"admitted long after with the oldest session", "for good", 0, 50 * s, Admitted, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory()
			h.Out(0, 10*s, "first")
			h.Dead(0)
			h.Dead(1)
			h.In(20 * s)
			h.Out(1, 30*s, "second")
			h.Dead(2)
			h.In(40 * s)
			h.Member(1, 2, tt.session, tt.began, tt.began+1, tt.verdict)
			if got := h.Violations(); len(got) > 0 != tt.want {
				t.Errorf("%v, want a violation: %t (%s)", got, tt.want, tt.why)
			}
		})
	}
}

// What a server names to its clients is renamed, and a number in a record is not.
func TestRelaysRenamePortsAndNothingElse(t *testing.T) {
	ports := map[string]string{"34567": "45678"}
	for in, want := range map[string]string{
		"-MOVED 3999 127.0.0.1:34567\r\n":                            "-MOVED 3999 127.0.0.1:45678\r\n",
		"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n34567\r\n":                   "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n45678\r\n",
		"*2\r\n:0\r\n:34567\r\n":                                     "*2\r\n:0\r\n:45678\r\n",
		"main 127.0.0.1 34567 127.0.0.1 34567\r\n":                   "main 127.0.0.1 45678 127.0.0.1 45678\r\n",
		"127.0.0.1:34567@11111 master":                               "127.0.0.1:45678@11111 master",
		`$30` + "\r\n" + `{"seen":1734567890123,"n":34567}` + "\r\n": `$30` + "\r\n" + `{"seen":1734567890123,"n":34567}` + "\r\n",
		"34567": "34567",
	} {
		if got := string(renamePorts([]byte(in), ports)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestReportHasTheSameFormWhateverItShows(t *testing.T) {
	r := Report{Form: Single, Nodes: 3, Faults: []FaultReport{{Name: Calm, Rounds: 2}}, PerNode: make([]NodeReport, 3)}
	empty := r.Markdown()
	r.Violations, r.Faults[0].Call = []string{"x"}, Figures{time.Millisecond}
	if a, b := strings.Count(empty, "\n"), strings.Count(r.Markdown(), "\n"); a != b {
		t.Errorf("%d lines without figures, %d with", a, b)
	}
}
