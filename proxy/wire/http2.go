package wire

import (
	"net/http"
	"time"
)

// HTTP2 are the limits of HTTP/2 connections, for http.Server.HTTP2 (row T04). net/http
// counts handlers that still run after their stream was reset, by either side, and
// queues at most four times MaxConcurrentStreams more before it ends the connection;
// and it ends one whose header blocks do not. What is set here bounds the memory of
// each connection, and finds peers that have gone.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          128,       // RFC 9113 section 6.5.2 recommends at least 100
		MaxReadFrameSize:              16 << 10,  // the smallest legal one; the buffer lives as long as the connection
		MaxReceiveBufferPerConnection: 1 << 20,   // of uploads that an application does not read
		MaxReceiveBufferPerStream:     256 << 10, // so that one of them does not hold up the others
		MaxDecoderHeaderTableSize:     4 << 10,
		SendPingTimeout:               time.Minute, // silence of a peer whose event stream is open
		PingTimeout:                   15 * time.Second,
	}
}
