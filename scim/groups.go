package scim

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
)

// memberIDs reads the members of a validated group.
func memberIDs(tree map[string]any) ([]member.ID, error) {
	ids, ok := patch.MemberIDs(tree["members"])
	if !ok {
		return nil, badRequest(schema.InvalidValue, "a member needs a value")
	}
	return toIDs(ids), nil
}

func toIDs(ids []string) []member.ID {
	out := make([]member.ID, len(ids))
	for i, id := range ids {
		out[i] = member.ID(id)
	}
	return out
}

func (c *call) createGroup() (reply, error) {
	rt := c.h.registry.Group
	c.did.verb, c.did.kind = "created", rt.Name
	p, err := c.projection(rt)
	if err != nil {
		return reply{}, err
	}
	tree, err := c.resource(rt)
	if err != nil {
		return reply{}, err
	}
	ids, err := memberIDs(tree)
	if err != nil {
		return reply{}, err
	}
	draft := member.Team{DisplayName: text(tree["displayName"]), ExternalID: text(tree["externalId"])}
	c.did.name, c.did.added = draft.DisplayName, len(ids)
	c.did.want = &record.Want{DisplayName: &draft.DisplayName, ExternalID: &draft.ExternalID}
	t, err := c.h.o.Teams.CreateTeam(c.ctx, c.actor(), c.conn.Connection, draft, ids)
	if err != nil {
		return reply{}, err
	}
	c.did.id = t.ID
	return c.groupReply(http.StatusCreated, t, p)
}

func (c *call) getGroup() (reply, error) {
	c.did.verb, c.did.kind = "read", c.h.registry.Group.Name
	p, err := c.projection(c.h.registry.Group)
	if err != nil {
		return reply{}, err
	}
	if c.id == "" {
		return reply{}, member.ErrNotFound
	}
	t, err := c.h.o.Teams.GetTeam(c.ctx, c.conn.Connection, c.id)
	if err != nil {
		return reply{}, err
	}
	c.did.id, c.did.name = t.ID, t.DisplayName
	return c.groupReply(http.StatusOK, t, p)
}

// replaceGroup clears what the body leaves out, members included: the RFC
// allows it, and clients that PUT send the whole list.
func (c *call) replaceGroup() (reply, error) {
	c.did.verb, c.did.kind = "changed", c.h.registry.Group.Name
	p, err := c.projection(c.h.registry.Group)
	if err != nil {
		return reply{}, err
	}
	tree, err := c.resource(c.h.registry.Group)
	if err != nil {
		return reply{}, err
	}
	ids, err := memberIDs(tree)
	if err != nil {
		return reply{}, err
	}
	if _, given := tree["members"]; !given {
		// RFC 7644 section 3.5.1 lets an omitted attribute be cleared, and clients
		// count on it; one that merely forgot the members has just removed all. Worth
		// an alarm, and a word in the access record.
		web.Annotate(c.ctx, "scim_members", "emptied by PUT")
		c.h.metrics.emptied.Inc()
		c.h.o.Log.WarnContext(c.ctx, "scim PUT without members empties a group",
			"connection", c.conn.ID, "group", c.id, "request_id", web.RequestID(c.ctx))
	}
	name, external := text(tree["displayName"]), text(tree["externalId"])
	t, err := c.changeGroup(member.TeamChange{
		DisplayName: &name, ExternalID: &external,
		Steps: []member.MembershipStep{{Op: member.ReplaceMembers, IDs: ids}},
	})
	if err != nil {
		return reply{}, err
	}
	return c.groupReply(http.StatusOK, t, p)
}

// patchGroup never reads the members: the change is a list of steps, applied
// as rows in one transaction, so 50 writers at once lose nobody (G7). The
// answer is 204 unless a projection asks for the resource (section 3.5.2).
func (c *call) patchGroup() (reply, error) {
	rt := c.h.registry.Group
	c.did.verb, c.did.kind = "changed", rt.Name
	p, err := c.projection(rt)
	if err != nil {
		return reply{}, err
	}
	body, err := c.body()
	if err != nil {
		return reply{}, err
	}
	ops, err := client.Operations(rt, body, c.profile, &c.notes)
	if err != nil {
		return reply{}, err
	}
	want, err := patch.Group(rt, ops)
	if err != nil {
		return reply{}, err
	}
	t, err := c.changeGroup(teamChange(want))
	if err != nil {
		return reply{}, err
	}
	if p.Given() {
		return c.groupReply(http.StatusOK, t, p)
	}
	return reply{status: http.StatusNoContent, etag: etag(t.Version)}, nil
}

