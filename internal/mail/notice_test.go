package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestNoticesAreInert(t *testing.T) {
	n := Notice{
		Kind: KindNotice, To: "ana@x.example", Subject: "A fallback owner\r\nBcc: all@x.example",
		Paragraphs: []string{"<script>alert(1)</script>", "two\nlines"}, Link: "https://sso.x.example/setup/\"><b>", Support: "it@x.example",
	}
	l, err := n.Letter("l1")
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(l.Subject, "\r\n") || strings.Contains(l.HTML, "<script>") || strings.Contains(l.HTML, `"><b>`) {
		t.Errorf("%q\n%s", l.Subject, l.HTML)
	}
	for _, want := range []string{"two lines\n", "https://sso.x.example/setup/", "Questions: it@x.example"} {
		if !strings.Contains(l.Text, want) {
			t.Errorf("text lacks %q:\n%s", want, l.Text)
		}
	}
	n.To = "ana@x.example, all@x.example"
	if _, err := n.Letter("l1"); !errors.Is(err, ErrAddress) {
		t.Errorf("two addresses: %v", err)
	}
}
