package saml

import (
	"fmt"

	"github.com/ssogate/ssogate/sso"
)

// refuse makes the one kind of error by which a response is turned away. The
// reason is a stable machine word for log and audit; the browser sees neither
// it nor the text, so the text may name what was found.
func refuse(reason, format string, args ...any) error {
	return &sso.VerifyError{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// quote shortens and quotes a value from the wire for an error text, so that a
// log line can be neither flooded nor forged.
func quote(s string) string {
	const limit = 120
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return fmt.Sprintf("%q", s)
}
