package web

import (
	"crypto/sha256"
	_ "embed" // fragment.js
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
)

//go:embed fragment.js
var fragmentJS string

const fragmentPath = "/static/fragment.js"

var fragmentHash = sync.OnceValue(func() string {
	sum := sha256.Sum256([]byte(fragmentJS))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
})

// fragmentURL names the script together with its content, so that a cached copy
// is never the one of another release.
func fragmentURL() string { return fragmentPath + "?v=" + fragmentHash() }

// Static serves what pages of the gateway origin load, to be mounted at
// "/static/": one small script, /static/fragment.js. It holds nothing secret,
// so unlike every page it may be cached: for good under the URL that names its
// content, else only after asking. GET and HEAD only.
func Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			WriteProblem(w, r, http.StatusMethodNotAllowed, "method not allowed", "")
			return
		}
		if r.URL.Path != fragmentPath {
			WriteProblem(w, r, http.StatusNotFound, "no such file", "")
			return
		}
		secureHeaders(h, r)
		etag := `"` + fragmentHash() + `"`
		h.Set("Etag", etag)
		h.Set("Cache-Control", "no-cache")
		if r.URL.Query().Get("v") == fragmentHash() {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(fragmentJS)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(fragmentJS))
		}
	})
}
