package saml_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	crewjam "github.com/crewjam/saml"
	saml2 "github.com/russellhaering/gosaml2"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/saml"
)

// presented is a document that a test posted, and what became of it here.
type presented struct {
	name     string // of the test
	at       time.Time
	f        *fixture
	l        sso.Login
	response string
	ours     sso.Assertion
	err      error
}

// onPresent sees every document that any test of this package posts.
var onPresent func(presented)

// documents are the tests of which every document, the attacks and their benign
// twins, is shown to the other libraries too.
var documents = []struct {
	name string
	test func(*testing.T)
}{
	{"TestEverySigningStyleIsAccepted", TestEverySigningStyleIsAccepted},
	{"TestSignInBringsIdentityProfileAndReplayKey", TestSignInBringsIdentityProfileAndReplayKey},
	{"TestWrappingS01", TestWrappingS01},
	{"TestWrappingNeverYieldsAnotherPersonS01", TestWrappingNeverYieldsAnotherPersonS01},
	{"TestNoByteOfAnAssertionCanBeChangedS01", TestNoByteOfAnAssertionCanBeChangedS01},
	{"TestOneAssertionS02", TestOneAssertionS02},
	{"TestIdentityOfIDsS03", TestIdentityOfIDsS03},
	{"TestSignatureIsNeededS04", TestSignatureIsNeededS04},
	{"TestTrustAnchorS05", TestTrustAnchorS05},
	{"TestForgedSignatureOfTheUsualKindIsAccepted", TestForgedSignatureOfTheUsualKindIsAccepted},
	{"TestAlgorithmsS06", TestAlgorithmsS06},
	{"TestReferencesS07", TestReferencesS07},
	{"TestTextIsNotSplitS08", TestTextIsNotSplitS08},
	{"TestCDATAIsReadInFullS08", TestCDATAIsReadInFullS08},
	{"TestXMLDeclarationIsAllowed", TestXMLDeclarationIsAllowed},
	{"TestDTDS09", TestDTDS09},
	{"TestAudienceS10", TestAudienceS10},
	{"TestRecipientAndDestinationS11", TestRecipientAndDestinationS11},
	{"TestInResponseToS12", TestInResponseToS12},
	{"TestUnsolicitedS13", TestUnsolicitedS13},
	{"TestConfirmationS14", TestConfirmationS14},
	{"TestTimesAndSkewS15S16", TestTimesAndSkewS15S16},
	{"TestOddTimesS16", TestOddTimesS16},
	{"TestReplayMemoryOutlivesTheAssertionButNotADayS17", TestReplayMemoryOutlivesTheAssertionButNotADayS17},
	{"TestReplayKeyStaysWithTheAssertionS17", TestReplayKeyStaysWithTheAssertionS17},
	{"TestIssuerS18", TestIssuerS18},
	{"TestStatusS19", TestStatusS19},
	{"TestVersions", TestVersions},
	{"TestSubjectS20", TestSubjectS20},
	{"TestAttributesS21", TestAttributesS21},
	{"TestDecryptionDoesNotCrashS22", TestDecryptionDoesNotCrashS22},
	{"TestNoOracleS23", TestNoOracleS23},
	{"TestEncryptionIsNoSignatureS24", TestEncryptionIsNoSignatureS24},
	{"TestEncryptionThatIsAcceptedS25", TestEncryptionThatIsAcceptedS25},
	{"TestSizesS26", TestSizesS26},
	{"TestManyGroupsAreReadable", TestManyGroupsAreReadable},
	{"TestRelayStateS27", TestRelayStateS27},
	{"TestLanesS30", TestLanesS30},
	{"TestDisabledProviderS30", TestDisabledProviderS30},
	{"TestExpiredCertificateIsRefused", TestExpiredCertificateIsRefused},
	{"TestECDSASignatureInItsTwoForms", TestECDSASignatureInItsTwoForms},
}

// other is what another library makes of a document.
type other struct {
	subject string // "" if refused
	err     error
}

