// Package console is what people see of ssogate when they are not being signed
// in: today a member's own page, in time Settings > Auth, members, teams,
// invitations, sessions and the audit log.
//
// It owns those pages on the gateway origin and decides nothing about sessions:
// who is asking comes through [Sessions], signing out is a form posted to the
// handshake's own /logout. It must not be reachable on an app origin, where an
// application's script could drive it.
//
// Routes:
//
//	GET /me                    who am I, through which provider, until when; my sessions; sign out
//	POST /me/sessions/end      end one other session of mine
//	POST /me/sessions/end-all  sign me out everywhere
//	POST /me/fallback/seen     an owner knows of a use of the break-glass way in
//	GET /static/...            the script our pages load
package console
