package saml_test

import (
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	crewjam "github.com/crewjam/saml"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// edit changes the assertion's XML before it is signed.
func edit(change func(f *fixture, el *etree.Element)) func(*fixture, *ssotest.SAMLDraft) {
	return func(f *fixture, d *ssotest.SAMLDraft) {
		d.EditAssertion = func(el *etree.Element) { change(f, el) }
	}
}

func audiences(list ...[]string) func(*fixture, *ssotest.SAMLDraft) {
	return edit(func(f *fixture, el *etree.Element) {
		c := find(f.t, el, "./Conditions")
		for _, r := range c.ChildElements() {
			c.RemoveChild(r)
		}
		for _, values := range list {
			r := c.CreateElement("saml:AudienceRestriction")
			for _, v := range values {
				r.CreateElement("saml:Audience").SetText(v)
			}
		}
	})
}

func TestAudienceS10(t *testing.T) {
	const ours, other = gateway + "/saml/okta/metadata", "https://other.example.com/metadata"
	for _, s := range []scenario{
		{name: "one restriction lists ours and another", draft: audiences([]string{ours, other}), accept: true},
		{name: "another first", draft: audiences([]string{other, ours}), accept: true},
		{name: "two restrictions, both ours", draft: audiences([]string{ours}, []string{other, ours}), accept: true},
		{name: "other SP", draft: audiences([]string{other})},
		{name: "none", draft: audiences()},
		{name: "restriction without audience", draft: audiences([]string{}), reasons: []string{"shape"}},
		{name: "ours and a second, foreign restriction", draft: audiences([]string{ours}, []string{other})},
		{name: "foreign first", draft: audiences([]string{other}, []string{ours})},
		{name: "trailing slash", draft: audiences([]string{ours + "/"})},
		{name: "other case", draft: audiences([]string{strings.ToUpper(ours)})},
		{name: "white space", draft: audiences([]string{" " + ours})},
		{name: "prefix of ours", draft: audiences([]string{gateway})},
		{name: "other provider of ours", draft: audiences([]string{gateway + "/saml/entra/metadata"})},
		{name: "empty", draft: audiences([]string{""})},
	} {
		s.why = "an assertion for another audience"
		if s.reasons == nil {
			s.reasons = []string{"audience"}
		}
		s.run(t)
	}
	scenario{
		name: "no Conditions", reasons: []string{"shape"}, why: "an assertion without conditions",
		draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Conditions = nil },
	}.run(t)
	scenario{
		name: "a condition nobody knows", reasons: []string{"condition"}, why: "core 2.5.1.1: indeterminate",
		draft: edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./Conditions").CreateElement("saml:Condition")
		}),
	}.run(t)
	scenario{
		name: "OneTimeUse and ProxyRestriction", accept: true,
		draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Conditions.OneTimeUse = &crewjam.OneTimeUse{}
			d.Assertion.Conditions.ProxyRestriction = &crewjam.ProxyRestriction{}
		},
	}.run(t)
}

func confirmation(d *ssotest.SAMLDraft) *crewjam.SubjectConfirmationData {
	return d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData
}

func TestRecipientAndDestinationS11(t *testing.T) {
	for name, url := range map[string]string{
		"other SP's ACS": "https://other.example.com/acs", "missing": "", "our host, other port": "https://sso.example.com:8443/saml/okta/acs",
		"explicit default port": "https://sso.example.com:443/saml/okta/acs", "plain http": "http://sso.example.com/saml/okta/acs",
		"other provider of ours": gateway + "/saml/entra/acs", "trailing slash": gateway + "/saml/okta/acs/", "query": gateway + "/saml/okta/acs?x",
	} {
		scenario{
			name: "Recipient " + name, why: "an assertion delivered elsewhere first", reasons: []string{"recipient"},
			draft: func(_ *fixture, d *ssotest.SAMLDraft) { confirmation(d).Recipient = url },
		}.run(t)
		scenario{
			name: "Destination of a signed response " + name, why: "a signed message must name us", reasons: []string{"destination"},
			draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.SignResponse, d.Response.Destination = true, url },
		}.run(t)
		scenario{
			name: "Destination of an unsigned response " + name, why: "sent elsewhere", reasons: []string{"destination"},
			draft:  func(_ *fixture, d *ssotest.SAMLDraft) { d.Response.Destination = url },
			accept: url == "", // bindings 3.5.5.2 demands it only of signed messages
		}.run(t)
	}
}

