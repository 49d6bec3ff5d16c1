package scim

import (
	"net/http"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/patch"
	"github.com/ssogate/ssogate/scim/schema"
)

// projection reads attributes and excludedAttributes.
func (c *call) projection(rt *schema.ResourceType) (schema.Projection, error) {
	q, err := client.Query(c.r.URL.RawQuery, "attributes", "excludedAttributes")
	if err != nil {
		return schema.Projection{}, err
	}
	return rt.Projection(schema.SplitNames(q["attributes"]), schema.SplitNames(q["excludedAttributes"]))
}

// resource reads and validates the body of a POST or PUT.
func (c *call) resource(rt *schema.ResourceType) (map[string]any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if body, err = client.Resource(rt, body, c.profile, &c.notes); err != nil {
		return nil, err
	}
	return rt.Resource(body)
}

// createUser is RFC 7644 section 3.3. The member is invited; what he is called
// and whether the IdP wants him in comes from the body, everything else is ours.
func (c *call) createUser() (reply, error) {
	rt := c.h.registry.User
	c.did.verb, c.did.kind = "created", rt.Name
	p, err := c.projection(rt)
	if err != nil {
		return reply{}, err
	}
	tree, err := c.resource(rt)
	if err != nil {
		return reply{}, err
	}
	draft := member.Member{ID: c.newID, Wish: true} // active is true unless the IdP says otherwise
	if err := storeUser(&draft, tree); err != nil {
		return reply{}, err
	}
	c.did.name, c.did.want = draft.UserName, wantOf(draft)
	m, err := c.h.o.Members.Create(c.ctx, c.actor(), c.conn.Connection, draft)
	if err != nil {
		return reply{}, err
	}
	c.did.id, c.did.after = m.ID, &m
	return c.userReply(http.StatusCreated, m, nil, p)
}

func (c *call) getUser() (reply, error) {
	c.did.verb, c.did.kind = "read", c.h.registry.User.Name
	p, err := c.projection(c.h.registry.User)
	if err != nil {
		return reply{}, err
	}
	if c.id == "" {
		return reply{}, member.ErrNotFound
	}
	m, teams, err := c.h.o.Members.Get(c.ctx, c.conn.Connection, c.id)
	if err != nil {
		return reply{}, err
	}
	c.did.id, c.did.name = m.ID, m.UserName
	return c.userReply(http.StatusOK, m, teams, p)
}

// replaceUser is RFC 7644 section 3.5.1: what the body leaves out is cleared,
// except `active`, and never creates.
func (c *call) replaceUser() (reply, error) {
	return c.changeUser(func() (func(*member.Member) error, error) {
		tree, err := c.resource(c.h.registry.User)
		if err != nil {
			return nil, err
		}
		c.did.mayCut = isFalse(tree["active"])
		return func(m *member.Member) error { return storeUser(m, tree) }, nil
	})
}

// patchUser is RFC 7644 section 3.5.2. The operations run on the member as it
// is inside the transaction, so that two clients never overwrite one another.
func (c *call) patchUser() (reply, error) {
	rt := c.h.registry.User
	return c.changeUser(func() (func(*member.Member) error, error) {
		body, err := c.body()
		if err != nil {
			return nil, err
		}
		ops, err := client.Operations(rt, body, c.profile, &c.notes)
		if err != nil {
			return nil, err
		}
		if len(ops) > maxUserOps {
			return nil, badRequest(schema.TooMany, "more than 1000 changes of one user")
		}
		c.did.mayCut = deactivates(ops)
		opt := patch.Options{CreateMissing: c.profile != client.Strict}
		return func(m *member.Member) error {
			tree, err := userTree(*m)
			if err != nil {
				return err
			}
			if tree, err = patch.Apply(rt, tree, ops, opt); err != nil {
				return err
			}
			return storeUser(m, tree)
		}, nil
	})
}

// changeUser runs a change and answers the whole resource. The Directory
// returns only when a cut-off it caused is true on every node, so the 2xx
// below is the promise of G1.
func (c *call) changeUser(prepare func() (func(*member.Member) error, error)) (reply, error) {
	c.did.verb, c.did.kind = "changed", c.h.registry.User.Name
	p, err := c.projection(c.h.registry.User)
	if err != nil {
		return reply{}, err
	}
	version, err := c.ifVersion(c.userVersion)
	if err != nil {
		return reply{}, err
	}
	change, err := prepare()
	if err != nil {
		return reply{}, err
	}
	if c.id == "" {
		return reply{}, member.ErrNotFound
	}
	c.countSessions()
	started := c.h.o.Now()
	m, err := c.h.o.Members.Update(c.ctx, c.actor(), c.conn.Connection, c.id, version, c.watch(change))
	c.did.took = c.h.o.Now().Sub(started)
	if err != nil {
		return reply{}, err
	}
	c.did.id, c.did.after = m.ID, &m
	var teams []member.Team
	if p.Wants("groups") {
		of, err := c.h.o.Searcher.TeamsOfMembers(c.ctx, []member.ID{m.ID})
		if err != nil {
			return reply{}, err
		}
		teams = of[m.ID]
	}
	return c.userReply(http.StatusOK, m, teams, p)
}

func (c *call) deleteUser() (reply, error) {
	c.did.verb, c.did.kind, c.did.mayCut = "deleted", c.h.registry.User.Name, true
	version, err := c.ifVersion(c.userVersion)
	if err != nil {
		return reply{}, err
	}
	if c.id == "" {
		return reply{}, member.ErrNotFound
	}
	c.nameUser()
	c.countSessions()
	started := c.h.o.Now()
	err = c.h.o.Members.Delete(c.ctx, c.actor(), c.conn.Connection, c.id, version)
	c.did.took = c.h.o.Now().Sub(started)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

func (c *call) userReply(status int, m member.Member, teams []member.Team, p schema.Projection) (reply, error) {
	tree, err := c.h.userResource(m, teams)
	if err != nil {
		return reply{}, err
	}
	return reply{
		status: status, body: p.Apply(tree),
		location: c.h.location(c.h.registry.User, m.ID), etag: etag(m.Version),
	}, nil
}
