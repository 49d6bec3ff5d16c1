package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
)

func FuzzIdentityValue(f *testing.F) {
	for _, s := range []string{"Ana", "a\r\nb", " x ", "%41", "é", "\xff", "a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, also := range []string{"", ","} {
			v := encode(s, also)
			if !httpguts.ValidHeaderFieldValue(v) || v != strings.TrimSpace(v) || also != "" && strings.Contains(v, also) {
				t.Fatalf("%q became %q", s, v)
			}
			if back, err := url.PathUnescape(v); v != "" && (err != nil || back != strings.ToValidUTF8(s, "\ufffd")) {
				t.Fatalf("%q became %q, which reads back as %q (%v)", s, v, back, err)
			}
		}
	})
}

func FuzzCookieLine(f *testing.F) {
	for _, s := range []string{"a=1; b=2", cookieName + "=x", "=;;=", "a;" + cookieName, "$Version=1; =" + cookieName + "=1"} {
		f.Add(s)
	}
	ours := (&fakeSessions{}).IsOurCookie
	f.Fuzz(func(t *testing.T, line string) {
		out := stripCookieLine(line, ours)
		// Nothing that net/http, or a reader that trims, would take for ours is left.
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {out}}}).Cookies() {
			if ours(c.Name) {
				t.Fatalf("%q leaves %q", line, c.Name)
			}
		}
		for part := range strings.SplitSeq(out, ";") {
			name, _, _ := strings.Cut(part, "=")
			if ours(strings.TrimSpace(name)) {
				t.Fatalf("%q leaves %q", line, part)
			}
		}
		if stripCookieLine(out, ours) != out {
			t.Fatalf("%q: stripping twice changes %q", line, out)
		}
		// What is kept is kept in order, byte for byte.
		rest := line
		for part := range strings.SplitSeq(out, ";") {
			i := strings.Index(rest, part)
			if i < 0 {
				t.Fatalf("%q: %q is not from it", line, part)
			}
			rest = rest[i+len(part):]
		}
	})
}

func FuzzKeepPrivate(f *testing.F) {
	for _, s := range []string{"public", "private=\"x\", s-maxage=1", "no-store", `a="\`, ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cache-Control": {line}}
		keepPrivate(h)
		got := h["Cache-Control"]
		if len(got) != 1 {
			t.Fatalf("%q: %q", line, got)
		}
		private := false
		for _, d := range directives(got[0]) {
			name, _, q := strings.Cut(strings.ToLower(d), "=")
			switch strings.TrimSpace(name) {
			case "public", "s-maxage":
				t.Fatalf("%q leaves %q", line, got[0])
			case "private", "no-store":
				private = private || !q
			}
		}
		if !private {
			t.Fatalf("%q became %q, which a shared cache may keep", line, got[0])
		}
	})
}

// Any name that reads as one of ours once separators are dropped is managed.
func FuzzManagedName(f *testing.F) {
	f.Add("X-Forwarded-User", uint8(3))
	f.Fuzz(func(t *testing.T, seps string, which uint8) {
		name := managedNames[int(which)%len(managedNames)]
		var b strings.Builder
		for i, c := range strings.Split(name, "-") {
			if i < len(seps) && !alnum(seps[i]) {
				b.WriteByte(seps[i])
			}
			b.WriteString(c)
		}
		if got := b.String(); !managed(got) || !managed(strings.ToUpper(got)) {
			t.Fatalf("%q passes", got)
		}
	})
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
