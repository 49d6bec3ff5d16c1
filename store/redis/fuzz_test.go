package redis

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
)

// FuzzSessionRecord feeds arbitrary answers: what is accepted is a whole record
// of the session asked for, and every other answer is a refusal (K09).
func FuzzSessionRecord(f *testing.F) {
	now := time.Now()
	good := sessiontest.Record("asked", "m1", now)
	for _, r := range []session.Record{good, sessiontest.Record("other", "m1", now)} {
		d, err := json.Marshal(storedRecord{ID: r.Hash.String(), Record: r})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(d), "m1", "1", strconv.FormatInt(now.UnixMilli(), 10))
		f.Add(string(d[:len(d)/2]), "m1", "1", "")
	}
	f.Add("", "", "", "")
	f.Add(`{"id":"`+good.Hash.String()+`","v":1}`, "", "0", "1")
	s := &Sessions{db: &DB{now: func() time.Time { return now }}}
	f.Fuzz(func(t *testing.T, d, member, epoch, seen string) {
		r, err := s.decode(good.Hash, []any{d, member, epoch, seen}, 0)
		if err != nil {
			if !errors.Is(err, session.ErrMismatch) && !errors.Is(err, session.ErrNotFound) {
				t.Errorf("an answer that was read is %v, want ErrMismatch or ErrNotFound", err)
			}
			if r != (session.Record{}) {
				t.Errorf("refused, and yet answered %+v", r)
			}
			return
		}
		var v storedRecord
		if json.Unmarshal([]byte(d), &v) != nil || v.ID != good.Hash.String() || r.Hash != good.Hash {
			t.Errorf("accepted a record that is not the one asked for: %q", d)
		}
		if string(r.Member) != member || strconv.FormatInt(r.Epoch, 10) != epoch || r.Check() != nil || !now.Before(r.Expires) {
			t.Errorf("accepted %+v for member %q, epoch %q", r, member, epoch)
		}
	})
}

// FuzzURL: no error ever quotes the password (L01), and an accepted URL never
// loosens the limits.
func FuzzURL(f *testing.F) {
	for _, s := range []string{
		"redis://u:hunter2hunter2@h:6379/1", "rediss://:hunter2hunter2@[::1]/", "redis://h?max_retries=9", "redis:///", "://", "redis://u:%@h",
		"redis+sentinel://u:hunter2hunter2@a:1,b:2/main/3", "rediss+cluster://:hunter2hunter2@a,b,c", "redis+cluster://a/1", "redis+sentinel://a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, o, err := clientOptions(Options{URL: s}, time.Second)
		if err != nil {
			if strings.Contains(err.Error(), "hunter2hunter2") {
				t.Errorf("L01: the error quotes the password: %v", err)
			}
			return
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", a, a, a), "hunter2hunter2") && !strings.Contains(a.User+strings.Join(a.Hosts, "")+a.Master, "hunter2hunter2") {
			t.Errorf("L01: the parsed address prints the password: %v", a)
		}
		if o.MaxRetries != -1 || o.DialTimeout != time.Second || !o.ContextTimeoutEnabled || len(o.Addrs) == 0 || o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			t.Errorf("%q changed the limits: %+v", s, o)
		}
		if o.TLSConfig != nil && (o.TLSConfig.InsecureSkipVerify || o.TLSConfig.MinVersion < tls.VersionTLS12) {
			t.Errorf("%q switched the check of the certificate off", s)
		}
	})
}
