package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"
)

// ResponseHeader is one that a route adds to what its application answers.
type ResponseHeader struct {
	Name    string
	Value   string // "" takes the application's away
	Replace bool   // also what the application says; otherwise only where it says nothing
}

// answered is what a route adds to answers, in canonical names.
type answered struct {
	name    string
	value   []string // shared by all requests; empty removes
	replace bool
}

// maxHSTS is two years, what the preload list asks for at most.
const maxHSTS = 2 * 366 * 24 * time.Hour

func compileAnswers(headers []ResponseHeader, hsts time.Duration) ([]answered, error) {
	var out []answered
	if hsts < 0 || hsts > maxHSTS {
		return nil, errors.New("hsts is not within two years")
	}
	if hsts > 0 {
		// This host only: whether all its sub-domains speak TLS is not for a route to say.
		out = append(out, answered{"Strict-Transport-Security", []string{"max-age=" + strconv.Itoa(int(hsts.Seconds()))}, true})
	}
	for _, h := range headers {
		name := http.CanonicalHeaderKey(h.Name)
		switch {
		case !httpguts.ValidHeaderFieldName(h.Name) || !httpguts.ValidHeaderFieldValue(h.Value):
			return nil, fmt.Errorf("response header %q: not a header", h.Name)
		case hopByHop(name), name == "Content-Length", name == "Content-Type", name == "Content-Encoding", name == "Content-Range", name == "Date",
			name == "Location", name == "Cache-Control", name == "Set-Cookie":
			// Framing is nobody's to say; the others are about one answer, or have a key.
			return nil, fmt.Errorf("response header %q: not by a route", h.Name)
		case h.Value == "" && !h.Replace:
			return nil, fmt.Errorf("response header %q: no value, and nothing to replace", h.Name)
		}
		a := answered{name: name, replace: h.Replace}
		if h.Value != "" {
			a.value = []string{h.Value}
		}
		out = append(out, a)
	}
	return out, nil
}

// dress adds them to an answer of the application.
func (rt *Route) dress(h http.Header, st *site) {
	for i := range rt.answers {
		a := &rt.answers[i]
		if _, there := h[a.name]; there && !a.replace {
			continue
		}
		if len(a.value) == 0 {
			delete(h, a.name)
			continue
		}
		if a.name == "Strict-Transport-Security" && st.scheme != "https" {
			continue // RFC 6797 section 7.2: never by plain http
		}
		h[a.name] = a.value
	}
}
