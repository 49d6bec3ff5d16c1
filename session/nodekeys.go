package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NodeKeys are the keys that a node has from its config file, the one it uses
// first: what each node must know of the others before it may start (row K08).
type NodeKeys struct{ Cookie, Seal []string }

// String is how the registry keeps them.
func (k NodeKeys) String() string {
	return "cookie=" + strings.Join(k.Cookie, ",") + " seal=" + strings.Join(k.Seal, ",")
}

// ParseNodeKeys reads what String wrote. What it does not know it leaves out.
func ParseNodeKeys(s string) (k NodeKeys) {
	for part := range strings.FieldsSeq(s) {
		use, list, _ := strings.Cut(part, "=")
		if list == "" {
			continue
		}
		switch use {
		case "cookie":
			k.Cookie = strings.Split(list, ",")
		case "seal":
			k.Seal = strings.Split(list, ",")
		}
	}
	return k
}

// KeyConflictError says which node lacks which key. Started all the same, the one
// would make cookies, or seal values, that the other cannot read: people would be
// sent to sign in at every turn.
type KeyConflictError struct {
	Use   string // "cookie" or "seal"
	Key   string // its id
	Node  string // the other node
	Lacks bool   // the other node lacks a key of this one; else this one lacks its key
}

func (e *KeyConflictError) Error() string {
	if e.Lacks {
		return fmt.Sprintf("session: node %q does not accept %s key %s, which this node would use: "+
			"set it as secrets.%s_key_previous on every node first, then make it secrets.%s_key", e.Node, e.Use, e.Key, e.Use, e.Use)
	}
	return fmt.Sprintf("session: node %q uses %s key %s, which this node does not accept: set it here as secrets.%s_key_previous", e.Node, e.Use, e.Key, e.Use)
}

// conflict compares the keys of one use. A node that says nothing of a use is of
// another version and not compared.
func conflict(use string, mine, theirs []string, node string) error {
	switch {
	case len(mine) == 0 || len(theirs) == 0:
		return nil
	case !slices.Contains(theirs, mine[0]):
		return &KeyConflictError{use, mine[0], node, true}
	case !slices.Contains(mine, theirs[0]):
		return &KeyConflictError{use, theirs[0], node, false}
	}
	return nil
}

const agreePause = 250 * time.Millisecond

// Agree answers a [*KeyConflictError] when a registered node and this one could
// not read what the other makes (row K08). Of nodes that start at once at least one
// sees the other, because each looks after it has joined. A node that crashed is
// waited for until it is expelled. Cookie keys are not compared when the database
// holds one that is in use: those of the config files then make no cookies.
func (c *Cutoff) Agree(ctx context.Context, cookies bool) error {
	mine := ParseNodeKeys(c.node.Keys)
	deadline := c.lease.boot() + expelAfter + 2*time.Second
	for {
		rctx, cancel := context.WithTimeout(ctx, readTimeout)
		_, err := c.registry.Expel(rctx, expelAfter)
		var nodes []Node
		if err == nil {
			nodes, err = c.registry.Nodes(rctx)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("session: read the registry: %w", err)
		}
		for _, n := range nodes {
			if n.ID == c.id() || err != nil {
				continue
			}
			theirs := ParseNodeKeys(n.Keys)
			if cookies {
				err = conflict("cookie", mine.Cookie, theirs.Cookie, n.Name)
			}
			if err == nil {
				err = conflict("seal", mine.Seal, theirs.Seal, n.Name)
			}
		}
		if err == nil || c.lease.boot() >= deadline {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(agreePause):
		}
	}
}
