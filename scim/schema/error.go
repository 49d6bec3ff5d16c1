package schema

import "fmt"

// The scimType words of RFC 7644 section 3.12 that the layers below the
// handlers use.
const (
	InvalidFilter = "invalidFilter"
	InvalidPath   = "invalidPath"
	InvalidSyntax = "invalidSyntax"
	InvalidValue  = "invalidValue"
	NoTarget      = "noTarget"
	NotMutable    = "mutability"
	TooMany       = "tooMany"
)

// Error is a resource, value or expression that the schema refuses. The
// handlers answer it as 400 with Type as scimType. Detail is meant for the
// IdP's administrator: it names the attribute and never repeats the value.
type Error struct {
	Type   string
	Detail string
}

func (e *Error) Error() string { return "schema: " + e.Type + ": " + e.Detail }

func errorf(scimType, format string, args ...any) error {
	return &Error{Type: scimType, Detail: fmt.Sprintf(format, args...)}
}