func TestConfirmationS14(t *testing.T) {
	const holderOfKey = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
	for _, s := range []scenario{
		{name: "no SubjectConfirmation", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.SubjectConfirmations = nil }},
		{name: "holder-of-key only", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.SubjectConfirmations[0].Method = holderOfKey
		}},
		{name: "sender-vouches only", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.SubjectConfirmations[0].Method = "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"
		}},
		{name: "no method", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.SubjectConfirmations[0].Method = "" }},
		{name: "bearer without data", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.SubjectConfirmations[0].SubjectConfirmationData = nil
		}},
		{name: "two data, good one second", draft: edit(func(f *fixture, el *etree.Element) {
			sc := find(f.t, el, "./Subject/SubjectConfirmation")
			bad := find(f.t, sc, "./SubjectConfirmationData").Copy()
			bad.CreateAttr("Recipient", "https://other.example.com/acs")
			sc.InsertChildAt(0, bad)
		})},
		{name: "no Subject", reasons: []string{"shape"}, draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject = nil }},
		{name: "holder-of-key beside a good bearer", accept: true, draft: edit(func(f *fixture, el *etree.Element) {
			sc := find(f.t, el, "./Subject/SubjectConfirmation")
			hok := sc.Copy()
			hok.CreateAttr("Method", holderOfKey)
			sc.Parent().InsertChildAt(sc.Index(), hok)
		})},
	} {
		s.why = "nothing says that the bearer may present this"
		if s.reasons == nil {
			s.reasons = []string{"confirmation"}
		}
		s.run(t)
	}
}

// at places one time of the message at an offset from now.
type at struct {
	name string
	set  func(d *ssotest.SAMLDraft, t time.Time)
	past bool // it must not be in the past (else: not in the future)
}

func timesOf() []at {
	return []at{
		{"SubjectConfirmationData NotOnOrAfter", func(d *ssotest.SAMLDraft, t time.Time) { confirmation(d).NotOnOrAfter = t }, true},
		{"Conditions NotOnOrAfter", func(d *ssotest.SAMLDraft, t time.Time) { d.Assertion.Conditions.NotOnOrAfter = t }, true},
		{"SessionNotOnOrAfter", func(d *ssotest.SAMLDraft, t time.Time) {
			d.Assertion.AuthnStatements[0].SessionNotOnOrAfter = &t
		}, true},
		{"Assertion IssueInstant", func(d *ssotest.SAMLDraft, t time.Time) { d.Assertion.IssueInstant = t }, false},
		{"Response IssueInstant", func(d *ssotest.SAMLDraft, t time.Time) { d.Response.IssueInstant = t }, false},
		{"Conditions NotBefore", func(d *ssotest.SAMLDraft, t time.Time) { d.Assertion.Conditions.NotBefore = t }, false},
		{"SubjectConfirmationData NotBefore", func(d *ssotest.SAMLDraft, t time.Time) { confirmation(d).NotBefore = t }, false},
		{"AuthnInstant", func(d *ssotest.SAMLDraft, t time.Time) { d.Assertion.AuthnStatements[0].AuthnInstant = t }, false},
	}
}

func TestTimesAndSkewS15S16(t *testing.T) {
	for _, a := range timesOf() {
		for _, c := range []struct {
			offset time.Duration
			accept bool
		}{
			{time.Second, true},
			{59 * time.Second, true},
			{61 * time.Second, false},
			{time.Hour, false},
			{24 * 365 * time.Hour, false},
		} {
			offset, reason := c.offset, "time_ahead"
			if a.past {
				offset, reason = -c.offset, "time_past"
			}
			scenario{
				name: a.name + " " + offset.String(), accept: c.accept, reasons: []string{reason},
				why:   "a time beyond the skew of 60 s",
				draft: func(f *fixture, d *ssotest.SAMLDraft) { a.set(d, f.now.Add(offset).UTC()) },
			}.run(t)
		}
	}
}

