package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newSessions(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List and end sessions",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSessionList(a), newSessionRevoke(a))
	return cmd
}

func newSessionList(a *app) *cobra.Command {
	var path, user string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --user NAME",
		Short: "List a member's sessions",
		Long: `List the live sessions of one member, newest first: the handle that "revoke"
takes, the device as its browser describes itself, the address it signed in
from, the identity provider, when it began, when it was last used (to the
minute) and when it ends at the latest. Times are UTC.

Sessions are kept by member, so there is no list of everybody's.`,
		Example: `  ssogate sessions list --user ana@example.com
  ssogate sessions list --user ana@example.com --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if user == "" {
				return &usageError{cmd.CommandPath(), errors.New("say whose sessions with --user: they are kept by member, there is no list of everybody's")}
			}
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Sessions.List(cmd.Context(), user)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				printSessions(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&user, "user", "", "user name of the member (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, with the whole User-Agent")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w, inertJSON(string(text)))
	return nil
}

func printSessions(w io.Writer, list []run.SessionInfo) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "no sessions")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "HANDLE\tDEVICE\tADDRESS\tPROVIDER\tSTARTED\tLAST SEEN\tENDS")
	for _, s := range list {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Handle, inert(s.Device), inert(s.Address), inert(s.Provider),
			stamp(s.Started, ""), stamp(s.LastSeen, ""), stamp(s.Ends, ""))
	}
	_ = tw.Flush()
}

// revocation is what the flags of "sessions revoke" say.
type revocation struct {
	user, provider     string
	all, everyone, yes bool
}

func newSessionRevoke(a *app) *cobra.Command {
	var path string
	var f revocation
	cmd := &cobra.Command{
		Use:   "revoke (--user NAME HANDLE | --user NAME --all | --provider ID | --everyone)",
		Short: "End sessions everywhere, at once",
		Long: `End sessions: one of a member, all of a member, all that were made through an
identity provider, or everybody's. When the command answers with success no
node admits a request of them any more, and their WebSockets, event streams and
downloads are closed. The members may sign in again.

An exit code of 1 with "not every node has confirmed" means that the sessions
are ended for good, but that it is not known yet whether every node acts on it:
run the same command again.`,
		Example: `  ssogate sessions revoke --user ana@example.com 3f2a9c0b7d5e1f64
  ssogate sessions revoke --user ana@example.com --all
  ssogate sessions revoke --provider okta`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, what, err := f.target(args)
			if err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			return a.withControl(cmd.Context(), path, func(c *config.Config, control *run.Control) error {
				if err := knownProvider(c, e.Provider); err != nil {
					return err
				}
				if e.Everyone && !f.yes && !a.confirm("This signs everybody out of every application, you included.") {
					return errors.New("not confirmed; nothing was changed")
				}
				ended, err := control.Sessions.End(cmd.Context(), e)
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(a.stdout, "%s: ended on every node in %d ms\n", inert(what), ended.Took.Round(time.Millisecond).Milliseconds())
				return nil
			})
		},
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return &usageError{cmd.CommandPath(), errors.New("one HANDLE at a time; --all ends all of a member")}
		}
		return nil
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&f.user, "user", "", "user name of the member")
	cmd.Flags().BoolVar(&f.all, "all", false, "all sessions of the member: sign out everywhere")
	cmd.Flags().StringVar(&f.provider, "provider", "", "everything made through this identity provider")
	cmd.Flags().BoolVar(&f.everyone, "everyone", false, "everybody's sessions; asks first")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return cmd
}

// target is what is meant, exactly one thing: a command that ends more than was
// meant cannot be taken back.
func (f revocation) target(args []string) (e run.EndSessions, what string, err error) {
	e = run.EndSessions{Actor: operator(), User: f.user, Provider: f.provider, Everyone: f.everyone}
	if len(args) == 1 {
		e.Handle = args[0]
	}
	one := 0
	for _, said := range []bool{f.user != "", f.provider != "", f.everyone} {
		if said {
			one++
		}
	}
	switch {
	case one != 1:
		return e, "", errors.New("say whose sessions: one of --user, --provider and --everyone")
	case f.user == "" && (e.Handle != "" || f.all):
		return e, "", errors.New("a HANDLE and --all need --user")
	case f.user != "" && (e.Handle != "") == f.all:
		return e, "", errors.New(`give the HANDLE of one session ("ssogate sessions list" shows them) or --all`)
	case e.Handle != "":
		return e, "session " + e.Handle + " of " + f.user, nil
	case f.user != "":
		return e, "all sessions of " + f.user, nil
	case f.provider != "":
		return e, "all sessions made through " + f.provider, nil
	}
	return e, "all sessions of everybody", nil
}

// knownProvider refuses a mistyped provider, which would end nothing and look
// like a success.
func knownProvider(c *config.Config, id string) error {
	var known []string
	for _, p := range c.Providers {
		known = append(known, p.ID)
	}
	if id == "" || slices.Contains(known, id) {
		return nil
	}
	return fmt.Errorf("no provider %q is configured; there are %q. Sessions of one that was removed are refused already", id, known)
}

// confirm asks a person. Anything but "yes" is no, the end of input included.
func (a *app) confirm(warning string) bool {
	_, _ = fmt.Fprintf(a.stderr, "%s\nType \"yes\" to go on: ", warning)
	line, _ := bufio.NewReader(io.LimitReader(a.stdin, 16)).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}
