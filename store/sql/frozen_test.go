package sql

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
)

// A node that is frozen (SIGSTOP, a hanging machine) in the middle of a
// transaction holds the row that numbers every cut-off. The server must take it
// away from it before the others give up.
func TestNodeFrozenInATransactionDoesNotStopTheCutOffsOfOthers(t *testing.T) {
	url := testserver.Postgres(t)
	d, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	conf, err := postgresConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := pgx.ConnectConfig(t.Context(), conf) // limits as every connection of a node
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Close(t.Context()) }()
	for _, q := range []string{"BEGIN", "UPDATE revocation_counter SET seq = seq + 1 WHERE one = 1"} {
		if _, err := frozen.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	var seq int64
	err = d.Update(t.Context(), func(tx member.Tx) (err error) {
		seq, err = tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "ana", Epoch: 2})
		return err
	})
	if err != nil || seq != 1 {
		t.Errorf("row %d, %v; want the first one: the frozen transaction was never committed", seq, err)
	}
	if _, err := frozen.Exec(t.Context(), "COMMIT"); err == nil {
		t.Error("the frozen transaction was committed after all")
	}
}
