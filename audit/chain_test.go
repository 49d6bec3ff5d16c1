package audit

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func logOf(n int) (events []Event, hashes []string) {
	prev := ""
	for i := range n {
		e := Event{
			Seq: int64(i + 1), Time: time.UnixMilli(int64(1000 * i)), Kind: "member.updated", Outcome: Allowed,
			Actor: "scim:okta", Target: "member:x", Detail: map[string]string{"changed": "email", "n": string(rune('a' + i))},
		}.Clean()
		prev = Hash(prev, e)
		events, hashes = append(events, e), append(hashes, prev)
	}
	return events, hashes
}

func verify(events []Event, hashes []string, headSeq int64, head string) error {
	var v Verifier
	for i, e := range events {
		if err := v.Add(e, hashes[i]); err != nil {
			return err
		}
	}
	return v.End(headSeq, head)
}

func TestChainShowsEveryChange_L02(t *testing.T) {
	events, hashes := logOf(6)
	head := hashes[5]
	if err := verify(events, hashes, 6, head); err != nil {
		t.Fatalf("an untouched log is refused: %v", err)
	}
	for name, damage := range map[string]func(e []Event, h []string) ([]Event, []string){
		"kind altered":    func(e []Event, h []string) ([]Event, []string) { e[2].Kind = "x"; return e, h },
		"outcome altered": func(e []Event, h []string) ([]Event, []string) { e[2].Outcome = Denied; return e, h },
		"actor altered":   func(e []Event, h []string) ([]Event, []string) { e[2].Actor = "cli"; return e, h },
		"time altered": func(e []Event, h []string) ([]Event, []string) {
			e[2].Time = e[2].Time.Add(time.Millisecond)
			return e, h
		},
		"address added":  func(e []Event, h []string) ([]Event, []string) { e[2].Address = "::1"; return e, h },
		"detail altered": func(e []Event, h []string) ([]Event, []string) { e[2].Detail["n"] = "z"; return e, h },
		"detail key moved into its value": func(e []Event, h []string) ([]Event, []string) {
			e[2].Detail = map[string]string{"changedemail": "", "n": "c"}
			return e, h
		},
		"text moved to the next field": func(e []Event, h []string) ([]Event, []string) {
			e[2].Actor, e[2].Target = "scim:oktam", "ember:x"
			return e, h
		},
		"first removed":  func(e []Event, h []string) ([]Event, []string) { return e[1:], h[1:] },
		"middle removed": func(e []Event, h []string) ([]Event, []string) { return slices.Delete(e, 2, 3), slices.Delete(h, 2, 3) },
		"last removed":   func(e []Event, h []string) ([]Event, []string) { return e[:5], h[:5] },
		"all removed":    func(e []Event, h []string) ([]Event, []string) { return nil, nil },
		"two swapped": func(e []Event, h []string) ([]Event, []string) {
			e[2], e[3], h[2], h[3] = e[3], e[2], h[3], h[2]
			return e, h
		},
		"two swapped and renumbered": func(e []Event, h []string) ([]Event, []string) {
			e[2], e[3] = e[3], e[2]
			e[2].Seq, e[3].Seq = 3, 4
			return e, h
		},
		"one said twice": func(e []Event, h []string) ([]Event, []string) {
			return slices.Insert(e, 3, e[2]), slices.Insert(h, 3, h[2])
		},
		"altered and rehashed alone": func(e []Event, h []string) ([]Event, []string) {
			e[2].Reason = "other"
			h[2] = Hash(h[1], e[2])
			return e, h
		},
	} {
		t.Run(name, func(t *testing.T) {
			events, hashes := logOf(6)
			for i := range events {
				events[i].Detail = maps.Clone(events[i].Detail)
			}
			e, h := damage(events, hashes)
			if err := verify(e, h, 6, head); !errors.Is(err, ErrBroken) {
				t.Fatalf("verified as %v: a damaged log must be ErrBroken", err)
			}
		})
	}
}

func TestWrittenEventsAreBoundedAndInert_C11(t *testing.T) {
	e := Event{Kind: "signin.refused", Actor: "member:ok", Detail: map[string]string{"name": "Zoë O'Neil"}}.Clean()
	if e.Actor != "member:ok" || e.Detail["name"] != "Zoë O'Neil" {
		t.Fatalf("an ordinary event was altered: %+v", e)
	}
	if e.Outcome != Denied {
		t.Fatalf("an event without an outcome is written as %q, want a denial", e.Outcome)
	}
	nasty := "a\r\nb\x1b[31m\x00\u202e\u2028\u200b\xff" + strings.Repeat("é", 5000)
	many := map[string]string{}
	for i := range 100 {
		many[nasty+string(rune('A'+i))] = nasty
	}
	e = Event{Kind: nasty, Outcome: Outcome(nasty), Actor: nasty, Target: nasty, Provider: nasty, RequestID: nasty, Address: nasty, Reason: nasty, Detail: many}.Clean()
	if len(e.Detail) > maxDetail {
		t.Errorf("%d details are kept", len(e.Detail))
	}
	all := []string{e.Kind, string(e.Outcome), e.Actor, e.Target, e.Provider, e.RequestID, e.Address, e.Reason}
	for k, v := range e.Detail {
		all = append(all, k, v)
	}
	for _, s := range all {
		if len(s) > maxString || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, "\u202e\u2028\u200b") {
			t.Errorf("written as %q", s)
		}
	}
}

func FuzzCleanIsStable(f *testing.F) {
	f.Add("a\x00b", "\xff\u200e")
	f.Fuzz(func(t *testing.T, a, b string) {
		e := Event{Kind: a, Actor: b, Detail: map[string]string{a: b, b: a}}.Clean()
		again := e.Clean()
		if Hash("", e) != Hash("", again) {
			t.Fatalf("cleaning twice differs: %+v, %+v", e, again)
		}
	})
}
