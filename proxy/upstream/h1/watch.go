package h1

import (
	"context"
	"net/textproto"
)

// Killer is an exchange that can be ended from any goroutine.
type Killer interface{ Kill() }

// Watcher is a context of a request that ends an exchange by itself, for callers to whom
// a context.AfterFunc per request is too much. Watch says false, and does nothing, when
// the context has ended; otherwise Kill is called when it ends, unless Unwatch was called
// before. Kill does not block, and may come late: an exchange that is over ignores it.
type Watcher interface {
	context.Context
	Watch(k Killer) bool
	Unwatch(k Killer)
}

// Interims is a context of a request that takes interim responses, instead of a
// httptrace.ClientTrace. An error ends the exchange.
type Interims interface {
	context.Context
	Got1xx(code int, h textproto.MIMEHeader) error
}
