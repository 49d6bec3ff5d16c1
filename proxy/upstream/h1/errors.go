package h1

import (
	"errors"
	"io"
)

// DialError is a connection that could not be made.
type DialError struct{ Err error }

func (e *DialError) Error() string { return "h1: dial: " + e.Err.Error() }

// Unwrap is the dialler's error.
func (e *DialError) Unwrap() error { return e.Err }

// RequestError is a request that is not sent because it could be read in two
// ways or names nothing. No connection was touched: the application is not to
// blame. It never contains a value, which may be secret.
type RequestError struct{ What string }

func (e *RequestError) Error() string { return "h1: request not sent: " + e.What }

// UploadError is a request body that broke, or had another length than was
// declared. The application is not to blame.
type UploadError struct{ Err error }

func (e *UploadError) Error() string { return "h1: request body: " + e.Err.Error() }

// Unwrap is the body's error.
func (e *UploadError) Unwrap() error { return e.Err }

// ProtocolError is an answer that is not HTTP/1.1, or more than is allowed. It
// contains nothing of the answer.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return "h1: response: " + e.What }

func malformed(what string) error { return &ProtocolError{what} }

// Faults of an answer.
var (
	errStatusLine   = malformed("malformed status line")
	errVersion      = malformed("neither HTTP/1.0 nor HTTP/1.1")
	errStatusCode   = malformed("status below 100")
	errControl      = malformed("control character in the head")
	errBareLF       = malformed("line ends in a bare line feed")
	errFolded       = malformed("folded header line")
	errHeaderLine   = malformed("malformed header line")
	errHeadBytes    = malformed("more header bytes than allowed")
	errHeadLines    = malformed("more header lines than allowed")
	errInterims     = malformed("more interim responses than allowed")
	errLength       = malformed("bad Content-Length")
	errLengths      = malformed("Content-Lengths that differ")
	errCoding       = malformed("transfer coding other than chunked")
	errCodingOld    = malformed("transfer coding in HTTP/1.0")
	errTwoFramings  = malformed("both Content-Length and Transfer-Encoding")
	errTrailerName  = malformed("forbidden name in Trailer")
	errSwitch       = malformed("switched protocols unasked")
	errSwitchBody   = malformed("switched protocols before the request was complete")
	errChunk        = malformed("malformed chunk")
	errChunkExcess  = malformed("chunks contain too much that is no data")
	errUploadStuck  = errors.New("h1: request body is still being read")
	errNotContinued = errors.New("h1: request body was not asked for")
)

// ErrNoAnswer is a connection that ended before a byte of the answer: the request may
// have been carried out, or not.
var ErrNoAnswer = errors.New("h1: connection closed before the response")

// early is an end of the stream where there must be more.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

var (
	_ error = (*DialError)(nil)
	_ error = (*RequestError)(nil)
	_ error = (*UploadError)(nil)
	_ error = (*ProtocolError)(nil)
)
