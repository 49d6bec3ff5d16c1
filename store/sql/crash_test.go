package sql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// crashURL names the database to the child process of the test below.
const crashURL = "SSOGATE_TEST_CRASH_URL"

// TestMain runs the child of TestGuaranteeNothingHalfAfterKill9, or the tests.
func TestMain(m *testing.M) {
	if url := os.Getenv(crashURL); url != "" {
		writeUntilKilled(url)
		return
	}
	os.Exit(m.Run())
}

// writeUntilKilled makes members, each with a team membership, a revocation row
// and an audit event in one transaction, and prints each number once committed.
func writeUntilKilled(url string) {
	ctx := context.Background()
	d, err := Open(ctx, url)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	// Several at once: on SQLite they share commits.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				n, err := writeOne(ctx, d)
				switch {
				case errors.Is(err, member.ErrConflict): // another writer made this number
				case err != nil:
					fmt.Println("error:", err)
					return
				default:
					fmt.Println(n)
				}
			}
		})
	}
	wg.Wait()
}

func writeOne(ctx context.Context, d *DB) (n int64, err error) {
	err = d.Update(ctx, func(tx member.Tx) error {
		last, err := tx.LatestRevocation("", "")
		if err != nil {
			return err
		}
		n = last + 1
		if n == 1 {
			err = tx.InsertTeam(member.Team{ID: "t", Slug: "t", DisplayName: "T", Version: 1})
		}
		id := member.ID(fmt.Sprint("m", n))
		if err != nil {
			return err
		}
		if err := tx.InsertMember(member.Member{ID: id, UserName: string(id), Version: 1, Connection: "c"}); err != nil {
			return err
		}
		if _, err := tx.AddMemberships("t", []member.ID{id}); err != nil {
			return err
		}
		if err := tx.Audit(audit.Event{Kind: "member.created", Target: string(id)}); err != nil {
			return err
		}
		_, err = tx.Revoke(member.Revocation{Kind: member.Recheck, Scope: member.ScopeMember, Target: string(id)})
		return err
	})
	return n, err
}

// A 2xx is given after a commit was reported; kill -9 leaves old or new, never
// half (G7, fault 17).
func TestGuaranteeNothingHalfAfterKill9(t *testing.T) {
	t.Parallel()
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			rounds := 10
			if testing.Short() {
				rounds = 3
			}
			for round := range rounds {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), crashURL+"="+url)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines, reported := bufio.NewScanner(out), int64(0)
				for i := 0; lines.Scan(); i++ {
					if strings.HasPrefix(lines.Text(), "error:") {
						_ = cmd.Process.Kill()
						t.Fatalf("round %d: child: %s", round, lines.Text())
					}
					var n int64
					if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
						t.Errorf("child says %q", lines.Text())
					}
					reported = max(reported, n)
					if i == 5+round { // the next transaction is under way
						_ = cmd.Process.Kill()
					}
				}
				_ = cmd.Wait()
				whole(t, url, reported)
			}
		})
	}
}

// whole checks that every number up to the log's end has all its parts.
func whole(t *testing.T, url string, reported int64) {
	t.Helper()
	d := open2(t, url)
	defer func() { _ = d.Close() }()
	events, err := d.VerifyAudit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = d.View(t.Context(), func(tx member.Tx) error {
		n, err := tx.LatestRevocation("", "")
		if err != nil {
			return err
		}
		in, err := tx.MembersOf("t")
		if err != nil {
			return err
		}
		if n < reported || int64(events) != n || int64(len(in)) != n {
			t.Errorf("commit %d was reported; there are %d rows, %d events and %d members", reported, n, events, len(in))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// open2 opens after a crash. The kernel frees the lock of a killed process's file
// a moment later.
func open2(t *testing.T, url string) *DB {
	t.Helper()
	for range 100 {
		d, err := Open(t.Context(), url)
		if err == nil {
			return d
		}
		if !errors.Is(err, ErrLocked) {
			t.Fatal(err)
		}
	}
	t.Fatal("the lock of a killed process is still held")
	return nil
}
