package audit

import (
	"context"
	"time"
)

// Outcome is what became of the thing attempted. The zero value is a denial.
type Outcome string

// Outcomes.
const (
	Denied  Outcome = "denied"
	Allowed Outcome = "allowed"
	Failed  Outcome = "failed"
)

// Event is one line of the audit log. Strings are bounded and stripped of
// control characters when written. Safe to copy.
type Event struct {
	Seq       int64             // position in the chain; set by the store
	Time      time.Time         // when, UTC; set by the store when zero
	Kind      string            // dotted verb, e.g. "signin.refused", "member.deactivated"
	Outcome   Outcome           //
	Actor     string            // "member:<id>", "scim:<connection>", "cli", "system", "anonymous"
	Target    string            // "member:<id>", "team:<id>", "session:<short hash>", "provider:<id>"
	Provider  string            // identity provider concerned, or ""
	RequestID string            // finds the access record
	Address   string            // client address as decided by internal/web
	Reason    string            // machine word for why, e.g. "signature_invalid"
	Detail    map[string]string // few, short, never secret
}

// Recorder keeps events that are not part of a data change (refusals, sign-ins).
// Record returns an error when the event could not be kept; callers on a deny
// path still deny, callers on an allow path refuse (no unaudited success).
type Recorder interface {
	Record(ctx context.Context, e Event) error
}
