package scim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// did is what a request did, or tried to do, noted while it is answered. The
// flight recorder makes a sentence of it.
type did struct {
	verb     string // "created", "read", "changed", "deleted", "listed", ...
	kind     string // "User" or "Group"
	id       member.ID
	name     string // userName or displayName
	before   *member.Member
	after    *member.Member
	mayCut   bool // it asks to deactivate or delete
	sessions int  // the member had when it came
	took     time.Duration
	added    int
	removed  int
	emptied  bool
	newName  string // of a group
	found    int    // by a list
	want     *record.Want
}

// wantOf is what a change asks a member to be.
func wantOf(m member.Member) *record.Want {
	return &record.Want{
		Active: &m.Wish, UserName: &m.UserName, DisplayName: &m.DisplayName, Email: &m.Email, ExternalID: &m.ExternalID,
	}
}

// watch notes what a change of a member starts from and asks for. It may run
// more than once.
func (c *call) watch(change func(*member.Member) error) func(*member.Member) error {
	return func(m *member.Member) error {
		before := *m
		c.did.before, c.did.name = &before, m.UserName
		if err := change(m); err != nil {
			return err
		}
		c.did.want = wantOf(*m)
		return nil
	}
}

// deactivates reports operations that may take a user's access.
func deactivates(ops []patch.Operation) bool {
	return slices.ContainsFunc(ops, func(o patch.Operation) bool {
		return strings.EqualFold(o.Path, "active") && isFalse(o.Value)
	})
}

func isFalse(v any) bool {
	b, ok := v.(bool)
	return ok && !b
}

// countSessions notes how many sessions a member has who may be about to lose
// them. It is for the record only: a store that does not answer stops nothing.
func (c *call) countSessions() {
	if !c.did.mayCut || c.h.o.Sessions == nil || c.id == "" {
		return
	}
	n, err := c.h.o.Sessions(c.ctx, c.id)
	if err != nil {
		c.h.o.Log.WarnContext(c.ctx, "sessions not counted for the flight recorder", "err", err)
		return
	}
	c.did.sessions = n
}

// nameUser notes whom a DELETE is about: afterwards nobody can say.
func (c *call) nameUser() {
	if c.h.o.Recorder == nil {
		return
	}
	if m, _, err := c.h.o.Members.Get(c.ctx, c.conn.Connection, c.id); err == nil {
		c.did.name = m.UserName
	}
}

func (c *call) nameGroup() {
	if c.h.o.Recorder == nil {
		return
	}
	if t, err := c.h.o.Teams.GetTeam(c.ctx, c.conn.Connection, c.id); err == nil {
		c.did.name = t.DisplayName
	}
}

// steps counts what a group change asks for.
func (c *call) steps(ch member.TeamChange) {
	for _, s := range ch.Steps {
		switch s.Op {
		case member.AddMembers:
			c.did.added += len(s.IDs)
		case member.RemoveMembers:
			c.did.removed += len(s.IDs)
		case member.ReplaceMembers:
			c.did.added, c.did.removed, c.did.emptied = len(s.IDs), 0, true
		}
	}
	if ch.DisplayName != nil {
		c.did.newName = *ch.DisplayName
		c.did.want = &record.Want{DisplayName: ch.DisplayName, ExternalID: ch.ExternalID}
	}
}

// ended is how many sessions the request cut off.
func (c *call) ended() int {
	d := c.did
	if c.fault != nil || !d.mayCut || d.verb == "changed" && (d.before == nil || !d.before.Wish) {
		return 0
	}
	return d.sessions
}

// meaning is the request in one sentence.
func (c *call) meaning() string {
	who := c.family()
	what := c.deed()
	if c.fault == nil {
		return who + " " + what
	}
	return fmt.Sprintf("%s tried: %s; answered %d, %s", who, what, c.fault.Status, c.fault.Detail)
}

func (c *call) deed() string {
	d := c.did
	switch {
	case c.conn.ID == "":
		return "request without a valid token"
	case d.verb == "listed":
		return c.listDeed()
	case d.verb == "ran" && c.fault != nil: // refused as a whole
		return "run a bulk request"
	case d.verb == "ran":
		failed := 0
		for _, in := range c.inner {
			if in.fault != nil {
				failed++
			}
		}
		return fmt.Sprintf("ran %d bulk operations, %d of which failed", len(c.inner), failed)
	case d.verb == "":
		return plainWord(c.r.Method, c.kind)
	case d.kind == "Group":
		return c.groupDeed()
	}
	return c.userDeed()
}

func (c *call) userDeed() string {
	d := c.did
	name := c.subject()
	switch d.verb {
	case "changed":
		if c.fault != nil || d.before == nil || d.after == nil {
			if d.mayCut {
				return "deactivate " + name
			}
			return "change " + name
		}
		return c.changeDeed(name)
	case "deleted":
		if c.fault != nil {
			return "delete " + name
		}
		return "deleted " + name + c.cut()
	case "created":
		if c.fault != nil {
			return "create " + name
		}
		if d.after != nil && !d.after.Wish {
			return "created " + name + ", deactivated"
		}
		return "created " + name
	}
	return d.verb + " " + name
}

func (c *call) changeDeed(name string) string {
	d := c.did
	what := changed(*d.before, *d.after)
	rest := ""
	if others := slices.DeleteFunc(slices.Clone(what), func(s string) bool { return s == "active" }); len(others) > 0 {
		rest = "; also changed " + strings.Join(others, ", ")
	}
	switch {
	case d.before.Wish && !d.after.Wish:
		return "deactivated " + name + c.cut() + rest
	case !d.before.Wish && d.after.Wish:
		return "re-activated " + name + rest
	case len(what) == 0:
		return "changed nothing about " + name
	}
	return "changed " + strings.Join(what, ", ") + " of " + name
}

