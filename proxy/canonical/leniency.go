package canonical

import (
	"net/http"
	"slices"
	"strings"
)

// Leniency is a set of forms that a path may have although servers read them
// differently, because an application needs them. None is allowed by default; a route
// allows each by name. A path that has one keeps it, and is forwarded as it was sent;
// what else it could mean to some reader is in [Request.Readings].
type Leniency uint8

// Leniencies. The zero value is none.
const (
	EncodedSlash    Leniency = 1 << iota // %2f inside a segment, as in GitLab's /projects/group%2Fname
	PathParameters                       // ";" and %3b, as in /page;jsessionid=1 and /a;b.pdf
	EmptySegments                        // "//", as in /proxy/http://host/
	NeedlessEscapes                      // escaped letters and digits, as some old clients write them

	allLeniencies = EncodedSlash | PathParameters | EmptySegments | NeedlessEscapes
)

var leniencies = []struct {
	name string
	is   Leniency
	why  Reason // of refusing it
}{
	{"encoded_slash", EncodedSlash, HiddenByte},
	{"path_parameters", PathParameters, PathParameter},
	{"empty_segments", EmptySegments, EmptySegment},
	{"needless_escapes", NeedlessEscapes, NeedlessEsc},
}

// Leniencies are the names that [ParseLeniency] knows.
func Leniencies() (names []string) {
	for _, l := range leniencies {
		names = append(names, l.name)
	}
	return names
}

// ParseLeniency reads a name that an operator wrote.
func ParseLeniency(name string) (Leniency, bool) {
	for _, l := range leniencies {
		if l.name == name {
			return l.is, true
		}
	}
	return 0, false
}

// Refusal is for a request that takes liberties which nobody allowed: nil for none.
func (l Leniency) Refusal() error {
	for _, k := range leniencies {
		if l&k.is != 0 {
			return refuse(http.StatusBadRequest, k.why)
		}
	}
	return nil
}

// lenient is what a request has beside one reading.
type lenient struct {
	used Leniency
	also []string
}

// Used are the liberties that the path takes.
func (q Request) Used() Leniency {
	if q.lenient == nil {
		return 0
	}
	return q.lenient.used
}

// Readings are the paths that some server could take Path for, in the form of Match,
// which is the first of them. A rule must hold, and a route be found, for every one.
func (q Request) Readings() []string {
	if q.lenient == nil {
		return []string{q.Match}
	}
	return append([]string{q.Match}, q.lenient.also...)
}

// As is the request with another of its readings as the only one.
func (q Request) As(reading string) Request {
	q.Match, q.lenient = reading, nil
	return q
}

// Stand-ins, while readings are made, for escapes that stay: no path has these bytes.
const (
	slashMark     = "\x00"
	semicolonMark = "\x01"
)

var unmark = strings.NewReplacer(slashMark, "%2F", semicolonMark, "%3B")

// What a path of liberties may cost. Two kinds of them make eight readings or so.
const (
	maxReadings = 48
	maxLenient  = 2 << 10 // bytes of the path
)

// steps are what servers do to a path that has liberties, in any order and number.
var steps = []func(string) string{
	// Decodes an encoded slash, and then takes it for one.
	func(p string) string { return strings.ReplaceAll(p, slashMark, "/") },
	func(p string) string { return strings.ReplaceAll(p, semicolonMark, ";") },
	// Cuts parameters off each segment (Tomcat and others), or the path at the first.
	cutParameters,
	func(p string) string { p, _, _ = strings.Cut(p, ";"); return p },
	// Merges slashes (nginx and others).
	func(p string) string {
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return p
	},
}

func cutParameters(p string) string {
	if !strings.Contains(p, ";") {
		return p
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

// withReadings is q with all that its path, decoded to match, could be to some reader.
// It is refused when one of them resolves to somewhere else.
func (q Request) withReadings(match string, used Leniency) (Request, error) {
	if len(q.Path) > maxLenient {
		return Request{}, refuse(http.StatusRequestURITooLong, TooLong)
	}
	all := []string{match}
	if used&NeedlessEscapes != 0 {
		// To a reader who does not decode them.
		kept, _, err := decodePath(q.Path, used, true)
		if err != nil {
			return Request{}, err
		}
		all = append(all, kept)
	}
	for i := 0; i < len(all); i++ {
		if err := checkDots(all[i]); err != nil {
			return Request{}, err
		}
		for _, step := range steps {
			if p := step(all[i]); !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
		if len(all) > maxReadings {
			return Request{}, refuse(http.StatusBadRequest, PathParameter)
		}
	}
	for i := range all {
		all[i] = unmark.Replace(all[i])
	}
	q.Match, q.lenient = all[0], &lenient{used, all[1:]}
	return q, nil
}

// checkDots refuses what servers resolve, also between slashes that are still encoded.
func checkDots(path string) error {
	for seg := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == 0 }) {
		if isDots(seg) {
			return refuse(http.StatusBadRequest, DotSegment)
		}
	}
	return nil
}
