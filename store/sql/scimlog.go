package sql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

const logColumns = `id, connection, token, client, method, path, meaning, status, scim_type, detail, tolerated, took,
	resource, subject, sessions, request, response, request_id, address`

const logColumnCount = 19

// logBatch is how many entries one statement holds on PostgreSQL, where each
// statement is a journey. SQLite gets one at a time: it looks for each numbered
// parameter among all before it, and prepares a statement in the square of their number.
const logBatch = 50

// AppendLog implements record.Log.
func (d *DB) AppendLog(ctx context.Context, entries []record.Entry) error {
	size := 1
	if d.engine == enginePostgres {
		size = logBatch
	}
	return d.update(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		whole := entries[:len(entries)/size*size]
		if err := t.appendLog(whole, size); err != nil {
			return err
		}
		if err := t.appendLog(entries[len(whole):], 1); err != nil {
			return err
		}
		return t.appendSaid(entries)
	})
}

// appendLog inserts size entries with each call of one prepared statement.
func (t *tx) appendLog(entries []record.Entry, size int) error {
	if len(entries) == 0 {
		return nil
	}
	const what = "append scim log"
	var q strings.Builder
	q.WriteString("INSERT INTO scim_log (" + logColumns + ") VALUES ")
	for i := range size {
		if i > 0 {
			q.WriteString(", ")
		}
		q.WriteString("(" + holders(logColumnCount*i+1, logColumnCount, "", "") + ")")
	}
	q.WriteString(" ON CONFLICT (id) DO NOTHING")
	stmt, err := t.sql.PrepareContext(t.ctx, q.String())
	if err != nil {
		return wrap(what, err)
	}
	defer func() { _ = stmt.Close() }() // it ends with the transaction anyway
	for part := range slices.Chunk(entries, size) {
		args := make([]any, 0, logColumnCount*size)
		for _, e := range part {
			args = append(args, e.ID, clean(e.Connection), clean(e.Token), clean(e.Client), clean(e.Method), clean(e.Path), clean(e.Meaning),
				int64(e.Status), clean(e.Type), clean(e.Detail), clean(e.Tolerated), e.Took.Microseconds(), clean(e.Resource), clean(e.Subject),
				int64(e.Sessions), clean(e.Request), clean(e.Response), clean(e.RequestID), clean(e.Address))
		}
		if _, err := stmt.ExecContext(t.ctx, args...); err != nil {
			return wrap(what, err)
		}
	}
	return nil
}

