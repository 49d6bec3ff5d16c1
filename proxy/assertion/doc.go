// Package assertion makes the signed tokens by which an application knows, without
// trusting the network between, who asks: their keys, their claims, and the key set
// that the gateway publishes at /jwks.json.
//
// It owns how keys come and go, and must not decide for whom a token is made, nor
// when: that is the proxy's. Package identity reads what is written here.
//
//	made -> next (published) -> signs -> previous (published) -> gone
//
// Each step but the first comes by the clock, at a time that stands beside the key: no
// node has to be told, and none can be late. A node that has not yet heard of a new
// key signs with the one before, which stays published for as long as that may be.
package assertion
