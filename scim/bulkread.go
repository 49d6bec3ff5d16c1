package scim

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/schema"
)

// maxBulkID bounds a name that is repeated in the answer.
const maxBulkID = 256

// readBulk reads the body of a bulk request. An operation that cannot be read
// refuses the whole: nothing has been done yet.
func readBulk(body map[string]any, p client.Profile) (*bulkJob, error) {
	j := &bulkJob{byID: map[string]*bulkOp{}}
	var list []any
	for k, v := range body {
		switch strings.ToLower(k) {
		case "operations":
			var ok bool
			if list, ok = v.([]any); !ok {
				return nil, badRequest(schema.InvalidSyntax, "Operations must be an array")
			}
		case "failonerrors":
			n, ok := v.(float64)
			switch {
			case v == nil:
			case !ok || n != math.Trunc(n) || n < 0 || n > 1<<31:
				return nil, badRequest(schema.InvalidValue, "failOnErrors must be a whole number")
			default:
				j.failOnErrors = int(n)
			}
		}
	}
	switch {
	case len(list) == 0:
		return nil, badRequest(schema.InvalidSyntax, "Operations must be a non-empty array")
	case len(list) > maxBulk:
		return nil, &fault{
			Status: http.StatusRequestEntityTooLarge,
			Detail: "the request has more operations than the limit (maxOperations) of " + itoa(maxBulk),
		}
	}
	for i, el := range list {
		op, err := readBulkOp(el, p)
		if err != nil {
			f := faultOf(err)
			return nil, &fault{Status: f.Status, Type: f.Type, Detail: "operation " + itoa(i) + ": " + f.Detail}
		}
		j.ops = append(j.ops, op)
		if op.method != http.MethodPost {
			continue
		}
		if j.byID[op.bulkID] != nil {
			return nil, badRequest(schema.InvalidValue, "operation "+itoa(i)+": bulkId is used twice")
		}
		j.byID[op.bulkID] = op
	}
	return j, nil
}

func readBulkOp(el any, p client.Profile) (*bulkOp, error) {
	m, ok := el.(map[string]any)
	if !ok {
		return nil, badRequest(schema.InvalidSyntax, "an operation must be an object")
	}
	op := &bulkOp{}
	seen := map[string]bool{}
	for k, v := range m {
		name := strings.ToLower(k)
		if seen[name] {
			return nil, badRequest(schema.InvalidSyntax, name+" is given twice")
		}
		seen[name] = true
		var into *string
		switch name {
		case "method":
			into = &op.method
		case "path":
			into = &op.path
		case "bulkid":
			into = &op.bulkID
		case "version":
			into = &op.version
		case "data":
			if op.data, ok = v.(map[string]any); !ok && v != nil {
				return nil, badRequest(schema.InvalidSyntax, "data must be an object")
			}
		}
		if into == nil || v == nil {
			continue
		}
		if *into, ok = v.(string); !ok {
			return nil, badRequest(schema.InvalidSyntax, k+" must be a string")
		}
	}
	if p != client.Strict {
		op.method = strings.ToUpper(op.method)
	}
	if err := op.check(); err != nil {
		return nil, err
	}
	refs := map[string]bool{}
	addRef(refs, op.path)
	mentioned(refs, op.data)
	op.refs = slices.Sorted(maps.Keys(refs)) // one request always runs in one order
	return op, nil
}

func (op *bulkOp) check() error {
	switch op.method {
	case http.MethodPost:
		if op.bulkID == "" {
			return badRequest(schema.InvalidValue, "bulkId is required for POST")
		}
		if op.makes("Users") {
			op.promised = member.NewID()
			op.id = op.promised
		}
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return badRequest(schema.InvalidSyntax, "method must be POST, PUT, PATCH or DELETE")
	}
	switch {
	case len(op.bulkID) > maxBulkID:
		return badRequest(schema.InvalidValue, "bulkId is longer than "+itoa(maxBulkID)+" bytes")
	case op.path == "" || len(op.path) > 1024:
		return badRequest(schema.InvalidPath, "path is missing or too long")
	case op.method != http.MethodDelete && op.data == nil:
		return badRequest(schema.InvalidSyntax, "data is required for "+op.method)
	}
	return nil
}

const bulkPrefix = "bulkId:"

// mentioned collects the bulkIds in a value. More than a request has operations
// need not be known: one of them is unknown. Depth is bounded by the body decoder.
func mentioned(refs map[string]bool, v any) {
	switch v := v.(type) {
	case string:
		addRef(refs, v)
	case []any:
		for _, el := range v {
			mentioned(refs, el)
		}
	case map[string]any:
		for _, el := range v {
			mentioned(refs, el)
		}
	}
}

func addRef(refs map[string]bool, s string) {
	if _, ref, _, ok := reference(s); ok && len(refs) <= maxBulk {
		refs[ref] = true
	}
}

// reference finds a bulkId in a text: alone, as the last part of a path or URI
// ("/Users/bulkId:x"), or as the operand in a path ("members[value eq
// "bulkId:x"]"). Anything else that happens to contain the word is text.
func reference(s string) (before, ref, after string, ok bool) {
	if quoted, rest, found := strings.Cut(s, `"`+bulkPrefix); found {
		if ref, after, found = strings.Cut(rest, `"`); found && ref != "" {
			return quoted + `"`, ref, `"` + after, true
		}
		return "", "", "", false
	}
	i := strings.LastIndexByte(s, '/') + 1
	if ref, ok = strings.CutPrefix(s[i:], bulkPrefix); ok && ref != "" {
		return s[:i], ref, "", true
	}
	return "", "", "", false
}

// resolve puts the id in the place of a reference.
func resolve(s string, ids map[string]string) string {
	before, ref, after, ok := reference(s)
	if id, found := ids[ref]; ok && found {
		return before + id + after
	}
	return s
}

// resolveAll answers a copy of a value with every reference resolved.
func resolveAll(v any, ids map[string]string) any {
	switch v := v.(type) {
	case string:
		return resolve(v, ids)
	case []any:
		out := make([]any, len(v))
		for i, el := range v {
			out[i] = resolveAll(el, ids)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, el := range v {
			out[k] = resolveAll(el, ids)
		}
		return out
	}
	return v
}