func TestOddTimesS16(t *testing.T) {
	set := func(value func(f *fixture) string) func(*fixture, *ssotest.SAMLDraft) {
		return edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./Subject/SubjectConfirmation/SubjectConfirmationData").CreateAttr("NotOnOrAfter", value(f))
		})
	}
	layout := func(zone *time.Location, layout string) func(*fixture) string {
		return func(f *fixture) string { return f.now.Add(time.Minute).In(zone).Format(layout) }
	}
	for _, s := range []scenario{
		{name: "without zone: UTC", accept: true, draft: set(layout(time.UTC, "2006-01-02T15:04:05"))},
		{name: "nanoseconds", accept: true, draft: set(layout(time.UTC, "2006-01-02T15:04:05.000000000Z"))},
		{name: "other zone", accept: true, draft: set(layout(time.FixedZone("", 7200), time.RFC3339))},
		{name: "without zone, two hours ahead by the wall", draft: set(layout(time.FixedZone("", -7200), "2006-01-02T15:04:05")), reasons: []string{"time_past"}},
		{name: "missing", draft: edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./Subject/SubjectConfirmation/SubjectConfirmationData").RemoveAttr("NotOnOrAfter")
		})},
		{name: "empty", draft: set(func(*fixture) string { return "" })},
		{name: "a date", draft: set(func(*fixture) string { return "2099-01-01" })},
		{name: "a word", draft: set(func(*fixture) string { return "never" })},
		{name: "year 10000", draft: set(func(*fixture) string { return "10000-01-01T00:00:00Z" })},
		{name: "negative year", draft: set(func(*fixture) string { return "-2099-01-01T00:00:00Z" })},
		{name: "hour 24", draft: set(func(*fixture) string { return "2099-01-01T24:00:00Z" })},
		{name: "very long", draft: set(func(*fixture) string { return "2099-01-01T00:00:00." + strings.Repeat("0", 5000) + "x" })},
	} {
		s.why = "a time that is none"
		if s.reasons == nil {
			s.reasons = []string{"time"}
		}
		s.run(t)
	}
	scenario{
		name: "assertion without IssueInstant", reasons: []string{"time"}, why: "IssueInstant is required",
		draft: edit(func(_ *fixture, el *etree.Element) { el.RemoveAttr("IssueInstant") }),
	}.run(t)
}

func TestReplayMemoryOutlivesTheAssertionButNotADayS17(t *testing.T) {
	for until, want := range map[time.Duration]time.Duration{5 * time.Minute: 6 * time.Minute, 100 * 24 * time.Hour: 24 * time.Hour} {
		f := newFixture(t)
		l := f.login()
		for _, soon := range []time.Duration{until, 2 * time.Minute} {
			a := f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) {
				confirmation(d).NotOnOrAfter = f.now.Add(24 * time.Hour).UTC()
				d.Assertion.Conditions.NotOnOrAfter = f.now.Add(min(soon, 24*time.Hour)).UTC()
			}))
			if w := min(soon+time.Minute, 24*time.Hour); !a.ReplayUntil.Equal(f.now.Add(w)) {
				t.Errorf("conditions valid for %s: remembered for %s", soon, a.ReplayUntil.Sub(f.now))
			}
		}
		set := func(d *ssotest.SAMLDraft) {
			confirmation(d).NotOnOrAfter = f.now.Add(until).UTC()
			d.Assertion.Conditions.NotOnOrAfter = f.now.Add(200 * 24 * time.Hour).UTC()
		}
		if a := f.accept(l, f.respond(l, set)); !a.ReplayUntil.Equal(f.now.Add(want)) {
			t.Errorf("valid for %s: remembered until %s", until, a.ReplayUntil.Sub(f.now))
		}
	}
}

