package proxy

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// Words for what an HTTP/2 error looks like; see framer.listen.
const (
	protocolError = "goaway PROTOCOL_ERROR"
	frameSize     = "goaway FRAME_SIZE_ERROR"
	flowControl   = "goaway FLOW_CONTROL_ERROR"
	compression   = "goaway COMPRESSION_ERROR"
	streamClosed  = "goaway STREAM_CLOSED"
	resetProtocol = "reset PROTOCOL_ERROR"
	resetClosed   = "reset STREAM_CLOSED"
	resetSize     = "reset FRAME_SIZE_ERROR"
	resetFlow     = "reset FLOW_CONTROL_ERROR"
	resetRefused  = "reset REFUSED_STREAM"
	badRequest    = "status 400"
)

// frameCase is one connection: what is sent, and of what comes back one word is enough.
// The name says the section of RFC 9113.
type frameCase struct {
	name string
	send func(f *framer)
	want []string
	app  int // requests that the application sees
}

// good is a frame case's whole request on a stream.
func good(f *framer, id uint32) { f.headers(id, true, f.request()) }

// connectionCases are generic checks of the kind that h2spec makes (which is a program
// that tests cannot fetch).
var connectionCases = []frameCase{
	{"3.4 another preface", nil, []string{"closed"}, 0},
	{"4.1 an unknown frame is ignored", func(f *framer) { _ = f.WriteRawFrame(0xfa, 0xff, 0, []byte("12345678")); good(f, 1) }, []string{"status 200"}, 1},
	{"4.1 reserved bit", func(f *framer) { _ = f.WriteRawFrame(http2.FramePing, 0, 0, []byte("12345678")) }, []string{"ping true"}, 0},
	{"4.2 frame over the limit", func(f *framer) { _ = f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<14+1)) }, []string{frameSize, "closed"}, 0},
	{"4.2 headers over the limit", func(f *framer) { _ = f.WriteRawFrame(http2.FrameHeaders, 5, 1, make([]byte, 1<<14+1)) }, []string{frameSize, "closed"}, 0},
	{"4.3 broken compression", func(f *framer) { f.headers(1, true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) }, []string{compression}, 0},
	{"4.3 index of nothing", func(f *framer) { f.headers(1, true, []byte{0xbe}) }, []string{compression}, 0},
	{"4.3 table larger than allowed", func(f *framer) { f.headers(1, true, []byte{0x3f, 0xe1, 0xff, 0x03}) }, []string{compression}, 0},
	{"4.3 another frame inside a header block", func(f *framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: f.request()})
		_ = f.WritePing(false, [8]byte{})
	}, []string{protocolError}, 0},
	{"5.1 data on an idle stream", func(f *framer) { _ = f.WriteData(1, true, []byte("x")) }, []string{protocolError, streamClosed}, 0},
	{"5.1 reset of an idle stream", func(f *framer) { _ = f.WriteRSTStream(1, http2.ErrCodeCancel) }, []string{protocolError}, 0},
	{"5.1 window of an idle stream", func(f *framer) { _ = f.WriteWindowUpdate(1, 1) }, []string{protocolError}, 0},
	{"5.1 continuation of nothing", func(f *framer) { _ = f.WriteContinuation(1, true, nil) }, []string{protocolError}, 0},
	{"5.1 data after the end", func(f *framer) { good(f, 1); _ = f.WriteData(1, true, []byte("x")) }, []string{resetClosed, streamClosed}, 1},
	{"5.1 headers after the end", func(f *framer) { good(f, 1); f.headers(1, true, f.request()) }, []string{resetClosed, streamClosed, protocolError}, 1},
	{"5.1.1 even stream", func(f *framer) { good(f, 2) }, []string{protocolError}, 0},
	{"5.1.1 stream that goes back", func(f *framer) { good(f, 5); good(f, 3) }, []string{protocolError, streamClosed}, 1},
	{"6.1 data of no stream", func(f *framer) { _ = f.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) }, []string{protocolError}, 0},
	{"6.1 padding longer than the frame", func(f *framer) {
		f.headers(1, false, f.request())
		_ = f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte("\xffx"))
	}, []string{protocolError}, 1},
	{"6.2 headers of no stream", func(f *framer) { _ = f.WriteRawFrame(http2.FrameHeaders, 5, 0, f.request()) }, []string{protocolError}, 0},
	{"6.2 padding longer than the block", func(f *framer) {
		_ = f.WriteRawFrame(http2.FrameHeaders, 5|http2.FlagHeadersPadded, 1, []byte("\xffx"))
	}, []string{protocolError, resetProtocol}, 0},
	{"6.3 priority of no stream", func(f *framer) { _ = f.WriteRawFrame(http2.FramePriority, 0, 0, make([]byte, 5)) }, []string{protocolError}, 0},
	{"6.3 priority of another size", func(f *framer) {
		f.headers(1, false, f.request())
		_ = f.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4))
	}, []string{frameSize, resetSize}, 1},
	{"6.4 reset of no stream", func(f *framer) { _ = f.WriteRawFrame(http2.FrameRSTStream, 0, 0, make([]byte, 4)) }, []string{protocolError}, 0},
	{"6.4 reset of another size", func(f *framer) {
		f.headers(1, false, f.request())
		_ = f.WriteRawFrame(http2.FrameRSTStream, 0, 1, make([]byte, 3))
	}, []string{frameSize}, 1},
	{"6.5 settings of a stream", func(f *framer) { _ = f.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }, []string{protocolError}, 0},
	{"6.5 settings of another size", func(f *framer) { _ = f.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 3)) }, []string{frameSize}, 0},
	{"6.5 acknowledgement with content", func(f *framer) { _ = f.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6)) }, []string{frameSize}, 0},
	{"6.5 acknowledgement of nothing", func(f *framer) { _ = f.WriteSettingsAck(); _ = f.WriteSettingsAck() }, []string{protocolError}, 0},
	{"6.5.2 push that is neither", func(f *framer) { _ = f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }, []string{protocolError}, 0},
	{"6.5.2 window over the limit", func(f *framer) { _ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, []string{flowControl}, 0},
	{"6.5.2 frames below the limit", func(f *framer) { _ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<14 - 1}) }, []string{protocolError}, 0},
	{"6.5.2 frames over the limit", func(f *framer) { _ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24}) }, []string{protocolError}, 0},
	{"6.5.3 settings are acknowledged", func(f *framer) { _ = f.WriteSettings(http2.Setting{ID: 0xfafa, Val: 1}) }, []string{"settings ack"}, 0},
	{"6.6 push from a client", func(f *framer) { _ = f.WriteRawFrame(http2.FramePushPromise, 4, 1, append(raw32(2), f.request()...)) }, []string{protocolError}, 0},
	{"6.7 ping is answered", func(f *framer) { _ = f.WritePing(false, [8]byte{1}) }, []string{"ping true"}, 0},
	{"6.7 ping of a stream", func(f *framer) { _ = f.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }, []string{protocolError}, 0},
	{"6.7 ping of another size", func(f *framer) { _ = f.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 6)) }, []string{frameSize}, 0},
	{"6.8 goaway of a stream", func(f *framer) { _ = f.WriteRawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)) }, []string{protocolError}, 0},
	{"6.9 window by nothing", func(f *framer) { _ = f.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, raw32(0)) }, []string{protocolError}, 0},
	{"6.9 window by nothing, of a stream", func(f *framer) {
		f.headers(1, false, f.request())
		_ = f.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, raw32(0))
	}, []string{resetProtocol, protocolError}, 1},
	{"6.9 window of another size", func(f *framer) { _ = f.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 3)) }, []string{frameSize}, 0},
	{"6.9.1 window over the limit", func(f *framer) { _ = f.WriteWindowUpdate(0, 1<<31-1); _ = f.WriteWindowUpdate(0, 1<<31-1) }, []string{flowControl}, 0},
	{"6.9.1 window of a stream over the limit", func(f *framer) {
		f.headers(1, false, f.request())
		_ = f.WriteWindowUpdate(1, 1<<31-1)
		_ = f.WriteWindowUpdate(1, 1<<31-1)
	}, []string{resetFlow, flowControl}, 1},
	{"6.10 continuation of another stream", func(f *framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: f.request()})
		_ = f.WriteContinuation(3, true, nil)
	}, []string{protocolError}, 0},
	{"6.10 continuation after the end of headers", func(f *framer) { good(f, 1); _ = f.WriteContinuation(1, true, nil) }, []string{protocolError}, 1},
}

