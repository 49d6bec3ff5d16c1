package scim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/scim/filter"
)

// cursorLife is how long a cursor can be used (ServiceProviderConfig says so).
// It is only a bound: a cursor holds a position, nothing is kept for it here.
const cursorLife = time.Hour

// maxCursor bounds what is decoded.
const maxCursor = 2048

// scimTypes of RFC 9865 section 2.2.
const (
	typeInvalidCursor = "invalidCursor"
	typeExpiredCursor = "expiredCursor"
	typeInvalidCount  = "invalidCount"
)

// position is where the next page begins.
type position struct {
	Phase int    `json:"p,omitempty"` // of a query of the root: which resource type
	After string `json:"a,omitempty"` // the store's own position
	Start int    `json:"s,omitempty"` // index, where the list was made in memory
}

// cursor is what a client holds, sealed. It belongs to one connection, one
// query and one count.
type cursor struct {
	position
	Digest  string `json:"q"`
	Count   int    `json:"c"`
	Expires int64  `json:"e"` // unix seconds
}

func invalidCursor() error {
	return &fault{Status: http.StatusBadRequest, Type: typeInvalidCursor, Detail: "the cursor is none that this connection was given for this query"}
}

// sealContext ties a cursor to its connection.
func sealContext(connection string) string { return "scim cursor\x00" + connection }

// seal makes the cursor of a position (RFC 9865 section 2: opaque to the
// client). It is encrypted and authenticated: a position names values of
// members, and a forged one could be used to ask for others.
func (h *Handler) seal(connection string, p position, q query) string {
	b, err := json.Marshal(cursor{position: p, Digest: q.digest, Count: q.count, Expires: h.o.Now().Add(cursorLife).Unix()})
	if err != nil {
		return "" // unreachable: numbers and strings
	}
	return base64.RawURLEncoding.EncodeToString(h.o.Sealer.Seal(b, sealContext(connection)))
}

// resume reads the cursor of a request into q. An empty one asks for the first page.
// kind is what the list is of.
func (c *call) resume(q *query, kind string, raw map[string]string) error {
	q.digest = digest(kind, raw)
	text := raw["cursor"]
	if !q.cursor || text == "" {
		return nil
	}
	if len(text) > maxCursor {
		return invalidCursor()
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return invalidCursor()
	}
	plain, err := c.h.o.Sealer.Open(sealed, sealContext(c.conn.ID))
	if err != nil {
		return invalidCursor()
	}
	var k cursor
	switch err := json.Unmarshal(plain, &k); {
	case err != nil || k.Digest != q.digest:
		return invalidCursor()
	case c.h.o.Now().Unix() >= k.Expires:
		return &fault{Status: http.StatusBadRequest, Type: typeExpiredCursor, Detail: "the cursor has expired: start again without one"}
	case k.Count != q.count:
		return &fault{Status: http.StatusBadRequest, Type: typeInvalidCount, Detail: fmt.Sprintf("count must stay %d while a cursor is used", k.Count)}
	}
	q.at = k.position
	return nil
}

// digest stands for what a list is of. The projection is not part of it: it
// changes no position.
func digest(kind string, raw map[string]string) string {
	e, err := filter.Parse(raw["filter"], filter.Lenient)
	text := raw["filter"]
	if err == nil {
		text = filter.Format(e) // white space does not make another query
	}
	return secret.Sum(kind + "\x00" + text + "\x00" + raw["sortBy"] + "\x00" + raw["sortOrder"]).String()
}
