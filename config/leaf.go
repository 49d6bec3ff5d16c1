package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// maxValue bounds one written value. The longest honest one is a base64 key or
// a database URL; anything beyond is a file pasted into the wrong place.
const maxValue = 16 << 10

// parseLeaf reads one value from its text. Problem is "" when it was good. The
// text is never repeated in a problem: it may be a secret under a wrong key.
func parseLeaf(k kind, text string) (value any, problem, fix string) {
	if len(text) > maxValue {
		return nil, "longer than 16 KiB", "shorten it, or keep secrets and certificates in files"
	}
	if strings.ContainsFunc(text, isControl) {
		return nil, "contains a control character", "remove line breaks, tabs and invisible characters"
	}
	switch k {
	case kindString:
		return text, "", ""
	case kindBool:
		if text == "true" || text == "false" {
			return text == "true", "", ""
		}
		return nil, "not a yes or no", "write true or false"
	case kindInt:
		n, ok := decimal(text)
		if !ok {
			return nil, "not a whole number", "write decimal digits only, e.g. 200"
		}
		return n, "", ""
	case kindBytes:
		return parseBytes(text)
	case kindDuration:
		return parseDuration(text)
	default:
		return nil, "not a single value", "see config.example.yaml for its form"
	}
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) }

// decimal reads digits only: YAML's 0x10, 0o17, 010 and 1_000 are refused,
// because two readers of one file must see one number.
func decimal(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s {
		return 0, false
	}
	return n, true
}

// parseDuration wants a unit. A bare 90 would silently be 90 nanoseconds.
func parseDuration(s string) (value any, problem, fix string) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return nil, "a duration without a unit", `write it with its unit, e.g. "90s", "30m" or "8h"`
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, "not a duration", `write it like "90s", "30m" or "8h" (days as hours: "168h")`
	}
	return d, "", ""
}

// parseBytes reads a size in bytes, with an optional binary unit.
func parseBytes(s string) (value any, problem, fix string) {
	const form = `write bytes or a unit, e.g. 65536 or "64KiB"`
	digits, shift := s, 0
	for _, u := range []struct {
		suffix string
		shift  int
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, shift = strings.TrimSpace(rest), u.shift
		}
	}
	n, ok := decimal(digits)
	if !ok || n < 0 {
		return nil, "not a size", form
	}
	if n > math.MaxInt>>shift {
		return nil, "a size beyond any machine", form
	}
	return n << shift, "", ""
}
