package web

import "net/http"

// SameOrigin refuses unsafe requests that another origin makes a browser send (row
// U01), by what Sec-Fetch-Site or Origin says. Patterns of http.ServeMux in except
// are let through: what comes from other sites by its nature, and is believed for
// something else than cookies. show writes the refusal, to which it may add whom to
// ask and where to go on.
func SameOrigin(next http.Handler, show func(http.ResponseWriter, *http.Request, Page), except ...string) http.Handler {
	cop := http.NewCrossOriginProtection()
	for _, pattern := range except {
		cop.AddInsecureBypassPattern(pattern)
	}
	cop.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Annotate(r.Context(), "reason", "cross_origin")
		show(w, r, Page{
			Status: http.StatusForbidden, Title: "That request came from another site",
			Lead: "For your safety it was not carried out. Open the page again and press the button there.",
		})
	}))
	return cop.Handler(next)
}
