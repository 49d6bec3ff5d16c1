package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of the file. They stop a wrong path (a log, a database) from being
// chewed on, and keep every later step proportional to a sane file.
const (
	maxFile     = 1 << 20
	maxElements = 1000 // of one list
)

// document is a file or environment on its way into a [Config]: a tree of typed
// values, where each came from, and what was wrong with it.
type document struct {
	root    *node
	name    string            // base name of the file, for Source
	tree    map[string]any    // only string, bool, int, time.Duration, []any, map[string]any
	sources map[string]string // key path -> "ssogate.yaml:12" or "SSOGATE_URL"
	faults  faults
}

func newDocument(path string) *document {
	return &document{
		root:    schema(),
		name:    filepath.Base(path),
		tree:    map[string]any{},
		sources: map[string]string{},
	}
}

// parse reads YAML into the tree. It walks the syntax tree itself instead of
// decoding at once, because only the syntax tree still knows lines, duplicate
// keys, and whether a value was written 90 or "90". Anchors, aliases, merge keys
// and tags are refused: a reviewer must see the value where it takes effect.
func (d *document) parse(data []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file: every key may come from the environment
	case err != nil:
		// The parser's text has the line and quotes at most an anchor's name.
		d.fault("", 0, "not valid YAML: "+syntax(err), "mind indentation (spaces, not tabs) and quotes")
		return
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		d.fault("", second.Line, "more than one document", `remove everything from the second "---" on`)
		return
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		d.fault("", doc.Line, "not a list of keys", "see config.example.yaml for its form")
		return
	}
	d.mapping(d.root, "", doc.Content[0], d.tree)
}

// syntax is the parser's message without its prefix and on one line.
func syntax(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " ")
}

func (d *document) fault(path string, line int, problem, fix string) {
	src := ""
	if line > 0 {
		src = fmt.Sprintf("%s:%d", d.name, line)
	}
	d.faults.list = append(d.faults.list, Fault{Key: path, Problem: problem, Fix: fix, Source: src})
}

// plain refuses YAML's indirections on any node.
func (d *document) plain(path string, n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fault(path, n.Line, "anchors and aliases are not read", "write the value out at each place")
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(path, n.Line, "YAML tags are not read", "remove the word that starts with !")
	default:
		return true
	}
	return false
}

func (d *document) mapping(at *node, path string, n *yaml.Node, into map[string]any) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || !d.plain(path, k) {
			d.fault(path, k.Line, "a key that is not a plain word", "write keys as in config.example.yaml")
			continue
		}
		here := join(path, printable(k.Value))
		f := at.field(k.Value)
		switch {
		case f == nil:
			d.fault(here, k.Line, "unknown key", suggest(d.root, at, path, k.Value))
			continue
		case d.sources[here] != "":
			d.fault(here, k.Line, "set twice, first at "+d.sources[here], "keep one of the two")
			continue
		}
		d.sources[here] = fmt.Sprintf("%s:%d", d.name, k.Line)
		if value, ok := d.value(f, here, v); ok {
			into[f.key] = value
		}
	}
}

// printable makes an unknown key safe to show on a terminal and in a log line.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return '?'
		}
		return r
	}, s)
}

func (d *document) value(f *node, path string, v *yaml.Node) (any, bool) {
	if !d.plain(path, v) {
		return nil, false
	}
	if v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null" {
		d.fault(path, v.Line, "has no value", `give it one, or remove the line ("" is an empty text)`)
		return nil, false
	}
	switch f.kind {
	case kindStruct:
		if v.Kind != yaml.MappingNode {
			d.fault(path, v.Line, "needs keys below it", "indent them under "+f.key+":")
			return nil, false
		}
		into := map[string]any{}
		d.mapping(f, path, v, into)
		return into, true
	case kindList, kindStrings:
		return d.sequence(f, path, v)
	default:
		if v.Kind != yaml.ScalarNode {
			d.fault(path, v.Line, "needs a single value", "see config.example.yaml for its form")
			return nil, false
		}
		return d.scalar(f.kind, path, v)
	}
}

func (d *document) sequence(f *node, path string, v *yaml.Node) (any, bool) {
	if v.Kind != yaml.SequenceNode {
		// Lists, never maps: an id as a map key would lose its case and its order.
		d.fault(path, v.Line, "needs a list", `start each element with "- "`)
		return nil, false
	}
	if len(v.Content) > maxElements {
		d.fault(path, v.Line, fmt.Sprintf("more than %d elements", maxElements), "split the gateway")
		return nil, false
	}
	out := make([]any, 0, len(v.Content))
	for i, e := range v.Content {
		here := index(path, i)
		d.sources[here] = fmt.Sprintf("%s:%d", d.name, e.Line)
		out = append(out, d.element(f, here, e))
	}
	return out, true
}

// element reads one element of a list. A refused one leaves an empty value, so
// that later faults still name the index the operator sees.
func (d *document) element(f *node, path string, e *yaml.Node) any {
	if f.kind == kindStrings {
		if !d.plain(path, e) {
			return ""
		}
		if e.Kind != yaml.ScalarNode {
			d.fault(path, e.Line, "needs a single value", `write - "value"`)
			return ""
		}
		if s, ok := d.scalar(kindString, path, e); ok {
			return s
		}
		return ""
	}
	into := map[string]any{}
	switch {
	case !d.plain(path, e):
	case e.Kind != yaml.MappingNode:
		d.fault(path, e.Line, "needs keys", "see config.example.yaml for its form")
	default:
		d.mapping(f, path, e, into)
	}
	return into
}

func (d *document) scalar(k kind, path string, v *yaml.Node) (any, bool) {
	if k == kindString && v.ShortTag() != "!!str" {
		// 0123 and 1e3 are numbers to YAML and identifiers to an operator.
		d.fault(path, v.Line, "a number, date or true/false where text is needed", "put it in quotes")
		return nil, false
	}
	value, problem, fix := parseLeaf(k, v.Value)
	if problem != "" {
		d.fault(path, v.Line, problem, fix)
		return nil, false
	}
	return value, true
}
