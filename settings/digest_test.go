package settings

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fill sets a field to something that is not its zero value.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("filled")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(int64(90 * time.Second))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if e := v.Index(0); e.Kind() == reflect.String {
			e.SetString("filled")
		} else {
			e.SetUint('x')
		}
	default:
		t.Fatalf("no value for a %s: teach leavesOf and this test", v.Type())
	}
}

// walk calls fn with a Provider in which only one field is set, for every field.
func walk(t *testing.T, fn func(path string, f reflect.StructField, cosmetic bool, p Provider)) {
	t.Helper()
	var down func(at []int, typ reflect.Type, path string, cosmetic bool)
	down = func(at []int, typ reflect.Type, path string, cosmetic bool) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			index := append(append([]int{}, at...), i)
			hidden := cosmetic || f.Tag.Get("cosmetic") == "yes"
			if f.Type.Kind() == reflect.Struct {
				down(index, f.Type, path+f.Name+".", hidden)
				continue
			}
			var p Provider
			fill(t, reflect.ValueOf(&p).Elem().FieldByIndex(index))
			fn(path+f.Name, f, hidden, p)
		}
	}
	down(nil, reflect.TypeFor[Provider](), "", false)
}

// cosmetic are the fields that decide nothing about a sign-in. Whoever adds one argues
// here why no test need be repeated when it changes.
var cosmetic = map[string]string{
	"Name":    "a label on a button",
	"Domains": "leads people to a button; who may sign in is decided behind it",
	"Active":  "a test asks what would be if it were",
	"Managed": "where it is kept",
}

// Row I03: a test proves exactly the configuration it was made of. A field that a later
// change adds is in the digest unless this test is told why not.
func TestEveryFieldIsInTheDigestOrCosmetic(t *testing.T) {
	empty, seen := Digest(Provider{}), map[string]string{}
	fields := 0
	walk(t, func(path string, _ reflect.StructField, tagged bool, p Provider) {
		fields++
		d := Digest(p)
		_, argued := cosmetic[path]
		switch {
		case tagged != argued:
			t.Errorf("%s is tagged cosmetic: %t, and argued for here: %t", path, tagged, argued)
		case argued && d != empty:
			t.Errorf("%s is cosmetic and changes the digest: a new name would void every test", path)
		case !argued && d == empty:
			t.Errorf("%s does not change the digest: a test of another configuration would count", path)
		case !argued && seen[d] != "":
			t.Errorf("%s and %s have one digest", path, seen[d])
		}
		seen[d] = path
	})
	if fields < 35 {
		t.Errorf("only %d fields were looked at", fields)
	}
}

// Row U05: whatever is secret is never shown, wherever it is.
func TestNoSecretIsShown(t *testing.T) {
	secrets := 0
	walk(t, func(path string, f reflect.StructField, _ bool, p Provider) {
		looks := strings.Contains(path, "Secret") || strings.HasSuffix(path, "Key")
		if tagged := f.Tag.Get("secret") == "yes"; tagged != looks {
			t.Errorf("%s is tagged secret: %t", path, tagged)
		}
		if !looks {
			return
		}
		secrets++
		p.ID = "p"
		for _, d := range append(Diff(Stored{}, Stored{Providers: []Provider{p}}), Diff(Stored{Providers: []Provider{p}}, Stored{})...) {
			if strings.Contains(d.Path, "oidc") && strings.Contains(fmt.Sprint(d), `"x"`) || strings.Contains(fmt.Sprint(d), "filled") {
				t.Errorf("%s is shown: %+v", path, d)
			}
		}
	})
	if secrets != 2 {
		t.Errorf("%d secrets were looked at", secrets)
	}
}

func TestDigestsAreWhatTheySay(t *testing.T) {
	base := Provider{ID: "okta", Protocol: SAML, SAML: SAMLProvider{EntityID: "https://idp.example.com"}}
	for _, tc := range []struct {
		name   string
		change func(*Provider)
		same   bool
		why    string
	}{
		{"an empty list", func(p *Provider) { p.SAML.Certificates = []string{} }, true, "a config file and JSON differ in nil and empty"},
		{"the order of names", func(p *Provider) { p.Attributes.Email = []string{"b", "a"} }, false, "the first one that is there is taken"},
		{"a value moved to another field", func(p *Provider) { p.SAML.EntityID, p.SAML.SSOURL = "", "https://idp.example.com" }, false, "it means something else there"},
		{"one value that looks like two", func(p *Provider) { p.SAML.EntityID = "https://idp.example.com\"\nsaml.slourl=\"x" }, false, "a value must not write the next line"},
	} {
		p := base
		tc.change(&p)
		if same := Digest(p) == Digest(base); same != tc.same {
			t.Errorf("%s: same %t, want %t: %s", tc.name, same, tc.same, tc.why)
		}
	}
	// Pinned: after an upgrade all tests made before would have to be repeated.
	const want = "sha256:8ceb2fbba0b8dec6c0b9ac94ed6f94ebe4045149715410cbf02ee8ae76b496ed"
	if d := Digest(base); d != want {
		t.Errorf("digest %q, want %q", d, want)
	}
}

func TestLongValuesAreShownByTheirHash(t *testing.T) {
	long := Provider{ID: "p", SAML: SAMLProvider{MetadataXML: []byte(strings.Repeat("x", 5000))}}
	other := long
	other.SAML.MetadataXML = []byte(strings.Repeat("y", 5000))
	d := Diff(Stored{Providers: []Provider{long}}, Stored{Providers: []Provider{other}})
	if len(d) != 1 || d[0].Old == d[0].New || len(d[0].Old) > 200 || !strings.HasPrefix(d[0].Old, "sha256:") {
		t.Errorf("%+v", d)
	}
}
