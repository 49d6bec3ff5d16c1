package local

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// How guessing is slowed. No number of failures locks anybody out.
const (
	window       = time.Hour       // failures are forgotten when none was added for so long
	longestWait  = 5 * time.Minute // between two guesses
	freeHere     = 5               // of one address at one account
	freeAddress  = 10              // of one address
	freeAccount  = 20              // of one account, for addresses that have failed there
	alarmAccount = 10              // of one account: its owners are told
)

// SlowError asks to wait. It says nothing about what was tried.
type SlowError struct{ Wait time.Duration }

func (e *SlowError) Error() string { return fmt.Sprintf("local: slowed for %s", e.Wait) }

// delay doubles with each failure past the free ones.
func delay(failures, free int) time.Duration {
	if failures < free {
		return 0
	}
	return min(time.Second<<min(failures-free, 20), longestWait)
}

// places of the counters of an attempt.
const (
	atHere = iota
	atAddress
	atAccount
)

// attempt is one guess under way: counted as failed before it is compared, so that
// two hundred at once are as slow as two hundred after each other.
type attempt struct {
	names  []string
	alarm  bool // this very failure is the one that somebody must hear of
	failed int  // of the account, with this one
}

// names are the counters of a guess. Spellings of one account share one, and so do the
// addresses of one IPv6 network, which one machine may have all to itself.
func names(kind, user string, from netip.Addr) []string {
	where, account := "none", member.FoldUserName(user)
	if from = from.Unmap(); from.IsValid() {
		bits := 64
		if from.Is4() {
			bits = 32
		}
		if p, err := from.WithZone("").Prefix(bits); err == nil {
			where = p.String()
		}
	}
	name := func(parts string) string { return secret.Sum("attempts\n" + kind + "\n" + parts).String() }
	return []string{
		atHere:    name("here\n" + where + "\n" + account),
		atAddress: name("address\n" + where),
		atAccount: name("account\n" + account),
	}
}

// forCode are the counters of a guess by whoever shows a recovery code that is good.
// Nobody guesses one, so he waits for no one else: an attacker at the same address, or
// in front of whom no address can be told from another, cannot keep the owner out.
func forCode(hash string) []string { return []string{secret.Sum("attempts\ncode\n" + hash).String()} }

// begin counts a guess, or answers *[SlowError] without counting it.
func (s *Service) begin(ctx context.Context, names []string) (*attempt, error) {
	a := &attempt{names: names}
	now := s.Now()
	var wait time.Duration
	err := s.Store.Count(ctx, names, func(cs []Counter) {
		wait, a.alarm, a.failed = 0, false, 0
		for i := range cs {
			if now.Sub(cs[i].Last) > window {
				cs[i].Failures = 0
			}
			d := delay(cs[i].Failures, []int{freeHere, freeAddress, freeAccount}[i])
			if i == atAccount && cs[atHere].Failures == 0 {
				d = 0 // he comes from elsewhere
			}
			if w := cs[i].Last.Add(d).Sub(now); d > 0 && w > wait {
				wait = min(w, longestWait) // whatever clocks say
			}
		}
		if wait > 0 {
			return
		}
		for i := range cs {
			cs[i].Failures, cs[i].Last = cs[i].Failures+1, now
		}
		if len(cs) > atAccount {
			a.failed = cs[atAccount].Failures
			a.alarm = a.failed == alarmAccount
		}
	})
	if err != nil {
		return nil, fmt.Errorf("local: count: %w", err)
	}
	if wait > 0 {
		return nil, &SlowError{wait.Round(time.Second) + time.Second}
	}
	return a, nil
}

// forgive takes the failures of whoever has got in, or was not answered, off the
// counters. Those that an address has at other accounts stay: somebody with an
// account of his own must not wipe off his guesses at others.
func (s *Service) forgive(ctx context.Context, a *attempt, all bool) error {
	err := s.Store.Count(ctx, a.names, func(cs []Counter) {
		here := 1
		if all {
			here = max(cs[atHere].Failures, 1)
		}
		for i := range cs {
			cs[i].Failures = max(cs[i].Failures-here, 0)
			if all && i == atAccount {
				cs[i].Failures = 0
			}
		}
	})
	if err != nil {
		return fmt.Errorf("local: forgive: %w", err)
	}
	return nil
}
