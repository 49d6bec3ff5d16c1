package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// response counts what a handler sends. It keeps every ability of the writer
// below: ReverseProxy needs Flush and Hijack, large downloads need ReadFrom
// (sendfile), and Unwrap carries deadlines and full duplex for
// http.ResponseController.
type response struct {
	http.ResponseWriter
	status   int
	bytes    int64
	hijacked bool
}

// WriteHeader notes the final status. Informational ones (100, 103) are not
// final; 101 is.
func (w *response) WriteHeader(code int) {
	if w.status == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *response) Write(b []byte) (int, error) {
	w.implicit()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom hands the copy to the connection where it can do it in the kernel.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	w.implicit()
	var n int64
	var err error
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		// HTTP/2 has no ReadFrom; hide ours, or io.Copy would call it again.
		n, err = io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
	}
	w.bytes += n
	return n, err
}

// Flush implements http.Flusher for callers that do not use a ResponseController.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	w.implicit()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands over the bare connection, not a wrapper: the proxy needs the
// real one to reset a peer that does not read. Bytes sent afterwards are the
// new owner's to count.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) implicit() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

var (
	_ http.Flusher  = (*response)(nil)
	_ http.Hijacker = (*response)(nil)
	_ io.ReaderFrom = (*response)(nil)
)
