package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/ssogate/ssogate/proxy/upstream/h1"
)

// Fault is what went wrong on the way to an application. A fixed word, fit for
// logs and metrics. The zero value is not a fault anyone recovers from.
type Fault string

// Faults.
const (
	Unknown     Fault = ""
	Unreachable Fault = "upstream_unreachable"
	TooSlow     Fault = "upstream_too_slow"
	Broken      Fault = "upstream_broken"
	Busy        Fault = "upstream_busy"
	Canceled    Fault = "canceled"
	// Unsendable is a request that has two readings. It never reached the
	// application, whose health it says nothing about.
	Unsendable Fault = "request_unsendable"
)

// Classify names an error of RoundTrip. A nil error is Unknown.
func Classify(err error) Fault {
	if err == nil {
		return Unknown
	}
	if errors.Is(err, context.Canceled) {
		return Canceled
	}
	if _, ok := errors.AsType[*h1.RequestError](err); ok {
		return Unsendable
	}
	// The client's body broke off: to the application that is a client that went.
	if _, ok := errors.AsType[*h1.UploadError](err); ok {
		return Canceled
	}
	if errors.Is(err, ErrFull) {
		return Busy
	}
	if _, ok := errors.AsType[*h1.DialError](err); ok {
		return Unreachable
	}
	// Before the time-out check: a dial that timed out is an application that is
	// down, not one that thinks for too long (faults 12 and 13).
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return Unreachable
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return Unreachable
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return TooSlow
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return TooSlow
	}
	return Broken
}

// Status is the answer for a fault.
func (f Fault) Status() int {
	switch f {
	case TooSlow:
		return http.StatusGatewayTimeout
	case Busy:
		return http.StatusServiceUnavailable
	case Unsendable:
		return http.StatusBadRequest
	case Unknown, Unreachable, Broken, Canceled:
	}
	return http.StatusBadGateway
}

// unanswered reports a connection that ended before a byte of the answer. net/http
// says so in words only, so there nothing else than a plain end or reset counts.
func unanswered(err error) bool {
	return errors.Is(err, h1.ErrNoAnswer) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
}
