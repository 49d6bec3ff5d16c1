package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/web"
)

func newServe(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway with a config file until SIGINT or SIGTERM.

It refuses to start on a config with a fault; "ssogate check" lists them all.
On SIGHUP it reads the file again and takes its routes, rules and certificates,
all at once; a file with a fault changes nothing and is described in the log.
What else has changed waits for a restart.

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
			if os.Getenv("GOGC") == "" {
				// What lives is a few megabytes, and each request makes ten kilobytes of what does
				// not: at Go's default of 100 the collector would hardly rest.
				debug.SetGCPercent(400)
			}
			out := web.NewAccessLog(a.stderr)
			defer func() { _ = out.Flush() }() // the last words of a process; nobody reads an error about them
			log := newLogger(out, c.Log)
			s, err := run.New(cmd.Context(), run.Options{Config: c, Log: log, Access: accessLog(out, log, c.Log)})
			if err != nil {
				return err
			}
			debug.FreeOSMemory() // what starting has left
			log.Info("ready", "url", c.URL, "listen", s.Addr().String(), "private", s.PrivateAddr().String())
			stop := a.reloadOnHangup(cmd.Context(), path, s, log)
			defer stop()
			return s.Serve(cmd.Context())
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// reloadOnHangup takes the config file anew at each SIGHUP, until stop is called or
// ctx ends. A file with a fault changes nothing, and every fault is logged.
func (a *app) reloadOnHangup(ctx context.Context, path string, s *run.Server, log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			a.reload(ctx, path, s, log)
		}
	}()
	return func() {
		signal.Stop(hangups)
		cancel()
	}
}

func (a *app) reload(ctx context.Context, path string, s *run.Server, log *slog.Logger) {
	file := a.configPath(path)
	c, err := config.Load(file, a.env)
	if err != nil {
		s.ReloadRefused()
		refused, ok := errors.AsType[*config.Error](err)
		if !ok {
			log.Error("reload: the config file cannot be read; the one before stays in force", "file", file, "err", err)
			return
		}
		for _, f := range refused.Faults {
			log.Error("reload: refused; the config before stays in force", "file", file, "key", f.Key, "at", f.Source, "problem", f.Problem, "fix", f.Fix)
		}
		return
	}
	if err := s.Reload(ctx, c); err != nil {
		log.Error("reload: refused", "file", file, "err", err)
	}
}

// accessLog is where access records wait for one another, or nil where the log's own
// handler writes them: as text, or not at all.
func accessLog(out *web.AccessLog, log *slog.Logger, c config.Log) *web.AccessLog {
	if c.Format == "text" || !log.Enabled(context.Background(), slog.LevelInfo) {
		return nil
	}
	return out
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
