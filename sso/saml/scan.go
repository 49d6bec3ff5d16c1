package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Names of namespaces.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsDSig      = "http://www.w3.org/2000/09/xmldsig#"
	nsExcC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
	nsXMLEnc    = "http://www.w3.org/2001/04/xmlenc#"
	nsXMLEnc11  = "http://www.w3.org/2009/xmlenc11#"
	nsXML       = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS     = "http://www.w3.org/2000/xmlns/"
)

// limits bound one document before any tree is built from it.
type limits struct {
	tokens     int
	depth      int
	attributes int  // of one element
	namespaces int  // declarations in scope at one element: canonicalisation is elements x this
	remarks    bool // comments and processing instructions may occur (metadata only)
}

// A Response of the largest real kind (a person in a thousand groups) has some
// 8,000 tokens, depth 12, and 10 namespaces in scope.
var (
	responseLimits = limits{tokens: 20_000, depth: 64, attributes: 64, namespaces: 64}
	metadataLimits = limits{tokens: 100_000, depth: 64, attributes: 64, namespaces: 64, remarks: true}
)

// ncName is what an ID may look like (XML Namespaces, NCName), in ASCII.
// goxmldsig and the reference check both rely on it having no escapes.
var ncName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.\-]{0,255}$`)

// scan is step 2: it walks the raw tokens once, before any parser that builds
// a tree or resolves anything, and refuses every construct by which two XML
// readers have been brought to disagree: DTDs (entities), comments and
// processing instructions (text split in two, CVE-2017-11427 and its kin),
// duplicate attributes, two elements with one ID, an ID under another name,
// undeclared or relative namespaces (void canonicalisation), and names that
// encoding/xml is known to read differently after writing them out again
// (CVE-2020-29509 to 29511), as goxmldsig does.
//
// It runs in linear time and refuses with sso.VerifyError.
func scan(raw []byte, l limits) error {
	if !utf8.Valid(raw) {
		return refuse("xml_malformed", "not UTF-8")
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	s := scanner{limits: l, ids: map[string]struct{}{}}
	for {
		start := d.InputOffset()
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return refuse("xml_malformed", "%w", err)
		}
		if s.tokens++; s.tokens > l.tokens {
			return refuse("xml_limit", "more than %d tokens", l.tokens)
		}
		if err := s.token(token, start); err != nil {
			return err
		}
	}
	if len(s.open) != 0 || s.roots != 1 {
		return refuse("xml_malformed", "%d root elements, %d left open", s.roots, len(s.open))
	}
	return nil
}

type scanner struct {
	limits limits
	tokens int
	roots  int
	open   []frame
	scope  []binding
	ids    map[string]struct{}
}

type frame struct {
	name  xml.Name
	scope int // length of scanner.scope outside this element
}

type binding struct{ prefix, uri string }

func (s *scanner) token(token xml.Token, start int64) error {
	switch t := token.(type) {
	case xml.StartElement:
		return s.start(t)
	case xml.EndElement:
		if len(s.open) == 0 || s.open[len(s.open)-1].name != t.Name {
			return refuse("xml_malformed", "end of %s does not match its start", quote(t.Name.Local))
		}
		s.scope = s.scope[:s.open[len(s.open)-1].scope]
		s.open = s.open[:len(s.open)-1]
	case xml.CharData:
		if len(s.open) == 0 && len(bytes.TrimLeft(t, " \t\r\n")) != 0 {
			return refuse("xml_malformed", "text outside the root element")
		}
	case xml.Directive:
		return refuse("xml_dtd", "document type declaration")
	case xml.Comment:
		if !s.limits.remarks {
			return refuse("xml_comment", "comment")
		}
	case xml.ProcInst:
		// The XML declaration is no processing instruction, but encoding/xml
		// reports it as one; many IdPs send it. RawToken has checked version
		// and encoding.
		if (t.Target != "xml" || start != 0) && !s.limits.remarks {
			return refuse("xml_pi", "processing instruction %s", quote(t.Target))
		}
	}
	return nil
}

func (s *scanner) start(t xml.StartElement) error {
	if len(s.open) == 0 {
		s.roots++
	}
	if len(s.open) >= s.limits.depth {
		return refuse("xml_limit", "deeper than %d elements", s.limits.depth)
	}
	if len(t.Attr) > s.limits.attributes {
		return refuse("xml_limit", "%d attributes on %s", len(t.Attr), quote(t.Name.Local))
	}
	s.open = append(s.open, frame{name: t.Name, scope: len(s.scope)})
	for _, a := range t.Attr {
		if err := s.declare(a); err != nil {
			return err
		}
	}
	if len(s.scope) > s.limits.namespaces {
		return refuse("xml_limit", "more than %d namespace declarations in scope", s.limits.namespaces)
	}
	if _, err := s.resolve(t.Name, true); err != nil {
		return err
	}
	return s.attributes(t)
}

// declare records a namespace declaration.
func (s *scanner) declare(a xml.Attr) error {
	var prefix string
	switch {
	case a.Name.Space == "xmlns":
		prefix = a.Name.Local
	case a.Name.Space == "" && a.Name.Local == "xmlns":
	default:
		return nil
	}
	// Row S07: canonicalisation of a relative namespace is undefined, and some
	// libraries then digest nothing at all. An empty one may only undo a default.
	if u, err := url.Parse(a.Value); err != nil || (!u.IsAbs() && (a.Value != "" || prefix != "")) {
		return refuse("xml_namespace", "relative or malformed namespace %s", quote(a.Value))
	}
	if prefix != "" && !plainName(prefix) {
		return refuse("xml_malformed", "prefix %s", quote(prefix))
	}
	if prefix == "xml" || prefix == "xmlns" || a.Value == nsXML || a.Value == nsXMLNS {
		return refuse("xml_namespace", "reserved namespace redeclared")
	}
	s.scope = append(s.scope, binding{prefix, a.Value})
	return nil
}

// resolve returns the namespace of a name, refusing prefixes nobody declared.
func (s *scanner) resolve(n xml.Name, element bool) (string, error) {
	if !plainName(n.Local) || (n.Space != "" && !plainName(n.Space)) {
		return "", refuse("xml_malformed", "name %s:%s", quote(n.Space), quote(n.Local))
	}
	if n.Space == "" && !element {
		return "", nil
	}
	if n.Space == "xml" {
		return nsXML, nil
	}
	for i := len(s.scope) - 1; i >= 0; i-- {
		if s.scope[i].prefix == n.Space {
			return s.scope[i].uri, nil
		}
	}
	if n.Space == "" {
		return "", nil
	}
	return "", refuse("xml_namespace", "prefix %s is not declared", quote(n.Space))
}

// plainName is an NCName in ASCII: all that SAML and XML signature use. It is a
// loop because it runs for every name of the document.
func plainName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		switch {
		case 'a' <= c && c <= 'z', s[i] == '_':
		case i > 0 && ('0' <= s[i] && s[i] <= '9' || s[i] == '-' || s[i] == '.'):
		default:
			return false
		}
	}
	return s != ""
}

func (s *scanner) attributes(t xml.StartElement) error {
	var seen map[xml.Name]struct{}
	if len(t.Attr) > 1 {
		seen = make(map[xml.Name]struct{}, len(t.Attr))
	}
	for _, a := range t.Attr {
		name := a.Name
		if name.Space != "xmlns" && (name.Space != "" || name.Local != "xmlns") {
			uri, err := s.resolve(name, false)
			if err != nil {
				return err
			}
			name.Space = uri
		}
		// By expanded name: two prefixes may stand for one namespace.
		if _, dup := seen[name]; dup {
			return refuse("xml_duplicate_attribute", "attribute %s twice on %s", quote(name.Local), quote(t.Name.Local))
		}
		if seen != nil {
			seen[name] = struct{}{}
		}
		if err := s.id(a); err != nil {
			return err
		}
	}
	return nil
}

// id keeps every ID of the document unique, whatever schema calls it ID (SAML),
// Id (XML signature, XML encryption) or id. Row S03: etree looks attributes up
// by local name, so a prefixed one could stand in for the real one.
func (s *scanner) id(a xml.Attr) error {
	if !strings.EqualFold(a.Name.Local, "id") || a.Name.Space == "xmlns" {
		return nil
	}
	if a.Name.Space != "" {
		return refuse("xml_duplicate_id", "ID attribute with prefix %s", quote(a.Name.Space))
	}
	if !ncName.MatchString(a.Value) {
		return refuse("xml_malformed", "ID %s", quote(a.Value))
	}
	if _, dup := s.ids[a.Value]; dup {
		return refuse("xml_duplicate_id", "ID %s twice", quote(a.Value))
	}
	s.ids[a.Value] = struct{}{}
	return nil
}
