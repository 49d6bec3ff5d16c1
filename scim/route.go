package scim

import (
	"net/http"
	"strings"

	"github.com/ssogate/ssogate/member"
)

// handle answers one authenticated request.
type handle func(*call) (reply, error)

// route is one line of the table: path segments below /scim/v2 ("*" is a
// resource's id or name), the kind for metrics, and the methods in the order
// Allow lists them.
type route struct {
	path    []string
	kind    string
	methods []method
}

type method struct {
	verb string
	do   handle
}

func (h *Handler) table() []route {
	get := func(do handle) []method { return []method{{http.MethodGet, do}} }
	post := func(do handle) []method { return []method{{http.MethodPost, do}} }
	return []route{
		{[]string{"Users"}, "Users", []method{{http.MethodGet, (*call).listUsers}, {http.MethodPost, (*call).createUser}}},
		{[]string{"Users", ".search"}, "search", post((*call).searchUsers)},
		{[]string{"Users", "*"}, "Users", []method{
			{http.MethodGet, (*call).getUser},
			{http.MethodPut, (*call).replaceUser},
			{http.MethodPatch, (*call).patchUser},
			{http.MethodDelete, (*call).deleteUser},
		}},
		{[]string{"Groups"}, "Groups", []method{{http.MethodGet, (*call).listGroups}, {http.MethodPost, (*call).createGroup}}},
		{[]string{"Groups", ".search"}, "search", post((*call).searchGroups)},
		{[]string{"Groups", "*"}, "Groups", []method{
			{http.MethodGet, (*call).getGroup},
			{http.MethodPut, (*call).replaceGroup},
			{http.MethodPatch, (*call).patchGroup},
			{http.MethodDelete, (*call).deleteGroup},
		}},
		{[]string{"Schemas"}, "discovery", get((*call).listSchemas)},
		{[]string{"Schemas", "*"}, "discovery", get((*call).getSchema)},
		{[]string{"ResourceTypes"}, "discovery", get((*call).listResourceTypes)},
		{[]string{"ResourceTypes", "*"}, "discovery", get((*call).getResourceType)},
		{[]string{"ServiceProviderConfig"}, "discovery", get((*call).serviceProviderConfig)},
		{[]string{}, "search", get((*call).listRoot)},
		{[]string{"Bulk"}, "Bulk", post((*call).bulk)},
		{[]string{".search"}, "search", post((*call).searchRoot)},
		// RFC 7644 section 3.11: a bearer token of an IdP has no user it stands for.
		{[]string{"Me"}, "Me", []method{
			{http.MethodGet, notImplemented},
			{http.MethodPost, notImplemented},
			{http.MethodPut, notImplemented},
			{http.MethodPatch, notImplemented},
			{http.MethodDelete, notImplemented},
		}},
	}
}

func notImplemented(*call) (reply, error) {
	return reply{}, &fault{Status: http.StatusNotImplemented, Detail: "this endpoint is not supported"}
}

// route finds the handler. An unknown path is 404, a known one with another
// method 405 with Allow, both as SCIM errors (RFC 7644 section 3.12).
func (c *call) route(kind *string) (handle, error) {
	segments, ok := c.segments()
	if !ok {
		return nil, notFound("no such endpoint")
	}
	for _, rt := range c.h.routes {
		if !c.matches(rt.path, segments) {
			continue
		}
		*kind = rt.kind
		var allow []string
		for _, m := range rt.methods {
			if m.verb == c.r.Method {
				return m.do, nil
			}
			allow = append(allow, m.verb)
		}
		return nil, &fault{
			Status: http.StatusMethodNotAllowed, Detail: "this endpoint does not support the method",
			Allow: strings.Join(allow, ", "),
		}
	}
	return nil, notFound("no such endpoint")
}

// segments are the parts of the path below the SCIM base. Empty ones are left
// out (T15): trailing and doubled slashes come from pasted tenant URLs.
func (c *call) segments() ([]string, bool) {
	rest, ok := strings.CutPrefix(c.r.URL.Path, Mount)
	if !ok {
		return nil, false
	}
	parts := make([]string, 0, 6)
	for s := range strings.SplitSeq(rest, "/") {
		if s == "" {
			continue
		}
		if len(parts) == cap(parts) {
			return nil, false
		}
		parts = append(parts, s)
	}
	if len(parts) < 3 || parts[0] != c.h.o.Org || parts[1] != "scim" || parts[2] != "v2" {
		return nil, false
	}
	return parts[3:], true
}

func (c *call) matches(pattern, segments []string) bool {
	if len(pattern) != len(segments) {
		return false
	}
	for i, p := range pattern {
		if p != "*" && p != segments[i] {
			return false
		}
	}
	if last := len(pattern) - 1; last >= 0 && pattern[last] == "*" {
		c.name = segments[last]
		c.id = ""
		// What cannot be an id of ours stays empty, and is found nowhere.
		if plainID(c.name) {
			c.id = member.ID(c.name)
		}
	}
	return true
}
