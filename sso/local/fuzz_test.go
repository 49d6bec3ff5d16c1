package local

import (
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
)

// FuzzWhatIsTypedIn: whatever stands in the fields, a code is one spelling of one code,
// and a password is judged alike however it is composed.
func FuzzWhatIsTypedIn(f *testing.F) {
	codes, hashes := newCodes("ana")
	for _, s := range []string{codes[0], strings.ToUpper(codes[0]), "123456", "123 456", "", "\x00", "ａｂｃｄ", strings.Repeat("a", 1<<12), "e\u0301" + strings.Repeat("x", 12)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h := codeHash("ana", s); h == hashes[0] && lookalikes.Replace(plainCode(s)) != plainCode(codes[0]) {
			t.Errorf("%q passes for a code", s)
		} else if h != "" && h == codeHash("bo", s) {
			t.Errorf("%q is the same code for two", s)
		}
		if step, ok := totpStep("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", s, time.Unix(59, 0), 1); ok && (step != 2 || len(plainCode(s)) != 6) {
			t.Errorf("%q opens step %d", s, step)
		}
		m := member.Member{UserName: "ana"}
		if err := CheckPassword(s, m); err == nil {
			if n := normal(s); len(n) > MaxPassword || CheckPassword(n, m) != nil {
				t.Errorf("%q is good, and not as it is hashed", s)
			}
		}
	})
}
