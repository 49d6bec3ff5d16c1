package saml

import (
	"strings"

	"github.com/beevik/etree"
)

// parse builds a tree from scanned bytes.
func parse(raw []byte) (*etree.Element, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		return nil, refuse("xml_malformed", "%w", err)
	}
	root := doc.Root()
	if root == nil {
		return nil, refuse("xml_malformed", "no root element")
	}
	return root, nil
}

// is compares expanded names.
func is(el *etree.Element, ns, tag string) bool {
	return el != nil && el.Tag == tag && el.NamespaceURI() == ns
}

// attr reads an attribute that has no prefix. etree's SelectAttr would also
// answer a prefixed one of that local name.
func attr(el *etree.Element, name string) string {
	for _, a := range el.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value
		}
	}
	return ""
}

// text is the whole text of an element that may hold nothing else. A child in
// the middle must not make a reader stop half-way (row S08).
func text(el *etree.Element) (string, error) {
	var b strings.Builder
	for _, c := range el.Child {
		t, ok := c.(*etree.CharData)
		if !ok {
			return "", refuse("shape", "%s holds more than text", quote(el.Tag))
		}
		b.WriteString(t.Data)
	}
	return b.String(), nil
}

// slot is one place in a content model.
type slot struct {
	ns, tag  string
	min, max int
	loose    bool // may be mixed in any order with the loose slots next to it
}

// content are the children of an element, by slot index.
type content [][]*etree.Element

// one is the only child of a slot, or nil.
func (c content) one(i int) *etree.Element {
	if len(c[i]) == 0 {
		return nil
	}
	return c[i][0]
}

// children sorts the child elements of el into the slots of its content model
// and refuses anything that is out of place: an unknown element, one too many,
// one missing, wrong order, or text between them. Wrapping attacks (rows S01,
// S02) live in places where a lenient reader looks away.
func children(el *etree.Element, model ...slot) (content, error) {
	found := make(content, len(model))
	at := 0
	for _, c := range el.Child {
		if t, ok := c.(*etree.CharData); ok {
			if strings.Trim(t.Data, " \t\r\n") != "" {
				return nil, refuse("shape", "text in %s", quote(el.Tag))
			}
			continue
		}
		child, ok := c.(*etree.Element)
		if !ok {
			return nil, refuse("shape", "unexpected content in %s", quote(el.Tag))
		}
		i := seek(model, at, child)
		if i < 0 {
			return nil, refuse("shape", "%s does not belong here in %s", quote(child.FullTag()), quote(el.Tag))
		}
		if len(found[i]) >= model[i].max {
			return nil, refuse("shape", "too many %s in %s", quote(child.Tag), quote(el.Tag))
		}
		found[i] = append(found[i], child)
		at = i
		for model[at].loose && at > 0 && model[at-1].loose {
			at--
		}
	}
	for i, s := range model {
		if len(found[i]) < s.min {
			return nil, refuse("shape", "no %s in %s", s.tag, quote(el.Tag))
		}
	}
	return found, nil
}

func seek(model []slot, from int, el *etree.Element) int {
	for i := from; i < len(model); i++ {
		if is(el, model[i].ns, model[i].tag) {
			return i
		}
	}
	return -1
}

// Slots of a Response (saml-schema-protocol-2.0.xsd). Extensions are left out
// on purpose: no IdP we know sends them and wrapped copies hide there.
const (
	respIssuer = iota
	respSignature
	respStatus
	respAssertion
	respEncrypted
)

var responseModel = []slot{
	respIssuer:    {nsAssertion, "Issuer", 0, 1, false},
	respSignature: {nsDSig, "Signature", 0, 1, false},
	respStatus:    {nsProtocol, "Status", 1, 1, false},
	respAssertion: {nsAssertion, "Assertion", 0, 1, false},
	respEncrypted: {nsAssertion, "EncryptedAssertion", 0, 1, false},
}

// Slots of an Assertion (saml-schema-assertion-2.0.xsd). The statements may
// come in any order: ADFS puts attributes first, Okta authentication.
const (
	asrtIssuer = iota
	asrtSignature
	asrtSubject
	asrtConditions
	asrtAdvice
	asrtAuthn
	asrtAttributes
	asrtAuthz
)

var assertionModel = []slot{
	asrtIssuer:     {nsAssertion, "Issuer", 1, 1, false},
	asrtSignature:  {nsDSig, "Signature", 0, 1, false},
	asrtSubject:    {nsAssertion, "Subject", 1, 1, false},
	asrtConditions: {nsAssertion, "Conditions", 1, 1, false},
	asrtAdvice:     {nsAssertion, "Advice", 0, 1, false},
	asrtAuthn:      {nsAssertion, "AuthnStatement", 1, 8, true},
	asrtAttributes: {nsAssertion, "AttributeStatement", 0, 8, true},
	asrtAuthz:      {nsAssertion, "AuthzDecisionStatement", 0, 8, true},
}

// envelope is a Response whose outer shape is right. Nothing in it is trusted.
type envelope struct {
	root      *etree.Element
	parts     content
	assertion *etree.Element // exactly one of these two, unless the status is an error
	encrypted *etree.Element
}

// open is step 3 for the Response. A Response with an error status carries no
// assertion; that is for the caller to tell.
func open(root *etree.Element) (*envelope, error) {
	if !is(root, nsProtocol, "Response") {
		return nil, refuse("shape", "root is %s, not a Response", quote(root.FullTag()))
	}
	if v := attr(root, "Version"); v != "2.0" {
		return nil, refuse("version", "Response version %s", quote(v))
	}
	if attr(root, "ID") == "" {
		return nil, refuse("shape", "Response without ID")
	}
	// Count before the content model, so that a second assertion anywhere is
	// refused under its own name (row S02).
	if err := census(root); err != nil {
		return nil, err
	}
	parts, err := children(root, responseModel...)
	if err != nil {
		return nil, err
	}
	return &envelope{
		root: root, parts: parts,
		assertion: parts.one(respAssertion), encrypted: parts.one(respEncrypted),
	}, nil
}

// census counts, in the whole tree and in any namespace, the elements of which
// a second copy means that somebody wraps one message in another. A signature
// may stand only directly in a Response or an Assertion.
func census(root *etree.Element) error {
	counts := map[string]int{}
	var walk func(el *etree.Element) error
	walk = func(el *etree.Element) error {
		switch el.Tag {
		case "Response", "Assertion", "EncryptedAssertion":
			counts[el.Tag]++
		case "Signature":
			if p := el.Parent(); p == nil || (p.Tag != "Response" && p.Tag != "Assertion") {
				return refuse("shape", "signature in an unexpected place")
			}
		case "EncryptedID", "EncryptedAttribute", "NewEncryptedID":
			return refuse("encrypted_id", "%s is not supported", el.Tag)
		case "Object":
			return refuse("shape", "signature carries an Object")
		}
		for _, c := range el.ChildElements() {
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		return err
	}
	if counts["Assertion"]+counts["EncryptedAssertion"] > 1 || counts["Response"] > 1 {
		return refuse("assertion_count", "%d responses, %d assertions, %d encrypted assertions",
			counts["Response"], counts["Assertion"], counts["EncryptedAssertion"])
	}
	return nil
}
