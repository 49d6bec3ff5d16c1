package gatetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
)

// cookieHeader is what the visitor's browser would send to u.
func cookieHeader(t *testing.T, v *demo.Visitor, u string) string {
	t.Helper()
	p, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range v.Jar().Cookies(p) {
		out = append(out, c.Name+"="+c.Value)
	}
	return strings.Join(out, "; ")
}

// socket opens the application's WebSocket.
func (w *world) socket(v *demo.Visitor) *websocket.Conn {
	w.t.Helper()
	c, _, err := websocket.Dial(w.t.Context(), strings.Replace(w.Facts.App, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {cookieHeader(w.t, v, w.Facts.App)}, "Origin": {w.Facts.App}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// stream opens a long response and reads its first byte.
func (w *world) stream(v *demo.Visitor, path string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.Facts.App+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := (&http.Client{Jar: v.Jar()}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d", path, resp.StatusCode)
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// alive reads on until the stream has moved.
func alive(r io.Reader) error {
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(r, make([]byte, 16))
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("did not move for 10 s")
	}
}

// ended waits for the end of a stream. The bytes that were under way may still come.
func ended(r io.Reader) error {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, r)
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("still open")
	}
}

// Rows K05, K07 and W02: each way of ending access, with everything open.
func TestGuaranteeCutOffEndsEverythingBeforeTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		how string
		end func(w *world, v *demo.Visitor)
	}{
		{"PATCH active=false", func(w *world, _ *demo.Visitor) { w.setActive(w.ana(), false) }},
		{"PUT with active=false", func(w *world, _ *demo.Visitor) {
			body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":false}`, w.ana().User)
			if a := w.scim(http.MethodPut, "/Users/"+w.userID(w.ana()), body); a.Status != http.StatusOK {
				w.t.Fatalf("PUT: %d %s", a.Status, a.Body)
			}
		}},
		{"DELETE", func(w *world, _ *demo.Visitor) {
			if a := w.scim(http.MethodDelete, "/Users/"+w.userID(w.ana()), ""); a.Status != http.StatusNoContent {
				w.t.Fatalf("DELETE: %d %s", a.Status, a.Body)
			}
		}},
		{"logout on the application's host", func(w *world, v *demo.Visitor) {
			a := w.send(v, http.MethodPost, w.Facts.App+"/.sso/logout", nil, "Origin", w.Facts.App, "Sec-Fetch-Site", "same-origin")
			if a.Status != http.StatusOK {
				w.t.Fatalf("logout: %d", a.Status)
			}
		}},
		{"logout on the gateway", func(w *world, v *demo.Visitor) {
			a := w.send(v, http.MethodPost, w.Facts.Gateway+"/logout", nil, "Origin", w.Facts.Gateway, "Sec-Fetch-Site", "same-origin")
			if a.Status != http.StatusOK {
				w.t.Fatalf("logout: %d", a.Status)
			}
		}},
	} {
		t.Run(tt.how, func(t *testing.T) {
			w := start(t)
			ana, ben := w.signedIn(w.ana()), w.signedIn(w.ben())
			stolen := cookieHeader(t, ana, w.Facts.App) // what a thief would have kept
			ws, sse, dl := w.socket(ana), w.stream(ana, "/events"), w.stream(ana, "/download")
			benWS, benSSE := w.socket(ben), w.stream(ben, "/events")

			tt.end(w, ana)

			if a := w.send(nil, http.MethodGet, w.Facts.App+"/", nil, "Cookie", stolen, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
				t.Errorf("a request after the answer: %d", a.Status)
			}
			if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
				t.Errorf("WebSocket: %v", err)
			}
			if err := ended(sse.Body); err != nil {
				t.Errorf("event stream: %v", err)
			}
			if err := ended(dl.Body); err != nil {
				t.Errorf("download: %v", err)
			}
			// The benign twin: nobody else notices.
			if _, _, err := benWS.Read(t.Context()); err != nil {
				t.Errorf("another member's WebSocket: %v", err)
			}
			if err := alive(benSSE.Body); err != nil {
				t.Errorf("another member's stream: %v", err)
			}
		})
	}
}

func closedWith(c *websocket.Conn, want websocket.StatusCode) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if got := websocket.CloseStatus(err); got != want {
				return fmt.Errorf("close code %d, want %d: %w", got, want, err)
			}
			return nil
		}
	}
}

// The history of a small crowd: no request that began after the 2xx was admitted.
func TestGuaranteeCutOffHistoryShowsNoAdmissionAfterTheAnswer(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		for round := range 3 {
			v := w.signedIn(w.ana())
			cookies := cookieHeader(t, v, w.Facts.App)
			type admitted struct{ began time.Time }
			var mu sync.Mutex
			var seen []admitted
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
					for {
						select {
						case <-stop:
							return
						default:
						}
						began := time.Now()
						req, _ := http.NewRequest(http.MethodGet, w.Facts.App+"/whoami", nil)
						req.Header.Set("Cookie", cookies)
						req.Header.Set("Accept", "application/json")
						resp, err := c.Do(req)
						if err != nil {
							continue // cut in flight: that is no admission
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
						if resp.StatusCode == http.StatusOK {
							mu.Lock()
							seen = append(seen, admitted{began})
							mu.Unlock()
						}
					}
				})
			}
			for { // until they are being admitted: a test that never admits shows nothing
				mu.Lock()
				n := len(seen)
				mu.Unlock()
				if n > 50 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			w.setActive(w.ana(), false)
			answered := time.Now()
			time.Sleep(300 * time.Millisecond) // let the crowd go on trying
			close(stop)
			wg.Wait()
			for _, a := range seen {
				if a.began.After(answered) {
					t.Fatalf("round %d: admitted %v after the 2xx", round, a.began.Sub(answered))
				}
			}
			w.setActive(w.ana(), true)
			if a := w.send(nil, http.MethodGet, w.Facts.App+"/", nil, "Cookie", cookies, "Accept", "application/json"); a.Status != http.StatusUnauthorized {
				t.Fatalf("re-activation revived a session: %d", a.Status)
			}
		}
	})
}

// An upload that the application is still reading is cut as well.
func TestGuaranteeCutOffEndsAnUploadInFlight(t *testing.T) {
	got, gone := make(chan struct{}), make(chan error, 1)
	w := start(t, withApp(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			_, _ = io.WriteString(rw, "hello")
			return
		}
		if _, err := r.Body.Read(make([]byte, 1)); err != nil {
			gone <- err
			return
		}
		close(got)
		_, err := io.Copy(io.Discard, r.Body)
		gone <- err
	}))
	v := w.signedIn(w.ana())
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Facts.App+"/upload", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", cookieHeader(t, v, w.Facts.App))
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	if _, err := pw.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	<-got
	w.setActive(w.ana(), false)
	select {
	case err := <-gone:
		if err == nil {
			t.Error("the application saw a complete body: a cut must never look like an end")
		}
	case <-time.After(5 * time.Second):
		t.Error("the application still reads the upload")
	}
	_ = pw.CloseWithError(io.ErrClosedPipe)
	<-answered
}

// withApp puts a small application of the test's own behind the gateway.
func withApp(t *testing.T, h http.HandlerFunc) func(*run.DemoOptions) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return func(o *run.DemoOptions) { o.Upstream = "http://" + l.Addr().String() }
}
