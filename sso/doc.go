// Package sso is the handshake: from a browser without a session to a browser
// with one, whatever protocol the identity provider speaks.
//
// It owns: [Login] (one pending sign-in), the [Provider] and [Response]
// interfaces that sso/saml and sso/oauth implement, [Refresher] for those that
// can be asked again (by sso/refresh), the [Pending] store interface, the binding
// cookies, completion and the hand-off to app hosts.
//
// It must not parse SAML or JWTs, must not know routes or policies, and never
// reads a member except through its Directory interface.
//
// Routes on the gateway origin (see [Flow.Routes]):
//
//	GET  /login?id=|provider=|return=     choose a provider or go straight on
//	POST /login                           an e-mail address chooses the provider
//	POST /saml/{provider}/acs             verify, remember, small page (W1)
//	GET  /saml/{provider}/metadata        our SP metadata
//	GET  /oauth/{provider}/callback       verify, remember, small page
//	GET, POST /saml/{provider}/slo        single logout, both messages
//	POST /oauth/{provider}/backchannel-logout
//	GET  /logout/provider?id=             on to the IdP, to sign out there too
//	GET  /logout/done?state=              back from it
//	GET  /login/test?id=                  a test of a configuration begins (testrun.go)
//	GET  /login/test/done?code=           and ends: binding cookie, report
//	GET  /complete?code=                  binding cookie, session, hand-off
//	POST /complete/accept                 one-click acceptance of an invitation
//	GET  /logout, POST /logout            page with a button; ends the session
//
// and on every app origin:
//
//	GET  /.sso/complete?code=             binding cookie, app cookie, return path
//	GET  /.sso/logout, POST /.sso/logout
//	GET  /.sso/whoami
package sso
