package settings

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
	"unicode"
)

// leaf is one value inside a Provider that is not its zero value. A list is one
// leaf: its order is a preference.
type leaf struct {
	path             string // in the words of the record: "saml.entityID"
	value            string // as JSON
	cosmetic, secret bool
}

// leavesOf lists what is set in a struct, in the order of its fields. Zero values
// are left out, so that nil and empty are one, and so that a field which a later
// ssogate adds does not void the tests made before it.
func leavesOf(v reflect.Value, path string, cosmetic, secret bool) []leaf {
	if v.Kind() == reflect.Struct {
		var out []leaf
		for i := range v.NumField() {
			f := v.Type().Field(i)
			out = append(out, leavesOf(v.Field(i), joinPath(path, camel(f.Name)),
				cosmetic || f.Tag.Get("cosmetic") != "", secret || f.Tag.Get("secret") != "")...)
		}
		return out
	}
	if v.IsZero() || (v.Kind() == reflect.Slice && v.Len() == 0) {
		return nil
	}
	return []leaf{{path, plain(v), cosmetic, secret}}
}

func plain(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return fmt.Sprintf("%q", x)
	case []byte: // XML or JSON of others: as text, not as base64
		return fmt.Sprintf("%q", x)
	default:
		b, err := json.Marshal(x)
		if err != nil { // a channel or a function in a setting: the test of all fields finds it
			return fmt.Sprintf("%#v", x)
		}
		return string(b)
	}
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// camel is a field's name as JSON documents write it: ID is id, SAML is saml,
// EntityID is entityID, SSOURL is ssourl.
func camel(name string) string {
	r := []rune(name)
	for i := range r {
		if i > 0 && i+1 < len(r) && unicode.IsLower(r[i+1]) {
			break
		}
		if !unicode.IsUpper(r[i]) {
			break
		}
		r[i] = unicode.ToLower(r[i])
	}
	return string(r)
}
