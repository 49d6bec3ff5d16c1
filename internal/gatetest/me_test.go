package gatetest

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
)

var ownHandle = regexp.MustCompile(`name="session" value="([0-9a-f]+)"`)

// G1 on a member's own page: what he ends there is over everywhere, its open WebSocket
// included, when the answer comes.
func TestGuaranteeAMemberEndsHisOwnSessions(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		here, there, other := w.signedIn(w.ana()), w.signedIn(w.ana()), w.signedIn(w.ben())
		socket := w.socket(there)
		page := w.get(here, w.Facts.Gateway+"/me")
		found := ownHandle.FindAllStringSubmatch(page.Body, -1)
		if page.Status != http.StatusOK || len(found) != 1 {
			t.Fatalf("%d, %d sessions that can be ended\n%s", page.Status, len(found), page.Body)
		}
		mine := []string{"Sec-Fetch-Site", "same-origin"}
		one := url.Values{"session": {found[0][1]}}
		// U01, and another member who has seen the handle.
		if a := w.postForm(here, w.Facts.Gateway+"/me/sessions/end", one, "Sec-Fetch-Site", "same-site", "Origin", w.Facts.App); a.Status != http.StatusForbidden {
			t.Errorf("from an application's page: %d", a.Status)
		}
		w.postForm(other, w.Facts.Gateway+"/me/sessions/end", one, mine...)
		if a := w.api(there, "/"); a.Status != http.StatusOK {
			t.Fatalf("somebody else ended it: %d", a.Status)
		}
		if a := w.postForm(here, w.Facts.Gateway+"/me/sessions/end", one, mine...); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/me" {
			t.Fatalf("end: %d\n%s", a.Status, a.Body)
		}
		if a := w.api(there, "/"); a.Status != http.StatusUnauthorized {
			t.Errorf("the other session is alive: %d", a.Status)
		}
		if _, _, err := socket.Read(t.Context()); err == nil {
			// What was on its way before the end may still be read, and then the end.
			for err == nil {
				_, _, err = socket.Read(t.Context())
			}
		}
		if a := w.api(here, "/"); a.Status != http.StatusOK {
			t.Errorf("benign: this browser: %d", a.Status)
		}
		if a := w.postForm(here, w.Facts.Gateway+"/me/sessions/end-all", nil, mine...); a.Status != http.StatusOK {
			t.Fatalf("end all: %d\n%s", a.Status, a.Body)
		}
		if a := w.api(here, "/"); a.Status != http.StatusUnauthorized {
			t.Errorf("signed out everywhere, and alive: %d", a.Status)
		}
		if a := w.api(other, "/"); a.Status != http.StatusOK {
			t.Errorf("benign: somebody else: %d", a.Status)
		}
	})
}
