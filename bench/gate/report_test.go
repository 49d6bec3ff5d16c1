package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReportComparesInsideRoundsAndSaysWhatIsMissing(t *testing.T) {
	some := func(name string, cpu ...float64) *contestant {
		return &contestant{name: name, measured: measured{cpu: cpu, even: cpu, dials: []float64{0, 0.002}, perSecond: cpu, p50: cpu, p99: cpu, memory: cpu}}
	}
	rep := &report{
		list:   []*contestant{some(bareNginx, 10, 20, 30), some(floorPool, 40, 80, 120), some(ourOff, 20, 40, 60), some(ourRedis, 20, 44, 72)},
		absent: []missing{{oauth2Proxy, "not on PATH"}},
		rest:   &rest{members: 7, open: []float64{20}, first: []float64{200}, memory: 10, idle: []idle{{keepAliveKind, 1, 13, 9}, {webSocketKind, 1, 13, 9}}},
	}
	text := rep.markdown()
	for _, want := range []string{
		"| ssogate, Redis sessions | 44.0 (32.0 to 58.0) | 0.55 | 2.20 |",
		"| Redis sessions, times the route with auth off | 1.10 | 1.1 | kept |",
		"| Redis sessions, times Go floor+pool (second stage) | 0.55 | 0.6 | kept |",
		"| Redis sessions, times mod_auth_mellon | - | 1 | not measured |",
		"| new upstream connections a request | 0.00100 | 0.001 | kept |",
		"| p99 at 0 requests/s, times nginx | 2.20 | 1.2 | missed |",
		"| KiB of an idle keep-alive connection | 13.0 | 12 | missed |",
		"| KiB of an idle WebSocket | 13.0 | 20 | kept |",
		"| ms from start to the first admitted request, 7 members | 200 | 150 | missed |",
		"| oauth2-proxy + Redis | not on PATH |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	rep := &report{list: []*contestant{{name: "a <b> & c", measured: measured{cpu: []float64{1, 2, 3}}}, {name: "nothing"}}}
	d := xml.NewDecoder(strings.NewReader(rep.plot()))
	bars := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 2 { // one is the ground
		t.Errorf("%d rectangles", bars)
	}
}

func TestSpoiledCookiesAreOthers(t *testing.T) {
	const cookie = "a=0123456789abcdef; b=ABCDEFGHIJKLMNOP"
	got := spoil(cookie)
	if got == cookie || len(got) != len(cookie) || !strings.HasPrefix(got, "a=") || !strings.Contains(got, "; b=") {
		t.Errorf("%q", got)
	}
}
