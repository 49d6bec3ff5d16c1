package assertion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/member"
)

// Info is a key as an operator sees it.
type Info struct {
	ID        string    `json:"id"`
	Algorithm Algorithm `json:"algorithm"`
	State     string    `json:"state"` // next, signs, previous
	Signs     time.Time `json:"signs"` // since or from when
	Gone      time.Time `json:"gone,omitzero"`
}

// List answers what is published, as it is stored now.
func (r *Ring) List(ctx context.Context) ([]Info, error) {
	if err := r.Load(ctx); err != nil {
		return nil, err
	}
	now := r.now()
	var out []Info
	for _, a := range Algorithms() {
		signer := r.Signer(a, now)
		for _, k := range r.held.Load().published(a, now) {
			i := Info{ID: k.ID, Algorithm: a, State: "previous", Signs: k.Signs.UTC(), Gone: k.Gone}
			switch {
			case k == signer:
				i.State = "signs"
			case k.Signs.After(now):
				i.State = "next"
			}
			out = append(out, i)
		}
	}
	return out, nil
}

func (h *held) published(a Algorithm, now time.Time) []*Key {
	return slices.DeleteFunc(slices.Clone(*h.of(a)), func(k *Key) bool { return !k.Gone.IsZero() && !now.Before(k.Gone) })
}

// Rotation asks for a new key.
type Rotation struct {
	Actor     string    `json:"actor"`
	Algorithm Algorithm `json:"algorithm"`
	// AtOnce is for a key that somebody else may have: the new one signs now, and all
	// others are gone. Tokens that are on their way are refused, and applications that
	// do not fetch an unknown key at once refuse the new ones until they do.
	AtOnce bool `json:"at_once"`
}

// Rotate stores a new key: published from now on, it signs once every key set that was
// read before is over, and the one before stays published until its tokens are over.
// It answers the new key, and the row that tells the nodes.
func (r *Ring) Rotate(ctx context.Context, o Rotation) (Info, int64, error) {
	a, now := o.Algorithm, r.now()
	if !a.Valid() {
		return Info{}, 0, fmt.Errorf("assertion: no algorithm %q: use ES256 or RS256", a)
	}
	s, was, err := r.read(ctx, a)
	if errors.Is(err, member.ErrNotFound) {
		return Info{}, 0, fmt.Errorf("there is no %s key: the first one is made when a route asks for it", a)
	}
	if err != nil {
		return Info{}, 0, err
	}
	s.Keys = slices.DeleteFunc(s.Keys, func(k storedKey) bool { return o.AtOnce || k.gone(now) })
	signs := now
	if !o.AtOnce {
		signs = now.Add(overlap)
		for i := range s.Keys {
			k := &s.Keys[i]
			if k.Signs > now.UnixMilli() {
				return Info{}, 0, fmt.Errorf("a new %s key is published already, and signs from %s on", a, time.UnixMilli(k.Signs).UTC().Format(time.DateTime))
			}
			if k.Gone == 0 {
				k.Gone = signs.Add(keep).UnixMilli()
			}
		}
	}
	der, err := a.make()
	if err != nil {
		return Info{}, 0, err
	}
	s.Keys = append(s.Keys, storedKey{Key: der, Signs: signs.UnixMilli()})
	seq, err := r.replace(ctx, o.Actor, "keys.assertion_rotated", a, was, s)
	if err != nil {
		return Info{}, 0, err
	}
	k, err := parseKey(a, der, signs, time.Time{})
	if err != nil {
		return Info{}, 0, err
	}
	state := "next"
	if o.AtOnce {
		state = "signs"
	}
	return Info{ID: k.ID, Algorithm: a, State: state, Signs: signs.UTC()}, seq, nil
}

// Prune forgets the private keys that are gone, and answers how many. It asks before
// it writes, so an idle node writes nothing. Call it now and then.
func (r *Ring) Prune(ctx context.Context) (n int, err error) {
	for _, a := range Algorithms() {
		s, was, err := r.read(ctx, a)
		if errors.Is(err, member.ErrNotFound) {
			continue
		}
		if err != nil {
			return n, err
		}
		had := len(s.Keys)
		s.Keys = slices.DeleteFunc(s.Keys, func(k storedKey) bool { return k.gone(r.now()) })
		if len(s.Keys) == had {
			continue
		}
		_, err = r.replace(ctx, "system", "keys.assertion_gone", a, was, s)
		if errors.Is(err, member.ErrVersion) {
			continue // another node did it, or the keys were rotated: next time
		}
		if err != nil {
			return n, err
		}
		n += had - len(s.Keys)
	}
	return n, nil
}

func (r *Ring) replace(ctx context.Context, actor, kind string, a Algorithm, was []byte, s stored) (int64, error) {
	sealed, err := r.seal(a, s)
	if err != nil {
		return 0, err
	}
	seq, err := r.Store.ReplaceSealedKey(ctx, member.Actor{Name: actor}, kind, nameOf(a), was, sealed)
	if err != nil {
		return 0, fmt.Errorf("assertion: store keys: %w", err)
	}
	return seq, nil
}
