package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/store/sql"
)

// KeyAdmin lists and rotates keys. Neither side ever says a key, only its id.
type KeyAdmin interface {
	List(ctx context.Context) ([]KeyInfo, error)
	// Rotate makes a new cookie key and answers its id once every node uses it.
	Rotate(ctx context.Context, actor string) (string, error)
	// Reseal seals everything at rest with the config's current seal key.
	Reseal(ctx context.Context, r ResealKeys) (Resealed, error)
}

// Uses of a [KeyInfo].
const (
	UseCookies = "cookies"
	UseSeal    = "seal"
)

// KeyInfo is one key as an operator sees it.
type KeyInfo struct {
	ID     string           `json:"id"`
	Use    string           `json:"use"`
	State  session.KeyState `json:"state"` // of a config key: current, or previous: accepted beside it
	Source string           `json:"source"`
	Since  time.Time        `json:"since"`
	Note   string           `json:"note"`
}

// ResealKeys says who asks, and with which seal key according to the file that he reads.
type ResealKeys struct {
	Actor string `json:"actor"`
	Key   string `json:"key"`
}

// Resealed is what [KeyAdmin.Reseal] did.
type Resealed struct {
	Key     string `json:"key"`
	Changed int    `json:"changed"`
	Already int    `json:"already"`
}

var (
	askKeyList   = endpoint[none, []KeyInfo]{"/keys/list"}
	askKeyRotate = endpoint[string, string]{"/keys/rotate"}
	askKeyReseal = endpoint[ResealKeys, Resealed]{"/keys/reseal"}
)

func (c *Control) serveKeys(mux *http.ServeMux) {
	askKeyList.serve(mux, func(ctx context.Context, _ none) ([]KeyInfo, error) { return c.Keys.List(ctx) })
	askKeyRotate.serve(mux, c.Keys.Rotate)
	askKeyReseal.serve(mux, c.Keys.Reseal)
}

// storedKeys works on the database.
type storedKeys struct {
	cfg    *config.Config
	db     *sql.DB
	ring   *session.KeyRing
	sealer *secret.Sealer
	nodes  session.Confirmer
}

func (k storedKeys) List(ctx context.Context) ([]KeyInfo, error) {
	stored, err := k.db.CookieKeys(ctx)
	if err != nil {
		return nil, err
	}
	sources := []string{"secrets.cookie_key", "secrets.cookie_key_previous"}
	config := keyIDs(k.cfg.CookieKeys())
	var out []KeyInfo
	known := map[string]bool{}
	made := slices.ContainsFunc(stored, func(s session.StoredKey) bool { return s.State == session.KeyCurrent })
	for _, s := range stored {
		known[s.ID] = true
		info := KeyInfo{ID: s.ID, Use: UseCookies, State: s.State, Since: s.Changed, Source: "keys rotate"}
		if i := slices.Index(config, s.ID); i >= 0 {
			info.Source = sources[i]
		}
		info.Note = k.noteOf(s, info.Source)
		out = append(out, info)
	}
	for i, id := range config {
		if known[id] {
			continue
		}
		info := KeyInfo{ID: id, Use: UseCookies, State: session.KeyPrevious, Source: sources[i], Note: "needed: accepted, the one before or the one to come"}
		if i == 0 && !made {
			info.State, info.Note = session.KeyCurrent, "needed: makes new cookies"
		}
		out = append(out, info)
	}
	seals, err := k.seals(ctx)
	return append(out, seals...), err
}

func (k storedKeys) noteOf(s session.StoredKey, source string) string {
	inConfig := source != "keys rotate"
	switch {
	case s.State == session.KeyNext:
		return "accepted, not used yet: \"ssogate keys rotate\" goes on with it"
	case s.State == session.KeyPrevious && inConfig:
		return "needed until " + k.end(s).Format(time.DateTime)
	case s.State == session.KeyPrevious && len(s.Sealed) == 0:
		return "was in a config file, no longer in this one"
	case s.State == session.KeyPrevious:
		return "accepted until " + k.end(s).Format(time.DateTime)
	case s.State == session.KeyRetired && source == "secrets.cookie_key_previous":
		return "not needed: remove it from the file"
	case s.State == session.KeyRetired && inConfig:
		return "not needed, though the file must name one"
	}
	return ""
}

func (k storedKeys) end(s session.StoredKey) time.Time { return s.Changed.Add(k.ring.Keep()).UTC() }

