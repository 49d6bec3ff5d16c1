package patch

import (
	"errors"
	"fmt"

	"github.com/ssogate/ssogate/scim/schema"
)

// Op is the verb of an operation, lower case.
type Op string

// Verbs.
const (
	Add     Op = "add"
	Remove  Op = "remove"
	Replace Op = "replace"
)

// Operation is one element of "Operations". HasValue tells a value of null
// from none; both mean the same state, but `remove members` with an empty list
// must not be read as "remove all".
type Operation struct {
	Index    int // position in the request, for error details
	Op       Op
	Path     string // "" = none
	Value    any
	HasValue bool
}

// Options are the two places where the RFC's answer breaks known clients.
type Options struct {
	// CreateMissing builds the element that a value filter did not find, when
	// the filter is a conjunction of eq (rule T7 of scim/client): Entra sets
	// `emails[type eq "work"].value` on users that have no such e-mail. The
	// RFC's answer is noTarget.
	CreateMissing bool
}

// Error is an operation that cannot be applied; nothing was. It is answered
// as 400 with Type as scimType.
type Error struct {
	Index  int
	Type   string
	Detail string
}

func (e *Error) Error() string {
	return fmt.Sprintf("patch: operation %d: %s: %s", e.Index, e.Type, e.Detail)
}

// at adds the operation's position to an error from the schema.
func (o Operation) at(err error) error {
	var se *schema.Error
	if errors.As(err, &se) {
		return &Error{Index: o.Index, Type: se.Type, Detail: se.Detail}
	}
	return fmt.Errorf("patch: operation %d: %w", o.Index, err)
}

func (o Operation) errorf(scimType, format string, args ...any) error {
	return &Error{Index: o.Index, Type: scimType, Detail: fmt.Sprintf(format, args...)}
}

// deepCopy copies a JSON tree. Its depth is bounded by the body decoder's limit.
func deepCopy(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, el := range v {
			out[k] = deepCopy(el)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, el := range v {
			out[i] = deepCopy(el)
		}
		return out
	}
	return v
}
