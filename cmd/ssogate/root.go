package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/config"
)

// Exit codes of every command.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// defaultConfig is read when neither --config nor SSOGATE_CONFIG says otherwise.
const defaultConfig = "ssogate.yaml"

func main() {
	// The first SIGINT or SIGTERM cancels the context, which ends serve and demo in
	// order. Handling stops with it, so that a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	// A variable of the library, so it is set once and not by Main, which runs in
	// parallel in tests.
	cobra.EnableCommandSorting = false
	os.Exit(Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// app is what a command may touch besides its flags: nothing of the process.
type app struct {
	stdin  io.Reader
	stdout io.Writer // the answer
	stderr io.Writer // logs and errors
	env    []string  // as os.Environ
}

// Main runs one command line and answers the exit code. It never ends the
// process and uses only what it is given, so that tests run the real thing.
// Cancelling ctx ends a long command in order.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitError
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(stderr, "ssogate: %v\nrun \"%s --help\" for how to use it\n", usage.err, usage.command)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(stderr, "ssogate: %v\n", err)
		return exitError
	}
}

// commands is the whole command line, in the order of the help text.
func commands(a *app) []*cobra.Command {
	return []*cobra.Command{
		newServe(a),
		newDemo(a),
		newInit(a),
		newCheck(a),
		newTestProvider(a),
		newSCIM(a), newMail(a),
		newOwner(a), newMember(a), newSessions(a), newExplain(a), newMachine(a),
		newKeys(a),
		newProvider(a), newSettings(a),
		newVersion(a),
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "ssogate",
		Short: "Put Require SSO in front of a web application",
		Long: `ssogate stands in front of a web application that was never built for single
sign-on. It signs people in through your identity provider (SAML 2.0 or OpenID
Connect), keeps their sessions, lets the identity provider create and remove
members over SCIM 2.0, and decides request by request who may pass.

Every key of the config can also be set by an environment variable: session.idle
by SSOGATE_SESSION_IDLE, routes[0].upstream by SSOGATE_ROUTES_0_UPSTREAM.`,
		Example: `  ssogate init --url https://sso.example.com --app https://app.example.com --upstream http://127.0.0.1:8080
  ssogate check`,
		Args:          noArgs,
		SilenceErrors: true, // Main prints them, once
		SilenceUsage:  true, // a page of help would bury the error
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// Completion is cobra's own command; we do not test it, so we do not ship it.
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd.CommandPath(), err}
	})
	root.SuggestionsMinimumDistance = 2
	root.AddCommand(commands(a)...)
	return root
}

// errReported means the command has printed what is wrong; only the exit code
// is missing.
var errReported = errors.New("reported already")

// usageError is a command line that cannot be meant.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *usageError) Unwrap() error { return e.err }

// noArgs refuses positional arguments: a forgotten "--" must not be ignored.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unexpected argument %q", args[0])
	if cmd.HasSubCommands() {
		err = fmt.Errorf("unknown command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %q?", err, near[0])
		}
	}
	return &usageError{cmd.CommandPath(), err}
}

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", `config file (default: $`+config.EnvConfig+`, else `+defaultConfig+`)`)
}

// configPath is the file that a command reads: the flag, else SSOGATE_CONFIG,
// else ssogate.yaml. Without such a file but with SSOGATE_URL set it is "": then
// the whole config comes from the environment, as containers like it.
func (a *app) configPath(flag string) string {
	if flag != "" {
		return flag
	}
	if path := a.getenv(config.EnvConfig); path != "" {
		return path
	}
	if _, err := os.Stat(defaultConfig); errors.Is(err, os.ErrNotExist) && a.getenv("SSOGATE_URL") != "" {
		return ""
	}
	return defaultConfig
}

// loadConfig reads the config of a command and prints its warnings. The error is
// a *config.Error with every fault.
func (a *app) loadConfig(flag string) (*config.Config, error) {
	c, err := config.Load(a.configPath(flag), a.env)
	if err != nil {
		return nil, err
	}
	for _, w := range c.Warnings() {
		_, _ = fmt.Fprintf(a.stderr, "ssogate: warning: %s\n", w)
	}
	return c, nil
}

func (a *app) getenv(name string) string {
	value := ""
	for _, kv := range a.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v // the last one wins, as in a process
		}
	}
	return value
}
