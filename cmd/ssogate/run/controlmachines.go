package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/store/sql"
)

// MachineAdmin makes, lists and revokes the service tokens of machines.
type MachineAdmin interface {
	Create(ctx context.Context, n machine.New) (token string, stored machine.Token, err error)
	List(ctx context.Context) ([]machine.Token, error)
	// Revoke returns nil only once no node admits the token any more.
	Revoke(ctx context.Context, actor, id string) error
}

type createdMachine struct {
	Token  string        `json:"token"`
	Stored machine.Token `json:"stored"`
}

var (
	askMachineCreate = endpoint[machine.New, createdMachine]{"/machines/create"}
	askMachineList   = endpoint[none, []machine.Token]{"/machines/list"}
	askMachineRevoke = endpoint[namedToken, none]{"/machines/revoke"}
)

func (c *Control) serveMachines(mux *http.ServeMux) {
	askMachineCreate.serve(mux, func(ctx context.Context, n machine.New) (createdMachine, error) {
		token, stored, err := c.Machines.Create(ctx, n)
		return createdMachine{token, stored}, err
	})
	askMachineList.serve(mux, func(ctx context.Context, _ none) ([]machine.Token, error) { return c.Machines.List(ctx) })
	askMachineRevoke.serve(mux, func(ctx context.Context, q namedToken) (none, error) {
		return none{}, c.Machines.Revoke(ctx, q.Actor, q.Of)
	})
}

// storedMachines works on the database, and waits for the nodes.
type storedMachines struct {
	db      *sql.DB
	revoker member.Revoker
}

func (m storedMachines) Create(ctx context.Context, n machine.New) (string, machine.Token, error) {
	return machine.Create(ctx, m.db, n)
}

func (m storedMachines) List(ctx context.Context) ([]machine.Token, error) {
	return m.db.ListMachineTokens(ctx)
}

func (m storedMachines) Revoke(ctx context.Context, actor, id string) error {
	err := machine.Revoke(ctx, m.db, m.revoker, actor, id)
	if errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("no token has the ID %q; \"ssogate machine-token list\" shows them", id)
	}
	return err
}

// remoteMachines asks the running process.
type remoteMachines struct{ client *http.Client }

func (m remoteMachines) Create(ctx context.Context, n machine.New) (string, machine.Token, error) {
	c, err := askMachineCreate.ask(ctx, m.client, n)
	return c.Token, c.Stored, err
}

func (m remoteMachines) List(ctx context.Context) ([]machine.Token, error) {
	return askMachineList.ask(ctx, m.client, none{})
}

func (m remoteMachines) Revoke(ctx context.Context, actor, id string) error {
	_, err := askMachineRevoke.ask(ctx, m.client, namedToken{Actor: actor, Of: id})
	return err
}

// Interface guards.
var (
	_ MachineAdmin = storedMachines{}
	_ MachineAdmin = remoteMachines{}
)
