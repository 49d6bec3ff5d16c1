package scim

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

// ErrorURN marks an error body (RFC 7644 section 3.12).
const ErrorURN = "urn:ietf:params:scim:api:messages:2.0:Error"

// scimTypes of the handlers' own; those of the layers below are in schema.
const uniqueness = "uniqueness"

// fault is an error with its answer. Detail goes to the client; Err, when set,
// only to the log.
type fault struct {
	Status     int
	Type       string // scimType or ""
	Detail     string
	RetryAfter int    // seconds; Okta reads integers only
	Allow      string // for 405
	Err        error
}

func (f *fault) Error() string {
	if f.Err != nil {
		return "scim: " + f.Err.Error()
	}
	return "scim: " + f.Detail
}

func (f *fault) Unwrap() error { return f.Err }

// body is the answer (RFC 7644 section 3.12).
func (f *fault) body() map[string]any {
	body := map[string]any{
		"schemas": []string{ErrorURN},
		"status":  itoa(f.Status), // a JSON string
		"detail":  f.Detail,
	}
	if f.Type != "" {
		body["scimType"] = f.Type
	}
	return body
}

func notFound(detail string) error { return &fault{Status: http.StatusNotFound, Detail: detail} }

func badRequest(scimType, detail string) error {
	return &fault{Status: http.StatusBadRequest, Type: scimType, Detail: detail}
}

// unavailable is every failure that is ours: the store, the cut-off barrier, a
// deadline. 503 makes the IdP try again, and a retry is safe: what was
// committed stays and is waited for again (C2).
func unavailable(err error) error {
	return &fault{
		Status: http.StatusServiceUnavailable, Detail: "temporarily unavailable, try again",
		RetryAfter: barrierRetryIn, Err: err,
	}
}

// faultOf maps every error to its answer, in one place. An unknown error is
// 503, never 2xx and never a reason told to the client.
func faultOf(err error) *fault {
	var (
		f       *fault
		schemaE *schema.Error
		patchE  *patch.Error
		syntaxE *filter.SyntaxError
		unknown *member.UnknownMembersError
		invalid *member.InvalidError
	)
	answer := func(e error) *fault { return e.(*fault) } //nolint:errorlint,forcetypeassert // the constructors above
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &patchE):
		return answer(badRequest(patchE.Type, "operation "+itoa(patchE.Index)+": "+patchE.Detail))
	case errors.As(err, &schemaE):
		return answer(badRequest(schemaE.Type, schemaE.Detail))
	case errors.As(err, &syntaxE):
		return answer(badRequest(schema.InvalidFilter, "filter: position "+itoa(syntaxE.Pos)+": "+syntaxE.Msg))
	case errors.Is(err, filter.ErrUnsupported):
		return answer(badRequest(schema.InvalidFilter, "this filter is not supported"))
	case errors.As(err, &unknown):
		return answer(badRequest(schema.InvalidValue, "unknown members: "+names(unknown.IDs)))
	case errors.As(err, &invalid):
		return answer(badRequest(schema.InvalidValue, invalid.Field+" "+invalid.Reason))
	// A resource of another connection answers exactly like one that does not
	// exist (C09).
	case errors.Is(err, member.ErrNotFound), errors.Is(err, member.ErrOutOfScope):
		return answer(notFound("resource not found"))
	case errors.Is(err, member.ErrConflict):
		return &fault{Status: http.StatusConflict, Type: uniqueness, Detail: "the name is already taken"}
	case errors.Is(err, member.ErrVersion):
		return &fault{Status: http.StatusPreconditionFailed, Detail: "the resource has changed since it was read"}
	case errors.Is(err, member.ErrFallback):
		return &fault{Status: http.StatusForbidden, Detail: "this member is a fallback owner, whom provisioning cannot change"}
	case errors.Is(err, member.ErrRole):
		return &fault{Status: http.StatusForbidden, Detail: "provisioning can neither make nor change an owner"}
	case errors.Is(err, context.Canceled):
		// The client has gone; nobody reads the answer.
		return &fault{Status: http.StatusServiceUnavailable, Detail: "cancelled", RetryAfter: barrierRetryIn}
	}
	return answer(unavailable(err))
}

// names lists ids for an error detail, at most ten, so that 10,000 unknown
// members do not make a 300 KB error.
func names(ids []member.ID) string {
	var b strings.Builder
	for i, id := range ids {
		if i == 10 {
			b.WriteString(" and " + itoa(len(ids)-10) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		s := string(id)
		if len(s) > 64 {
			s = s[:64] + "..."
		}
		b.WriteString(strings.ToValidUTF8(s, ""))
	}
	return b.String()
}
