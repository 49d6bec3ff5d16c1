package scim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
)

// TestGoldenSequences plays the files in testdata: what one IdP sends during a
// life cycle, and what it must get. One step is
//
//	-- a title
//	METHOD path [Header: value]
//	body
//	--> status
//	expected body: every key named must be there, null means absent
//	save NAME key
//	state NAME invited|active|deactivated   (checked in the store)
//	accept NAME                             (the person accepted the invitation)
//
// and ${NAME} stands for what was saved.
func TestGoldenSequences(t *testing.T) {
	playAll(t, newServer)
}

func TestGoldenSequencesOnPostgreSQL(t *testing.T) {
	playAll(t, func(t *testing.T) *server {
		t.Helper()
		return newServerOn(t, testserver.Postgres(t))
	})
}

func playAll(t *testing.T, start func(*testing.T) *server) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("sequences are missing: %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			p := player{server: start(t), vars: map[string]string{}}
			for i, step := range strings.Split(string(raw), "\n-- ")[1:] {
				title, rest, _ := strings.Cut(step, "\n")
				p.where = fmt.Sprintf("step %d, %s", i+1, title)
				p.play(rest)
			}
		})
	}
}

type player struct {
	*server
	vars  map[string]string
	where string
}

func (p *player) fill(s string) string {
	for k, v := range p.vars {
		s = strings.ReplaceAll(s, "${"+k+"}", v)
	}
	if strings.Contains(s, "${") {
		p.t.Fatalf("%s: unknown variable in %s", p.where, s)
	}
	return s
}

func (p *player) play(step string) {
	p.t.Helper()
	request, response, ok := strings.Cut(p.fill(step), "\n--> ")
	if !ok {
		p.t.Fatalf("%s: no -->", p.where)
	}
	line, body, _ := strings.Cut(request, "\n")
	parts := strings.SplitN(line, " ", 3)
	var headers []string
	if len(parts) == 3 {
		name, value, _ := strings.Cut(parts[2], ": ")
		headers = []string{name, value}
	}
	if strings.TrimSpace(body) == "" {
		body = ""
	}
	a := p.do(parts[0], parts[1], body, headers...)
	status, expected, _ := strings.Cut(response, "\n")
	if want, err := strconv.Atoi(status); err != nil || a.status != want {
		p.t.Fatalf("%s: got %d %s, want %s", p.where, a.status, a.raw, status)
	}
	var want strings.Builder
	for _, l := range strings.Split(expected, "\n") {
		words := strings.Fields(l)
		if len(words) == 0 || !p.command(words, a) {
			want.WriteString(l + "\n")
		}
	}
	if strings.TrimSpace(want.String()) == "" {
		return
	}
	var v any
	if err := json.Unmarshal([]byte(want.String()), &v); err != nil {
		p.t.Fatalf("%s: expected body: %v", p.where, err)
	}
	if diff := missing("", v, any(a.body)); diff != "" {
		p.t.Fatalf("%s: %s\ngot %s", p.where, diff, a.raw)
	}
}

func (p *player) command(words []string, a answer) bool {
	p.t.Helper()
	switch {
	case words[0] == "save" && len(words) == 3:
		p.vars[words[1]] = a.text(words[2])
		if a.text(words[2]) == "" {
			p.t.Fatalf("%s: no %s in %s", p.where, words[2], a.raw)
		}
	case words[0] == "state" && len(words) == 3:
		if m := p.stored(p.vars[words[1]]); m.State() != member.State(words[2]) {
			p.t.Fatalf("%s: %s is %s, want %s", p.where, words[1], m.State(), words[2])
		}
	case words[0] == "accept" && len(words) == 2:
		p.change(p.vars[words[1]], accept)
	default:
		return false
	}
	return true
}

// missing says where got lacks something of want; "" when it does not.
func missing(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		for k, v := range w {
			have, there := g[k]
			if v == nil && there {
				return at + "." + k + " should be absent"
			}
			if v != nil && !there {
				return at + "." + k + " is missing"
			}
			if d := missing(at+"."+k, v, have); v != nil && d != "" {
				return d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s: want %d values", at, len(w))
		}
		for i := range w {
			if d := missing(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Sprintf("%s: got %v, want %v", at, got, want)
	}
	return ""
}
