package settings

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"time"
)

// MaxReport bounds the report of a [Result], in bytes.
const MaxReport = 256 << 10

// Digest names a configuration of a provider by everything in it that can change
// what a sign-in ends in: all but what is tagged cosmetic, secrets included. Two
// configurations with one digest pass or fail one test alike, so a test counts for
// exactly the digest it was made of. It is the same on every node and in every
// version of ssogate that knows the fields which are set; "sha256:" and 64
// hexadecimal digits.
//
// A digest does not give a secret away: what goes into it are random secrets of at
// least 16 characters (config refuses others), among everything else.
func Digest(p Provider) string {
	h := sha256.New()
	for _, l := range leavesOf(reflect.ValueOf(p), "", false, false) {
		if l.cosmetic {
			continue
		}
		// Lengths keep two different configurations from being one text.
		_, _ = fmt.Fprintf(h, "%d:%s=%d:%s\n", len(l.path), l.path, len(l.value), l.value)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Result is what one complete test run of a provider ended in. A run that the
// person gave up is none.
type Result struct {
	Provider string
	Digest   string // of the configuration that was tested: see [Digest]
	Passed   bool
	Report   []byte // JSON, at most [MaxReport]; no secrets
	By       string // who ran it, as an audit actor
	At       time.Time
}

// Results keeps test results. Of one digest the latest decides: what failed last
// may lock everybody out, whatever it did before. Safe for concurrent use.
type Results interface {
	// Record keeps a result, durably when it returns nil. At is set when zero. An
	// unusable one is an [*InvalidError].
	Record(ctx context.Context, r Result) error
}
