package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/ssogate/ssogate/scim/schema"
)

// Limits of a decoded body (C06). Depth bounds every recursion over the tree;
// the node count bounds memory, for a few bytes of JSON become a map of
// hundreds.
const (
	MaxDepth = 32
	MaxNodes = 500_000
)

// Decode reads one JSON object. It refuses what encoding/json would quietly
// accept and another reader would read otherwise: duplicate keys, invalid
// UTF-8, numbers no float64 holds, anything after the object. Errors are
// *schema.Error of type invalidSyntax. The caller limits len(body).
func Decode(body []byte) (map[string]any, error) {
	if !utf8.Valid(body) {
		return nil, syntax("the body is not valid UTF-8")
	}
	d := decoder{json: json.NewDecoder(bytes.NewReader(body))}
	d.json.UseNumber()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, syntax("the body must be a JSON object")
	}
	if _, err := d.json.Token(); err != io.EOF { //nolint:errorlint // the decoder's own, unwrapped
		return nil, syntax("unexpected data after the JSON object")
	}
	return m, nil
}

func syntax(format string, args ...any) error {
	return &schema.Error{Type: schema.InvalidSyntax, Detail: fmt.Sprintf(format, args...)}
}

type decoder struct {
	json  *json.Decoder
	nodes int
}

func (d *decoder) token() (json.Token, error) {
	t, err := d.json.Token()
	if err != nil {
		return nil, syntax("the body is not valid JSON near byte %d", d.json.InputOffset())
	}
	return t, nil
}

// value recurses at most MaxDepth deep: json.Decoder.Token itself does not.
func (d *decoder) value(depth int) (any, error) {
	t, err := d.token()
	if err != nil {
		return nil, err
	}
	if d.nodes++; d.nodes > MaxNodes {
		return nil, syntax("the body has more than %d values", MaxNodes)
	}
	switch t := t.(type) {
	case json.Delim:
		if depth >= MaxDepth {
			return nil, syntax("the body is nested deeper than %d", MaxDepth)
		}
		if t == '{' {
			return d.object(depth)
		}
		return d.array(depth)
	case json.Number:
		f, err := t.Float64()
		if err != nil || math.IsInf(f, 0) {
			return nil, syntax("number out of range near byte %d", d.json.InputOffset())
		}
		return f, nil
	case string:
		if strings.ContainsRune(t, 0) {
			return nil, syntax("NUL character near byte %d", d.json.InputOffset())
		}
		return t, nil
	}
	return t, nil // bool or nil
}

func (d *decoder) object(depth int) (any, error) {
	m := map[string]any{}
	for d.json.More() {
		t, err := d.token()
		if err != nil {
			return nil, err
		}
		k, ok := t.(string)
		if !ok {
			return nil, syntax("the body is not valid JSON near byte %d", d.json.InputOffset())
		}
		if _, twice := m[k]; twice {
			return nil, syntax("duplicate key near byte %d", d.json.InputOffset())
		}
		if m[k], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.token() // the closing brace
	return m, err
}

func (d *decoder) array(depth int) (any, error) {
	list := []any{}
	for d.json.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.token()
	return list, err
}
