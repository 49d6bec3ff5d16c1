package web

import (
	"crypto/sha256"
	_ "embed" // the scripts
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
)

//go:embed fragment.js
var fragmentJS string

//go:embed post.js
var postJS string

// script is one of the small files that pages of ours load.
type script struct{ path, text string }

var (
	fragmentScript = script{"/static/fragment.js", fragmentJS}
	postScript     = script{"/static/post.js", postJS}
)

var scriptHashes = sync.OnceValue(func() map[string]string {
	hashes := map[string]string{}
	for _, s := range []script{fragmentScript, postScript} {
		sum := sha256.Sum256([]byte(s.text))
		hashes[s.path] = base64.RawURLEncoding.EncodeToString(sum[:12])
	}
	return hashes
})

func (s script) hash() string { return scriptHashes()[s.path] }

// url names the script together with its content, so that a cached copy is never
// the one of another release.
func (s script) url() string { return s.path + "?v=" + s.hash() }

// Static serves what pages of the gateway origin load, to be mounted at
// "/static/": two small scripts, fragment.js and post.js. They hold nothing secret,
// so unlike every page they may be cached: for good under the URL that names the
// content, else only after asking. GET and HEAD only.
func Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			WriteProblem(w, r, http.StatusMethodNotAllowed, "method not allowed", "")
			return
		}
		var s script
		switch r.URL.Path {
		case fragmentScript.path:
			s = fragmentScript
		case postScript.path:
			s = postScript
		default:
			WriteProblem(w, r, http.StatusNotFound, "no such file", "")
			return
		}
		secureHeaders(h, r)
		etag := `"` + s.hash() + `"`
		h.Set("Etag", etag)
		h.Set("Cache-Control", "no-cache")
		if r.URL.Query().Get("v") == s.hash() {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(s.text)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(s.text))
		}
	})
}
