package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newServe(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway with a config file until SIGINT or SIGTERM.

It refuses to start on a config with a fault; "ssogate check" lists them all.
On the first signal it stops taking connections, closes WebSockets with code
1001, waits for running requests and ends, within 30 seconds. A second signal
ends it at once.`,
		Example: `  ssogate serve
  ssogate serve --config /etc/ssogate/ssogate.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadConfig(path)
			if err != nil {
				return err
			}
			log := newLogger(a.stderr, c.Log)
			s, err := run.New(cmd.Context(), run.Options{Config: c, Log: log})
			if err != nil {
				return err
			}
			log.Info("ready", "url", c.URL, "listen", s.Addr().String(), "private", s.PrivateAddr().String())
			return s.Serve(cmd.Context())
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// newLogger writes what the config asks for. Validation has refused other values.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
