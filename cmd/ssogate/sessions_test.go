package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
)

// Row C11: whatever a client calls itself, a terminal must not obey it.
func TestC11SessionListsAreInert(t *testing.T) {
	at := time.Date(2026, 5, 4, 10, 20, 0, 0, time.UTC)
	for _, tt := range []struct{ name, hostile string }{
		{"escape sequence", "a\x1b[2J\x1b]0;root\x07b"},
		{"C1 control sequence", "a\u009b2Jb"},
		{"line break", "a\r\nroot  Firefox on Windows"},
		{"column break", "a\tb"},
		{"DEL", "a\x7f\x7fb"},
		{"direction override", "a\u202egro.elpmaxe"},
		{"tag characters", "a\U000E0041b"},
		{"invalid UTF-8", "a\xff\x9bb"},
		{"NUL", "a\x00b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := []run.SessionInfo{{
				Handle: "3f2a9c0b7d5e1f64", Device: tt.hostile, UserAgent: tt.hostile, Address: tt.hostile, Provider: tt.hostile,
				Started: at, LastSeen: at, Ends: at,
			}}
			var table, doc bytes.Buffer
			printSessions(&table, list)
			if err := printJSON(&doc, list); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(table.String(), "\n"); n != 2 {
				t.Errorf("the list has %d lines:\n%q", n, table.String())
			}
			for what, out := range map[string]string{"table": table.String(), "JSON": doc.String()} {
				for _, r := range out {
					if r != '\n' && !unicode.IsPrint(r) {
						t.Errorf("%s: %U reaches the terminal", what, r)
					}
				}
			}
			var back []run.SessionInfo
			if err := json.Unmarshal(doc.Bytes(), &back); err != nil {
				t.Fatalf("no JSON any more: %v\n%s", err, doc.String())
			}
			if want := strings.ToValidUTF8(tt.hostile, "\uFFFD"); tt.name != "invalid UTF-8" && back[0].UserAgent != want {
				t.Errorf("a program reads %q, want %q", back[0].UserAgent, want)
			}
		})
	}
}
