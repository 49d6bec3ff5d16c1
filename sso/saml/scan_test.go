package saml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	xrv "github.com/mattermost/xml-roundtrip-validator"
)

func TestScanTellsWhatItRefuses(t *testing.T) {
	for _, c := range []struct{ name, doc, reason string }{
		{"benign", `<?xml version="1.0"?><a xmlns="urn:a" xmlns:b="urn:b" b:c="1" d="2" ID="_1"><b:e Id="_2">text &amp; more</b:e></a>`, ""},
		{"default namespace undone", `<a xmlns="urn:a"><b xmlns=""/></a>`, ""},
		{"same local name in two namespaces", `<a xmlns:x="urn:x" xmlns:y="urn:y" x:k="" y:k="" k=""/>`, ""},
		{"prefix reused for another namespace", `<a xmlns:x="urn:x"><b xmlns:x="urn:y" x:k=""/></a>`, ""},
		{"duplicate attribute", `<a k="1" k="2"/>`, "xml_duplicate_attribute"},
		{"duplicate by namespace", `<a xmlns:x="urn:x" xmlns:y="urn:x" x:k="" y:k=""/>`, "xml_duplicate_attribute"},
		{"duplicate declaration", `<a xmlns:x="urn:x" xmlns:x="urn:y"/>`, "xml_duplicate_attribute"},
		{"duplicate default declaration", `<a xmlns="urn:x" xmlns="urn:y"/>`, "xml_duplicate_attribute"},
		{"prefix out of scope", `<a><b xmlns:x="urn:x"/><x:c/></a>`, "xml_namespace"},
		{"prefix on an attribute", `<a x:k=""/>`, "xml_namespace"},
		{"xmlns as an element", `<xmlns:a/>`, "xml_namespace"},
		{"xmlns bound", `<a xmlns:xmlns="urn:x"/>`, "xml_namespace"},
		{"xml bound elsewhere", `<a xmlns:xml="urn:x"/>`, "xml_namespace"},
		{"two colons", `<a:b:c/>`, "xml_malformed"},
		{"colon first", `<:a/>`, "xml_malformed"},
		{"colon last", `<a:/>`, "xml_malformed"},
		{"attribute with colon first", `<a :b=""/>`, "xml_malformed"},
		{"name that is not ASCII", `<é/>`, "xml_malformed"},
		{"digit first", `<a xmlns:b="urn:b"><b:1/></a>`, "xml_malformed"},
		{"two roots", `<a/><b/>`, "xml_malformed"},
		{"no root", ` `, "xml_malformed"},
		{"text before", `x<a/>`, "xml_malformed"},
		{"text behind", `<a/>x`, "xml_malformed"},
		{"byte order mark", "\xef\xbb\xbf<a/>", "xml_malformed"},
		{"crossed", `<a><b></a></b>`, "xml_malformed"},
		{"other prefix at the end", `<x:a xmlns:x="urn:x" xmlns:y="urn:x"></y:a>`, "xml_malformed"},
		{"left open", `<a>`, "xml_malformed"},
		{"end only", `</a>`, "xml_malformed"},
		{"unquoted attribute", `<a b=c/>`, "xml_malformed"},
		{"attribute without value", `<a b/>`, "xml_malformed"},
		{"HTML entity", `<a>&nbsp;</a>`, "xml_malformed"},
		{"NUL", "<a>\x00</a>", "xml_malformed"},
		{"NUL by reference", "<a>&#0;</a>", "xml_malformed"},
		{"declaration with another encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, "xml_malformed"},
		{"declaration after a space", ` <?xml version="1.0"?><a/>`, "xml_pi"},
		{"CDATA end in text", `<a>]]></a>`, "xml_malformed"},
	} {
		err := scan([]byte(c.doc), responseLimits)
		if got := Reason(err); got != c.reason || (c.reason == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
}

// TestLimitsAreExact: the last size that fits, and one more.
func TestLimitsAreExact(t *testing.T) {
	nested := func(open, end string, n int) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	attributes := func(name string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` %s%d="urn:x"`, name, i)
		}
		return b.String()
	}
	l := responseLimits
	for _, c := range []struct {
		name string
		doc  func(n int) string
		fits int
	}{
		// <a>, </a> and two tokens for each element in it.
		{"tokens", func(n int) string { return "<a>" + strings.Repeat("<b/>", n) + "</a>" }, l.tokens/2 - 1},
		{"depth", func(n int) string { return nested("<a>", "</a>", n) }, l.depth},
		{"attributes", func(n int) string { return "<a" + attributes("k", n) + "/>" }, l.attributes},
		{"namespaces on one element", func(n int) string { return "<a" + attributes("xmlns:n", n) + "/>" }, l.namespaces},
		{"namespaces in scope", func(n int) string { return nested(`<a xmlns:n="urn:x" xmlns:m="urn:y">`, "</a>", n) }, l.namespaces / 2},
	} {
		if err := scan([]byte(c.doc(c.fits)), l); err != nil {
			t.Errorf("%s: %d fit: %v", c.name, c.fits, err)
		}
		if err := scan([]byte(c.doc(c.fits+1)), l); Reason(err) != "xml_limit" {
			t.Errorf("%s: %d do not fit: %v", c.name, c.fits+1, err)
		}
	}
	// Out of scope is out of the count: every value of an attribute declares its own.
	if err := scan([]byte("<a>"+strings.Repeat(`<b xmlns:n="urn:x"/>`, 500)+"</a>"), l); err != nil {
		t.Errorf("declarations of siblings: %v", err)
	}
}

func TestRefusalsQuoteWhatTheyFound(t *testing.T) {
	err := scan([]byte(`<a xmlns="`+strings.Repeat("x", 5000)+"\n\x1b"+`"/>`), responseLimits)
	if err == nil || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("a log line can be flooded or forged: %v", err)
	}
}

