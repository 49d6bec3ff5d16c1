package local

import (
	"context"
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
	waiting atomic.Int32
	dummy   string // compared for whoever has no password
}

func newHasher(p *argon2id.Params) (*hasher, error) {
	if p == nil {
		p = &params
	}
	h := &hasher{params: p, slots: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	var err error
	h.dummy, err = argon2id.CreateHash("nobody has this password", p)
	return h, err
}

// enter waits for a slot. The caller calls leave if there is no error.
func (h *hasher) enter(ctx context.Context) error {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

func (h *hasher) leave() { <-h.slots }

// hash is a password as it is kept.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	phc, err := argon2id.CreateHash(normal(password), h.params)
	if err != nil {
		return "", fmt.Errorf("local: hash: %w", err)
	}
	return phc, nil
}

// matches compares a password with a kept one. Without one it works as long and
// answers no, so that nobody learns by a clock who has a password.
func (h *hasher) matches(ctx context.Context, password, phc string) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
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
