package h1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"
)

// block reads lines up to and including an empty one, and answers them and how
// many there are before the empty one. What it answers lies in the buffer: valid
// until the next read. Every line ends in CRLF. RFC 9112 section 2.2 lets a
// recipient accept a bare LF, but an application that lets one through in a value
// (it filters CR LF) would so add fields of an attacker's choice.
func (c *conn) block(budget *int, most int, status bool) (block []byte, lines int, err error) {
	in := &c.in
	at, seen := 0, 0 // begin of the line, and what was searched for its end
	for {
		have := in.unread()
		if status && lines == 0 && !bytes.HasPrefix(have, []byte(httpName)) && !strings.HasPrefix(httpName, string(have)) {
			return nil, 0, errStatusLine // do not wait for more of it
		}
		for {
			i := bytes.IndexByte(have[seen:], '\n')
			if i < 0 {
				break
			}
			line := have[at : seen+i]
			at += len(line) + 1
			seen = at
			switch n := len(line); {
			case n == 0 || line[n-1] != '\r':
				return nil, 0, errBareLF
			case at > *budget:
				return nil, 0, errHeadBytes
			case n == 1:
				*budget -= at
				in.r += at
				return have[:at], lines, nil
			case !printable(line[:n-1]):
				return nil, 0, errControl
			}
			if lines++; lines > most+1 { // the status line is none of them
				return nil, 0, errHeadLines
			}
		}
		seen = len(have)
		if seen > *budget {
			return nil, 0, errHeadBytes
		}
		if err := in.fill(c, *budget+1); err != nil {
			return nil, 0, err
		}
	}
}

const httpName = "HTTP/"

// mention is a set of fields that were seen and mean something to us.
type mention uint8

const (
	hasLength mention = 1 << iota
	hasCoding
	hasConnection
	hasTrailer
	hasPragma
	hasKeepAlive
)

// head is one parsed response head.
type head struct {
	proto, status string
	code, minor   int
	header        http.Header
	has           mention
}

// parse reads a block. room is used for the values where it suffices.
func (h *head) parse(s string, lines int, room []string) error {
	line, rest, _ := strings.Cut(s, "\r\n")
	if err := h.parseStatus(line); err != nil {
		return err
	}
	var err error
	h.header, h.has, err = parseFields(rest, lines-1, room)
	return err
}

// parseStatus reads a status line (RFC 9112 section 4): version, one space, three
// digits, and a space and a reason, or nothing.
func (h *head) parseStatus(line string) error {
	const version = len("HTTP/1.1")
	if len(line) < version+4 || line[version] != ' ' || line[:5] != httpName {
		return errStatusLine
	}
	switch h.proto = line[:version]; h.proto {
	case "HTTP/1.1":
		h.proto, h.minor = "HTTP/1.1", 1
	case "HTTP/1.0":
		h.proto, h.minor = "HTTP/1.0", 0
	default:
		return errVersion
	}
	h.status = line[version+1:]
	h.code = 0
	for i := range 3 {
		d := h.status[i] - '0'
		if d > 9 {
			return errStatusLine
		}
		h.code = 10*h.code + int(d)
	}
	if len(h.status) > 3 && h.status[3] != ' ' {
		return errStatusLine
	}
	if h.code < 100 {
		return errStatusCode // net/http's server panics when it is to send one
	}
	return nil
}

// parseFields reads the fields of a head or a trailer section, up to the empty line.
func parseFields(s string, lines int, room []string) (http.Header, mention, error) {
	if lines <= 0 {
		return http.Header{}, 0, nil
	}
	h := make(http.Header, lines)
	if lines > cap(room) {
		room = make([]string, 0, lines)
	}
	var has mention
	for {
		end := strings.IndexByte(s, '\r')
		if end <= 0 {
			return h, has, nil
		}
		line := s[:end]
		s = s[end+2:]
		if line[0] == ' ' || line[0] == '\t' {
			// RFC 9112 section 5.2 leaves a proxy the choice to refuse it.
			return nil, 0, errFolded
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			return nil, 0, errHeaderLine
		}
		name, ok := canonical(line[:colon])
		if !ok {
			return nil, 0, errHeaderLine // a space before the colon among others (section 5.1)
		}
		has |= mentionOf(name)
		value := trim(line[colon+1:])
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		room = append(room, value)
		n := len(room)
		h[name] = room[n-1 : n : n] // its neighbours must not be overwritten by an append
	}
}

func mentionOf(name string) mention {
	switch name {
	case "Content-Length":
		return hasLength
	case "Transfer-Encoding":
		return hasCoding
	case "Connection":
		return hasConnection
	case "Trailer":
		return hasTrailer
	case "Pragma":
		return hasPragma
	case "Keep-Alive":
		return hasKeepAlive
	}
	return 0
}

// canonical checks a field name and answers it in http.Header's form.
func canonical(s string) (string, bool) {
	up, same := true, true
	for i := range len(s) {
		c := s[i]
		if !tchar[c] {
			return "", false
		}
		if up && 'a' <= c && c <= 'z' || !up && 'A' <= c && c <= 'Z' {
			same = false
		}
		up = c == '-'
	}
	if same {
		return s, true
	}
	return textproto.CanonicalMIMEHeaderKey(s), true
}
