package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso/saml"
	"github.com/ssogate/ssogate/store/sql"
)

// keyPair is an SP key with its certificate, both PEM.
type keyPair struct{ Key, Cert []byte }

// spKeys are those of one provider, sealed at rest as one value: the one that signs,
// and beside it the one to come or the one that was. All are published and decrypt.
type spKeys struct {
	keyPair
	Next *keyPair `json:",omitempty"`
	Old  *keyPair `json:",omitempty"`
}

// spKeyring keeps the SP keys of providers.
type spKeyring struct {
	db     *sql.DB
	sealer *secret.Sealer
}

func spKeyName(provider string) string { return "saml/" + provider }

// load reads the keys, and makes the first one on first use. Should two processes make
// one at once, the one stored first wins for both. sealed is what was read.
func (r spKeyring) load(ctx context.Context, provider string) (k spKeys, sealed []byte, err error) {
	name := spKeyName(provider)
	sealed, err = r.db.SealedKey(ctx, name)
	if errors.Is(err, member.ErrNotFound) {
		if k.Key, k.Cert, err = saml.NewKey(); err != nil {
			return k, nil, err
		}
		made, err := r.seal(provider, k)
		if err != nil {
			return k, nil, err
		}
		if sealed, err = r.db.PutSealedKeyIfAbsent(ctx, name, made); err != nil {
			return k, nil, err
		}
	} else if err != nil {
		return k, nil, err
	}
	plain, err := r.sealer.Open(sealed, name)
	if err != nil {
		return k, nil, fmt.Errorf("the stored SP key was sealed with another seal_key; set it as secrets.seal_key_previous: %w", err)
	}
	k = spKeys{}
	if err := json.Unmarshal(plain, &k); err != nil {
		return k, nil, fmt.Errorf("stored SP key: %w", err)
	}
	return k, sealed, nil
}

func (r spKeyring) seal(provider string, k spKeys) ([]byte, error) {
	plain, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return r.sealer.Seal(plain, spKeyName(provider)), nil
}

// keys are what a provider works with: the first signs.
func (r spKeyring) keys(ctx context.Context, provider string) ([]saml.KeyPair, error) {
	k, _, err := r.load(ctx, provider)
	if err != nil {
		return nil, err
	}
	var out []saml.KeyPair
	for _, p := range []*keyPair{&k.keyPair, k.Next, k.Old} {
		if p == nil {
			continue
		}
		key, cert, err := saml.ParseKey(p.Key, p.Cert)
		if err != nil {
			return nil, err
		}
		out = append(out, saml.KeyPair{Key: key, Cert: cert})
	}
	return out, nil
}

// reloadSPKeys makes this node sign, decrypt and publish with what is stored now.
func (s *Server) reloadSPKeys(ctx context.Context) error {
	for id, r := range s.providers.all() {
		p, ok := r.Provider.(*saml.Provider)
		if !ok {
			continue
		}
		keys, err := spKeyring{s.db, s.sealer}.keys(ctx, id)
		if err == nil {
			err = p.SetKeys(keys)
		}
		if err != nil {
			return fmt.Errorf("run: SP keys of provider %s: %w", id, err)
		}
	}
	return nil
}

// SPKeyStep is one step of replacing an SP key without an outage.
type SPKeyStep string

// Steps, in this order. The zero value only shows.
const (
	ShowSPKeys     SPKeyStep = ""
	PublishNextKey SPKeyStep = "publish-next" // the metadata has two certificates
	SwitchKey      SPKeyStep = "switch"       // the new one signs
	RetireKey      SPKeyStep = "retire"       // the old one is gone
)

// SPKeyChange asks for a step.
type SPKeyChange struct {
	Actor    string    `json:"actor"`
	Provider string    `json:"provider"`
	Step     SPKeyStep `json:"step"`
}

// SPKeyInfo is one certificate as an operator sees it.
type SPKeyInfo struct {
	Use         string    `json:"use"` // signs, next or old
	Fingerprint string    `json:"fingerprint"`
	Expires     time.Time `json:"expires"`
}

