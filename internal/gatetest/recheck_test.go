package gatetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

// A change of teams takes effect on the next request and closes exactly the
// streams whose route now refuses: a row of kind recheck, on both engines.
func TestGuaranteeCutOffByTeamClosesOnlyWhoLostIt(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with, func(o *run.DemoOptions) {
			o.Adjust = func(c *config.Config) { c.Routes[0].Teams = []string{"keepers"} }
		})
		ana, ben, cleo := w.signedIn(w.ana()), w.signedIn(w.ben()), w.person(2)
		anaWS, benWS := w.socket(ana), w.socket(ben)
		var groups struct {
			Resources []struct{ ID, DisplayName string }
		}
		a := w.scim(http.MethodGet, "/Groups?filter=displayName+eq+%22Keepers%22", "")
		if err := json.Unmarshal([]byte(a.Body), &groups); err != nil || len(groups.Resources) != 1 {
			t.Fatalf("groups: %d %s", a.Status, a.Body)
		}
		change := func(op, id string) {
			t.Helper()
			body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":%q,"path":"members","value":[{"value":%q}]}]}`, op, id)
			if a := w.scim(http.MethodPatch, "/Groups/"+groups.Resources[0].ID, body); a.Status/100 != 2 {
				t.Fatalf("%s: %d %s", op, a.Status, a.Body)
			}
		}

		change("add", w.userID(cleo)) // concerns neither: both streams stay
		stays(t, anaWS)
		stays(t, benWS)

		change("remove", w.userID(w.ana()))
		if err := closedWith(anaWS, websocket.StatusPolicyViolation); err != nil {
			t.Errorf("her WebSocket on a route of the team she left: %v", err)
		}
		stays(t, benWS)
		if a := w.api(ana, "/"); a.Status != http.StatusForbidden {
			t.Errorf("her next request: %d, want 403", a.Status)
		}
		if a := w.api(ben, "/"); a.Status != http.StatusOK {
			t.Errorf("his next request: %d", a.Status)
		}
		change("add", w.userID(w.ana()))
		if a := w.api(ana, "/"); a.Status != http.StatusOK {
			t.Errorf("back in the team: %d; she need not sign in again", a.Status)
		}
	})
}

func stays(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 { // one may have been on its way already
		if _, _, err := c.Read(ctx); err != nil {
			t.Fatalf("a stream that may stay was closed: %v", err)
		}
	}
}
