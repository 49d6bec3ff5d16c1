package web

import (
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// AccessLog writes access records as JSON lines, in the form of slog's JSON handler, and
// lets them wait for one another for up to a quarter of a second: a write per request costs
// as much as deciding about it. Everything that is written to it by Write goes out at
// once, after what waited, so the order of a log is that of its events, and only access
// records can be lost, when a process is killed. Safe for concurrent use.
type AccessLog struct {
	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	timer *time.Timer
	armed bool
}

const (
	accessWait = 250 * time.Millisecond
	accessFull = 32 << 10 // bytes that wait at most
)

// NewAccessLog makes one in front of w. Call Flush before the process ends.
func NewAccessLog(w io.Writer) *AccessLog { return &AccessLog{w: w} }

// Write implements io.Writer, for the rest of a log.
func (l *AccessLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(); err != nil {
		return 0, err
	}
	return l.w.Write(p)
}

// Flush writes what waits.
func (l *AccessLog) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

func (l *AccessLog) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	// Whether or not it could be written, it must not grow: a full disk is not a reason
	// to hold the log in memory.
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

func (l *AccessLog) record(at time.Time, x *exchange, rec *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf == nil {
		l.buf = make([]byte, 0, accessFull+4096)
	}
	l.buf = appendRecord(l.buf, at, x, rec)
	if len(l.buf) >= accessFull {
		_ = l.flush() // there is nobody to tell; slog does not either
		return
	}
	if l.armed {
		return
	}
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(accessWait, l.due)
	} else {
		l.timer.Reset(accessWait)
	}
}

func (l *AccessLog) due() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	_ = l.flush()
}

// appendRecord appends one line.
func appendRecord(b []byte, at time.Time, x *exchange, rec *record) []byte {
	b = append(b, `{"time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"INFO","msg":"request","request_id":"`...)
	b = append(b, x.id...)
	b = appendText(append(b, `","method":`...), clean(rec.method, 32))
	b = appendText(append(b, `,"host":`...), clean(rec.host, maxNoteValue))
	b = appendText(append(b, `,"path":`...), rec.path)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(rec.status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), rec.bytes, 10)
	b = strconv.AppendInt(append(b, `,"duration":`...), int64(rec.took), 10)
	b = append(b, `,"address":"`...)
	if x.addr.IsValid() {
		b = x.addr.AppendTo(b)
	}
	b = append(b, '"')
	if rec.aborted {
		b = append(b, `,"aborted":true`...)
	}
	x.mu.Lock()
	for i := range x.notes {
		b = appendText(append(b, ','), x.notes[i].key)
		b = appendText(append(b, ':'), x.notes[i].value)
	}
	x.mu.Unlock()
	return append(b, '}', '\n')
}

// appendText appends a JSON string (RFC 8259 section 7). What was cleaned has no control
// characters; they are escaped all the same, since a line break would be another record.
func appendText(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, `\ufffd`...)
			} else {
				b = append(b, s[i:i+n]...)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

var _ io.Writer = (*AccessLog)(nil)
