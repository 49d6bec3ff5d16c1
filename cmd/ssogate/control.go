package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"
	"unicode"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

// withControl opens what a command on the host works on: the running ssogate, or
// its stores.
func (a *app) withControl(ctx context.Context, path string, do func(*config.Config, *run.Control) error) error {
	c, err := a.loadConfig(path)
	if err != nil {
		return err
	}
	control, err := run.OpenControl(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(do(c, control), control.Close())
}

// operator names who runs a command, in the audit log.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "cli:" + u.Username
	}
	return "cli"
}

// stamp prints a time in lists.
func stamp(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// inert makes text from elsewhere harmless to a terminal and to the lines of a
// list: what is not printed as itself is shown by its code (row C11).
func inert(s string) string { return escape(s, func(r rune) bool { return !unicode.IsPrint(r) }) }

// inertJSON is inert for a JSON document, whose own line breaks stay: inside of
// strings encoding/json lets through DEL, the C1 controls and marks that turn a
// line around.
func inertJSON(s string) string {
	return escape(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' })
}

func escape(s string, odd func(rune) bool) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r > 0xffff: // a surrogate pair, as JSON writes it
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
