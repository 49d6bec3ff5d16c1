package run

import (
	"context"
	"net/http"

	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/store/sql"
)

// SCIMLog reads the flight recorder.
type SCIMLog interface {
	// Search answers entries, newest first. With bodies it answers at most 200.
	Search(ctx context.Context, f record.LogFilter) ([]record.Entry, error)
	// Drift answers resources that are not what their IdP last said, after a
	// position; next is "" at the end.
	Drift(ctx context.Context, connection, after string) (list []record.Drift, next string, err error)
}

// Bounds of one answer over the control socket.
const (
	maxWithBodies = 200
	driftPage     = 500
)

type driftQuestion struct {
	Connection string `json:"connection"`
	After      string `json:"after"`
}

type driftAnswer struct {
	List []record.Drift `json:"list"`
	Next string         `json:"next"`
}

var (
	askLog   = endpoint[record.LogFilter, []record.Entry]{"/scim/log"}
	askDrift = endpoint[driftQuestion, driftAnswer]{"/scim/drift"}
)

func (c *Control) serveSCIMLog(mux *http.ServeMux) {
	askLog.serve(mux, c.Log.Search)
	askDrift.serve(mux, func(ctx context.Context, q driftQuestion) (a driftAnswer, err error) {
		a.List, a.Next, err = c.Log.Drift(ctx, q.Connection, q.After)
		return a, err
	})
}

// storedSCIMLog works on the database.
type storedSCIMLog struct{ db *sql.DB }

func (l storedSCIMLog) Search(ctx context.Context, f record.LogFilter) ([]record.Entry, error) {
	if f.Bodies {
		f.Limit = min(f.Limit, maxWithBodies)
	}
	return l.db.SearchLog(ctx, f)
}

func (l storedSCIMLog) Drift(ctx context.Context, connection, after string) ([]record.Drift, string, error) {
	return l.db.Drifts(ctx, connection, after, driftPage)
}

// remoteSCIMLog asks the running process.
type remoteSCIMLog struct{ client *http.Client }

func (l remoteSCIMLog) Search(ctx context.Context, f record.LogFilter) ([]record.Entry, error) {
	return askLog.ask(ctx, l.client, f)
}

func (l remoteSCIMLog) Drift(ctx context.Context, connection, after string) ([]record.Drift, string, error) {
	a, err := askDrift.ask(ctx, l.client, driftQuestion{connection, after})
	return a.List, a.Next, err
}

// Interface guards.
var (
	_ SCIMLog = storedSCIMLog{}
	_ SCIMLog = remoteSCIMLog{}
)
