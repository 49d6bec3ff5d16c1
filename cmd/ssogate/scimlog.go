package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/scim/record"
)

func newSCIMLog(a *app) *cobra.Command {
	var path, provider string
	var f record.LogFilter
	var since time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Show what the identity provider asked, and what it was told",
		Long: `Show the flight recorder: each SCIM request with its time, the identity provider as
far as it can be told, the answer's status and what the request meant, newest
first. It reaches back scim.log_days. Bodies are kept shortened and without
secrets. A line may be missing (the audit log never is): when the recorder cannot
keep up it lets provisioning go on and says how many it left out.`,
		Example: `  ssogate scim log --member ana@example.com
  ssogate scim log --errors --since 2h --body
  ssogate scim log --provider okta --limit 500 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(c *config.Config, control *run.Control) error {
				switch {
				case since < 0:
					return errors.New("--since must be a time back, for example 24h")
				case since > 0:
					f.Since = time.Now().Add(-since)
				}
				if f.Limit < 1 || f.Limit > 1000 {
					return errors.New("--limit must lie between 1 and 1000")
				}
				if provider != "" {
					conn, err := connection(c, provider)
					if err != nil {
						return err
					}
					f.Connection = conn
				}
				list, err := control.Log.Search(cmd.Context(), f)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSONLines(a.stdout, list)
				}
				printLog(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&provider, "provider", "", "only this provider's connection")
	cmd.Flags().StringVar(&f.Who, "member", "", "only requests about this member or team: id or name")
	cmd.Flags().StringVar(&f.Client, "client", "", "only requests of this kind of client, for example Entra")
	cmd.Flags().BoolVar(&f.Errors, "errors", false, "only requests that failed")
	cmd.Flags().DurationVar(&since, "since", 0, "only this far back, for example 24h")
	cmd.Flags().IntVar(&f.Limit, "limit", 50, "how many, at most 1000 (200 with bodies)")
	cmd.Flags().BoolVar(&f.Bodies, "body", false, "show bodies")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object to a line")
	return cmd
}

func printLog(w io.Writer, list []record.Entry) {
	for _, e := range list {
		_, _ = fmt.Fprintf(w, "%s  %3d  %s\n", e.Time.UTC().Format("2006-01-02 15:04:05.000"), e.Status, inert(e.Meaning))
		var notes []string
		for _, n := range []struct{ name, value string }{
			{"token", e.Token}, {"tolerated", e.Tolerated}, {"from", e.Address}, {"request", e.RequestID},
		} {
			if n.value != "" {
				notes = append(notes, n.name+" "+inert(n.value))
			}
		}
		if e.Method != "" {
			_, _ = fmt.Fprintf(w, "    %s %s in %s; %s\n", inert(e.Method), inert(e.Path), e.Took.Round(10*time.Microsecond), strings.Join(notes, "; "))
		}
		if e.Request != "" {
			_, _ = fmt.Fprintf(w, "    > %s\n", inert(e.Request))
		}
		if e.Response != "" {
			_, _ = fmt.Fprintf(w, "    < %s\n", inert(e.Response))
		}
	}
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "nothing is recorded that fits")
	}
}

func printJSONLines[T any](w io.Writer, list []T) error {
	for _, v := range list {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, inertJSON(string(b))); err != nil {
			return err
		}
	}
	return nil
}

func newSCIMDrift(a *app) *cobra.Command {
	var asJSON bool
	cmd := a.onConnection(&cobra.Command{
		Use:   "drift",
		Short: "Show members and teams that are not what the identity provider last said",
		Long: `Compare what the identity provider last asked a member or team to be with what it is
here. A difference means that its request failed and it has not tried again, or that
somebody changed or suspended the member here since.`,
		Example: `  ssogate scim drift --provider okta`,
		Args:    noArgs,
	}, "connection to compare", func(ctx context.Context, control *run.Control, conn string, _ []string) error {
		total := 0
		for after := ""; ; {
			list, next, err := control.Log.Drift(ctx, conn, after)
			if err != nil {
				return err
			}
			total += len(list)
			if asJSON {
				err = printJSONLines(a.stdout, list)
			} else {
				printDrift(a.stdout, list)
			}
			if after = next; err != nil || after == "" {
				if !asJSON && total == 0 {
					_, _ = fmt.Fprintln(a.stdout, "everything is as the identity provider last said")
				}
				return err
			}
		}
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object to a line")
	return cmd
}

func printDrift(w io.Writer, list []record.Drift) {
	for _, d := range list {
		name := d.Name
		if name == "" {
			name = d.Resource
		}
		_, _ = fmt.Fprintf(w, "%s %s\n    %s  %3d  %s\n", d.Kind, inert(name), d.Time.UTC().Format("2006-01-02 15:04:05"), d.Status, inert(d.Meaning))
		for _, s := range d.What {
			_, _ = fmt.Fprintf(w, "    %s\n", inert(s))
		}
	}
}
