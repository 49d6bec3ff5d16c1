package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/settings"
)

func newSettings(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Versions of what is changed while ssogate runs",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSettingsVersions(a), newSettingsShow(a), newSettingsDiff(a), newSettingsRestore(a), newRequireSSO(a))
	return cmd
}

// numbers checks that n arguments are numbers of versions.
func numbers(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &usageError{cmd.CommandPath(), fmt.Errorf("give the number of %d version(s)", n)}
		}
		for _, s := range args {
			if v, err := strconv.ParseInt(s, 10, 64); err != nil || v < 1 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("%q is not the number of a version", s)}
			}
		}
		return nil
	}
}

// number reads what numbers has checked.
func number(s string) int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1 // no version has it
	}
	return v
}

func newSettingsVersions(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "versions",
		Short: "List the versions, newest first",
		Long: `List the versions of what is kept in the database: providers saved with "ssogate provider
save", and Require SSO. What the config file declares is not among them.`,
		Example: `  ssogate settings versions`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Settings.Versions(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				if len(list) == 0 {
					_, _ = fmt.Fprintln(a.stdout, "no versions: everything is as the config file says")
					return nil
				}
				tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(tw, "VERSION\tSTATE\tFROM\tBY\tSAVED\tPUBLISHED\tCOMMENT")
				for _, v := range list {
					_, _ = fmt.Fprintf(tw, "%d\t%s\t%d\t%s\t%s\t%s\t%s\n", v.Number, v.State, v.Parent, inert(v.Author), stamp(v.Created, ""), stamp(v.Published, "-"), inert(v.Comment))
				}
				return tw.Flush()
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func newSettingsShow(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [VERSION]",
		Short: "Show what a version holds; without a number, what is in effect",
		Long: `Show every value that is set in a version. Secrets are never shown. Without a number it is
the version in effect; what the config file declares is not part of it.`,
		Example: `  ssogate settings show
  ssogate settings show 3 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return numbers(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			n := int64(0) // the one in effect
			if len(args) > 0 {
				n = number(args[0])
			}
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				v, err := control.Settings.Show(cmd.Context(), n)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, v)
				}
				if len(v.Values) == 0 {
					_, _ = fmt.Fprintln(a.stdout, "nothing is set: everything is as the config file says")
				}
				for _, d := range v.Values {
					_, _ = fmt.Fprintf(a.stdout, "%s = %s\n", inert(d.Path), inert(d.New))
				}
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func newSettingsDiff(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "diff A B",
		Short:   "Show what version B changes of version A",
		Long:    `Show the values in which two versions differ. Of secrets only that they differ.`,
		Example: `  ssogate settings diff 3 5`,
		Args:    numbers(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Settings.Diff(cmd.Context(), run.VersionPair{A: number(args[0]), B: number(args[1])})
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				printDiff(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printDiff(w io.Writer, list []settings.Difference) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "no difference")
	}
	for _, d := range list {
		if d.Old != "" {
			_, _ = fmt.Fprintf(w, "- %s = %s\n", inert(d.Path), inert(d.Old))
		}
		if d.New != "" {
			_, _ = fmt.Fprintf(w, "+ %s = %s\n", inert(d.Path), inert(d.New))
		}
	}
}

// change carries out a change and says what came of it.
func (a *app) change(ctx context.Context, path string, c run.SettingsChange, done func(settings.Version) string) error {
	c.Actor = operator()
	return a.withControl(ctx, path, func(_ *config.Config, control *run.Control) error {
		v, err := control.Settings.Change(ctx, c)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(a.stdout, done(v))
		return nil
	})
}

func newSettingsRestore(a *app) *cobra.Command {
	var path string
	var base int64
	cmd := &cobra.Command{
		Use:   "restore VERSION",
		Short: "Make a draft of what an earlier version held",
		Long: `Make a draft with the providers of an earlier version, on top of the one in effect. Nothing
is live until you publish it. Require SSO is not changed by it.`,
		Example: `  ssogate settings restore 3`,
		Args:    numbers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd.Context(), path, run.SettingsChange{Kind: run.RestoreVersion, Number: number(args[0]), Base: base}, func(v settings.Version) string {
				return fmt.Sprintf("saved as version %d; put it into effect with: ssogate provider publish %d", v.Number, v.Number)
			})
		},
	}
	configFlag(cmd, &path)
	baseFlag(cmd, &base)
	return cmd
}

func newRequireSSO(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "require-sso on|off",
		Short: "Turn Require SSO on or off",
		Long: `Turn Require SSO on or off. On needs a passed test of every active provider as it is now
("ssogate test-provider") and a fallback owner; it ends all sessions, and reverts by
itself after ten minutes unless an owner has confirmed it.`,
		Example: `  ssogate settings require-sso off`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || (args[0] != "on" && args[0] != "off") {
				return &usageError{cmd.CommandPath(), errors.New("say on or off")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := run.RequireSSOOff
			if args[0] == "on" {
				kind = run.RequireSSOOn
			}
			return a.change(cmd.Context(), path, run.SettingsChange{Kind: kind}, func(settings.Version) string {
				if kind == run.RequireSSOOn {
					return "Require SSO is on; it reverts in ten minutes unless an owner confirms it"
				}
				return "Require SSO is off"
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// baseFlag adds --base to a command that changes settings.
func baseFlag(cmd *cobra.Command, base *int64) {
	cmd.Flags().Int64Var(base, "base", 0, "version in effect that you have looked at; refused when it is another one by now")
}

func newProviderSave(a *app) *cobra.Command {
	var path, file, comment string
	var base int64
	cmd := &cobra.Command{
		Use:   "save --file FILE",
		Short: "Save an identity provider as a draft, without touching what is live",
		Long: `Save an identity provider in the database instead of the config file, so that it can be
changed while ssogate runs. FILE is the part of a config file from "providers:" on,
with one provider in it. The draft touches nothing until it is published. Its id, its
protocol and its issuer stay as they are at the first save.`,
		Example: `  ssogate provider save --file okta.yaml
  ssogate provider publish 4`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return &usageError{cmd.CommandPath(), errors.New("name the file with --file")}
			}
			p, err := run.ProviderDraft(file)
			if err != nil {
				return err
			}
			c := run.SettingsChange{Kind: run.SaveProvider, Provider: p, Comment: comment, Base: base}
			return a.change(cmd.Context(), path, c, func(v settings.Version) string {
				return fmt.Sprintf("saved as version %d; put it into effect with: ssogate provider publish %d", v.Number, v.Number)
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&file, "file", "", "file with the provider (required)")
	cmd.Flags().StringVar(&comment, "comment", "", "why, for whoever reads the list of versions")
	baseFlag(cmd, &base)
	return cmd
}

func newProviderPublish(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "publish VERSION",
		Short: "Put a draft into effect on every node",
		Long: `Put a draft into effect. When the command answers every node acts by it, without a
restart. It is refused when somebody has published another version since the draft was
saved, and, while Require SSO is on, when what it changes or switches on was not tested
as it is. After "not every node has confirmed", run it again: it waits once more.`,
		Example: `  ssogate provider publish 4`,
		Args:    numbers(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd.Context(), path, run.SettingsChange{Kind: run.PublishVersion, Number: number(args[0])}, func(v settings.Version) string {
				return fmt.Sprintf("version %d is in effect", v.Number)
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// newProviderSwitches are the commands that change one saved provider at once.
func newProviderSwitches(a *app) []*cobra.Command {
	var out []*cobra.Command
	for _, s := range []struct {
		kind              run.ChangeKind
		word, short, long string
	}{
		{run.DisableProvider, "disable", "Switch a saved provider off and end its sessions", "Switch a provider that was saved in the database off. Sessions made through it end\neverywhere before the command answers."},
		{run.EnableProvider, "enable", "Switch a saved provider on again", "Switch a provider that was saved in the database on again."},
		{run.DeleteProvider, "delete", "Delete a saved provider and end its sessions", "Delete a provider that was saved in the database. Sessions made through it end everywhere\nbefore the command answers. Members and their identities stay; its id can only ever be\nused for the same identity provider."},
	} {
		var path string
		cmd := &cobra.Command{
			Use: s.word + " ID", Short: s.short, Long: s.long, Example: "  ssogate provider " + s.word + " okta",
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 1 {
					return &usageError{cmd.CommandPath(), errors.New("give the id of one provider")}
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.change(cmd.Context(), path, run.SettingsChange{Kind: s.kind, ID: args[0]}, func(v settings.Version) string {
					return fmt.Sprintf("provider %s: %sd; version %d is in effect", inert(args[0]), s.word, v.Number)
				})
			},
		}
		configFlag(cmd, &path)
		out = append(out, cmd)
	}
	return out
}
