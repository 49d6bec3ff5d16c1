package scim

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/record"
)

// note makes the entry of a request or bulk operation.
func (h *Handler) note(c *call, status, sent int, started time.Time) {
	if h.o.Recorder == nil || c.conn.ID == "" && !h.strangers.AllowN(started, 1) {
		// Whoever has no token must not be able to push out, by a flood, what those
		// who have one did.
		return
	}
	r := redactor{presented: c.presented}
	path, ok := strings.CutPrefix(c.r.URL.Path, Mount+h.o.Org+"/scim/v2")
	if !ok {
		path = c.r.URL.Path
	}
	if c.inBulk {
		path = "bulk: " + path
	}
	e := record.Entry{
		Time: started, Connection: c.conn.ID, Token: r.text(c.bearer.Name), Client: r.text(c.family()), Method: r.text(c.r.Method),
		Path: r.text(path) + r.query(c.params, max(countParameters(c.r.URL.RawQuery)-len(c.params), 0)), Meaning: r.sentence(c.meaning()),
		Status: status, Tolerated: strings.Join(c.notes.Rules(), ","), Took: h.o.Now().Sub(started),
		Resource: string(c.did.id), Subject: r.text(member.FoldUserName(c.did.name)), Sessions: c.ended(),
		Request: r.body(c.parsed, c.size), RequestID: web.RequestID(c.ctx), Address: clientAddress(c.ctx),
	}
	if e.Resource == "" {
		e.Resource = r.text(string(c.id)) // as the client sent it
	}
	if c.parsed == nil && c.size > 0 {
		e.Request = `{"not kept":"` + itoa(c.size) + ` bytes that are not JSON"}`
	}
	switch {
	case c.fault != nil:
		e.Type, e.Detail = c.fault.Type, r.sentence(c.fault.Detail)
		e.Response = r.body(generic(c.fault.body()), 0)
	case sent <= maxRedacted && c.answered != nil:
		e.Response = r.body(generic(c.answered), sent)
	case sent > 0:
		e.Response = r.body("", sent)
	}
	e.Said = c.said(e)
	h.o.Recorder.Record(e)
}

// said is what the request asked its resource to be.
func (c *call) said(e record.Entry) *record.Said {
	d := c.did
	if d.verb != "created" && d.verb != "changed" && d.verb != "deleted" || c.conn.ID == "" || e.Status == http.StatusNotFound {
		return nil
	}
	s := &record.Said{Connection: c.conn.ID, Kind: d.kind, Resource: e.Resource, Time: e.Time, Status: e.Status, Meaning: e.Meaning}
	switch {
	case d.verb == "deleted":
		s.Want.Deleted = true
	case d.want != nil:
		s.Want = *d.want
	default:
		return nil // it could not be read
	}
	if s.Resource == "" {
		if e.Subject == "" {
			return nil
		}
		s.Resource = "name:" + e.Subject
	}
	return s
}

// sentence is a text that quotes what a client sent, with a secret in it taken
// out. A filter on a secret makes the whole sentence one.
func (r redactor) sentence(s string) string {
	s = shorten(s)
	for _, w := range []string{"password", "secret"} {
		if i := strings.Index(strings.ToLower(s), w+" "); i >= 0 && strings.ContainsAny(s[i:], `"`) {
			s = s[:i+len(w)] + " " + redacted
		}
	}
	return r.text(s)
}

// generic is a body of ours as JSON values.
func generic(body any) any {
	if m, ok := body.(map[string]any); ok {
		b, err := json.Marshal(m)
		if err != nil {
			return nil
		}
		var v any
		if json.Unmarshal(b, &v) == nil {
			return v
		}
	}
	return nil
}

func countParameters(raw string) (n int) {
	for p := range strings.SplitSeq(raw, "&") {
		if p != "" {
			n++
		}
	}
	return n
}
