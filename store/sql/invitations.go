package sql

import (
	"database/sql"

	"github.com/ssogate/ssogate/member"
)

const invitationColumns = "token, member, email, provider, expires, accepted, created, opened"

func scanInvitation(r scanner, i *member.Invitation) error {
	var expires, accepted, created, opened int64
	err := r.Scan(&i.Token, &i.Member, &i.Email, &i.Provider, &expires, &accepted, &created, &opened)
	i.Expires, i.Accepted, i.Created, i.Opened = at(expires), at(accepted), at(created), at(opened)
	return err
}

// Invitation implements member.Invitations.
func (t *tx) Invitation(token string) (i member.Invitation, err error) {
	err = t.row("invitation", func(r *sql.Row) error { return scanInvitation(r, &i) },
		"SELECT "+invitationColumns+" FROM invitations WHERE token = $1", token)
	if err != nil {
		return member.Invitation{}, err
	}
	return i, nil
}

// InsertInvitation implements member.Invitations.
func (t *tx) InsertInvitation(i member.Invitation) error {
	_, err := t.exec("insert invitation", "INSERT INTO invitations ("+invitationColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		i.Token, string(i.Member), i.Email, i.Provider, ms(i.Expires), ms(i.Accepted), ms(i.Created), ms(i.Opened))
	return err
}

// AcceptInvitations implements member.Invitations.
func (t *tx) AcceptInvitations(id member.ID) error {
	_, err := t.exec("accept invitations", "UPDATE invitations SET accepted = $2 WHERE member = $1 AND accepted = 0", string(id), ms(t.now()))
	return err
}
