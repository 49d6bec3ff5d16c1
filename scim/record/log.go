package record

import (
	"context"
	"time"
)

// Entry is one SCIM request as the flight recorder keeps it. It holds no secret:
// package scim redacts before it makes one.
type Entry struct {
	ID         int64         `json:"id"` // see [EntryID]
	Time       time.Time     `json:"time"`
	Connection string        `json:"connection,omitempty"` // "" = refused before it was known
	Token      string        `json:"token,omitempty"`      // name of the token or client
	Client     string        `json:"client"`               // "Okta", "Entra", ... as far as it can be told
	Method     string        `json:"method"`
	Path       string        `json:"path"`
	Meaning    string        `json:"meaning"` // one sentence
	Status     int           `json:"status"`
	Type       string        `json:"scim_type,omitempty"`
	Detail     string        `json:"detail,omitempty"`
	Tolerated  string        `json:"tolerated,omitempty"` // rules, "T1,T6"
	Took       time.Duration `json:"took"`
	Resource   string        `json:"resource,omitempty"` // id of the member or team
	Subject    string        `json:"subject,omitempty"`  // its name, folded
	Sessions   int           `json:"sessions_ended,omitempty"`
	Request    string        `json:"request,omitempty"` // redacted, shortened
	Response   string        `json:"response,omitempty"`
	RequestID  string        `json:"request_id,omitempty"`
	Address    string        `json:"address,omitempty"`

	// Said is what the IdP asked a resource to be, for the drift view; nil for
	// requests that ask for no change.
	Said *Said `json:"-"`
}

// entryBits is the random part of an id: enough that two nodes do not meet in
// one millisecond, and if they do one entry is lost.
const entryBits = 20

// EntryID makes an id in order of time from a moment and a random number.
func EntryID(at time.Time, random uint32) int64 {
	return at.UnixMilli()<<entryBits | int64(random)&(1<<entryBits-1)
}

// Said is what an IdP last said of a resource.
type Said struct {
	Connection string
	Kind       string // "User" or "Group"
	Resource   string // id; "name:" + folded name where the IdP gave no id (a create that was refused)
	Time       time.Time
	Status     int
	Meaning    string
	Want       Want
}

// Want are the attributes that the drift view compares. nil = the IdP did not
// say.
type Want struct {
	Deleted     bool    `json:"deleted,omitempty"`
	Active      *bool   `json:"active,omitempty"`
	UserName    *string `json:"userName,omitempty"`
	DisplayName *string `json:"displayName,omitempty"`
	Email       *string `json:"email,omitempty"`
	ExternalID  *string `json:"externalId,omitempty"`
}

// Drift is a resource that is not what its IdP last said.
type Drift struct {
	Said
	Name  string   // what it is called here, or "" when it is not here
	State string   // of a member here
	What  []string // each difference as a sentence
}

// LogFilter chooses entries, newest first. Zero fields do not restrict.
type LogFilter struct {
	Connection string
	Who        string // id or name of a member or team
	Client     string
	Errors     bool // status 400 and above only
	Since      time.Time
	Before     int64 // entries with a smaller id: the page after
	Limit      int   // at most 1000; 0 = 50
	Bodies     bool
}

// Log keeps the flight recorder. store/sql is the real one.
type Log interface {
	// AppendLog keeps entries, and what they say of resources, in one transaction.
	AppendLog(ctx context.Context, entries []Entry) error
	SearchLog(ctx context.Context, f LogFilter) ([]Entry, error)
	// SweepLog removes entries made before a moment, and the oldest of more than most.
	SweepLog(ctx context.Context, before time.Time, most int) (int, error)
	// Drifts compares what was last said with what there is, in the order of
	// resources after a position; next is "" at the end.
	Drifts(ctx context.Context, connection, after string, limit int) (list []Drift, next string, err error)
}

// EntryTime is when an entry was made.
func EntryTime(id int64) time.Time { return time.UnixMilli(id >> entryBits).UTC() }
