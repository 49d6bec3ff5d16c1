package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// KeyState is where a cookie key stands on its way. A key of the config file has
// none until a made key takes its place.
type KeyState string

// States, in this order. Nothing goes back: a key that was in use is used up.
const (
	KeyNext     KeyState = "next"     // every node accepts it, none uses it yet
	KeyCurrent  KeyState = "current"  // makes new cookies
	KeyPrevious KeyState = "previous" // its cookies are still good
	KeyRetired  KeyState = "retired"  // its cookies lead to a new sign-in; its value is gone
)

// StoredKey is a cookie key as the database keeps it. Sealed is empty for a key
// of the config file, whose row only says what became of it, and once retired.
type StoredKey struct {
	ID      string // secret.KeyID
	Sealed  []byte
	State   KeyState
	Changed time.Time // into this state
}

// KeyStore keeps cookie keys. Each change is one transaction with its audit event
// and a [member.Reload] row, whose number it answers. store/sql is the real one.
type KeyStore interface {
	// CookieKeys lists all, the last changed first.
	CookieKeys(ctx context.Context) ([]StoredKey, error)
	// ProposeCookieKey adds a key as next. When there is one already, left by a
	// rotation that was interrupted, that one stays and is answered.
	ProposeCookieKey(ctx context.Context, by member.Actor, key StoredKey) (id string, seq int64, err error)
	// UseCookieKey makes the next key current. The current one and those of the
	// config file that have no row become previous. A key that is current already
	// is no error; one in any other state is ErrNotFound of package member.
	UseCookieKey(ctx context.Context, by member.Actor, id string, config []string) (seq int64, err error)
	// RetireCookieKeys forgets those that have been previous since before, and
	// answers them; with none the number is 0. Once a made key is in use, keys of
	// the config file that have no row become previous.
	RetireCookieKeys(ctx context.Context, by member.Actor, config []string, before time.Time) (ids []string, seq int64, err error)
}

// bindingLife is how long a pending sign-in depends on the key of its cookie.
const bindingLife = bindingAge * time.Second

// KeyRing is which cookie keys are accepted and which one makes new cookies, from
// what the database and the config file say. Safe for concurrent use.
type KeyRing struct {
	Store    KeyStore
	Sealer   *secret.Sealer
	Config   [][]byte      // of the config file: its current one first
	Absolute time.Duration // Limits.Absolute: so long a cookie may be good
	Now      clock.Func    // time.Now when nil
}

// UnreadableKeyError is a stored key that no seal key of this process opens.
type UnreadableKeyError struct{ ID string }

func (e *UnreadableKeyError) Error() string {
	return fmt.Sprintf("session: cookie key %s was sealed with a seal key that is not configured here: "+
		"set the seal key of the other nodes, or the one before, as secrets.seal_key_previous", e.ID)
}

// SealedAs is the context that the value of a made key is sealed in.
func SealedAs(id string) string { return "cookie-key/" + id }

// Load answers the accepted keys, the one in use first. An entry that cannot be
// read is an [*UnreadableKeyError]: to leave it out would sign people out, and to
// go on with another current key would do so on every other node.
func (k *KeyRing) Load(ctx context.Context) ([][]byte, error) {
	stored, err := k.Store.CookieKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("session: read cookie keys: %w", err)
	}
	config := map[string][]byte{}
	for _, key := range k.Config {
		config[secret.KeyID(key)] = key
	}
	made := map[KeyState][][]byte{}
	for _, s := range stored {
		if s.State == KeyRetired {
			delete(config, s.ID)
			continue
		}
		if len(s.Sealed) == 0 {
			continue // one of the config file: accepted for as long as it stands there
		}
		key, err := k.Sealer.Open(s.Sealed, SealedAs(s.ID))
		if err != nil {
			return nil, &UnreadableKeyError{s.ID}
		}
		made[s.State] = append(made[s.State], key)
	}
	var ours [][]byte
	for _, key := range k.Config {
		if config[secret.KeyID(key)] != nil {
			ours = append(ours, key)
		}
	}
	ring := made[KeyCurrent]
	if len(ring) == 0 && len(ours) > 0 { // nothing was made yet: the config file decides
		ring, ours = ours[:1], ours[1:]
	}
	return slices.Concat(ring, made[KeyNext], made[KeyPrevious], ours), nil
}

// Confirmer waits for nodes more strictly than a member.Revoker does. *[Cutoff]
// and *[Publisher] are the real ones.
type Confirmer interface {
	member.Revoker
	// Confirm returns nil only when every registered node has acknowledged the row;
	// see [Publisher.Confirm].
	Confirm(ctx context.Context, seq int64) error
}

// Rotate makes a new key, has every node accept it, and only then has them use it
// (row K08). Interrupted anywhere, it goes on where it stopped when called again:
// the key is then accepted and not used. It answers the id of the key in use.
// An [*UnconfirmedError] names the nodes that did not confirm.
func (k *KeyRing) Rotate(ctx context.Context, by member.Actor, nodes Confirmer) (string, error) {
	if _, err := k.Load(ctx); err != nil { // an entry that this process cannot read stops it before anything is changed
		return "", err
	}
	key := make([]byte, cookieKeySize)
	_, _ = rand.Read(key)
	id := secret.KeyID(key)
	id, seq, err := k.Store.ProposeCookieKey(ctx, by, StoredKey{ID: id, Sealed: k.Sealer.Seal(key, SealedAs(id)), State: KeyNext, Changed: k.now()})
	if err != nil {
		return "", fmt.Errorf("session: store the next cookie key: %w", err)
	}
	// Not merely waited out: a node that uses no lease still admits by asking the
	// stores, and would turn away whom another node has just signed in.
	if err := nodes.Confirm(ctx, seq); err != nil {
		return "", err
	}
	if seq, err = k.Store.UseCookieKey(ctx, by, id, k.configIDs()); err != nil {
		return "", fmt.Errorf("session: use the next cookie key: %w", err)
	}
	if err := nodes.Barrier(ctx, seq); err != nil {
		return "", err
	}
	return id, nil
}

// Keep is how long a key stays accepted once another makes the cookies: as long as
// anything made with it may be good.
func (k *KeyRing) Keep() time.Duration { return max(k.Absolute, bindingLife) }

// Retire forgets the keys whose cookies have all ended, and answers their ids. It
// asks before it writes, so an idle node writes nothing. Call it now and then.
func (k *KeyRing) Retire(ctx context.Context) ([]string, error) {
	stored, err := k.Store.CookieKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("session: read cookie keys: %w", err)
	}
	before := k.now().Add(-k.Keep())
	known := map[string]bool{}
	due, made := false, false
	for _, s := range stored {
		known[s.ID] = true
		made = made || s.State == KeyCurrent
		due = due || s.State == KeyPrevious && !s.Changed.After(before)
	}
	for _, id := range k.configIDs() {
		due = due || made && !known[id]
	}
	if !due {
		return nil, nil
	}
	ids, _, err := k.Store.RetireCookieKeys(ctx, member.Actor{Name: "system"}, k.configIDs(), before)
	if err != nil {
		return nil, fmt.Errorf("session: retire cookie keys: %w", err)
	}
	return ids, nil
}

func (k *KeyRing) configIDs() (ids []string) {
	for _, key := range k.Config {
		ids = append(ids, secret.KeyID(key))
	}
	return ids
}

func (k *KeyRing) now() time.Time {
	if k.Now == nil {
		return time.Now().UTC()
	}
	return k.Now().UTC()
}
