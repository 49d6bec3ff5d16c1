package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/config"
)

type initFlags struct {
	config.InitOptions
	out   string
	force bool
}

func newInit(a *app) *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{
		Use:   "init --url ORIGIN --app ORIGIN --upstream URL",
		Short: "Write a commented config with fresh keys",
		Long: `init writes a config that "serve" accepts, with every key explained and with fresh
keys drawn for this gateway alone. The file is readable only by you (mode 0600).

Two origins are needed: one for the gateway itself, where people sign in, and one
for the application. They must differ, so that a script of the application can never
drive the gateway.`,
		Example: `  ssogate init --url https://sso.example.com --app https://app.example.com --upstream http://127.0.0.1:8080
  ssogate init --url https://sso.example.com --app https://app.example.com --upstream http://127.0.0.1:8080 --out /etc/ssogate/ssogate.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd, f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.URL, "url", "", "the gateway's own origin, e.g. https://sso.example.com (required)")
	fl.StringVar(&f.App, "app", "", "the origin people open, e.g. https://app.example.com (required)")
	fl.StringVar(&f.Upstream, "upstream", "", "where the application listens, e.g. http://127.0.0.1:8080 (required)")
	fl.StringVarP(&f.out, "out", "o", defaultConfig, "the file to write")
	fl.BoolVar(&f.force, "force", false, "replace an existing file; it is kept under another name, as its keys may still be needed")
	fl.SortFlags = false
	return cmd
}

// flagOf is the flag that set a key, or the key.
func flagOf(key string) string {
	switch key {
	case "url":
		return "--url"
	case "routes[0].origins[0]":
		return "--app"
	case "routes[0].upstream":
		return "--upstream"
	}
	return key
}

func (a *app) init(cmd *cobra.Command, f *initFlags) error {
	var missing []string
	for _, name := range []string{"url", "app", "upstream"} {
		if cmd.Flag(name).Value.String() == "" {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) > 0 {
		return &usageError{cmd.CommandPath(), errors.New("missing " + strings.Join(missing, ", "))}
	}
	text, err := config.Template(f.InitOptions)
	var refused *config.Error
	if errors.As(err, &refused) {
		var lines []string
		for _, fault := range refused.Faults {
			fault.Key = flagOf(fault.Key)
			lines = append(lines, fault.String())
		}
		return &usageError{cmd.CommandPath(), errors.New(strings.Join(lines, "\n\t"))}
	}
	if err != nil {
		return err
	}
	kept, err := writeNew(f.out, text, f.force)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("init: %s exists; choose another --out, or --force to replace it", f.out)
	}
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	_, err = fmt.Fprint(a.stdout, nextSteps(f, kept))
	return err
}

// writeNew writes a file that did not exist, mode 0600 from its first byte. With
// force an existing one is first moved aside, because its seal key may be the
// only one that opens what is in the database.
func writeNew(path string, text []byte, force bool) (kept string, err error) {
	if force {
		aside := path + "." + time.Now().UTC().Format("20060102T150405") + ".old"
		if _, err := os.Lstat(aside); err == nil {
			return "", fmt.Errorf("%s exists already: wait a second", aside)
		}
		err := os.Rename(path, aside)
		switch {
		case err == nil:
			kept = aside
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	// O_EXCL also refuses to write through a symbolic link that someone left here.
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if _, err = out.Write(text); err == nil {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path) // half a config must not be mistaken for one
		return "", err
	}
	return kept, nil
}

func nextSteps(f *initFlags, kept string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wrote %s (mode 0600): it holds the gateway's keys, keep it like a password\n", f.out)
	if kept != "" {
		fmt.Fprintf(&b, "the old file is kept as %s\n", kept)
	}
	configArg := ""
	if filepath.Clean(f.out) != defaultConfig {
		configArg = " --config " + f.out
	}
	fmt.Fprintf(&b, `
next:
  1. declare your identity provider under "providers:" in %[1]s, and register there
       SAML   Entity ID     %[2]s/saml/ID/metadata  (also serves the metadata)
              ACS URL       %[2]s/saml/ID/acs
       OIDC   redirect URI  %[2]s/oauth/ID/callback
     where ID is the id that you give the provider
  2. send %[2]s and %[3]s
     to this host: through a TLS front that keeps the Host header, or with "tls:" in the file
  3. ssogate check%[4]s
  4. ssogate serve%[4]s
  5. ssogate owner create NAME%[4]s
     prints the one-time link of the first owner, who gets in without an identity provider too
`, f.out, f.URL, f.App, configArg)
	return b.String()
}
