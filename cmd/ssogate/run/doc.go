// Package run is the one place where ssogate is wired together: config in,
// running gateway out. The serve command, the demo and the whole-product tests
// all go through [New], so what is tested is what is shipped.
//
// It owns the order of starting and stopping and the mapping from the boot file
// to live settings. It must hold no rule of its own: a decision that could be
// wrong belongs to the package whose guarantee it is.
package run
