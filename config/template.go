package config

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the template
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

//go:embed ssogate.yaml.tmpl
var templateText string

// InitOptions are what "ssogate init" must be told.
type InitOptions struct {
	URL      string // the gateway's origin
	App      string // the application's origin
	Upstream string // the application itself
}

type templateData struct {
	InitOptions
	Slug, Listen       string
	CookieKey, SealKey string
	Example            bool
}

// Template is a commented config for o with fresh keys. It passes [Load] as it
// stands; options that would not are an *[Error] about url, routes[0].origins[0]
// or routes[0].upstream. Every call draws new keys: never log the result.
func Template(o InitOptions) ([]byte, error) {
	data := templateData{
		InitOptions: o,
		Slug:        organizationSlug(o.URL),
		Listen:      listenFor(o.URL),
		CookieKey:   drawKey(CookieKeySize),
		SealKey:     drawKey(SealKeySize),
	}
	text, err := render(data)
	if err != nil {
		return nil, err
	}
	d := newDocument("ssogate.yaml")
	d.parse(text)
	c, err := d.decode()
	if err != nil {
		return nil, err
	}
	c.derive()
	for _, f := range c.Validate() {
		f.Source = "" // no file yet
		d.faults.list = append(d.faults.list, f)
	}
	if len(d.faults.list) > 0 {
		return nil, &Error{Faults: d.faults.list}
	}
	return text, nil
}

// Example is config.example.yaml: [Template] with placeholders that [Load]
// refuses, so that nobody runs on keys that are in a public repository.
func Example() ([]byte, error) {
	return render(templateData{
		InitOptions: InitOptions{
			URL:      "https://sso.example.com",
			App:      "https://app.example.com",
			Upstream: "http://127.0.0.1:8080",
		},
		Slug:      "example",
		CookieKey: "REPLACE: openssl rand -base64 64",
		SealKey:   "REPLACE: openssl rand -base64 32",
		Example:   true,
	})
}

func render(data templateData) ([]byte, error) {
	t, err := template.New("ssogate.yaml").Delims("[[", "]]").Funcs(template.FuncMap{"quote": quote}).Parse(templateText)
	if err != nil {
		return nil, fmt.Errorf("config: template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("config: template: %w", err)
	}
	return b.Bytes(), nil
}

// quote writes a YAML double-quoted scalar; JSON's strings are a subset of them,
// so a hostile option stays one value and is then refused as such.
func quote(s string) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return "", fmt.Errorf("config: quote: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func drawKey(size int) string {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(b)
}

// organizationSlug guesses "example" from sso.example.com; it is only a start.
func organizationSlug(url string) string {
	o, problem, _ := ParseOrigin(url)
	labels := strings.Split(o.Host, ".")
	if problem == "" && len(labels) >= 2 {
		if guess := labels[len(labels)-2]; slug(guess) && strings.Trim(guess, "0123456789") != "" {
			return guess
		}
	}
	return Default().Organization.Slug
}

// listenFor is the listener that a plain http origin on loopback needs: nothing
// stands in front of it that could map the port.
func listenFor(url string) string {
	o, problem, _ := ParseOrigin(url)
	if problem != "" || o.Scheme != "http" || !o.Loopback() {
		return ""
	}
	return "127.0.0.1:" + strconv.Itoa(int(o.Port))
}
