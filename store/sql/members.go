package sql

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/member"
)

// memberColumns are those of scanMember, in its order.
const memberColumns = `m.id, m.user_name, m.display_name, m.given_name, m.family_name, m.email, m.role, m.source,
	m.fallback, m.wish, m.accepted, m.suspended, m.epoch, m.version, m.connection, m.external_id, m.document, m.created, m.modified`

// scanner is *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

func scanMember(r scanner, m *member.Member) error {
	var fallback, wish, accepted, suspended, created, modified int64
	var document string
	err := r.Scan(&m.ID, &m.UserName, &m.DisplayName, &m.GivenName, &m.FamilyName, &m.Email, &m.Role, &m.Source,
		&fallback, &wish, &accepted, &suspended, &m.Epoch, &m.Version, &m.Connection, &m.ExternalID, &document, &created, &modified)
	// A condition of admission holds only as exactly 1; the break-glass mark,
	// which protects, holds as anything but 0.
	m.Fallback, m.Wish, m.Accepted, m.Suspended = fallback != 0, wish == 1, accepted == 1, suspended != 0
	m.Created, m.Modified = at(created), at(modified)
	m.Document = nil
	if document != "" {
		m.Document = json.RawMessage(document)
	}
	return err
}

func (t *tx) member(what, where string, args ...any) (member.Member, error) {
	var m member.Member
	err := t.row(what, func(r *sql.Row) error { return scanMember(r, &m) },
		"SELECT "+memberColumns+" FROM members m WHERE "+where+t.lock, args...)
	if err != nil {
		return member.Member{}, err
	}
	return m, nil
}

// Member implements member.Members.
func (t *tx) Member(id member.ID) (member.Member, error) {
	return t.member("member", "m.id = $1", string(id))
}

// MemberByUserName implements member.Names. The key is unique and coarser, so
// it finds at most one row by index; the folded name decides.
func (t *tx) MemberByUserName(folded string) (member.Member, error) {
	return t.member("member by user name", "m.user_name_key = $1 AND m.user_name_folded = $2", member.UserNameKey(folded), folded)
}

// MemberByExternalID implements member.Names.
func (t *tx) MemberByExternalID(connection, externalID string) (member.Member, error) {
	const what = "member by external id"
	if connection == "" || externalID == "" {
		return member.Member{}, wrap(what, member.ErrNotFound)
	}
	var n int
	if err := t.row(what, func(r *sql.Row) error { return r.Scan(&n) },
		"SELECT count(*) FROM members WHERE connection = $1 AND external_id = $2", connection, externalID); err != nil {
		return member.Member{}, err
	}
	if n > 1 {
		return member.Member{}, wrap(what, member.ErrConflict)
	}
	return t.member(what, "m.connection = $1 AND m.external_id = $2", connection, externalID)
}

// UserNameTaken implements member.Names.
func (t *tx) UserNameTaken(key string) (bool, error) {
	return t.exists("user name taken", "SELECT count(*) FROM members WHERE user_name_key = $1", key)
}

// EmailTaken implements member.Names.
func (t *tx) EmailTaken(folded string) (bool, error) {
	if folded == "" {
		return false, nil
	}
	return t.exists("email taken", "SELECT count(*) FROM members WHERE email_folded = $1", folded)
}

func (t *tx) exists(what, query string, value string) (bool, error) {
	if !storable(value) {
		return false, nil
	}
	var n int
	err := t.row(what, func(r *sql.Row) error { return r.Scan(&n) }, query, value)
	return n > 0, err
}

// written are the columns of memberValues, in its order; id comes first.
var written = []string{
	"id", "user_name", "user_name_folded", "user_name_key", "display_name", "display_folded",
	"given_name", "given_folded", "family_name", "family_folded", "email", "email_folded", "role", "source",
	"fallback", "wish", "accepted", "suspended", "epoch", "version", "connection", "external_id", "document", "created", "modified",
}

func memberValues(m member.Member) []any {
	fold := member.FoldUserName
	return []any{
		string(m.ID), m.UserName, fold(m.UserName), member.UserNameKey(m.UserName), m.DisplayName, fold(m.DisplayName),
		m.GivenName, fold(m.GivenName), m.FamilyName, fold(m.FamilyName), m.Email, fold(m.Email), string(m.Role), string(m.Source),
		bit(m.Fallback), bit(m.Wish), bit(m.Accepted), bit(m.Suspended), m.Epoch, m.Version, m.Connection, m.ExternalID, string(m.Document), ms(m.Created), ms(m.Modified),
	}
}

// InsertMember implements member.Members.
func (t *tx) InsertMember(m member.Member) error {
	_, err := t.exec("insert member", "INSERT INTO members ("+strings.Join(written, ", ")+") VALUES ("+
		holders(1, len(written), "", "")+")", memberValues(m)...)
	if err != nil {
		return err
	}
	return t.count(m.Connection, countedMembers, 1, 0)
}