// TestReplayKeyStaysWithTheAssertionS17: the same assertion in another Response,
// or presented to another node, has the same key.
func TestReplayKeyStaysWithTheAssertionS17(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	l := f.login()
	response := f.respond(l)
	first := f.accept(l, response)
	again := f.accept(l, response)
	rewrapped := f.accept(l, operate(t, response, func(root *etree.Element) { root.CreateAttr("ID", "_again") }))
	other.now = f.now
	elsewhere := other.accept(l, response)
	fresh := f.accept(l, f.respond(l))
	for _, a := range []string{again.ReplayKey, rewrapped.ReplayKey, elsewhere.ReplayKey} {
		if a != first.ReplayKey {
			t.Errorf("replay key %q, first %q", a, first.ReplayKey)
		}
	}
	if fresh.ReplayKey == first.ReplayKey {
		t.Error("two assertions share a replay key")
	}
}

func TestIssuerS18(t *testing.T) {
	for _, s := range []scenario{
		{name: "foreign Assertion issuer", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Issuer.Value = "https://other.example.com" }},
		{name: "foreign Response issuer", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Response.Issuer.Value = "https://other.example.com" }},
		{name: "empty Assertion issuer", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Issuer.Value = "" }},
		{name: "trailing slash", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Issuer.Value += "/" }},
		{name: "white space", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Issuer.Value += "\n" }},
		{name: "other case", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Issuer.Value = strings.ToUpper(d.Assertion.Issuer.Value)
		}},
		{name: "other format", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Issuer.Format = "urn:x" }},
		{name: "no Assertion issuer", reasons: []string{"shape"}, draft: edit(func(f *fixture, el *etree.Element) {
			el.RemoveChild(find(f.t, el, "./Issuer"))
		})},
		{name: "no Response issuer", accept: true, draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Response.Issuer = nil }},
		{name: "entity format", accept: true, draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Issuer.Format = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
		}},
	} {
		s.why = "a message of another issuer"
		if s.reasons == nil {
			s.reasons = []string{"issuer"}
		}
		s.run(t)
	}
}

func TestStatusS19(t *testing.T) {
	const prefix = "urn:oasis:names:tc:SAML:2.0:status:"
	status := func(code, nested string, drop bool) func(*fixture, *ssotest.SAMLDraft) {
		return func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Response.Status.StatusCode.Value = code
			if nested != "" {
				d.Response.Status.StatusCode.StatusCode = &crewjam.StatusCode{Value: nested}
			}
			d.Response.Status.StatusMessage = &crewjam.StatusMessage{Value: "because"}
			if drop {
				d.Assertion = nil
			}
		}
	}
	for _, s := range []scenario{
		{name: "Requester with an assertion", draft: status(prefix+"Requester", "", false)},
		{name: "Success with nested AuthnFailed", draft: status(prefix+"Success", prefix+"AuthnFailed", false)},
		{name: "Responder without assertion", draft: status(prefix+"Responder", prefix+"NoPassive", true)},
		{name: "empty", draft: status("", "", false)},
		{name: "other case", draft: status(prefix+"success", "", false)},
		{name: "white space", draft: status(prefix+"Success ", "", false)},
		{name: "cancelled at the IdP", draft: status(prefix+"Responder", prefix+"AuthnFailed", true), reasons: []string{"access_denied"}},
		{name: "denied at the IdP", draft: status(prefix+"Responder", prefix+"RequestDenied", true), reasons: []string{"access_denied"}},
		{name: "Success without assertion", reasons: []string{"assertion_count"}, draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion = nil }},
		{name: "two codes", reasons: []string{"shape"}, surgery: func(f *fixture, root *etree.Element) {
			c := find(f.t, root, "./Status/StatusCode")
			c.Parent().AddChild(c.Copy())
		}},
		{name: "no status", reasons: []string{"shape"}, surgery: func(f *fixture, root *etree.Element) {
			root.RemoveChild(find(f.t, root, "./Status"))
		}},
	} {
		s.why = "the IdP said no"
		if s.reasons == nil {
			s.reasons = []string{"status"}
		}
		s.run(t)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range []string{"", "1.1", "2", "2.0 ", "3.0"} {
		scenario{
			name: "Response " + v, reasons: []string{"version"}, why: "another version",
			draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Response.Version = v },
		}.run(t)
		scenario{
			name: "Assertion " + v, reasons: []string{"version"}, why: "another version",
			draft: edit(func(_ *fixture, el *etree.Element) { el.CreateAttr("Version", v) }),
		}.run(t)
	}
}

