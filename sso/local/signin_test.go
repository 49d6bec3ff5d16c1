package local_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/pquerna/otp/totp"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/local"
)

func TestFallbackOwnerGetsInWithPasswordAndCode(t *testing.T) {
	w := newWorld(t)
	if len(w.codes) != 10 {
		t.Fatalf("%d codes", len(w.codes))
	}
	m, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(1))
	if err != nil || m.ID != w.owner.ID || !m.Admitted() {
		t.Fatalf("%+v, %v", m, err)
	}
	uses, err := w.db.FallbackUses(t.Context())
	if err != nil || len(uses) != 1 || uses[0].UserName != "Rescue" || uses[0].Address != "192.0.2.1" || uses[0].Factor != "recovery_code" {
		t.Errorf("%+v, %v", uses, err)
	}
	if w.told.count("used rescue@x.example Rescue recovery_code") != 1 {
		t.Errorf("told: %q", w.told.lines)
	}
	// As people type it.
	spelt := strings.ToUpper(strings.ReplaceAll(w.codes[1], "-", " "))
	if _, err := w.SignInFallback(t.Context(), " RESCUE ", password, spelt, from(1)); err != nil {
		t.Errorf("in capitals, with spaces: %v", err)
	}
	read := strings.NewReplacer("o", "0", "l", "1", "b", "8").Replace(w.codes[3])
	if _, err := w.SignInFallback(t.Context(), "rescue", password, read, from(1)); err != nil {
		t.Errorf("as read off paper: %v", err)
	}
	for name, tc := range map[string]struct{ user, password, code string }{
		"a code again":           {"rescue", password, w.codes[0]},
		"no code":                {"rescue", password, ""},
		"a code that is none":    {"rescue", password, "000000"},
		"a wrong password":       {"rescue", password + "!", w.codes[2]},
		"no password":            {"rescue", "", w.codes[2]},
		"nobody":                 {"nobody", password, w.codes[2]},
		"no name":                {"", password, w.codes[2]},
		"a novel":                {"rescue", strings.Repeat("a", 1<<16), w.codes[2]},
		"a name without end":     {strings.Repeat("a", 1<<16), password, w.codes[2]},
		"a code without end":     {"rescue", password, strings.Repeat("1", 1<<16)},
		"bytes that are no text": {"res\x00cue", "\xff\xfe", "\x00"},
	} {
		w.clock.Advance(2 * time.Hour) // each by itself
		if m, err := w.SignInFallback(t.Context(), tc.user, tc.password, tc.code, from(2)); !errors.Is(err, local.ErrWrong) || m.ID != "" {
			t.Errorf("%s: %v, %v", name, m.ID, err)
		}
	}
}

func TestMailThatFailsDoesNotKeepAFallbackOwnerOut(t *testing.T) {
	w := newWorld(t)
	w.told.fail = errors.New("queue is full")
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(1)); err != nil {
		t.Error(err)
	}
}

func TestAuthenticatorStepsCountOnce(t *testing.T) {
	w := newWorld(t)
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	code := func(d time.Duration) string {
		c, err := totp.GenerateCode(key, w.clock.Now().Add(d))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	w.clock.Advance(time.Until(time.Now().Truncate(30 * time.Second).Add(45 * time.Second))) // in the middle of a step
	if _, err := w.Set(t.Context(), w.link(w.owner.ID, local.Setup), local.Choice{Password: password, TOTP: key, Code: "000000"}, from(1)); !errors.Is(err, local.ErrCode) {
		t.Fatalf("an app that has another secret: %v", err)
	}
	first := code(0)
	codes, err := w.Set(t.Context(), w.link(w.owner.ID, local.Setup), local.Choice{Password: password, TOTP: key, Code: first}, from(1))
	if err != nil {
		t.Fatal(err)
	}
	try := func(c string) error {
		_, err := w.SignInFallback(t.Context(), "rescue", password, c, from(1))
		return err
	}
	if err := try(first); !errors.Is(err, local.ErrWrong) {
		t.Errorf("the code that set it up: %v", err)
	}
	w.clock.Advance(time.Minute)
	now := code(0)
	for name, tc := range map[string]struct {
		code string
		want error
	}{
		"two steps ahead":  {code(time.Minute), local.ErrWrong},
		"two steps before": {code(-time.Minute), local.ErrWrong},
	} {
		if err := try(tc.code); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try(now); err != nil {
		t.Errorf("the step of now: %v", err)
	}
	if err := try(now); !errors.Is(err, local.ErrWrong) {
		t.Errorf("the same step again: %v", err)
	}
	if err := try(code(-30 * time.Second)); !errors.Is(err, local.ErrWrong) {
		t.Errorf("a step before the last: %v", err)
	}
	if err := try(code(30 * time.Second)); err != nil {
		t.Errorf("a clock that is half a minute ahead: %v", err)
	}
	if err := try(codes[0]); err != nil {
		t.Errorf("recovery codes go on: %v", err)
	}
}

// I02: twenty wrong guesses are slowed and told of; the owner still gets in.
func TestI02TwentyWrongGuessesSlowAndNeverLock(t *testing.T) {
	w := newWorld(t)
	wrong, slowed := 0, 0
	for i := range 20 {
		name := []string{"rescue", "RESCUE", " Rescue ", "ｒｅｓｃｕｅ"}[i%4] // aliases of one account
		_, err := w.SignInFallback(t.Context(), name, "wrong password "+strconv.Itoa(i), "000000", from(66))
		var slow *local.SlowError
		switch {
		case errors.As(err, &slow) && slow.Wait > 0:
			slowed++
		case errors.Is(err, local.ErrWrong):
			wrong++
		default:
			t.Fatal(err)
		}
	}
	if wrong != 5 || slowed != 15 {
		t.Errorf("%d compared, %d slowed", wrong, slowed)
	}
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(1)); err != nil {
		t.Errorf("the owner, from elsewhere: %v", err)
	}
	// As when no front tells addresses apart: everybody comes from the attacker's.
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[1], from(66)); err != nil {
		t.Errorf("the owner, from the attacker's address: %v", err)
	}
	// Slow is not locked: with patience anybody may try again.
	w.clock.Advance(6 * time.Minute)
	if _, err := w.SignInFallback(t.Context(), "rescue", "wrong again and again", "000000", from(66)); !errors.Is(err, local.ErrWrong) {
		t.Errorf("later: %v", err)
	}
}

