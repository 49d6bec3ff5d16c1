package member_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/member"
)

type failing struct{}

var errDown = errors.New("down")

func (failing) View(context.Context, func(member.Tx) error) error   { return errDown }
func (failing) Update(context.Context, func(member.Tx) error) error { return errDown }

func TestFoldUserName(t *testing.T) {
	for _, c := range []struct{ in, want, why string }{
		{"Ana@Corp.Example", "ana@corp.example", "case"},
		{"  ana ", "ana", "space around"},
		{"\u212Aim", "kim", "Kelvin sign"},
		{"ＡＮＡ＠corp", "ana@corp", "full width"},
		{"STRASSE", "strasse", "plain"},
		{"Straße", "strasse", "full, not simple, folding"},
		{"ﬁn", "fin", "ligature"},
		{"e\u0301", "é", "composed and decomposed"},
		{"ıris", "ıris", "a dotless i is another letter, found only as itself"},
		{"", "", "empty"},
	} {
		if got := member.FoldUserName(c.in); got != c.want {
			t.Errorf("%s: %q folds to %q, want %q", c.why, c.in, got, c.want)
		}
	}
}

// lookalikes of "kim.iris@corp.example" (row C03 and beyond).
var lookalikes = []string{
	"KIM.IRIS@CORP.EXAMPLE", "\u212Aim.iris@corp.example", "kim.ırıs@corp.example", "kim.İris@corp.example",
	"ｋｉｍ.iris@corp.example", "kim.iris＠corp.example", "kim\u200b.iris@corp.example", "kim.iris@corp.example\ufeff",
	"kim.iris@corp.example.", "kim.iris.@corp.example", "kim.iris@corp。example", " kim.iris@corp.example", "kim.iris@corp.example\u00a0",
	"kim\u00ad.iris@corp.example", "k\u034fim.iris@corp.example", "kim.iris\u202e@corp.example", "kіm.iris@corp.example",
	"kim.irіs@corp.example", "kim.iris@соrp.example", "kim.iriѕ@corp.example", "kim.iris\ufe0f@corp.example", "kim .iris@corp.example",
	"kim.iris\U000e0041@corp.example", "kim.i\u0307ris@corp.example", "kim\u2024iris@corp.example", "kim.iris@corp.example\t",
}

func TestLookalikesOfAMemberAreTaken_C03(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.create(okta, "kim.iris@corp.example")
		near := f.create(okta, "kim.iria@corp.example") // one letter apart is another person
		for _, name := range lookalikes {
			if got, err := f.Create(ctx, idp, okta, member.Member{UserName: name, Wish: true}); !errors.Is(err, member.ErrConflict) {
				t.Errorf("%+q was created as %q (%v), want ErrConflict", name, got.UserName, err)
			}
			rename := func(m *member.Member) error { m.UserName = name; return nil }
			if _, err := f.Update(ctx, idp, okta, near.ID, 0, rename); !errors.Is(err, member.ErrConflict) {
				t.Errorf("renamed to %+q: %v, want ErrConflict", name, err)
			}
			if _, err := f.Create(ctx, idp, entra, member.Member{UserName: name}); !errors.Is(err, member.ErrConflict) {
				t.Errorf("%+q was created by another connection: %v", name, err)
			}
		}
		if got := f.get(m.ID); got.Version != 1 {
			t.Errorf("the member was changed: %+v", got)
		}
	})
}

func TestNamesThatCannotBeTrustedAreInvalid(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		for _, name := range []string{
			"ana@corp.example", "ana", "Ana O'Neil", "zoë.müller@corp.example", "иван@corp.example", "ıšık@corp.example",
			"山田@corp.example", "o\u2019neil", "auth0|5f7c8ec7c33c6c004bbafe82", "DOMAIN\\user", "a+b@corp.example", "user.name@sub-domain.corp.example",
		} {
			if _, err := f.Create(ctx, idp, okta, member.Member{UserName: name, Wish: true}); err != nil {
				t.Errorf("ordinary name %q: %v", name, err)
			}
		}
		for name, why := range map[string]string{
			"":                             "empty",
			"   ":                          "blank",
			"\u200b":                       "nothing visible",
			"...":                          "dots only",
			"a\x00b":                       "NUL",
			"a\nb":                         "line end",
			"a\x1b[2Jb":                    "terminal escape",
			"\xff\xfe":                     "not UTF-8",
			"ad\u200dmin":                  "zero-width joiner",
			"\u202eadmin":                  "direction override",
			"pаypal":                       "Cyrillic among Latin",
			"аdmin@corp.example":           "Cyrillic first letter",
			"αlpha":                        "Greek among Latin",
			" padded":                      "space before",
			"padded ":                      "space after",
			"corp.example.":                "trailing dot",
			"a\u00a0b":                     "unusual space",
			"\ue000":                       "private use",
			"a\u2028b":                     "line separator",
			strings.Repeat("a", 257):       "too long",
			"ﷺ" + strings.Repeat("ﷺ", 200): "grows when folded",
		} {
			var invalid *member.InvalidError
			if _, err := f.Create(ctx, idp, okta, member.Member{UserName: name, Wish: true}); !errors.As(err, &invalid) {
				t.Errorf("%s: %+q gave %v, want *InvalidError", why, name, err)
			}
		}
	})
}

func FuzzUserNames(f *testing.F) {
	for _, s := range append(lookalikes, "Straße", "\xff", "i\u0307", "ϒ\u0301", "\u1e9e") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 {
			return
		}
		fold := member.FoldUserName(s)
		if again := member.FoldUserName(fold); again != fold {
			t.Errorf("%+q folds to %+q, and that to %+q", s, fold, again)
		}
		key := member.UserNameKey(s)
		if byFold := member.UserNameKey(fold); byFold != key {
			t.Errorf("%+q has key %+q, its folded form %+q: two members could share a folded name", s, key, byFold)
		}
	})
}