func TestSubjectS20(t *testing.T) {
	nameID := func(value string) func(*fixture, *ssotest.SAMLDraft) {
		return func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.NameID.Value = value }
	}
	format := func(name string) func(*fixture, *ssotest.SAMLDraft) {
		return func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.NameID.Format = name }
	}
	const persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	for _, s := range []scenario{
		{name: "empty NameID", draft: nameID("")},
		{name: "white space only", draft: nameID(" \n")},
		{name: "white space around", draft: nameID("alice ")},
		{name: "10 KB", draft: nameID(strings.Repeat("a", 10<<10))},
		{name: "257 characters", draft: nameID(strings.Repeat("é", 257))},
		{name: "newline inside", draft: nameID("alice\nbob")},
		{name: "zero-width space inside", draft: nameID("ali\u200bce")},
		{name: "right-to-left override", draft: nameID("alice\u202e")},
		{name: "no NameID", draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.Subject.NameID = nil }},
		{name: "two NameIDs", draft: edit(func(f *fixture, el *etree.Element) {
			id := find(f.t, el, "./Subject/NameID")
			other := id.Copy()
			other.SetText("mallory")
			id.Parent().InsertChildAt(id.Index()+1, other)
		})},
		{name: "BaseID", draft: edit(func(f *fixture, el *etree.Element) { find(f.t, el, "./Subject/NameID").Tag = "BaseID" })},
		{name: "EncryptedID", reasons: []string{"encrypted_id"}, draft: edit(func(f *fixture, el *etree.Element) {
			find(f.t, el, "./Subject/NameID").Tag = "EncryptedID"
		})},
		{name: "transient", reasons: []string{"name_id_transient"}, draft: format("urn:oasis:names:tc:SAML:2.0:nameid-format:transient")},
		{name: "encrypted format", reasons: []string{"encrypted_id"}, draft: format("urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted")},
		{name: "persistent", accept: true, draft: format(persistent)},
		{name: "persistent of another SP", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.NameID.Format, d.Assertion.Subject.NameID.SPNameQualifier = persistent, "https://other.example.com"
		}},
		{name: "persistent of another IdP", draft: func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.Subject.NameID.Format, d.Assertion.Subject.NameID.NameQualifier = persistent, "https://other.example.com"
		}},
		{name: "two Subjects", reasons: []string{"shape"}, draft: edit(func(f *fixture, el *etree.Element) {
			s := find(f.t, el, "./Subject")
			el.InsertChildAt(s.Index(), s.Copy())
		})},
		{name: "no AuthnStatement", reasons: []string{"shape"}, draft: func(_ *fixture, d *ssotest.SAMLDraft) { d.Assertion.AuthnStatements = nil }},
	} {
		s.why = "a subject that is not exactly one stable name"
		if s.reasons == nil {
			s.reasons = []string{"subject"}
		}
		s.run(t)
	}
}

