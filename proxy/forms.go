package proxy

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/session"
)

// A form that a person sent after the session had run out would be lost: a redirect
// makes a GET of the POST. On routes that say keep_posts it waits, sealed, while the
// person signs in again, and is sent when the same person says so (protocols section 3).

// Limits of a kept form.
const (
	maxForm       = 256 << 10 // bytes of a body
	maxFormTarget = 2 << 10   // as long as the way back after a sign-in may be
	formLife      = 10 * time.Minute
	formRead      = 30 * time.Second // to read the body of somebody who is not signed in
)

// FormStore is where they wait. Safe for concurrent use; its calls have deadlines.
type FormStore interface {
	// Put keeps a value, in place of the one under the same id. Full is an error.
	Put(ctx context.Context, id secret.Hash, value []byte, until time.Time) error
	// Get answers a value or ErrNoForm.
	Get(ctx context.Context, id secret.Hash) ([]byte, error)
	// Take is Get, and nobody gets it again.
	Take(ctx context.Context, id secret.Hash) ([]byte, error)
}

// ErrNoForm means that no form waits under an id.
var ErrNoForm = errors.New("proxy: no such form")

// errForm means that a kept form is not this person's, or not what was kept.
var errForm = errors.New("proxy: form does not open")

// formHead is what is said about a kept form outside of its seal. All of it is bound to
// the seal, so that a form opens for one person, one route and one URL only.
type formHead struct {
	Member string `json:"m"`
	Route  string `json:"r"`
	Origin string `json:"o"`
	Target string `json:"u"`
	Type   string `json:"t"` // Content-Type
	Size   int    `json:"n"`
	At     int64  `json:"a"` // unix milliseconds
	Until  int64  `json:"e"`
}

// formTicket is what the browser's cookie holds: where the form waits, and the only key.
type formTicket struct {
	id  secret.Hash
	key [32]byte
}

func (t formTicket) String() string {
	return base64.RawURLEncoding.EncodeToString(append(t.id[:], t.key[:]...))
}

func parseTicket(s string) (t formTicket, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(t.id)+len(t.key) {
		return formTicket{}, false
	}
	copy(t.id[:], b)
	copy(t.key[:], b[len(t.id):])
	return t, true
}

// formCookie is its name. The prefix makes it one of ours everywhere else.
func formCookie(st *site) string {
	if st.scheme == "https" {
		return "__Host-ssogate-app-form"
	}
	return "ssogate-app-form"
}

// ticketOf reads the cookie, if there is exactly one.
func ticketOf(r *http.Request, st *site) (formTicket, bool) {
	cs := r.CookiesNamed(formCookie(st))
	if len(cs) != 1 {
		return formTicket{}, false
	}
	return parseTicket(cs[0].Value)
}

func setTicket(w http.ResponseWriter, st *site, value string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: Secure is off only where Secure cookies cannot work
		Name: formCookie(st), Value: value, Path: "/", MaxAge: age, Secure: st.scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// formID is one place per session, so that a browser that goes on sending fills one.
func formID(s secret.Hash) secret.Hash { return secret.Sum("form of " + s.String()) }

// seal answers the value to store: the head in the clear, the body sealed with it.
func (t formTicket) seal(h formHead, body []byte) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	aead, err := t.aead()
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(len(head))) //nolint:gosec // its parts are limited
	out = append(out, head...)
	return aead.Seal(out, nil, body, head), nil //nolint:gosec // G407: the nonce is random, and made inside
}

// headOf reads the head of a stored value. It is no secret and no proof.
func headOf(value []byte) (h formHead, head, sealed []byte, err error) {
	if len(value) < 2 {
		return h, nil, nil, errForm
	}
	n := int(binary.BigEndian.Uint16(value))
	if len(value) < 2+n {
		return h, nil, nil, errForm
	}
	head, sealed = value[2:2+n], value[2+n:]
	if err := json.Unmarshal(head, &h); err != nil {
		return formHead{}, nil, nil, errForm
	}
	return h, head, sealed, nil
}

// open answers what was kept, if it was for this person and has not expired.
func (t formTicket) open(value []byte, who *session.Principal, now time.Time) (formHead, []byte, error) {
	h, head, sealed, err := headOf(value)
	if err != nil {
		return formHead{}, nil, err
	}
	aead, err := t.aead()
	if err != nil {
		return formHead{}, nil, err
	}
	body, err := aead.Open(nil, nil, sealed, head)
	if err != nil || h.Member != string(who.Member.ID) || now.UnixMilli() >= h.Until {
		return formHead{}, nil, errForm
	}
	return h, body, nil
}

// aead has a key that seals once.
func (t formTicket) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(t.key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// keep keeps the form that this request brings, where everything that section 3 asks
// for is there. It answers false, and has kept nothing, where it is not. Errors are the
// stores'.
func (x *exchange) keep(r *http.Request) (bool, error) {
	if !x.keepable(r) {
		return false, nil
	}
	past, err := x.g.o.Sessions.Expired(r.Context(), r)
	switch {
	case errors.Is(err, session.ErrNotPast), errors.Is(err, session.ErrNoCookie), errors.Is(err, session.ErrBadCookie):
		return false, nil
	case err != nil:
		return false, err
	}
	rc := http.NewResponseController(x.ResponseWriter)
	_ = rc.SetReadDeadline(time.Now().Add(formRead))
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil || len(body) > maxForm || x.rt.limit > 0 && int64(len(body)) > x.rt.limit {
		return false, nil //nolint:nilerr // a body that does not come whole is not kept, and no fault of ours
	}
	t := formTicket{id: formID(past.Session)}
	_, _ = rand.Read(t.key[:]) // never fails on Go 1.24 and later
	now := x.g.o.Now()
	value, err := t.seal(formHead{
		Member: string(past.Member), Route: x.rt.name, Origin: x.st.origin, Target: x.q.Target(), Type: r.Header.Get("Content-Type"),
		Size: len(body), At: now.UnixMilli(), Until: now.Add(formLife).UnixMilli(),
	}, body)
	if err != nil {
		return false, err
	}
	if err := x.g.o.Forms.Put(r.Context(), t.id, value, now.Add(formLife)); err != nil {
		return false, fmt.Errorf("keep form: %w", err)
	}
	setTicket(x.ResponseWriter, x.st, t.String(), int(formLife.Seconds()))
	return true, nil
}

// keepable is what can be said without asking a store. Origin and the fetch metadata say
// that a page of this very origin sent it, by a form and not by a script; a Lax cookie,
// looked at afterwards, says the same of browsers that send neither.
func (x *exchange) keepable(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	mode := r.Header["Sec-Fetch-Mode"]
	return x.rt.keepForms && x.g.o.Forms != nil && !x.sendsForm && x.d.Reason != reasonTooOld && r.Method == http.MethodPost &&
		sameOrigin(r, x.st) && len(mode) == 1 && mode[0] == "navigate" &&
		err == nil && (kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data") &&
		len(r.Header["Content-Type"]) == 1 && len(r.Header.Get("Content-Type")) <= 256 && len(r.Header["Content-Encoding"]) == 0 &&
		r.ContentLength != 0 && r.ContentLength <= maxForm && fitForLink(x.q.Target())
}

// fitForLink: the target becomes the address of a button of ours.
func fitForLink(target string) bool {
	return len(target) <= maxFormTarget && !bytes.ContainsAny([]byte(target), "\"<>`\\")
}