// clean makes text storable: PostgreSQL takes no NUL and no invalid UTF-8.
func clean(s string) string {
	if storable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// appendSaid keeps the latest word of each resource. A later entry of the batch
// replaces an earlier one here: one statement cannot touch a row twice.
func (t *tx) appendSaid(entries []record.Entry) error {
	type key struct{ connection, kind, resource string }
	latest := map[key]record.Entry{}
	for _, e := range entries {
		if e.Said == nil {
			continue
		}
		k := key{e.Said.Connection, e.Said.Kind, clean(e.Said.Resource)}
		if have, ok := latest[k]; !ok || have.ID <= e.ID {
			latest[k] = e
		}
	}
	for k, e := range latest {
		want, err := json.Marshal(e.Said.Want)
		if err != nil {
			return fmt.Errorf("sql: scim said: %w", err)
		}
		// Batches of two nodes arrive in any order: the later word stays.
		_, err = t.exec("scim said", `INSERT INTO scim_said (connection, kind, resource, log, made, status, meaning, said) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (connection, kind, resource) DO UPDATE SET log = excluded.log, made = excluded.made, status = excluded.status,
				meaning = excluded.meaning, said = excluded.said WHERE scim_said.log <= excluded.log`,
			k.connection, k.kind, k.resource, e.ID, ms(e.Time), int64(e.Status), clean(e.Meaning), clean(string(want)))
		if err != nil {
			return err
		}
		if strings.HasPrefix(k.resource, "name:") || e.Subject == "" || e.Status >= 300 {
			continue
		}
		// A create that was refused is settled by the resource that came to be.
		if _, err := t.exec("scim said", "DELETE FROM scim_said WHERE connection = $1 AND kind = $2 AND resource = $3 AND log <= $4",
			k.connection, k.kind, "name:"+clean(e.Subject), e.ID); err != nil {
			return err
		}
	}
	return nil
}

// SearchLog implements record.Log.
func (d *DB) SearchLog(ctx context.Context, f record.LogFilter) (out []record.Entry, err error) {
	var where []string
	var args []any
	add := func(condition string, v ...any) {
		for _, a := range v {
			args = append(args, a)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		where = append(where, condition)
	}
	if f.Connection != "" {
		add("connection = ?", f.Connection)
	}
	if f.Who != "" {
		add("(resource = ? OR subject = ?)", f.Who, member.FoldUserName(f.Who))
	}
	if f.Client != "" {
		add("lower(client) = ?", strings.ToLower(f.Client))
	}
	if f.Errors {
		add("status >= 400")
	}
	if !f.Since.IsZero() {
		add("id >= ?", record.EntryID(f.Since, 0))
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 50
	}
	columns := logColumns
	if !f.Bodies {
		columns = strings.Replace(columns, "request, response,", "'', '',", 1)
	}
	q := "SELECT " + columns + " FROM scim_log"
	if len(where) > 0 {
		q += " WHERE " + strings.Join(where, " AND ")
	}
	q += " ORDER BY id DESC LIMIT " + strconv.Itoa(min(limit, 1000))
	err = d.within(ctx, func(t *tx) error {
		out, err = list(t, "scim log", scanEntry, q, args...)
		return err
	})
	return out, err
}

func scanEntry(r scanner, e *record.Entry) error {
	var took int64
	err := r.Scan(&e.ID, &e.Connection, &e.Token, &e.Client, &e.Method, &e.Path, &e.Meaning, &e.Status, &e.Type, &e.Detail, &e.Tolerated, &took,
		&e.Resource, &e.Subject, &e.Sessions, &e.Request, &e.Response, &e.RequestID, &e.Address)
	e.Took = time.Duration(took) * time.Microsecond
	e.Time = record.EntryTime(e.ID)
	return err
}

// logSweepBatch is how many entries one transaction removes: a long one would make
// provisioning wait.
const logSweepBatch = 5000

// SweepLog implements record.Log.
func (d *DB) SweepLog(ctx context.Context, before time.Time, most int) (removed int, err error) {
	limit := record.EntryID(before, 0)
	var oldest int64
	err = d.within(ctx, func(t *tx) error {
		return t.row("sweep scim log", func(r *sql.Row) error { return r.Scan(&oldest) },
			"SELECT id FROM scim_log ORDER BY id DESC LIMIT 1 OFFSET "+strconv.Itoa(max(most, 1)))
	})
	switch {
	case errors.Is(err, member.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		limit = max(limit, oldest+1)
	}
	for {
		var n int64
		err := d.update(ctx, func(s *sql.Tx) error {
			var err error
			n, err = (&tx{ctx: ctx, sql: s, now: d.now}).exec("sweep scim log",
				"DELETE FROM scim_log WHERE id IN (SELECT id FROM scim_log WHERE id < $1 ORDER BY id LIMIT "+strconv.Itoa(logSweepBatch)+")", limit)
			return err
		})
		removed += int(n)
		if err != nil || n < logSweepBatch {
			return removed, err
		}
	}
}

// Drifts implements record.Log.
func (d *DB) Drifts(ctx context.Context, connection, after string, limit int) (out []record.Drift, next string, err error) {
	const page = 1000
	for len(out) < limit {
		var rows []heldSaid
		err := d.within(ctx, func(t *tx) (err error) {
			rows, err = list(t, "scim drift", scanHeldSaid, `SELECT s.connection, s.kind, s.resource, s.made, s.status, s.meaning, s.said,
				COALESCE(m.user_name, t.display_name, ''), COALESCE(m.display_name, t.display_name, ''), COALESCE(m.email, ''),
				COALESCE(m.external_id, t.external_id, ''), COALESCE(m.wish, 0), COALESCE(m.accepted, 0), COALESCE(m.suspended, 0)
				FROM scim_said s LEFT JOIN members m ON s.kind = 'User' AND m.id = s.resource AND m.connection = s.connection
				LEFT JOIN teams t ON s.kind = 'Group' AND t.id = s.resource AND t.connection = s.connection
				WHERE s.connection = $1 AND s.resource > $2 ORDER BY s.resource LIMIT `+strconv.Itoa(page), connection, after)
			if err != nil {
				return err
			}
			return t.named(rows)
		})
		if err != nil {
			return nil, "", err
		}
		for _, r := range rows {
			after = r.Resource
			if what := r.differences(); len(what) > 0 {
				if out = append(out, record.Drift{Said: r.Said, Name: r.name, State: r.state(), What: what}); len(out) == limit {
					return out, after, nil
				}
			}
		}
		if len(rows) < page {
			return out, "", nil
		}
	}
	return out, after, nil
}

// named looks up those that the IdP named only: a create that was refused, which
// may have been a repeat of one that was not.
func (t *tx) named(rows []heldSaid) error {
	for i := range rows {
		name, ok := strings.CutPrefix(rows[i].Resource, "name:")
		if !ok {
			continue
		}
		query := "SELECT count(*) FROM members WHERE user_name_folded = $1 AND connection = $2"
		if rows[i].Kind == "Group" {
			query = "SELECT count(*) FROM teams WHERE display_folded = $1 AND connection = $2"
		}
		var n int
		if err := t.row("scim drift", func(r *sql.Row) error { return r.Scan(&n) }, query, name, rows[i].Connection); err != nil {
			return err
		}
		rows[i].settled = n > 0
	}
	return nil
}

// heldSaid is one row of scim_said beside what there is.
type heldSaid struct {
	record.Said
	settled                        bool // a refused create of what is here all the same
	name, display, email, external string
	wish, accepted, suspended      int64
}

func scanHeldSaid(r scanner, h *heldSaid) error {
	var made int64
	var said string
	err := r.Scan(&h.Connection, &h.Kind, &h.Resource, &made, &h.Status, &h.Meaning, &said,
		&h.name, &h.display, &h.email, &h.external, &h.wish, &h.accepted, &h.suspended)
	if err != nil {
		return err
	}
	h.Time = at(made)
	return json.Unmarshal([]byte(said), &h.Want)
}

func (h heldSaid) state() string {
	if h.Kind != "User" || h.name == "" {
		return ""
	}
	m := member.Member{Wish: h.wish == 1, Accepted: h.accepted == 1, Suspended: h.suspended != 0}
	return string(m.State())
}

// differences says what is not as the IdP said last.
func (h heldSaid) differences() (what []string) {
	switch {
	case h.settled, h.name == "" && h.Want.Deleted:
		return nil
	case h.name == "":
		return []string{"it is not here: the last request about it was answered " + strconv.Itoa(h.Status)}
	case h.Want.Deleted:
		return []string{"it is still here: the request to delete it was answered " + strconv.Itoa(h.Status)}
	}
	differs := func(attribute string, want *string, have string) {
		if want != nil && *want != have {
			what = append(what, fmt.Sprintf("%s: said %q, here %q", attribute, *want, have))
		}
	}
	if h.Want.Active != nil && *h.Want.Active != (h.wish == 1) {
		what = append(what, fmt.Sprintf("active: said %t, here %t", *h.Want.Active, h.wish == 1))
	}
	if h.suspended != 0 && (h.Want.Active == nil || *h.Want.Active) {
		what = append(what, "suspended here by an owner")
	}
	if h.Kind == "User" {
		differs("userName", h.Want.UserName, h.name)
	}
	differs("displayName", h.Want.DisplayName, h.display)
	differs("email", h.Want.Email, h.email)
	differs("externalId", h.Want.ExternalID, h.external)
	return what
}

// Interface guard.
var _ record.Log = (*DB)(nil)