func TestAttributesS21(t *testing.T) {
	attribute := func(name, friendly string, values ...string) crewjam.Attribute {
		a := crewjam.Attribute{Name: name, FriendlyName: friendly}
		for _, v := range values {
			a.Values = append(a.Values, crewjam.AttributeValue{Type: "xs:string", Value: v})
		}
		return a
	}
	with := func(attrs ...crewjam.Attribute) func(*fixture, *ssotest.SAMLDraft) {
		return func(_ *fixture, d *ssotest.SAMLDraft) {
			d.Assertion.AttributeStatements = []crewjam.AttributeStatement{{Attributes: attrs}}
		}
	}
	for _, s := range []scenario{
		{name: "two e-mail values", draft: with(attribute("email", "", "a@example.com", "b@example.com"))},
		{name: "e-mail in two attributes", draft: with(attribute("email", "", "a@example.com"), attribute("email", "", "b@example.com"))},
		{name: "control character in e-mail", draft: with(attribute("email", "", "a@example.com\r\nBcc: b"))},
		{name: "very long e-mail", draft: with(attribute("email", "", strings.Repeat("a", 10<<10)))},
		{name: "same e-mail twice", draft: with(attribute("email", "", "a@example.com", "a@example.com")), accept: true},
	} {
		s.why, s.reasons = "an e-mail address chosen among several", []string{"attributes"}
		s.run(t)
	}
	f := newFixture(t)
	l := f.login()
	a := f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) {
		with(attribute("role", "email", "victim@example.com"), attribute("nick", "displayName", "Owner"), attribute("x", "groups", "admins"))(f, d)
	}))
	if a.Profile.Email != "" || a.Profile.DisplayName != "" || len(a.Groups) != 0 {
		t.Errorf("a FriendlyName was believed: %+v %q", a.Profile, a.Groups)
	}
	// Labels are for people: made harmless rather than refused.
	a = f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) {
		with(attribute("displayName", "", "  Alice\r\n\tL. \u202e", "Second"), attribute("givenName", "", strings.Repeat("é", 2000)))(f, d)
	}))
	if a.Profile.DisplayName != "Alice L." || len(a.Profile.GivenName) > 512 || !strings.HasPrefix(a.Profile.GivenName, "éé") {
		t.Errorf("labels %q and %d bytes", a.Profile.DisplayName, len(a.Profile.GivenName))
	}
	// Groups whole or not at all.
	many := make([]string, 600)
	for i := range many {
		many[i] = "group-with-a-name-of-some-length"
	}
	a = f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) { with(attribute("groups", "", many...))(f, d) }))
	if len(a.Groups) != 0 {
		t.Errorf("%d groups of a list that is too long", len(a.Groups))
	}
}

func TestNamesOfTheUsualIdPs(t *testing.T) {
	const claims = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	for name, attrs := range map[string][2]string{
		"Okta": {"email", "displayName"}, "Entra": {claims + "emailaddress", "http://schemas.microsoft.com/identity/claims/displayname"},
		"X.500": {"urn:oid:0.9.2342.19200300.100.1.3", "urn:oid:2.16.840.1.113730.3.1.241"}, "OneLogin": {"User.email", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			l := f.login()
			a := f.accept(l, f.respond(l, func(d *ssotest.SAMLDraft) {
				st := &d.Assertion.AttributeStatements[0]
				for i := range st.Attributes {
					switch st.Attributes[i].Name {
					case "email":
						st.Attributes[i].Name = attrs[0]
					case "displayName":
						st.Attributes[i].Name = attrs[1]
					}
				}
			}))
			if a.Profile.Email != "alice@example.com" || (attrs[1] != "" && a.Profile.DisplayName != "Alice Liddell") {
				t.Errorf("profile %+v", a.Profile)
			}
		})
	}
}

func TestConfiguredNamesReplaceTheUsualOnes(t *testing.T) {
	f := newFixture(t, func(p *settings.Provider) {
		p.Attributes = settings.Attributes{UserName: []string{"none", "displayName"}, Email: []string{"givenName"}}
	})
	l := f.login()
	a, err := f.present(l, f.respond(l))
	f.ok(err)
	if a.Profile.UserName != "Alice Liddell" || a.Profile.Email != "Alice" || a.Identity.Subject != "alice" {
		t.Errorf("%+v %+v", a.Identity, a.Profile)
	}
}

func TestEmailFromAnEmailNameIDOnly(t *testing.T) {
	f := newFixture(t)
	l := f.login()
	for format, want := range map[string]string{
		"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress": "alice@example.com",
		"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified":  "",
	} {
		a, err := f.present(l, f.respond(l, func(d *ssotest.SAMLDraft) {
			d.Assertion.AttributeStatements = nil
			d.Assertion.Subject.NameID.Format, d.Assertion.Subject.NameID.Value = format, "alice@example.com"
		}))
		f.ok(err)
		if a.Profile.Email != want || a.Profile.UserName != "alice@example.com" {
			t.Errorf("%s: %+v", format, a.Profile)
		}
	}
}
