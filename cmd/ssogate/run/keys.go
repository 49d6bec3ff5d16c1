package run

import (
	"context"
	"strings"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/store/sql"
)

// keyRing is the ring of cookie keys of an installation.
func keyRing(c *config.Config, db *sql.DB, sealer *secret.Sealer) *session.KeyRing {
	return &session.KeyRing{Store: db, Sealer: sealer, Config: c.CookieKeys(), Absolute: c.Session.Absolute}
}

func keyIDs(keys [][]byte) (ids []string) {
	for _, k := range keys {
		ids = append(ids, secret.KeyID(k))
	}
	return ids
}

// makeCookies reads the ring as it is. The node is registered already, so what
// changes from now on reaches it as a row.
func (s *Server) makeCookies(ctx context.Context) error {
	s.keys = keyRing(s.cfg, s.db, s.sealer)
	s.keys.Now = s.now
	ring, err := s.keys.Load(ctx)
	if err != nil {
		return err
	}
	if s.cookies, err = session.NewCookies(strings.HasPrefix(s.cfg.URL, "https://"), ring...); err != nil {
		return err
	}
	s.cookies.Follow(s.keys.Load)
	used := secret.KeyID(ring[0])
	configured := used == keyIDs(s.cfg.CookieKeys())[0]
	if !configured {
		s.log.Info("cookies are made with a key of \"ssogate keys rotate\", not with secrets.cookie_key", "key", used)
	}
	if err := s.cutoff.Agree(ctx, configured); err != nil {
		return err
	}
	s.sweepers = append(s.sweepers, func(ctx context.Context) error {
		ids, err := s.keys.Retire(ctx)
		for _, id := range ids {
			s.log.Info("cookie key retired: whatever was made with it has ended", "key", id)
		}
		return err
	})
	return s.registry.Register(s.cookies)
}