// fields of a request, and what is wrong with them: none of it reaches the application.
// A 400 is the gate's own or net/http's; a reset is HTTP/2's.
var malformedFields = []struct {
	name   string
	fields []string
}{
	{"8.2.1 upper case name", []string{"X-Upper", "y"}},
	{"8.2.1 control in a name", []string{"x\x01y", "z"}},
	{"8.2.1 line end in a value", []string{"x", "a\r\nx-forwarded-user: root"}},
	{"8.2.1 NUL in a value", []string{"x", "a\x00"}},
	{"8.2.1 colon in a name", []string{"x:y", "z"}},
	{"8.2.1 empty name", []string{"", "z"}},
	{"8.2.2 Connection", []string{"connection", "close"}},
	{"8.2.2 Transfer-Encoding", []string{"transfer-encoding", "chunked"}},
	{"8.2.2 Keep-Alive", []string{"keep-alive", "1"}},
	{"8.2.2 Proxy-Connection", []string{"proxy-connection", "close"}},
	{"8.2.2 Upgrade, P10", []string{"upgrade", "h2c"}},
	{"8.2.2 Upgrade to WebSocket, P10", []string{"upgrade", "websocket"}},
	{"8.2.2 TE of a coding", []string{"te", "chunked"}},
	{"8.3 pseudo-field after others", []string{"x", "y", ":path", "/second"}},
	{"8.3 unknown pseudo-field", []string{":test", "x"}},
	{"8.3 pseudo-field of a response", []string{":status", "200"}},
	{"8.3.1 second path", []string{":path", "/second"}},
	{"8.3.1 second method", []string{":method", "POST"}},
	{"8.3.1 second authority", []string{":authority", "evil.example"}},
	{"8.1.1 length without a body", []string{"content-length", "5"}},
	{"8.1.1 two lengths", []string{"content-length", "0", "content-length", "5"}},
	{"8.1.1 no length", []string{"content-length", "-1"}},
	{"8.1.1 a list of lengths", []string{"content-length", "0, 5"}},
	{"T01 length by another name", []string{"content_length", "5"}},
	{"T01 encoding by another name", []string{"transfer_encoding", "chunked"}},
	{"T01 encoding with a line end in its name", []string{"transfer-encoding: chunked\r\nx", "y"}},
	{"T03 second host", []string{"host", "evil.example"}},
	{"T03 two more hosts", []string{"host", appHost, "host", appHost}},
}

