package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"

	"github.com/ssogate/ssogate/member"
)

// Limits of a password. No rule says what it must be made of: length is what
// counts (NIST SP 800-63B section 3.1.1.2).
const (
	MinPassword = 12  // characters
	MaxPassword = 128 // bytes, so that nobody makes us hash a novel
)

// WeakError says why a password is refused, in words for whoever chose it.
type WeakError struct{ Why string }

func (e *WeakError) Error() string { return "local: password " + e.Why }

// normal is a password as it is hashed: the same keys give the same text on every
// keyboard and system (NFKC, RFC 8265 section 4.2 does likewise).
func normal(password string) string { return norm.NFKC.String(password) }

// CheckPassword reports why m may not have a password: *[WeakError].
func CheckPassword(password string, m member.Member) error {
	switch n := normal(password); {
	case len(password) > MaxPassword || len(n) > MaxPassword:
		return &WeakError{fmt.Sprintf("is longer than %d bytes", MaxPassword)}
	case !utf8.ValidString(password):
		return &WeakError{"is not text"}
	case utf8.RuneCountInString(n) < MinPassword:
		return &WeakError{fmt.Sprintf("is shorter than %d characters", MinPassword)}
	case same(n, m.UserName), same(n, m.Email), same(n, m.DisplayName):
		return &WeakError{"is your name or address"}
	}
	return nil
}

func same(password, name string) bool {
	return name != "" && member.FoldUserName(password) == member.FoldUserName(name)
}

// params are the cost of a hash: OWASP's password storage advice, and above it, at
// 64 MiB. A stored hash carries its own.
var params = argon2id.Params{Memory: 64 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// ErrBusy means that too many passwords are being compared: try again in a moment.
var ErrBusy = errors.New("local: too many passwords at once")

// maxWaiting is how many may wait for a hash. Each takes a tenth of a second.
const maxWaiting = 32

// hasher bounds what passwords cost: each hash takes 64 MiB, so of two hundred at
// once a few are worked on, some wait and the rest is told to come again (I02).
type hasher struct {
	params  *argon2id.Params
	slots   chan struct{}
	kept    chan struct{} // for whoever has shown a good recovery code: see matches
	waiting atomic.Int32
	dummy   string // compared for whoever has no password
}

func newHasher(p *argon2id.Params) *hasher {
	if p == nil {
		p = &params
	}
	return &hasher{
		params: p, slots: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))), kept: make(chan struct{}, 1),
		dummy: noHash(p),
	}
}

// noHash looks like a hash of these parameters, and is that of nothing that anybody
// knows. Random bytes serve: a start that hashed something to get one would take a
// tenth of a second and 64 MiB for it.
func noHash(p *argon2id.Params) string {
	b := make([]byte, p.SaltLength+p.KeyLength)
	_, _ = rand.Read(b) // never fails on Go 1.24 and later
	text := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", p.Memory, p.Iterations, p.Parallelism,
		text.EncodeToString(b[:p.SaltLength]), text.EncodeToString(b[p.SaltLength:]))
}

// enter waits for one of the slots. The caller gives it back if there is no error.
func (h *hasher) enter(ctx context.Context, slots chan struct{}) error {
	if slots == h.slots {
		defer h.waiting.Add(-1)
		if h.waiting.Add(1) > maxWaiting {
			return ErrBusy
		}
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

// hash is a password as it is kept.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx, h.slots); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	phc, err := argon2id.CreateHash(normal(password), h.params)
	if err != nil {
		return "", fmt.Errorf("local: hash: %w", err)
	}
	return phc, nil
}

// matches compares a password with a kept one. Without one it works as long and
// answers no, so that nobody learns by a clock who has a password. Who holds a good
// recovery code waits for nobody but his like: guesses from thousands of addresses
// fill all slots and the queue, and would otherwise lock a fallback owner out (I02).
func (h *hasher) matches(ctx context.Context, password, phc string, holds bool) (bool, error) {
	slots := h.slots
	if holds {
		slots = h.kept
	}
	if err := h.enter(ctx, slots); err != nil {
		return false, err
	}
	defer func() { <-slots }()
	known := phc != ""
	if !known {
		phc = h.dummy
	}
	if len(password) > MaxPassword {
		password, known = "", false
	}
	ok, err := argon2id.ComparePasswordAndHash(normal(password), phc)
	if err != nil {
		return false, fmt.Errorf("local: compare: %w", err)
	}
	return ok && known, nil
}
