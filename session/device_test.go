package session_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/ssogate/ssogate/session"
)

func TestDeviceIsNamedInAFewWords(t *testing.T) {
	const webkit = "AppleWebKit/537.36 (KHTML, like Gecko) "
	for _, tt := range []struct{ userAgent, want, why string }{
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Windows", ""},
		{"Mozilla/5.0 (X11; Linux x86_64) " + webkit + "Chrome/126.0.0.0 Safari/537.36", "Chrome on Linux", "says Safari too"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0", "Edge on Windows", "says Chrome too"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + webkit + "Version/17.5 Safari/605.1.15", "Safari on macOS", ""},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) " + webkit + "Version/17.5 Mobile/15E148 Safari/604.1", "Safari on iPhone", "says Mac OS X too"},
		{"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) " + webkit + "CriOS/126.0 Mobile/15E148 Safari/604.1", "Chrome on iPad", ""},
		{"Mozilla/5.0 (Linux; Android 14; Pixel 8) " + webkit + "Chrome/126.0.0.0 Mobile Safari/537.36", "Chrome on Android", "says Linux too"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + webkit + "Chrome/126.0.0.0 Safari/537.36", "Chrome on ChromeOS", ""},
		{"curl/8.5.0", "curl", "no browser"},
		{"Go-http-client/1.1", "Go-http-client", ""},
		{"Mozilla/5.0 (Linux)", "Linux", ""},
		{"Mozilla/5.0", "unknown device", "everybody says Mozilla"},
		{"", "unknown device", ""},
		{strings.Repeat("a", 300), "unknown device", "a name without end is none"},
		{"\x1b[2Jevil/1.0", "unknown device", "C11: a terminal would obey it"},
		{"\u202eelif/1.0", "unknown device", "C11: it would turn the line around"},
		{"curl\nroot/1.0", "unknown device", "C11: it would add a line"},
		{"\x1b]0;x\x07 Firefox/1 (Windows \u009b2J)", "Firefox on Windows", "C11: only our own words come out"},
	} {
		if got := session.Device(tt.userAgent); got != tt.want {
			t.Errorf("%q is %q, want %q (%s)", tt.userAgent, got, tt.want, tt.why)
		}
	}
}

func FuzzDevice(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64) Firefox/1")
	f.Add("curl/8\x1b[2J")
	f.Fuzz(func(t *testing.T, userAgent string) {
		got := session.Device(userAgent)
		if got == "" || len(got) > 60 {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if r > unicode.MaxASCII || !unicode.IsPrint(r) {
				t.Errorf("%q has %q", got, r)
			}
		}
	})
}
