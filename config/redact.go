package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// redacted replaces a secret that is set; one that is not set stays "".
const redacted = "[redacted]"

// show renders a struct of this package as JSON-ready values without secrets,
// keyed as in the file.
func show(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			key := f.Tag.Get("key")
			if key == "" {
				continue
			}
			switch f.Tag.Get("secret") {
			case "":
				out[key] = show(v.Field(i))
			case "url":
				out[key] = showURL(v.Field(i).String())
			default:
				// Unknown tags hide too: the zero value of a decision refuses.
				out[key] = hide(v.Field(i).String())
			}
		}
		return out
	case reflect.Slice:
		out := make([]any, 0, v.Len())
		for i := range v.Len() {
			out = append(out, show(v.Index(i)))
		}
		return out
	default:
		if d, ok := v.Interface().(time.Duration); ok {
			return d.String()
		}
		return v.Interface()
	}
}

func hide(s string) string {
	if s == "" {
		return ""
	}
	return redacted
}

// showURL keeps where a database is and drops who logs in with what. Query
// parameters go too: "?password=" is one of them.
func showURL(s string) string {
	if strings.HasPrefix(s, "sqlite:") || s == "" {
		return s
	}
	if _, problem, _ := ParseRedisURL(s); problem == "" {
		scheme, rest, _ := strings.Cut(s, "://")
		return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:] // hosts may be many
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return redacted
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func text(v any) string {
	b, err := json.Marshal(show(reflect.ValueOf(v)))
	if err != nil {
		return redacted
	}
	return string(b)
}

func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(show(reflect.ValueOf(v)))
	if err != nil {
		return nil, fmt.Errorf("config: redact: %w", err)
	}
	return b, nil
}

// Every type with a secret in it prints itself redacted under %v, %+v, %#v, JSON
// and slog, alone or inside another value, so that no debug line of anyone's can
// leak one (row U05). Value receivers: they also serve copies.

// String, GoString, MarshalJSON and LogValue never contain a secret.
func (c Config) String() string { return text(c) }

// GoString is String.
func (c Config) GoString() string { return text(c) }

// MarshalJSON is String.
func (c Config) MarshalJSON() ([]byte, error) { return marshal(c) }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(text(c)) }

// String never contains a secret.
func (s Secrets) String() string { return text(s) }

// GoString is String.
func (s Secrets) GoString() string { return text(s) }

// MarshalJSON is String.
func (s Secrets) MarshalJSON() ([]byte, error) { return marshal(s) }

// String never contains credentials.
func (d Database) String() string { return text(d) }

// GoString is String.
func (d Database) GoString() string { return text(d) }

// MarshalJSON is String.
func (d Database) MarshalJSON() ([]byte, error) { return marshal(d) }

// String never contains credentials.
func (r Redis) String() string { return text(r) }

// GoString is String.
func (r Redis) GoString() string { return text(r) }

// MarshalJSON is String.
func (r Redis) MarshalJSON() ([]byte, error) { return marshal(r) }

// String never contains the client secret.
func (p Provider) String() string { return text(p) }

// GoString is String.
func (p Provider) GoString() string { return text(p) }

// MarshalJSON is String.
func (p Provider) MarshalJSON() ([]byte, error) { return marshal(p) }

// String never contains the token.
func (t SCIMToken) String() string { return text(t) }

// GoString is String.
func (t SCIMToken) GoString() string { return text(t) }

// MarshalJSON is String.
func (t SCIMToken) MarshalJSON() ([]byte, error) { return marshal(t) }

// String never contains the password.
func (m Mail) String() string { return text(m) }

// GoString is String.
func (m Mail) GoString() string { return text(m) }

// MarshalJSON is String.
func (m Mail) MarshalJSON() ([]byte, error) { return marshal(m) }
