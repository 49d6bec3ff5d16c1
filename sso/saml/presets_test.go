package saml_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	crewjam "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const (
	tid, oid = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

	microsoft = "http://schemas.microsoft.com/identity/claims/"
	claims    = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
)

// carrying replaces what the response says of the person: name, value, name, value.
func carrying(nameID string, pairs ...string) func(*ssotest.SAMLDraft) {
	return func(d *ssotest.SAMLDraft) {
		d.Assertion.Subject.NameID.Value = nameID
		var st crewjam.AttributeStatement
		for i := 0; i < len(pairs); i += 2 {
			a := crewjam.Attribute{Name: pairs[i]}
			for v := range strings.SplitSeq(pairs[i+1], ",") {
				a.Values = append(a.Values, crewjam.AttributeValue{Type: "xs:string", Value: v})
			}
			st.Attributes = append(st.Attributes, a)
		}
		d.Assertion.AttributeStatements = []crewjam.AttributeStatement{st}
	}
}

func preset(p settings.Preset) func(*settings.Provider) {
	return func(set *settings.Provider) { set.Preset = p }
}

func subjectOf(names ...string) func(*settings.Provider) {
	return func(set *settings.Provider) { set.Attributes.Subject = names }
}

func (f *fixture) says(change func(*ssotest.SAMLDraft)) (sso.Assertion, error) {
	f.t.Helper()
	l := f.login()
	return f.present(l, f.respond(l, change))
}

var entra = []string{
	microsoft + "tenantid", tid, microsoft + "objectidentifier", oid, microsoft + "displayname", "Alice Liddell",
	claims + "name", "alice@corp.example", claims + "emailaddress", "alice@corp.example", claims + "givenname", "Alice", claims + "surname", "Liddell",
}

var entraSubject = "attribute:" + url.QueryEscape(microsoft+"tenantid") + "=" + tid + "&" + url.QueryEscape(microsoft+"objectidentifier") + "=" + oid