// verdicts on a document, as the table has them
const (
	no   = "no"
	yes  = "yes"
	evil = "MALLORY" // accepted, and somebody else is signed in
)

func (o other) verdict() string {
	switch {
	case o.err != nil:
		return no
	case o.subject == "mallory":
		return evil
	}
	return yes
}

// guarded turns a panic of a library into its refusal.
func guarded(read func() (string, error)) (o other) {
	defer func() {
		if v := recover(); v != nil {
			o = other{err: fmt.Errorf("panic: %v", v)}
		}
	}()
	subject, err := read()
	return other{subject, err}
}

// trust is what a fixture's provider believes in.
func (p presented) trust(t *testing.T) (certs []*x509.Certificate) {
	t.Helper()
	ders := [][]byte{}
	if len(p.f.set.MetadataXML) > 0 {
		var e crewjam.EntityDescriptor
		p.f.ok(xml.Unmarshal(p.f.set.MetadataXML, &e))
		for _, k := range e.IDPSSODescriptors[0].KeyDescriptors {
			if k.Use == "encryption" {
				continue
			}
			for _, c := range k.KeyInfo.X509Data.X509Certificates {
				der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(c.Data), ""))
				p.f.ok(err)
				ders = append(ders, der)
			}
		}
	}
	for _, c := range p.f.set.Certificates {
		block, _ := pem.Decode([]byte(c))
		ders = append(ders, block.Bytes)
	}
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		p.f.ok(err)
		certs = append(certs, c)
	}
	return certs
}

// crewjam is the verdict of crewjam/saml, set up as its users do, with our skew.
func (p presented) crewjam(t *testing.T) other {
	t.Helper()
	acs, err := url.Parse(p.f.p.ACS())
	p.f.ok(err)
	var keys []crewjam.KeyDescriptor
	for _, c := range p.trust(t) {
		k := crewjam.KeyDescriptor{Use: "signing"}
		k.KeyInfo.X509Data.X509Certificates = []crewjam.X509Certificate{{Data: base64.StdEncoding.EncodeToString(c.Raw)}}
		keys = append(keys, k)
	}
	entity := &crewjam.EntityDescriptor{EntityID: p.f.idp.EntityID(), IDPSSODescriptors: []crewjam.IDPSSODescriptor{{
		SSODescriptor: crewjam.SSODescriptor{RoleDescriptor: crewjam.RoleDescriptor{KeyDescriptors: keys}},
	}}}
	sp := crewjam.ServiceProvider{
		EntityID: p.f.p.EntityID(), AcsURL: *acs, IDPMetadata: entity, Key: p.f.k.sp, Certificate: p.f.k.spCert,
	}
	clock, skew := crewjam.TimeNow, crewjam.MaxClockSkew
	crewjam.TimeNow, crewjam.MaxClockSkew = func() time.Time { return p.at }, saml.Skew
	defer func() { crewjam.TimeNow, crewjam.MaxClockSkew = clock, skew }()
	return guarded(func() (string, error) {
		raw, err := base64.StdEncoding.DecodeString(p.response)
		if err != nil {
			return "", err
		}
		a, err := sp.ParseXMLResponse(raw, []string{p.l.Start.RequestID}, *acs)
		if why, ok := errors.AsType[*crewjam.InvalidResponseError](err); ok {
			err = why.PrivateErr
		}
		if err != nil {
			return "", err
		}
		return a.Subject.NameID.Value, nil
	})
}

