package gatetest

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
)

// The README's promise, on both engines: sign in by SAML and by OIDC, be cut
// off over SCIM with streams open, come back.
func TestTheDemoStoryHolds(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		var out bytes.Buffer
		if err := w.Check(t.Context(), &out); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
	})
}

func TestAnInvitedMemberAcceptsWithOneClick(t *testing.T) {
	w := start(t)
	v := demo.NewVisitor()
	page, err := v.Open(t.Context(), w.Facts.App+"/")
	if err != nil {
		t.Fatal(err)
	}
	// Walk by hand as far as the invitation.
	clicks := 0
	for range 20 {
		if clicks > 0 {
			break
		}
		var next *demo.Sheet
		switch {
		case page.Refresh != "":
			next, err = v.Open(t.Context(), page.Refresh)
		case len(page.Forms) > 0 && page.Forms[0].Fields.Has("SAMLResponse"):
			next, err = v.Submit(t.Context(), page, page.Forms[0])
		case len(page.Forms) > 0 && page.Forms[0].Password != "":
			f := page.Forms[0]
			f.Fields.Set(f.Text, w.ana().User)
			f.Fields.Set(f.Password, w.ana().Password)
			next, err = v.Submit(t.Context(), page, f)
		case len(page.Forms) > 0 && strings.HasSuffix(page.Forms[0].Action, "/complete/accept"):
			if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
				t.Fatalf("before accepting: %d", a.Status)
			}
			clicks++
			continue
		default:
			for _, l := range page.Links {
				if strings.Contains(l.Label, "SAML") {
					next, err = v.Open(t.Context(), l.URL)
				}
			}
		}
		if err != nil || next == nil {
			t.Fatalf("stuck at %s %q: %v", page.URL, page.Title, err)
		}
		page = next
	}
	if clicks != 1 {
		t.Fatalf("no invitation page; arrived at %s %q", page.URL, page.Title)
	}
	// Another browser that learned the code accepts nothing, and does not use it up.
	thief := demo.NewVisitor()
	if s, err := thief.Submit(t.Context(), page, page.Forms[0]); err != nil || s.Status != http.StatusGone {
		t.Fatalf("another browser: %v %v", s, err)
	}
	if page, err = v.Submit(t.Context(), page, page.Forms[0]); err != nil {
		t.Fatal(err)
	}
	for page.Refresh != "" {
		if page, err = v.Open(t.Context(), page.Refresh); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(page.URL.String(), w.Facts.App) || page.Status != http.StatusOK {
		t.Fatalf("after accepting: %s %d", page.URL, page.Status)
	}
	// The second time nobody is asked.
	again := w.signedIn(w.ana())
	if a := w.api(again, "/"); a.Status != http.StatusOK {
		t.Fatalf("second sign-in: %d", a.Status)
	}
}

func TestRemovedMemberCannotJoinAgain(t *testing.T) {
	w := start(t)
	v := w.signedIn(w.ana())
	id := w.userID(w.ana())
	if a := w.scim(http.MethodDelete, "/Users/"+id, ""); a.Status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.Status, a.Body)
	}
	if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
		t.Fatalf("after DELETE the session gives %d", a.Status)
	}
	_, err := v.SignIn(t.Context(), w.Facts.App+"/", "SAML", w.ana())
	var refused *demo.RefusedError
	if !errors.As(err, &refused) || refused.Page.Status != http.StatusForbidden {
		t.Fatalf("signing in again after DELETE: %v", err)
	}
	// SCIM makes her again: a new member with a new id, who may come in.
	body := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + w.ana().User + `","active":true}`
	if a := w.scim(http.MethodPost, "/Users", body); a.Status != http.StatusCreated {
		t.Fatalf("create again: %d %s", a.Status, a.Body)
	}
	if again := w.userID(w.ana()); again == id {
		t.Fatal("the id was used again")
	}
	if a := w.api(w.signedIn(w.ana()), "/"); a.Status != http.StatusOK {
		t.Fatalf("re-created member: %d", a.Status)
	}
}
