package local

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

const (
	recoveryCodes = 10 // of one set
	recoveryBytes = 10 // 80 bits: a plain hash keeps it, and nobody guesses it
	totpBytes     = 20 // RFC 4226 section 4, R6
	totpPeriod    = 30 // seconds, RFC 6238 section 5.2
	maxCode       = 64 // bytes of what is typed in
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// newCodes makes a set of recovery codes, for their owner's eyes once, and the hashes
// that are kept.
func newCodes(id member.ID) (codes, hashes []string) {
	for range recoveryCodes {
		var b [recoveryBytes]byte
		_, _ = rand.Read(b[:]) // never fails on Go 1.24 and later
		c := strings.ToLower(base32Text.EncodeToString(b[:]))
		codes = append(codes, c[:4]+"-"+c[4:8]+"-"+c[8:12]+"-"+c[12:])
		hashes = append(hashes, codeHash(id, c))
	}
	return codes, hashes
}

// lookalikes are digits that base 32 does not have, read off paper for letters.
var lookalikes = strings.NewReplacer("0", "o", "1", "l", "8", "b")

// codeHash is what is kept of a recovery code, however it is typed; "" for what can
// be none. The member is part of it: his codes are nobody else's.
func codeHash(id member.ID, typed string) string {
	c := lookalikes.Replace(plainCode(typed))
	if len(c) != base32Text.EncodedLen(recoveryBytes) {
		return ""
	}
	return secret.Sum("recovery code\n" + string(id) + "\n" + c).String()
}

// plainCode is a code without what people put between its letters.
func plainCode(typed string) string {
	if len(typed) > maxCode {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ' || r == '\t':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, typed)
}

// newTOTP makes a secret for an authenticator app, in base 32.
func newTOTP() string {
	var b [totpBytes]byte
	_, _ = rand.Read(b[:]) // never fails on Go 1.24 and later
	return base32Text.EncodeToString(b[:])
}

// totpStep finds the step that a code of an authenticator app belongs to: the one of
// now, or one beside it for clocks that differ (RFC 6238 section 5.2). after is the
// step that was used last: it and all before it are over, so that a code that
// somebody saw is worth nothing.
func totpStep(key, typed string, now time.Time, after int64) (step int64, ok bool) {
	code := plainCode(typed)
	if len(code) != int(otp.DigitsSix) {
		return 0, false
	}
	at := now.Unix() / totpPeriod
	for s := at - 1; s <= at+1; s++ {
		good, err := hotp.ValidateCustom(code, uint64(s), key, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) //nolint:gosec // G115: a clock before 1970 matches nothing
		if err == nil && good && s > after && !ok {
			step, ok = s, true
		}
	}
	return step, ok
}

// openTOTP reads a sealed secret; "" when there is none.
func (s *Service) openTOTP(c Credential) (string, error) {
	if len(c.TOTP) == 0 {
		return "", nil
	}
	b, err := s.Sealer.Open(c.TOTP, SealContext(c.Member))
	if err != nil {
		return "", fmt.Errorf("local: open totp: %w", err)
	}
	return string(b), nil
}
