package scim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/schema"
)

// Messages of RFC 7644 section 3.7.
const (
	bulkRequestURN  = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponseURN = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

// maxBulk is the number of operations of one bulk request; its size is bounded
// by [MaxBody]. Both are in ServiceProviderConfig, and refused with 413 that
// names them.
const maxBulk = 1000

// bulk runs many operations as one request (RFC 7644 section 3.7). Each is
// decided, written and answered as if it had come alone: under the same limits,
// with the same cut-off before its 200. The request as a whole is not atomic.
func (c *call) bulk() (reply, error) {
	c.did.verb = "ran"
	body, err := c.body()
	if err != nil {
		return reply{}, err
	}
	if err := client.Message(body, bulkRequestURN, c.profile, &c.notes); err != nil {
		return reply{}, err
	}
	job, err := readBulk(body, c.profile)
	if err != nil {
		return reply{}, err
	}
	c.h.charge(c, len(job.ops)-1)
	job.c = c
	for _, op := range job.ops {
		if job.stopped() {
			break
		}
		job.run(op)
	}
	results := make([]any, 0, len(job.ops))
	for _, op := range job.ops {
		if op.state == bulkDone { // those after failOnErrors was reached are left out
			results = append(results, op.result)
		}
	}
	return reply{status: http.StatusOK, body: map[string]any{"schemas": []string{bulkResponseURN}, "Operations": results}}, nil
}

// bulkState is how far an operation is.
type bulkState int

const (
	bulkWaiting bulkState = iota
	bulkRunning           // it is being run, or waits for one that it refers to
	bulkDone
)

type bulkOp struct {
	method, path, bulkID, version string
	data                          map[string]any
	refs                          []string // bulkIds that it mentions
	state                         bulkState
	id                            member.ID // of what a POST makes
	promised                      member.ID // the id that others were given before it was there
	failed                        bool
	result                        map[string]any
	usedBy                        []*bulkOp // took id before the resource was there
	namedBy                       []*bulkOp // took id afterwards
}

type bulkJob struct {
	c            *call
	ops          []*bulkOp
	byID         map[string]*bulkOp
	failOnErrors int // 0 = go on whatever fails
	errors       int
}

func (j *bulkJob) stopped() bool { return j.failOnErrors > 0 && j.errors >= j.failOnErrors }

// run runs an operation after those that it refers to, wherever they stand in
// the request (section 3.7.2: references may point forward). Its recursion is as
// deep as there are operations, at most.
func (j *bulkJob) run(op *bulkOp) {
	if op.state != bulkWaiting {
		return
	}
	op.state = bulkRunning
	ids := make(map[string]string, len(op.refs))
	for _, ref := range op.refs {
		target := j.byID[ref]
		if target == nil {
			j.fail(op, badRequest(schema.InvalidValue, "bulkId:"+ref+" is the bulkId of no POST in this request"))
			return
		}
		j.run(target)
		switch {
		case target.state == bulkRunning && !target.makes("Users"):
			// Section 3.7.1: a circle that cannot be resolved is 409. Only users
			// can be named before they are there; a team's members must exist.
			j.fail(op, &fault{Status: http.StatusConflict, Detail: "bulkId:" + ref + " cannot be resolved: the operations refer to one another"})
			return
		case target.state == bulkRunning:
			target.usedBy = append(target.usedBy, op)
		case target.failed || target.state != bulkDone:
			j.fail(op, &fault{Status: http.StatusConflict, Detail: "bulkId:" + ref + " cannot be resolved: its operation failed"})
			return
		}
		if target.state == bulkDone {
			target.namedBy = append(target.namedBy, op)
		}
		ids[ref] = string(target.id)
	}
	if j.stopped() { // by one that this one refers to
		op.state = bulkWaiting
		return
	}
	j.execute(op, ids)
	// One who was adopted keeps the id he has: then too others hold a wrong one.
	if op.failed || op.id != op.promised {
		j.undo(op)
	}
}

// undo removes what was made with an id that came to nothing. Only what this
// request made: a member who was here before and was adopted stays.
func (j *bulkJob) undo(failed *bulkOp) {
	// Nobody has named one who was adopted yet: he is looked at before those who
	// come after him are run.
	for _, op := range slices.Concat(failed.usedBy, failed.namedBy) {
		if op.state != bulkDone || op.failed || op.method != http.MethodPost || op.id != op.promised {
			continue
		}
		gone := &bulkOp{method: http.MethodDelete, path: "/Users/" + string(op.id)}
		j.execute(gone, nil)
		if gone.failed {
			j.errors--
			continue // it stays, as its own answer says
		}
		j.fail(op, &fault{Status: http.StatusConflict, Detail: "bulkId:" + failed.bulkID + " cannot be resolved: its operation failed, or its user was here before"})
		j.undo(op)
	}
}

func (op *bulkOp) makes(endpoint string) bool {
	return op.method == http.MethodPost && strings.EqualFold(strings.Trim(op.path, "/"), endpoint)
}

// execute runs one operation as a request of its own.
func (j *bulkJob) execute(op *bulkOp, ids map[string]string) {
	c := j.c
	u, err := url.Parse(Mount + c.h.o.Org + "/scim/v2/" + strings.TrimLeft(resolve(op.path, ids), "/"))
	if err != nil {
		j.fail(op, badRequest(schema.InvalidPath, "path cannot be read"))
		return
	}
	data, _ := resolveAll(op.data, ids).(map[string]any)
	inner := &call{
		h: c.h, ctx: c.ctx, conn: c.conn, profile: c.profile, inBulk: true, given: data, newID: op.id, bearer: c.bearer, presented: c.presented,
		r: &http.Request{Method: op.method, URL: u, Header: http.Header{}, Body: http.NoBody},
	}
	if op.version != "" {
		inner.r.Header.Set("If-Match", op.version)
	}
	started := c.h.o.Now()
	rep, err := c.h.guard(func() (reply, error) {
		if err := c.ctx.Err(); err != nil {
			return reply{}, unavailable(err) // 30 s are over: the rest was not begun
		}
		do, err := inner.route(&inner.kind)
		switch {
		case err != nil:
			return reply{}, err
		case inner.kind != "Users" && inner.kind != "Groups":
			return reply{}, badRequest(schema.InvalidPath, "path must name /Users, /Groups or one of them")
		}
		return do(inner)
	})
	c.notes.Merge(&inner.notes)
	c.inner = append(c.inner, inner)
	if err != nil {
		inner.fault = faultOf(err)
		c.h.note(inner, inner.fault.Status, 0, started)
		j.fail(op, err)
		return
	}
	c.h.note(inner, rep.status, 0, started)
	op.state = bulkDone
	op.result = op.answer(rep.status)
	op.result["location"] = c.h.base + "/" + strings.TrimLeft(strings.TrimPrefix(u.Path, Mount+c.h.o.Org+"/scim/v2"), "/")
	if rep.location != "" {
		op.result["location"] = rep.location
		op.id = member.ID(rep.location[strings.LastIndexByte(rep.location, '/')+1:])
	}
	if rep.etag != "" {
		op.result["version"] = rep.etag
	}
}

func (op *bulkOp) answer(status int) map[string]any {
	out := map[string]any{"method": op.method, "status": itoa(status)} // a JSON string
	if op.bulkID != "" {
		out["bulkId"] = op.bulkID
	}
	return out
}

// fail is the answer of an operation that was not done.
func (j *bulkJob) fail(op *bulkOp, err error) {
	f := faultOf(err)
	j.c.h.logFault(j.c, f)
	op.state, op.failed = bulkDone, true
	op.result = op.answer(f.Status)
	op.result["response"] = f.body()
	if op.method != http.MethodPost {
		op.result["location"] = j.c.h.base + "/" + strings.TrimLeft(op.path, "/")
	}
	j.errors++
}