// UpdateMember implements member.Members. The version is compared by the same
// statement that writes, so two writers can never both win.
func (t *tx) UpdateMember(m member.Member, ifVersion int64) error {
	if err := t.moved(m); err != nil {
		return err
	}
	var set strings.Builder
	for i, column := range written[1:] {
		if i > 0 {
			set.WriteString(", ")
		}
		set.WriteString(column + " = $" + strconv.Itoa(i+2))
	}
	n, err := t.exec("update member", "UPDATE members SET "+set.String()+" WHERE id = $1 AND version = $"+strconv.Itoa(len(written)+1),
		append(memberValues(m), ifVersion)...)
	return t.changedOne("update member", "members", n, m.ID, err)
}

// moved counts a member who changes hands: one that was adopted or given up.
func (t *tx) moved(m member.Member) error {
	var was string
	err := t.row("update member", func(r *sql.Row) error { return r.Scan(&was) }, "SELECT connection FROM members WHERE id = $1", string(m.ID))
	if errors.Is(err, member.ErrNotFound) || err == nil && was == m.Connection {
		return nil // the update itself says what is wrong
	}
	return errors.Join(err, t.count(was, countedMembers, -1, 1), t.count(m.Connection, countedMembers, 1, 1))
}

// DeleteMember implements member.Members. Identities, memberships and
// invitations go with the row, by their foreign keys.
func (t *tx) DeleteMember(id member.ID, ifVersion int64) error {
	return t.remove("delete member", "members", countedMembers, id, ifVersion)
}

// MemberByIdentity implements member.Identities.
func (t *tx) MemberByIdentity(i member.Identity) (member.Member, error) {
	// A sub-query, not a join: the row lock must name members alone.
	return t.member("member by identity",
		"m.id = (SELECT i.member FROM identities i WHERE i.provider = $1 AND i.issuer = $2 AND i.subject = $3)",
		i.Provider, i.Issuer, i.Subject)
}

// IdentitiesOf implements member.Identities.
func (t *tx) IdentitiesOf(id member.ID) ([]member.Identity, error) {
	return list(t, "identities of", func(r scanner, i *member.Identity) error {
		return r.Scan(&i.Provider, &i.Issuer, &i.Subject)
	}, "SELECT provider, issuer, subject FROM identities WHERE member = $1 ORDER BY provider, issuer, subject", string(id))
}

// InsertIdentity implements member.Identities.
func (t *tx) InsertIdentity(id member.ID, i member.Identity) error {
	_, err := t.exec("insert identity", "INSERT INTO identities (provider, issuer, subject, member) VALUES ($1, $2, $3, $4)",
		i.Provider, i.Issuer, i.Subject, string(id))
	return err
}

// DeleteIdentity implements member.Identities.
func (t *tx) DeleteIdentity(id member.ID, i member.Identity) error {
	_, err := t.exec("delete identity", "DELETE FROM identities WHERE provider = $1 AND issuer = $2 AND subject = $3 AND member = $4",
		i.Provider, i.Issuer, i.Subject, string(id))
	return err
}

// Tombstone implements member.Identities.
func (t *tx) Tombstone(i member.Identity) (member.Tombstone, error) {
	s := member.Tombstone{Identity: i}
	var made int64
	err := t.row("tombstone", func(r *sql.Row) error { return r.Scan(&s.Member, &made) },
		"SELECT member, made FROM tombstones WHERE provider = $1 AND issuer = $2 AND subject = $3", i.Provider, i.Issuer, i.Subject)
	if err != nil {
		return member.Tombstone{}, err
	}
	s.At = at(made)
	return s, nil
}

// InsertTombstone implements member.Identities.
func (t *tx) InsertTombstone(s member.Tombstone) error {
	_, err := t.exec("insert tombstone", `INSERT INTO tombstones (provider, issuer, subject, member, made) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (provider, issuer, subject) DO UPDATE SET member = excluded.member, made = excluded.made`,
		s.Identity.Provider, s.Identity.Issuer, s.Identity.Subject, string(s.Member), ms(s.At))
	return err
}

// DeleteTombstones implements member.Identities.
func (t *tx) DeleteTombstones(id member.ID, i member.Identity) error {
	if i == (member.Identity{}) {
		_, err := t.exec("delete tombstones", "DELETE FROM tombstones WHERE member = $1", string(id))
		return err
	}
	_, err := t.exec("delete tombstones", "DELETE FROM tombstones WHERE provider = $1 AND issuer = $2 AND subject = $3",
		i.Provider, i.Issuer, i.Subject)
	return err
}

// list runs a query and scans every row. An argument no engine can hold matches nothing.
func list[T any](t *tx, what string, scan func(scanner, *T) error, query string, args ...any) ([]T, error) {
	for _, a := range args {
		if s, ok := a.(string); ok && !storable(s) {
			return nil, nil
		}
	}
	rows, err := t.sql.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, wrap(what, err)
	}
	defer func() { _ = rows.Close() }() // after an error of rows.Err nothing new is learnt
	var out []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, wrap(what, err)
		}
		out = append(out, v)
	}
	return out, wrap(what, rows.Err())
}
