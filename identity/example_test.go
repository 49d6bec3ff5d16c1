package identity_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/ssogate/ssogate/identity"
)

func ExampleVerifier_FromRequest() {
	// Once, when the application starts: the gateway's url, and the route's name.
	v, err := identity.NewVerifier("https://sso.example.com", "reports", identity.Options{})
	if err != nil {
		log.Fatal(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		user, err := v.FromRequest(r)
		switch {
		case errors.Is(err, identity.ErrKeys): // it cannot be told
			http.Error(w, "try again in a moment", http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, "sign in first", http.StatusUnauthorized)
		case !user.Member("finance"):
			http.Error(w, "not for you", http.StatusForbidden)
		default:
			_, _ = fmt.Fprintf(w, "account %s", user.ID) // key accounts by ID, never by Email
		}
	}

	// Somebody has found a way around the gateway.
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Forwarded-User", "root")
	handler(w, r)
	fmt.Println(w.Code, w.Body.String())
	// Output: 401 sign in first
}