// seals lists the seal keys with how many values need each.
func (k storedKeys) seals(ctx context.Context) ([]KeyInfo, error) {
	var each []*secret.Sealer
	for _, key := range k.cfg.SealKeys() {
		one, err := secret.NewSealer(key)
		if err != nil {
			return nil, err
		}
		each = append(each, one)
	}
	counts, unknown := make([]int, len(each)), 0
	err := k.db.EachSealed(ctx, func(v sql.Sealed) error {
		i := slices.IndexFunc(each, func(s *secret.Sealer) bool { return s.Current(v.Value, v.Context) })
		if i < 0 {
			unknown++
			return nil
		}
		counts[i]++
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case unknown > 0:
		return nil, fmt.Errorf("%d sealed values open with no seal key of this config: set the one that sealed them as secrets.seal_key_previous", unknown)
	}
	var out []KeyInfo
	for i, id := range keyIDs(k.cfg.SealKeys()) {
		info := KeyInfo{ID: id, Use: UseSeal, State: session.KeyCurrent, Source: "secrets.seal_key", Note: fmt.Sprintf("needed: seals %d values and what comes", counts[i])}
		if i > 0 {
			info.State, info.Source = session.KeyPrevious, "secrets.seal_key_previous"
			info.Note = fmt.Sprintf("needed: seals %d values; \"ssogate keys rotate --seal\" moves them", counts[i])
			if counts[i] == 0 {
				info.Note = "seals nothing: remove it, unless it is the one to come"
			}
		}
		out = append(out, info)
	}
	return out, nil
}

// agree refuses to seal with a key that a node cannot open: it could not act on
// the row that follows, and would be without a lease. With alone it also refuses
// while a node still seals with another key.
func (k storedKeys) agree(ctx context.Context, alone bool) error {
	nodes, err := k.db.Nodes(ctx)
	if err != nil {
		return err
	}
	id := secret.KeyID(k.cfg.SealKeys()[0])
	for _, n := range nodes {
		switch theirs := session.ParseNodeKeys(n.Keys).Seal; {
		case len(theirs) == 0:
		case !slices.Contains(theirs, id):
			return fmt.Errorf("node %q does not accept seal key %s: set it as secrets.seal_key_previous there first", n.Name, id)
		case alone && theirs[0] != id:
			return fmt.Errorf("node %q still seals with key %s: make %s its secrets.seal_key first", n.Name, theirs[0], id)
		}
	}
	return nil
}

func (k storedKeys) Rotate(ctx context.Context, actor string) (string, error) {
	if err := k.agree(ctx, false); err != nil {
		return "", err
	}
	id, err := k.ring.Rotate(ctx, member.Actor{Name: actor}, k.nodes)
	switch un, ok := errors.AsType[*session.UnconfirmedError](err); {
	case ok:
		return "", fmt.Errorf("%w: the new key is not used; see the log of that node, and run it again", un)
	case errors.Is(err, session.ErrBarrier):
		return "", fmt.Errorf("the new key is accepted everywhere and in use, but not every node has confirmed that in time; nothing more needs to be done (%w)", err)
	case errors.Is(err, member.ErrNotFound):
		return "", errors.New("another rotation took over meanwhile; \"ssogate keys list\" shows what is in use")
	}
	return id, err
}

// Reseal goes value by value, each of which opens with either key: it may be
// interrupted and begun again, and nodes may read meanwhile.
func (k storedKeys) Reseal(ctx context.Context, r ResealKeys) (Resealed, error) {
	out := Resealed{Key: secret.KeyID(k.cfg.SealKeys()[0])}
	if out.Key != r.Key {
		return Resealed{}, fmt.Errorf("the running ssogate seals with key %s, the config file says %s: restart it first", out.Key, r.Key)
	}
	if err := k.agree(ctx, true); err != nil {
		return Resealed{}, err
	}
	for range maxResealPasses {
		moved, err := k.reseal(ctx, &out)
		if err != nil {
			return out, err
		}
		if moved == 0 {
			return out, k.db.Record(ctx, audit.Event{
				Kind: "keys.resealed", Outcome: audit.Allowed, Actor: r.Actor, Target: "key:" + out.Key,
				Detail: map[string]string{"values": fmt.Sprint(out.Changed)},
			})
		}
	}
	return out, errors.New("other changes came in between again and again: run it again")
}

// maxResealPasses is how often everything is looked at: the last pass must find
// nothing left, also of what changed while an earlier one was under way.
const maxResealPasses = 5

// reseal is one pass. It answers how many values were not sealed with the current key.
func (k storedKeys) reseal(ctx context.Context, out *Resealed) (moved int, err error) {
	already := 0
	err = k.db.EachSealed(ctx, func(v sql.Sealed) error {
		if k.sealer.Current(v.Value, v.Context) {
			already++
			return nil
		}
		moved++
		plain, err := k.sealer.Open(v.Value, v.Context)
		if err != nil {
			return fmt.Errorf("%s of %s was sealed with another key: set that as secrets.seal_key_previous: %w", v.ID, v.Table, err)
		}
		done, err := k.db.Reseal(ctx, v, k.sealer.Seal(plain, v.Context))
		if done {
			out.Changed++
		}
		return err
	})
	out.Already = already - out.Changed
	return moved, err
}

// remoteKeys asks the running process.
type remoteKeys struct{ client *http.Client }

func (k remoteKeys) List(ctx context.Context) ([]KeyInfo, error) {
	return askKeyList.ask(ctx, k.client, none{})
}

func (k remoteKeys) Rotate(ctx context.Context, actor string) (string, error) {
	return askKeyRotate.ask(ctx, k.client, actor)
}

func (k remoteKeys) Reseal(ctx context.Context, r ResealKeys) (Resealed, error) {
	return askKeyReseal.ask(ctx, k.client, r)
}

// Interface guards.
var (
	_ KeyAdmin = storedKeys{}
	_ KeyAdmin = remoteKeys{}
)