// I02: rotating addresses (X-Forwarded-For of a trusted front, a botnet) are told of,
// and the owner still gets in.
func TestI02RotatingAddressesAreToldOfAndDoNotLock(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		_, err := w.SignInFallback(t.Context(), "rescue", "wrong password "+strconv.Itoa(i), "000000", from(byte(10+i)))
		if !errors.Is(err, local.ErrWrong) {
			t.Fatal(err)
		}
	}
	// Each has had its one free guess: a second one waits.
	var slow *local.SlowError
	if _, err := w.SignInFallback(t.Context(), "rescue", "wrong password", "000000", from(10)); !errors.As(err, &slow) {
		t.Errorf("the second round: %v", err)
	}
	if n := w.told.count("guessed rescue@x.example Rescue"); n != 1 {
		t.Errorf("owners were told %d times, want once: %q", n, w.told.lines)
	}
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(200)); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

// I02: two hundred at once cost no more than a few.
func TestI02ParallelGuessesAreBounded(t *testing.T) {
	w := newWorld(t)
	var compared, refused atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, err := w.SignInFallback(t.Context(), "rescue", "a wrong password", "000000", from(66))
			var slow *local.SlowError
			switch {
			case errors.Is(err, local.ErrWrong):
				compared.Add(1)
			case errors.As(err, &slow), errors.Is(err, local.ErrBusy):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := compared.Load(); n > 5 || n == 0 {
		t.Errorf("%d of 200 were compared, %d refused", n, refused.Load())
	}
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(1)); err != nil {
		t.Errorf("the owner, afterwards: %v", err)
	}
}

// I02: guesses from ever new addresses keep every hash busy; a recovery code still opens.
func TestI02AFloodOfGuessesDoesNotLockOutWhoHoldsACode(t *testing.T) {
	w := newWorld(t)
	end := w.Flood()
	defer end()
	if _, err := w.SignInFallback(t.Context(), "rescue", "a wrong password", "000000", from(66)); !errors.Is(err, local.ErrBusy) {
		t.Errorf("a guess: %v", err)
	}
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(1)); err != nil {
		t.Errorf("the owner: %v", err)
	}
	// His place is for good codes: a used one opens nothing and waits with the others.
	if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(2)); !errors.Is(err, local.ErrBusy) {
		t.Errorf("a code again: %v", err)
	}
}

// An unknown name costs what a known one does: the same work with the same parameters.
func TestNobodysPasswordIsComparedLikeAnyOther(t *testing.T) {
	p := &argon2id.Params{Memory: 64, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	got, salt, key, err := argon2id.DecodeHash(local.NoHash(p))
	if err != nil || *got != *p || len(salt) != 16 || len(key) != 32 {
		t.Errorf("%+v, %d, %d, %v", got, len(salt), len(key), err)
	}
	if another := local.NoHash(p); another == local.NoHash(p) {
		t.Error("one that an attacker could prepare for")
	}
}

// I02: one code that many show at once opens once.
func TestI02OneCodeInParallelOpensOnce(t *testing.T) {
	w := newWorld(t)
	var in atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := w.SignInFallback(t.Context(), "rescue", password, w.codes[0], from(byte(i+1))); err == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in", in.Load())
	}
}