func teamChange(g patch.GroupChange) member.TeamChange {
	ch := member.TeamChange{DisplayName: g.DisplayName, ExternalID: g.ExternalID}
	for _, s := range g.Steps {
		step := member.MembershipStep{IDs: toIDs(s.IDs)}
		switch s.Op {
		case patch.Add:
			step.Op = member.AddMembers
		case patch.Remove:
			step.Op = member.RemoveMembers
		case patch.Replace:
			step.Op = member.ReplaceMembers
		}
		ch.Steps = append(ch.Steps, step)
	}
	return ch
}

func (c *call) changeGroup(ch member.TeamChange) (member.Team, error) {
	version, err := c.ifVersion(c.groupVersion)
	if err != nil {
		return member.Team{}, err
	}
	if c.id == "" {
		return member.Team{}, member.ErrNotFound
	}
	c.steps(ch)
	t, err := c.h.o.Teams.UpdateTeam(c.ctx, c.actor(), c.conn.Connection, c.id, version, ch)
	if err == nil {
		c.did.id, c.did.name = t.ID, t.DisplayName
	}
	return t, err
}

func (c *call) deleteGroup() (reply, error) {
	c.did.verb, c.did.kind = "deleted", c.h.registry.Group.Name
	version, err := c.ifVersion(c.groupVersion)
	if err != nil {
		return reply{}, err
	}
	if c.id == "" {
		return reply{}, member.ErrNotFound
	}
	c.nameGroup()
	if err := c.h.o.Teams.DeleteTeam(c.ctx, c.actor(), c.conn.Connection, c.id, version); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

// groupReply reads the members only when they are wanted: Entra asks with
// excludedAttributes=members before every change. A large group is streamed.
func (c *call) groupReply(status int, t member.Team, p schema.Projection) (reply, error) {
	rep := reply{status: status, location: c.h.location(c.h.registry.Group, t.ID), etag: etag(t.Version)}
	var members []member.TeamMember
	if p.Wants("members") {
		var err error
		if members, err = c.h.o.Searcher.MembersOfTeam(c.ctx, t.ID, "", streamPage); err != nil {
			return reply{}, err
		}
	}
	if len(members) == streamPage {
		rep.stream = c.stream(t, p, members)
		return rep, nil
	}
	rep.body = p.Apply(c.h.groupResource(t, members))
	return rep, nil
}

// streamPage is how many members are read and written at a time. Tests lower it.
var streamPage = 5000

// stream writes a group member by member, so that one of any size takes no more
// memory than a small one. A membership that changes meanwhile may or may not be
// shown. Its error comes after the first byte: the caller breaks the answer off.
func (c *call) stream(t member.Team, p schema.Projection, page []member.TeamMember) func(io.Writer) error {
	return func(w io.Writer) error {
		head, err := json.Marshal(p.Apply(c.h.groupResource(t, nil)))
		if err != nil {
			return err
		}
		head = append(head[:len(head)-1], `,"members":`...) // it has attributes: id and schemas are always shown
		before := byte('[')
		for {
			for _, m := range page {
				shown, ok := p.Apply(map[string]any{"members": []any{c.h.groupMember(m)}})["members"].([]any)
				if !ok || len(shown) != 1 {
					continue // only sub-attributes that it does not have
				}
				el, err := json.Marshal(shown[0])
				if err != nil {
					return err
				}
				head = append(append(head, before), el...)
				before = ','
			}
			if _, err := w.Write(head); err != nil {
				return err
			}
			if len(page) < streamPage {
				break
			}
			head = head[:0]
			if page, err = c.h.o.Searcher.MembersOfTeam(c.ctx, t.ID, page[len(page)-1].ID, streamPage); err != nil {
				return err
			}
		}
		end := "]}\n"
		if before == '[' {
			end = "[]}\n"
		}
		_, err = io.WriteString(w, end)
		return err
	}
}

func (h *Handler) groupMember(m member.TeamMember) map[string]any {
	el := map[string]any{"value": string(m.ID), "$ref": h.location(h.registry.User, m.ID), "type": "User"}
	setText(el, "display", m.DisplayName)
	return el
}

func (h *Handler) groupResource(t member.Team, members []member.TeamMember) map[string]any {
	tree := map[string]any{}
	setText(tree, "displayName", t.DisplayName)
	setText(tree, "externalId", t.ExternalID)
	h.common(tree, h.registry.Group, t.ID, t.Version, t.Created, t.Modified)
	if len(members) > 0 {
		list := make([]any, 0, len(members))
		for _, m := range members {
			list = append(list, h.groupMember(m))
		}
		tree["members"] = list
	}
	return tree
}