var askSPKeys = endpoint[SPKeyChange, []SPKeyInfo]{"/providers/keys"}

func (r spKeyring) show(ctx context.Context, provider string) ([]SPKeyInfo, error) {
	k, _, err := r.load(ctx, provider)
	if err != nil {
		return nil, err
	}
	var out []SPKeyInfo
	for _, p := range []struct {
		use  string
		pair *keyPair
	}{{"signs", &k.keyPair}, {"next", k.Next}, {"old", k.Old}} {
		if p.pair == nil {
			continue
		}
		_, cert, err := saml.ParseKey(p.pair.Key, p.pair.Cert)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(cert.Raw)
		out = append(out, SPKeyInfo{p.use, hex.EncodeToString(sum[:]), cert.NotAfter.UTC()})
	}
	return out, nil
}

// step changes the keys by one step, if it is that step's turn.
func (k *spKeys) step(s SPKeyStep) error {
	switch s {
	case PublishNextKey:
		switch {
		case k.Next != nil:
			return errors.New("a next key is published already: give its certificate to the identity provider, then switch")
		case k.Old != nil:
			return errors.New("the key before is still published: retire it first")
		}
		next := &keyPair{}
		var err error
		if next.Key, next.Cert, err = saml.NewKey(); err != nil {
			return err
		}
		k.Next = next
	case SwitchKey:
		if k.Next == nil {
			return errors.New("there is no next key: publish one first, and give its certificate to the identity provider")
		}
		old := k.keyPair
		k.keyPair, k.Next, k.Old = *k.Next, nil, &old
	case RetireKey:
		if k.Old == nil {
			return errors.New("there is no key to retire: what is published is what signs")
		}
		k.Old = nil
	case ShowSPKeys:
	default:
		return fmt.Errorf("run: no step %q", s)
	}
	return nil
}

// SPKeys implements ProviderAdmin.
func (p storedProviders) SPKeys(ctx context.Context, c SPKeyChange) ([]SPKeyInfo, error) {
	if err := p.saml(ctx, c.Provider); err != nil {
		return nil, err
	}
	r := spKeyring{p.db, p.sealer}
	if c.Step == ShowSPKeys {
		return r.show(ctx, c.Provider)
	}
	k, was, err := r.load(ctx, c.Provider)
	if err != nil {
		return nil, err
	}
	if err := k.step(c.Step); err != nil {
		return nil, err
	}
	sealed, err := r.seal(c.Provider, k)
	if err != nil {
		return nil, err
	}
	seq, err := p.db.ReplaceSealedKey(ctx, member.Actor{Name: c.Actor}, "provider.key_"+string(c.Step), spKeyName(c.Provider), was, sealed)
	if errors.Is(err, member.ErrVersion) {
		return nil, errors.New("somebody else has changed the keys in this moment: look at them and try again")
	}
	if err != nil {
		return nil, err
	}
	if err := p.dir.Revoker.Barrier(ctx, seq); errors.Is(err, session.ErrBarrier) {
		return nil, fmt.Errorf("it is done, but not every node has confirmed that in time: wait a minute before the next step (%w)", err)
	} else if err != nil {
		return nil, err
	}
	return r.show(ctx, c.Provider)
}

// SPKeys implements ProviderAdmin.
func (p remoteProviders) SPKeys(ctx context.Context, c SPKeyChange) ([]SPKeyInfo, error) {
	return askSPKeys.ask(ctx, p.client, c)
}

func (c *Control) serveSPKeys(mux *http.ServeMux) { askSPKeys.serve(mux, c.Providers.SPKeys) }

// ProviderAdmin acts on this process's providers, as the control socket does.
func (s *Server) ProviderAdmin() ProviderAdmin {
	return storedProviders{s.cfg, s.db, s.directory, s.now, s.sealer, s.versions}
}
