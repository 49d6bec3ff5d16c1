package demo

import "github.com/ssogate/ssogate/sso/ssotest"

// People are the three who can sign in to the demo. Their passwords are meant
// to be read from a terminal and typed. The slice is the caller's.
func People() []ssotest.Person {
	return []ssotest.Person{
		{
			User: "ana@example.com", Password: "ana-opens-the-gate", Email: "ana@example.com",
			GivenName: "Ana", FamilyName: "Moreau", DisplayName: "Ana Moreau", Groups: []string{"Keepers"},
		},
		{
			User: "ben@example.com", Password: "ben-opens-the-gate", Email: "ben@example.com",
			GivenName: "Ben", FamilyName: "Okafor", DisplayName: "Ben Okafor", Groups: []string{"Keepers", "Harbour"},
		},
		{
			// A name beyond ASCII on purpose: it has to survive SAML, SCIM and headers.
			User: "cleo@example.com", Password: "cleo-opens-the-gate", Email: "cleo@example.com",
			GivenName: "Cléo", FamilyName: "Nørgaard", DisplayName: "Cléo Nørgaard",
		},
	}
}