// cut is how many sessions ended, and how long it took until that was true on
// every node.
func (c *call) cut() string {
	n := c.ended()
	sessions := strconv.Itoa(n) + " sessions"
	if n == 1 {
		sessions = "1 session"
	}
	return fmt.Sprintf(": %s ended in %d ms", sessions, c.did.took.Milliseconds())
}

func (c *call) groupDeed() string {
	d := c.did
	name := c.subject()
	verb := func(done, tried string) string {
		if c.fault != nil {
			return tried
		}
		return done
	}
	switch d.verb {
	case "created":
		return fmt.Sprintf("%s %s with %d members", verb("created", "create"), name, d.added)
	case "deleted":
		return verb("deleted", "delete") + " " + name
	case "changed":
		var parts []string
		if d.newName != "" {
			parts = append(parts, fmt.Sprintf("%s to %q", verb("set the name", "set the name"), d.newName))
		}
		switch {
		case d.emptied && d.added == 0:
			parts = append(parts, verb("removed all members", "remove all members"))
		case d.emptied:
			parts = append(parts, fmt.Sprintf("%s its members to %d", verb("set", "set"), d.added))
		default:
			if d.added > 0 {
				parts = append(parts, fmt.Sprintf("%s %d members", verb("added", "add"), d.added))
			}
			if d.removed > 0 {
				parts = append(parts, fmt.Sprintf("%s %d members", verb("removed", "remove"), d.removed))
			}
		}
		if len(parts) == 0 {
			parts = append(parts, verb("changed nothing", "change nothing"))
		}
		return "in " + name + " " + strings.Join(parts, " and ")
	}
	return d.verb + " " + name
}

// listDeed tells the question that every IdP asks before a write from a listing.
func (c *call) listDeed() string {
	what := strings.ToLower(c.did.kind) + "s"
	if c.did.kind == "" {
		what = "everything"
	}
	f := shorten(c.params["filter"])
	if f == "" {
		if c.fault != nil {
			return "list " + what
		}
		return fmt.Sprintf("listed %s: %d in all", what, c.did.found)
	}
	e, err := filter.Parse(f, filter.Lenient)
	if cmp, ok := e.(*filter.Compare); err == nil && ok && cmp.Op == filter.EQ {
		answer := "no"
		if c.did.found > 0 {
			answer = "yes"
		}
		if c.fault != nil {
			return fmt.Sprintf("ask whether there is a %s with %s", strings.ToLower(c.did.kind), f)
		}
		return fmt.Sprintf("asked whether there is a %s with %s: %s", strings.ToLower(c.did.kind), f, answer)
	}
	if c.fault != nil {
		return fmt.Sprintf("search %s by %s", what, f)
	}
	return fmt.Sprintf("searched %s by %s: %d found", what, f, c.did.found)
}

// subject names a resource as well as is known.
func (c *call) subject() string {
	d := c.did
	switch {
	case d.name != "":
		return d.name
	case d.after != nil && d.after.UserName != "":
		return d.after.UserName
	case d.id != "":
		return strings.ToLower(d.kind) + " " + string(d.id)
	case c.id != "":
		return strings.ToLower(d.kind) + " " + string(c.id)
	}
	return "an unknown " + strings.ToLower(d.kind)
}

// changed names the attributes in which two members differ.
func changed(a, b member.Member) (what []string) {
	x, err1 := userTree(a)
	y, err2 := userTree(b)
	if err1 != nil || err2 != nil {
		return []string{"attributes"}
	}
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if reflect.DeepEqual(x[k], y[k]) {
			continue
		}
		switch k {
		case schema.EnterpriseURN:
			k = "enterprise data"
		case schema.MemberURN:
			k = "role"
		}
		what = append(what, k)
	}
	return what
}

// families are identity providers, by a word of their User-Agent.
var families = []struct{ word, name string }{
	{"okta", "Okta"},
	{"onelogin", "OneLogin"},
	{"auth0", "Auth0"},
	{"jumpcloud", "JumpCloud"},
	{"pingfederate", "PingFederate"},
	{"pingone", "PingOne"},
	{"keycloak", "Keycloak"},
	{"authentik", "authentik"},
	{"rippling", "Rippling"},
	{"google", "Google"},
	{"microsoft", "Entra"},
	{"azure", "Entra"},
	{"curl/", "curl"},
	{"postman", "Postman"},
}

// family is which identity provider a request looks like: by its User-Agent, by a
// habit that only one has, else by the name of the connection's provider. A label
// for people; no decision depends on it.
func (c *call) family() string {
	agent := strings.ToLower(c.r.UserAgent())
	for _, f := range families {
		if strings.Contains(agent, f.word) {
			return f.name
		}
	}
	if strings.Contains(strings.ToLower(c.r.URL.RawQuery), "aadoptscim") || slices.Contains(c.notes.Rules(), "T1") {
		return "Entra"
	}
	if p, ok := c.h.o.Live.Load().Provider(c.conn.Provider); ok && p.Name != "" {
		return p.Name
	}
	if c.conn.Provider != "" {
		return c.conn.Provider
	}
	return "somebody"
}

// plainWord is a request that meant no change and no list, for a sentence. Its
// endpoint is not known when it was refused before anybody looked: while paused.
func plainWord(method, kind string) string {
	if kind == "" || kind == "unknown" {
		return "a " + method + " request"
	}
	return method + " " + kind
}