// gosaml2 is the verdict of russellhaering/gosaml2 and of a careful caller of
// it, who takes its warnings for refusals.
func (p presented) gosaml2(t *testing.T) other {
	t.Helper()
	sp := saml2.SAMLServiceProvider{
		IdentityProviderIssuer: p.f.idp.EntityID(), ServiceProviderIssuer: p.f.p.EntityID(),
		AssertionConsumerServiceURL: p.f.p.ACS(), AudienceURI: p.f.p.EntityID(),
		IDPCertificateStore: &dsig.MemoryX509CertificateStore{Roots: p.trust(t)},
		SPKeyStore:          dsig.TLSCertKeyStore(tls.Certificate{Certificate: [][]byte{p.f.k.spCert.Raw}, PrivateKey: p.f.k.sp}),
		Clock:               dsig.NewFakeClockAt(p.at), AllowMissingAttributes: true,
	}
	return guarded(func() (string, error) {
		info, err := sp.RetrieveAssertionInfo(p.response)
		switch {
		case err != nil:
			return "", err
		case info.WarningInfo.InvalidTime:
			return "", errors.New("warning: invalid time")
		case info.WarningInfo.NotInAudience:
			return "", errors.New("warning: not in audience")
		}
		return info.NameID, nil
	})
}

// TestDifferential shows every document of the tests above to crewjam/saml and
// to russellhaering/gosaml2. Where all three agree nothing is said; where they
// do not, [disagreements] says who and why. A disagreement that is not in it
// fails, and so does a line of it that no document bears out any more.
//
// What we accept and both others refuse would be a hole or a new feature: such a
// line is only allowed where it is marked as wider, and why is the argument.
func TestDifferential(t *testing.T) {
	if stride > 1 {
		t.Skip("the race detector finds nothing here and takes minutes: make test runs it without")
	}
	var all []presented
	onPresent = func(p presented) { all = append(all, p) }
	defer func() { onPresent = nil }()
	for _, d := range documents {
		t.Run(d.name, d.test)
	}
	if t.Failed() {
		return
	}
	onPresent = nil
	want := map[string]bool{} // by line, whether it was seen
	wider := map[string]bool{}
	for _, d := range disagreements {
		for _, c := range d.cases {
			line := disagreement(c, d.ours, d.crewjam, d.gosaml2)
			if _, twice := want[line]; twice {
				t.Errorf("twice in the table: %s", line)
			}
			want[line], wider[line] = false, d.wider
		}
	}
	for _, p := range all {
		p.f.t = t
		c, g := p.crewjam(t), p.gosaml2(t)
		if p.err == nil {
			for library, o := range map[string]other{"crewjam": c, "gosaml2": g} {
				if o.err == nil && o.subject != p.ours.Identity.Subject {
					t.Errorf("%s: %s reads %q, we read %q", p.name, library, o.subject, p.ours.Identity.Subject)
				}
			}
		}
		if (p.err == nil) == (c.err == nil) && c.verdict() == g.verdict() {
			continue
		}
		line := disagreement(strings.TrimPrefix(p.name, t.Name()+"/"), saml.Reason(p.err), c.verdict(), g.verdict())
		if _, known := want[line]; !known {
			t.Errorf("a new disagreement: %s\n\tours: %v\n\tcrewjam: %.200v\n\tgosaml2: %.200v", line, p.err, c.err, g.err)
			continue
		}
		want[line] = true
		if p.err == nil && c.err != nil && g.err != nil && !wider[line] {
			t.Errorf("only we accept %s", line)
		}
	}
	for line, seen := range want {
		if !seen {
			t.Errorf("no document bears this out any more: %s", line)
		}
	}
	t.Logf("%d documents, %d lines of disagreement", len(all), len(want))
}

func disagreement(name, ours, crewjam, gosaml2 string) string {
	if ours == "" {
		ours = yes
	}
	return fmt.Sprintf("%s: ours %s, crewjam %s, gosaml2 %s", name, ours, crewjam, gosaml2)
}

// TestDifferentialMissesNoRow: every test of a row that is about documents has
// its documents compared.
func TestDifferentialMissesNoRow(t *testing.T) {
	// Not about a Response: forms, metadata, logout.
	exempt := regexp.MustCompile(`S28$|S29|S31$`)
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	known := map[string]bool{}
	for _, d := range documents {
		known[d.name] = true
	}
	row := regexp.MustCompile(`(?m)^func (Test\w*S[0-3]\d\w*)\(`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			if !known[m[1]] && !exempt.MatchString(m[1]) {
				t.Errorf("%s in %s is not compared: add it to documents", m[1], name)
			}
		}
	}
}
