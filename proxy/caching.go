package proxy

import (
	"net/http"
	"strings"
)

// keepPrivate makes sure that no shared cache keeps an answer that was meant
// for one person (row K10): not because of its path ending in .css, not because
// the application said public, not by a header meant for a CDN only.
func keepPrivate(h http.Header) {
	for name := range h {
		if cdnHeader(name) {
			delete(h, name)
		}
	}
	lines := h["Cache-Control"]
	if len(lines) == 1 {
		switch lines[0] { // the usual ones, without parsing
		case "no-store", "private", "no-cache, private", "private, no-cache", "no-cache, no-store, must-revalidate":
			return
		}
	}
	if len(lines) == 0 {
		h["Cache-Control"] = []string{"private"}
		return
	}
	var kept []string
	private := false
	for _, line := range lines {
		for _, d := range directives(line) {
			name, _, qualified := strings.Cut(d, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "public", "s-maxage", "proxy-revalidate":
				continue
			case "private":
				// private="field" is private for that field only (RFC 9111
				// section 5.2.2.7): the answer itself would stay shared.
				if qualified {
					continue
				}
				private = true
			case "no-store":
				private = true
			}
			kept = append(kept, d)
		}
	}
	if !private {
		// In front: an unterminated quote in what follows cannot swallow it.
		kept = append([]string{"private"}, kept...)
	}
	h["Cache-Control"] = []string{strings.Join(kept, ", ")}
}

// cdnHeader names the targeted cache controls (RFC 9213 and its forerunners),
// which outrank Cache-Control for the caches they are meant for.
func cdnHeader(name string) bool {
	switch name {
	case "Surrogate-Control", "Edge-Control", "X-Accel-Expires":
		return true
	}
	return strings.HasSuffix(name, "Cdn-Cache-Control")
}

// directives splits at commas outside of quotes.
func directives(line string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				out = append(out, strings.TrimSpace(line[start:i]))
				start = i + 1
			}
		}
	}
	return append(out, strings.TrimSpace(line[min(start, len(line)):]))
}
