package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// kind is how one key is written.
type kind int

const (
	kindStruct kind = iota + 1
	kindList        // of structs
	kindStrings
	kindString
	kindBool
	kindInt
	kindBytes // an int that may carry a unit
	kindDuration
)

// node describes one key by reflection over [Config], so that the file, the
// environment and the template can never disagree about which keys exist.
type node struct {
	key    string
	kind   kind
	secret string  // the `secret` tag: "", "yes" or "url"
	fields []*node // of a struct, or of the elements of a list; in file order
}

// schema is the tree of all keys. It is small and only built while loading.
func schema() *node {
	return describe("", reflect.TypeFor[Config](), reflect.StructTag(""))
}

func describe(key string, t reflect.Type, tag reflect.StructTag) *node {
	n := &node{key: key, secret: tag.Get("secret")}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		n.kind = kindDuration
	case t.Kind() == reflect.String:
		n.kind = kindString
	case t.Kind() == reflect.Bool:
		n.kind = kindBool
	case t.Kind() == reflect.Int && tag.Get("unit") == "bytes":
		n.kind = kindBytes
	case t.Kind() == reflect.Int:
		n.kind = kindInt
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		n.kind = kindStrings
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		n.kind = kindList
		n.fields = describeFields(t.Elem())
	case t.Kind() == reflect.Struct:
		n.kind = kindStruct
		n.fields = describeFields(t)
	default:
		// A programmer error: a field of a type that the file cannot express. No input
		// leads here: every load, and so every test of this package, walks the whole
		// schema before it reads a byte of the file.
		panic("config: no way to write a " + t.String())
	}
	return n
}

func describeFields(t reflect.Type) []*node {
	var out []*node
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("key"); key != "" {
			out = append(out, describe(key, f.Type, f.Tag))
		}
	}
	return out
}

func (n *node) field(key string) *node {
	for _, f := range n.fields {
		if f.key == key {
			return f
		}
	}
	return nil
}

// join makes the path of a key below another.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// index makes the path of an element.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// suggest is the fix for an unknown key: the nearest key at this place, else a
// place where this very key exists, else the list of what may stand here.
func suggest(root, at *node, path, key string) string {
	if first, rest, dotted := strings.Cut(key, "."); dotted && at.field(first) != nil && at.field(first).field(rest) != nil {
		return "write " + first + ": and below it " + rest + ":, indented"
	}
	if near := nearest(key, at.fields); near != "" {
		return "did you mean " + join(path, near) + "?"
	}
	if place := find(root, "", key); place != "" {
		return "did you mean " + place + "?"
	}
	names := make([]string, 0, len(at.fields))
	for _, f := range at.fields {
		names = append(names, f.key)
	}
	return "allowed here: " + strings.Join(names, ", ")
}

// find looks for a key by its own name anywhere in the tree.
func find(n *node, path, key string) string {
	for _, f := range n.fields {
		p := join(path, f.key)
		if f.key == key {
			return p
		}
		if f.kind == kindList {
			p += "[]"
		}
		if deeper := find(f, p, key); deeper != "" {
			return deeper
		}
	}
	return ""
}

// nearest is the field whose key is a typing mistake away from key, or "".
func nearest(key string, fields []*node) string {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	if len(key) > 64 {
		return "" // no typing mistake; and the distance costs len*len
	}
	best, found := len(key)/3+2, ""
	for _, f := range fields {
		if d := distance(key, f.key); d < best {
			best, found = d, f.key
		}
	}
	return found
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