func TestT04HTTP2FramesAreReadAsTheStandardSays(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.h2 = true })
	cases := connectionCases
	for _, m := range malformedFields {
		cases = append(cases, frameCase{m.name, func(f *framer) { f.headers(1, true, f.request(m.fields...)) }, []string{badRequest, resetProtocol, protocolError}, 0})
	}
	const path = "/h2/*"
	for name, fields := range map[string][]string{
		"8.3.1 no method":     {":scheme", "https", ":path", path, ":authority", appHost},
		"8.3.1 no scheme":     {":method", "GET", ":path", path, ":authority", appHost},
		"8.3.1 no path":       {":method", "GET", ":scheme", "https", ":authority", appHost},
		"8.3.1 empty path":    {":method", "GET", ":scheme", "https", ":path", "", ":authority", appHost},
		"8.3.1 no authority":  {":method", "GET", ":scheme", "https", ":path", path},
		"8.3.1 userinfo, T03": {":method", "GET", ":scheme", "https", ":path", path, ":authority", "ana@" + appHost},
		"8.3.1 absolute path": {":method", "GET", ":scheme", "https", ":path", "https://evil.example/", ":authority", appHost},
		"8.3.1 asterisk":      {":method", "GET", ":scheme", "https", ":path", "*", ":authority", appHost},
		"8.3.1 space in path": {":method", "GET", ":scheme", "https", ":path", path + " HTTP/1.1\r\nx: y", ":authority", appHost},
		"8.3.1 other scheme":  {":method", "GET", ":scheme", "ftp", ":path", path, ":authority", appHost},
		"8.3.1 method, T01":   {":method", "GET /smuggled HTTP/1.1\r\nx: y", ":scheme", "https", ":path", path, ":authority", appHost},
		"wire: sign of ours":  {":method", "GET", ":scheme", "https", ":path", "/", ":authority", "(refused)"},
	} {
		cases = append(cases, frameCase{name, func(f *framer) { f.headers(1, true, f.block(f.here(fields)...)) }, []string{badRequest, resetProtocol, protocolError}, 0})
	}
	cases = append(cases,
		frameCase{"8.5 CONNECT, P08", func(f *framer) { f.headers(1, true, f.block(":method", "CONNECT", ":authority", appHost+":443")) }, []string{"status 405", badRequest, resetProtocol}, 0},
		frameCase{"8.1 pseudo-field in a trailer", func(f *framer) { f.headers(1, false, f.request()); f.headers(1, true, f.block(":path", "/x")) }, []string{badRequest, resetProtocol, protocolError}, 1},
		frameCase{"8.1 second head without an end", func(f *framer) { f.headers(1, false, f.request()); f.headers(1, false, f.block("x", "y")) }, []string{badRequest, resetProtocol, protocolError}, 1},
		frameCase{"8.1.1 more than the length", func(f *framer) {
			f.headers(1, false, f.request("content-length", "1"))
			_ = f.WriteData(1, true, []byte("four"))
		}, []string{resetProtocol, badRequest}, 1},
		frameCase{"8.1.1 less than the length", func(f *framer) {
			f.headers(1, false, f.request("content-length", "9"))
			_ = f.WriteData(1, true, []byte("four"))
		}, []string{resetProtocol, badRequest}, 1},
	)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := r.as(t)
			var f *framer
			if c.send == nil {
				f = r.preface("GET / HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n")
				go f.listen()
			} else {
				f = r.frames()
				f.path = fmt.Sprintf("/h2/%d", i)
				go f.listen()
				c.send(f)
			}
			got := f.until(c.want...)
			ok := false
			for _, w := range c.want {
				ok = ok || got == w
			}
			if !ok {
				t.Errorf("%q, want one of %q", got, c.want)
			}
			var seen []seen
			for _, q := range r.app.requests() { // also of the cases before, late
				if f.path == "" || !strings.HasPrefix(q.target, "/h2/") || q.target == f.path {
					seen = append(seen, q)
				}
			}
			if len(seen) > c.app || len(seen) == 1 && seen[0].target != f.path {
				t.Errorf("the application saw %+v", seen)
			}
		})
	}
	f := r.frames() // and after all this
	go f.listen()
	good(f, 1)
	if got := f.until("status 200"); got != "status 200" {
		t.Errorf("benign: %s", got)
	}
}
