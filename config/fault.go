package config

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a config: where, what, and what to do about it.
// None of its parts ever holds the value of a secret, so that a fault can be
// pasted into a ticket.
type Fault struct {
	Key     string // path of the key, e.g. "routes[0].upstream"; "" = the file as a whole
	Problem string // what is wrong, lower case, no full stop
	Fix     string // what to write or run instead
	Source  string // "ssogate.yaml:12" or "SSOGATE_URL"; "" when the key was not set anywhere
}

// String is the fault on one line.
func (f Fault) String() string {
	var b strings.Builder
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem)
	if f.Source != "" {
		b.WriteString(" (" + f.Source + ")")
	}
	if f.Fix != "" {
		b.WriteString("; " + f.Fix)
	}
	return b.String()
}

// Error is why a config was refused: every fault found, those of form (unknown
// keys, unreadable values) before those of meaning. [Load] answers no other error
// type.
type Error struct {
	Path   string // the file, "" when only the environment was read
	Faults []Fault
}

// Error lists every fault, one a line, because an operator who fixes them one
// restart at a time is an operator whose gateway is down.
func (e *Error) Error() string {
	where := e.Path
	if where == "" {
		where = "environment"
	}
	lines := make([]string, 0, len(e.Faults))
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return fmt.Sprintf("config: %s: %s", where, strings.Join(lines, "\n\t"))
}

// faults gathers what is wrong; the zero value is empty and ready.
type faults struct{ list []Fault }

func (fs *faults) add(key, problem, fix string) {
	fs.list = append(fs.list, Fault{Key: key, Problem: problem, Fix: fix})
}

func (fs *faults) addf(key, fix, format string, args ...any) {
	fs.add(key, fmt.Sprintf(format, args...), fix)
}