func TestPresets(t *testing.T) {
	for _, c := range []struct {
		preset  settings.Preset
		says    func(*ssotest.SAMLDraft)
		subject string
		known   member.Known
		profile member.Profile
		groups  string
	}{
		{
			preset:  settings.Okta,
			says:    carrying("alice", "email", "alice@corp.example", "firstName", "Alice", "lastName", "Liddell", "displayName", "Alice Liddell", "groups", "staff,finance"),
			subject: "alice", groups: "staff finance",
			profile: member.Profile{UserName: "alice", Email: "alice@corp.example", GivenName: "Alice", FamilyName: "Liddell", DisplayName: "Alice Liddell"},
		},
		{
			preset: settings.Entra, says: carrying("alice@corp.example", append(entra, "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "g1,g2")...),
			subject: entraSubject, known: member.Known{UserName: "alice@corp.example", ExternalID: oid}, groups: "g1 g2",
			profile: member.Profile{UserName: "alice@corp.example", Email: "alice@corp.example", GivenName: "Alice", FamilyName: "Liddell", DisplayName: "Alice Liddell"},
		},
		{
			preset: settings.Auth0,
			says: carrying("auth0|5f7c", claims+"nameidentifier", "auth0|5f7c", claims+"emailaddress", "alice@corp.example", claims+"name", "Alice Liddell",
				claims+"givenname", "Alice", claims+"surname", "Liddell", "http://schemas.auth0.com/groups", "staff"),
			subject: "auth0|5f7c", groups: "staff",
			profile: member.Profile{UserName: "auth0|5f7c", Email: "alice@corp.example", GivenName: "Alice", FamilyName: "Liddell", DisplayName: "Alice Liddell"},
		},
		{
			preset:  settings.OneLogin,
			says:    carrying("alice", "User.email", "alice@corp.example", "User.FirstName", "Alice", "User.LastName", "Liddell", "memberOf", "staff"),
			subject: "alice", groups: "staff",
			profile: member.Profile{UserName: "alice", Email: "alice@corp.example", GivenName: "Alice", FamilyName: "Liddell"},
		},
	} {
		f := newFixture(t, preset(c.preset))
		a, err := f.says(c.says)
		if err != nil {
			t.Errorf("%s: %v", c.preset, err)
			continue
		}
		if a.Identity.Subject != c.subject || a.Known != c.known || a.Profile != c.profile || strings.Join(a.Groups, " ") != c.groups || a.GroupsMissing != "" {
			t.Errorf("%s: %+v", c.preset, a)
		}
	}
}

// Nobody becomes somebody else because of what a response leaves out, says twice
// or makes look alike.
func TestSubjectMadeOfAttributes(t *testing.T) {
	ids := []string{microsoft + "tenantid", microsoft + "objectidentifier"}
	for _, c := range []struct {
		name, why string
		says      func(*ssotest.SAMLDraft)
		reason    string
	}{
		{"no object id", "half an identifier is another person's", carrying("alice", ids[0], tid), "subject_missing"},
		{"empty object id", "half an identifier is another person's", carrying("alice", ids[0], tid, ids[1], ""), "subject_missing"},
		{"no tenant id", "an object id of which tenant?", carrying("alice", ids[1], oid), "subject_missing"},
		{"neither", "the NameID is no substitute", carrying(oid), "subject_missing"},
		{"two object ids", "row S21: which of the two?", carrying("alice", ids[0], tid, ids[1], oid+","+tid), "attributes"},
		{"too long", "no directory can hold it", carrying("alice", ids[0], tid, ids[1], strings.Repeat("é", 250)), "subject"},
	} {
		f := newFixture(t, preset(settings.Entra))
		if a, err := f.says(carrying("alice", entra...)); err != nil || a.Identity.Subject != entraSubject {
			t.Fatalf("benign: %+v, %v", a, err)
		}
		a, err := f.says(c.says)
		wantRefused(t, a, err, c.name+": "+c.why, c.reason)
	}
	f := newFixture(t, subjectOf("a", "b"))
	seen := map[string]string{}
	for _, pair := range [][2]string{{"1", "2"}, {"1&b=2", "2"}, {"1", "2&a=1"}, {"1%26b%3D2", "2"}, {"2", "1"}, {"1=", "2"}, {"1|2", "2"}} {
		a, err := f.says(carrying("alice", "a", pair[0], "b", pair[1]))
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[a.Identity.Subject]; twice {
			t.Errorf("%q and %q are one person", pair, other)
		}
		seen[a.Identity.Subject] = strings.Join(pair[:], " ")
	}
}

// Changing attributes.subject must not hand Bob's account, linked by his NameID,
// to whoever has Bob's NameID as an attribute.
func TestChangedSubjectTakesOverNobody(t *testing.T) {
	by := func(change ...func(*settings.Provider)) string {
		t.Helper()
		f := newFixture(t, change...)
		a, err := f.says(carrying("7", "employeeNumber", "7", "uid", "7"))
		if err != nil {
			t.Fatal(err)
		}
		return a.Identity.Subject
	}
	subjects := []string{by(), by(subjectOf("employeeNumber")), by(subjectOf("uid")), by(subjectOf("uid", "employeeNumber"))}
	slices.Sort(subjects)
	if len(slices.Compact(subjects)) != 4 {
		t.Errorf("subjects %q", subjects)
	}
	if got := by(subjectOf("NameID")); got != "7" {
		t.Errorf("attributes.subject NameID: %q", got)
	}
	f := newFixture(t)
	a, err := f.says(carrying("attribute:uid=7"))
	wantRefused(t, a, err, "a NameID that is written like a subject made of attributes", "subject")
	if _, err := create(withMetadata(descriptor{keys: []key{{"", testKeys().idpCert}}}.xml()), subjectOf("NameID", "uid")); err == nil {
		t.Error("NameID joined with an attribute was accepted")
	}
	// Taken back from the preset.
	f = newFixture(t, preset(settings.Entra), subjectOf("NameID"))
	if a, err := f.says(carrying("alice")); err != nil || a.Identity.Subject != "alice" || a.Known != (member.Known{}) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestGroupsThatAreNotAllThere(t *testing.T) {
	const groups, link = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "http://schemas.microsoft.com/claims/groups.link"
	f := newFixture(t, preset(settings.Entra))
	for _, c := range []struct {
		name, missing string
		pairs         []string
	}{
		{"groups", "", []string{groups, "g1"}},
		{"none", "", nil},
		{"overage", "overage", []string{link, "https://graph.windows.net/x"}},
		{"overage beside groups", "overage", []string{link, "https://graph.windows.net/x", groups, "g1"}},
		{"too many", "4 KiB", []string{groups, strings.Repeat("a-group-of-people,", 300)}},
	} {
		a, err := f.says(carrying("alice", append(slices.Clone(entra), c.pairs...)...))
		if err != nil || !strings.Contains(a.GroupsMissing, c.missing) || (a.GroupsMissing == "") != (c.missing == "") || (c.missing != "" && a.Groups != nil) {
			t.Errorf("%s: %q %q, %v", c.name, a.Groups, a.GroupsMissing, err)
		}
	}
}
