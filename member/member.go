package member

import (
	"encoding/json"
	"time"
)

// ID is a member's or team's immutable id, ours and random: never an e-mail
// address or an IdP's id, never reused. It is what apps see as X-Forwarded-User.
type ID string

// Role is what a member may do in the console. The zero value is no role.
type Role string

// Roles.
const (
	RoleMember  Role = "member"
	RoleManager Role = "manager"
	RoleOwner   Role = "owner"
)

// Source is how a member came to be.
type Source string

// Sources.
const (
	SourceSCIM       Source = "scim"
	SourceSSO        Source = "sso"
	SourceInvitation Source = "invitation"
	SourceLocal      Source = "local"
)

// State is derived from the three stored conditions; see the package comment.
type State string

// States.
const (
	StateInvited     State = "invited"
	StateActive      State = "active"
	StateDeactivated State = "deactivated" // by the IdP
	StateSuspended   State = "suspended"   // by an owner
)

// Member is one person. Safe to copy; Document must not be modified in place.
type Member struct {
	ID          ID
	UserName    string // as sent; unique after folding (see FoldUserName)
	DisplayName string
	GivenName   string
	FamilyName  string
	Email       string // a label: never used to link accounts
	Role        Role
	Source      Source
	Fallback    bool // break-glass owner: out of SCIM's reach

	Wish      bool // the IdP's active
	Accepted  bool
	Suspended bool

	Epoch   int64 // raised whenever sessions made before must die
	Version int64 // raised by every change; optimistic lock and ETag

	Connection string          // SCIM connection that owns this member, or ""
	ExternalID string          // the IdP's label, scoped to Connection
	Document   json.RawMessage // SCIM attributes without a column of their own
	Created    time.Time
	Modified   time.Time

	// AsOf is the revocation log's number in the transaction of
	// [Directory.Admit], which alone sets it: a session stamped with it dies by
	// any later row that ends everybody or everybody of its provider (C6). Not stored.
	AsOf int64
}

// State derives the member's state.
func (m Member) State() State {
	switch {
	case m.Suspended:
		return StateSuspended
	case !m.Wish:
		return StateDeactivated
	case !m.Accepted:
		return StateInvited
	default:
		return StateActive
	}
}

// Admitted reports whether the three conditions hold. The zero Member is not.
func (m Member) Admitted() bool { return m.ID != "" && m.Wish && m.Accepted && !m.Suspended }

// Identity is the key of an account at an identity provider (G6). All three
// parts are compared byte for byte.
type Identity struct {
	Provider string // our provider id
	Issuer   string // SAML entity id or OIDC issuer
	Subject  string // stable NameID or sub
}

// Profile is what an IdP said of a person at sign-in. Labels, never keys.
type Profile struct {
	UserName    string
	Email       string
	DisplayName string
	GivenName   string
	FamilyName  string
}

// Team is a group of members. Slug is unique and immutable: routes name it.
type Team struct {
	ID          ID
	Slug        string
	DisplayName string
	Connection  string
	ExternalID  string
	Version     int64
	Created     time.Time
	Modified    time.Time
}

// Tombstone keeps a person removed by an IdP from joining again by himself.
type Tombstone struct {
	Identity Identity
	Member   ID
	At       time.Time
}

// Invitation lets one person accept membership. Only the token's hash is kept.
type Invitation struct {
	Token    string // hex of secret.Hash
	Member   ID
	Email    string
	Provider string // provider whose first sign-in may accept it, or ""
	Expires  time.Time
	Accepted time.Time
	Created  time.Time
	Opened   time.Time // the button on its page was first pressed
}

// Join says how new members come in through a provider. The zero value admits nobody new.
type Join string

// Joins.
const (
	JoinIDP        Join = "idp"
	JoinSCIM       Join = "scim"
	JoinInvitation Join = "invitation"
)

// Activation says when a member provisioned by SCIM has accepted.
type Activation string

// Activations.
const (
	ActivateInvitation  Activation = "invitation"    // one click (or link) at first sign-in
	ActivateFirstSignIn Activation = "first_sign_in" // the first sign-in accepts
	ActivateImmediate   Activation = "immediate"
)

// Match is the SCIM attribute compared with the SSO subject, once, at the first sign-in.
type Match string

// Matches.
const (
	MatchUserName   Match = "userName"
	MatchExternalID Match = "externalId"
)

// Connection is the policy of one SCIM connection. It belongs to one provider.
type Connection struct {
	ID         string
	Provider   string
	Activation Activation
	Match      Match
	MaySetRole bool
}
