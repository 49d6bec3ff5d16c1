// Package mail sends what ssogate has to say by e-mail: from an outbox in SQL,
// over SMTP.
//
// It owns the letter (a plain text and an HTML form of the same words), the way to
// the server ([SMTP]) and the worker that empties the outbox ([Worker]). It does
// not decide who is written to: whoever changes a member puts the letter into the
// outbox in the same transaction, so that there is never one without the other.
// It must not log addresses or the content of a letter, and must not keep a
// request waiting.
//
// States of a letter:
//
//	queued   waits for its turn, or for another try after a passing fault
//	sent     the server took it
//	failed   the server refused it for good, or nobody could deliver it for days
//	dropped  nobody needs it any more (the member accepted, or is gone)
//
// A letter may reach somebody twice if this process, or the server, ends between
// the server's answer and the note of it; its Message-ID is then the same.
package mail
