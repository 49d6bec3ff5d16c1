// Package audit names what is worth remembering about who did what: sign-ins,
// refusals, changes of members, teams, tokens and settings.
//
// It owns [Event] and the hash chain over events. It must not decide anything,
// must not import any other package of ssogate, and never receives a secret:
// no cookie, code, token, SAMLResponse or password is ever put into an Event.
//
// Changes write their event inside the same SQL transaction as the change
// itself, so neither exists without the other.
package audit