// FuzzScan: what passes is read the same way by everybody behind it.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`<a xmlns="urn:a" xmlns:b="urn:b" b:c="1" ID="_1"><b:e>x</b:e></a>`))
	f.Add([]byte(`<a:b:c/>`))
	f.Add([]byte("<a><![CDATA[x]]>&#65;</a>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if scan(raw, responseLimits) != nil {
			return
		}
		if err := xrv.Validate(bytes.NewReader(raw)); err != nil {
			t.Errorf("does not survive a round trip: %v", err)
		}
		if bytes.Contains(raw, []byte("<!DOCTYPE")) && !bytes.Contains(raw, []byte("<![CDATA[")) {
			t.Error("a DTD passed")
		}
		root, err := parse(raw)
		if err != nil {
			t.Fatalf("passed, but is no tree: %v", err)
		}
		_, _ = open(root)
	})
}

// FuzzMetadata: bounded, no panic, and never an IdP without a certificate.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x"><IDPSSODescriptor/></EntityDescriptor>`))
	f.Add([]byte(`<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" validUntil="x"/>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		i, err := parseMetadata(raw, time.Unix(1, 0))
		if err == nil && (len(i.certs) == 0 || i.entityID == "" || i.ssoRedirect == nil && i.ssoPost == nil) {
			t.Errorf("accepted %+v", i)
		}
	})
}

// FuzzDecrypt: whatever the ciphertext, an error or a plaintext.
func FuzzDecrypt(f *testing.F) {
	f.Add(encAES256GCM, []byte("abc"))
	f.Add(encAES128CBC, make([]byte, 48))
	f.Fuzz(func(_ *testing.T, method string, ciphertext []byte) {
		for _, size := range []int{16, 32} {
			_, _ = openContent(method, make([]byte, size), ciphertext)
		}
	})
}

func TestPanicIsARefusalAndIsCounted(t *testing.T) {
	p := &Provider{}
	call := func() (err error) {
		defer p.recovered(&err)
		none := make([]string, len(p.names.Email))
		return errors.New(none[0])
	}
	err := call()
	if Reason(err) != "panic" || p.Health().Panics != 1 {
		t.Errorf("%v, %d panics", err, p.Health().Panics)
	}
}
