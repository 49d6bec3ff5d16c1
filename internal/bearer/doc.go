// Package bearer is what all tokens that programs send have in common, SCIM's and
// those of machines: how they are made, how little of them is kept, and how one is
// read from a request and recognized again.
//
// It owns the form (a label and 256 random bits), [Stored] and the Authorization
// header. It must not know what a token opens, nor the store: whoever looks a token
// up decides what it is good for.
package bearer
