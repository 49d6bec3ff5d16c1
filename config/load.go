package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
)

// Load reads the boot file at path and the SSOGATE_... variables of env (in the
// form of os.Environ), fills defaults, reads every *_file secret, and validates.
// An empty path reads the environment alone.
//
// The error is always an *[Error] with every fault; no Config comes with it, so
// that nothing can start on half a config. The file is at most 1 MiB. Relative
// paths inside it are relative to the file, not to the working directory: the
// same config must not open another, empty database because it was started from
// elsewhere. Load only reads, keeps nothing open, and is safe for concurrent use.
func Load(path string, env []string) (*Config, error) {
	d := newDocument(path)
	var warnings []Fault
	if path != "" {
		data, warn, fault := readConfig(path)
		if fault != nil {
			return nil, &Error{Path: path, Faults: []Fault{*fault}}
		}
		warnings = warn
		d.parse(data)
	}
	d.environment(env)

	c, err := d.decode()
	if err != nil {
		// The tree was checked key by key, so this is a hole in that check. Refuse.
		d.faults.add("", "cannot be decoded", "please report this as a bug")
		return nil, &Error{Path: path, Faults: d.faults.list}
	}
	base, err := baseDir(path)
	if err != nil {
		d.faults.add("", "cannot find the working directory", "start from a directory that exists")
		return nil, &Error{Path: path, Faults: d.faults.list}
	}
	c.derive()
	files := readFiles(c, base)
	d.merge(files.list)
	d.merge(c.Validate())
	if len(d.faults.list) > 0 {
		return nil, &Error{Path: path, Faults: d.faults.list}
	}
	if d.inlineSecrets() {
		c.warnings = append(c.warnings, warnings...)
	}
	c.warnings = append(c.warnings, c.softWarnings()...)
	return c, nil
}

// Warnings are what is allowed but should not stay: the commands print them and
// go on.
func (c *Config) Warnings() []Fault { return slices.Clone(c.warnings) }

// decode turns the tree into a Config over the defaults. viper lower-cases keys,
// accepts any, and reads 90 as 90 ns; so it gets a tree that was checked
// already, and decodes it exactly: no weak types, no unused keys.
func (d *document) decode() (*Config, error) {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	if err := v.MergeConfigMap(d.tree); err != nil {
		return nil, fmt.Errorf("config: merge: %w", err)
	}
	c := Default()
	err := v.UnmarshalExact(c, func(dc *mapstructure.DecoderConfig) {
		dc.TagName = "key"
		dc.WeaklyTypedInput = false
		dc.DecodeHook = nil
		dc.MatchName = func(key, field string) bool { return key == field }
	})
	if err != nil {
		return nil, fmt.Errorf("config: decode: %w", err)
	}
	return c, nil
}

// merge adds faults found after decoding, with where the key was set, but not
// about keys whose value was refused before: they would only repeat it.
func (d *document) merge(list []Fault) {
	earlier := slices.Clone(d.faults.list)
	for _, f := range list {
		known := slices.ContainsFunc(earlier, func(e Fault) bool { return within(f.Key, e.Key) || within(e.Key, f.Key) })
		if known {
			continue
		}
		if f.Source == "" {
			f.Source = d.sources[f.Key]
		}
		d.faults.list = append(d.faults.list, f)
	}
}

// within reports whether inner is key itself or below it.
func within(inner, key string) bool {
	if key == "" || inner == "" {
		return false
	}
	rest, ok := strings.CutPrefix(inner, key)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// inlineSecrets reports whether the file itself, not the environment, holds a
// secret, which makes its mode matter.
func (d *document) inlineSecrets() bool {
	for path, src := range d.sources {
		if strings.HasPrefix(src, EnvPrefix) {
			continue
		}
		if f := d.lookup(path); f != nil && f.secret == "yes" {
			return true
		}
	}
	return false
}

// lookup finds the node of a key path.
func (d *document) lookup(path string) *node {
	at := d.root
	for part := range strings.SplitSeq(path, ".") {
		name, _, _ := strings.Cut(part, "[")
		if at = at.field(name); at == nil {
			return nil
		}
	}
	return at
}

func baseDir(path string) (string, error) {
	if path == "" {
		return os.Getwd()
	}
	abs, err := filepath.Abs(path)
	return filepath.Dir(abs), err
}

// readConfig reads the file within its limit. The warning is about its mode; it
// is no fault, because a file without secrets may well be world-readable.
func readConfig(path string) (data []byte, warnings []Fault, fault *Fault) {
	data, info, err := readLimited(path, maxFile)
	if err != nil {
		return nil, nil, &Fault{Problem: "cannot be read: " + reason(err), Fix: `check --config, or make one with "ssogate init"`}
	}
	if info.Mode().Perm()&0o077 != 0 {
		warnings = []Fault{{
			Problem: fmt.Sprintf("holds secrets and has mode %04o: others on this host can read them", info.Mode().Perm()),
			Fix:     "chmod 600 " + filepath.Base(path) + ", or move the secrets to *_file keys",
		}}
	}
	return data, warnings, nil
}

var errTooBig = errors.New("too big")

// readLimited reads a regular file of at most limit bytes. A pipe or device is
// refused: it could block start-up for ever, and cannot be reviewed.
func readLimited(path string, limit int64) ([]byte, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, errTooBig
	}
	return data, info, nil
}

// reason is an error of the file system without the path, which the fault names
// already.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Keys lists the path of every key, lists as "routes[].upstream", in the order
// of [Config]. Documentation and tests are made from it.
func Keys() []string {
	var out []string
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for _, f := range n.fields {
			p := join(path, f.key)
			switch f.kind {
			case kindStruct:
				walk(f, p)
			case kindList:
				walk(f, p+"[]")
			default:
				out = append(out, p)
			}
		}
	}
	walk(schema(), "")
	return out
}
