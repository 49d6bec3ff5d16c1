// Package header knows how an operator writes the header fields by which an
// application is told who asks: what they may be called, and the few fields that
// stand in their values.
//
// It owns that language, so that the config and the proxy cannot read it in two ways.
// It must not know a person, nor fill anything in: that is the proxy's.
package header