func TestMembersSignInWithTheirPassword(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	if m, err := w.SignIn(t.Context(), "ANA", password, from(1)); err != nil || m.ID != ana.ID {
		t.Errorf("%v, %v", m.ID, err)
	}
	if _, err := w.dir.Suspend(t.Context(), cli, w.member("bo").ID, true); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ user, password string }{
		"a wrong password":                    {"ana", "a wrong password"},
		"nobody":                              {"nobody", password},
		"suspended":                           {"bo", password},
		"a fallback owner, without his codes": {"rescue", password},
		"an address is no name":               {"ana@x.example", password},
	} {
		if m, err := w.SignIn(t.Context(), tc.user, tc.password, from(2)); !errors.Is(err, local.ErrWrong) || m.ID != "" {
			t.Errorf("%s: %v, %v", name, m.ID, err)
		}
		w.clock.Advance(2 * time.Hour)
	}
	own, err := local.NewCodes(t.Context(), w.db, cli, ana.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{w.codes[0], own[0]} {
		if _, err := w.SignInFallback(t.Context(), "ana", password, code, from(3)); !errors.Is(err, local.ErrWrong) {
			t.Errorf("a member at the break-glass door: %v", err)
		}
	}
	var weak *local.WeakError
	for _, p := range []string{"", "short", strings.Repeat("a", 200), "Rescue"} {
		if err := local.CheckPassword(p, w.owner); !errors.As(err, &weak) {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := local.CheckPassword("rescue@X.example", w.owner); !errors.As(err, &weak) {
		t.Errorf("his own address: %v", err)
	}
}

func TestSomebodyElsesAccountDoesNotWipeOffGuesses(t *testing.T) {
	w := newWorld(t)
	w.member("eve")
	for i := range 9 { // at an address with an account of its own
		_, _ = w.SignIn(t.Context(), "victim"+strconv.Itoa(i), "a wrong password", from(66))
		if i == 8 {
			if _, err := w.SignIn(t.Context(), "eve", password, from(66)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := w.SignIn(t.Context(), "victim9", "a wrong password", from(66))
	if !errors.Is(err, local.ErrWrong) {
		t.Error(err)
	}
	var slow *local.SlowError
	if _, err := w.SignIn(t.Context(), "victim10", "a wrong password", from(66)); !errors.As(err, &slow) {
		t.Errorf("the eleventh: %v", err)
	}
}

func TestAPasswordSetEndsWhatWasBefore(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	token := w.link(ana.ID, local.Reset)
	if _, err := w.Set(t.Context(), token, local.Choice{Password: "short"}, from(1)); err == nil {
		t.Error("a short one")
	}
	if codes, err := w.Set(t.Context(), token, local.Choice{Password: "another good password"}, from(1)); err != nil || codes != nil {
		t.Fatalf("%v, %v", codes, err) // a refused one has not used the link up
	}
	if _, err := w.Set(t.Context(), token, local.Choice{Password: "another good password"}, from(1)); !errors.Is(err, local.ErrLink) {
		t.Errorf("a link twice: %v", err)
	}
	if _, err := w.dir.AdmitLocal(t.Context(), ana); err == nil {
		t.Error("sessions made before go on")
	}
	if _, err := w.SignIn(t.Context(), "ana", password, from(1)); !errors.Is(err, local.ErrWrong) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := w.SignIn(t.Context(), "ana", "another good password", from(1)); err != nil {
		t.Errorf("the new one: %v", err)
	}
	late := w.link(ana.ID, local.Reset)
	w.clock.Advance(local.ResetLife)
	if _, err := w.Set(t.Context(), late, local.Choice{Password: password}, from(1)); !errors.Is(err, local.ErrLink) {
		t.Errorf("too late: %v", err)
	}
	if _, _, err := w.Bearer(t.Context(), w.link(w.owner.ID, local.Reset)); !errors.Is(err, local.ErrLink) {
		t.Errorf("a member's link must not set a fallback owner's password: %v", err)
	}
	if _, _, err := w.Bearer(t.Context(), w.link(ana.ID, local.Setup)); !errors.Is(err, local.ErrLink) {
		t.Errorf("nor the reverse: %v", err)
	}
}

func TestResetIsTheSameForEverybody(t *testing.T) {
	w := newWorld(t)
	w.member("ana")
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateImmediate}
	if _, err := w.dir.Create(t.Context(), cli, c, member.Member{UserName: "sso", Email: "sso@x.example", Wish: true}); err != nil {
		t.Fatal(err)
	}
	for i, who := range []string{"ana", "nobody", "rescue", "sso"} {
		if err := w.AskReset(t.Context(), who, from(byte(i+1))); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	w.Drain(t.Context())
	if len(w.told.lines) != 1 || w.told.lines[0] != "reset ana@x.example" {
		t.Errorf("told: %q", w.told.lines)
	}
	if _, err := w.Set(t.Context(), w.told.token, local.Choice{Password: "another good password"}, from(1)); err != nil {
		t.Error(err)
	}
}

func TestNobodysMailboxIsFilledWithLinks(t *testing.T) {
	w := newWorld(t)
	w.member("ana")
	for i := range 20 {
		if err := w.AskReset(t.Context(), "ana", from(byte(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	w.Drain(t.Context())
	if n := w.told.count("reset ana@x.example"); n != 3 {
		t.Errorf("%d letters", n)
	}
	w.clock.Advance(2 * time.Hour)
	if err := w.AskReset(t.Context(), "ana", from(1)); err != nil {
		t.Fatal(err)
	}
	w.Drain(t.Context())
	if n := w.told.count("reset ana@x.example"); n != 4 {
		t.Errorf("%d letters, later", n)
	}
}
