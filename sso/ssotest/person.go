package ssotest

// Person is somebody who can sign in at an in-process identity provider. The
// password is compared as it stands: these people exist only in tests and in
// the demo, and the demo prints their passwords.
type Person struct {
	User        string // what is typed into the form
	Password    string
	Email       string
	GivenName   string
	FamilyName  string
	DisplayName string
	Groups      []string
}

// FindPerson looks a person up by User. The copy is the caller's; Groups must
// not be modified in place.
func FindPerson(people []Person, user string) (Person, bool) {
	for _, p := range people {
		if p.User == user {
			return p, true
		}
	}
	return Person{}, false
}
