//go:build !race

package saml_test

// slow leaves room for a busy machine; CPU time is what the rows limit.
const slow = 2

// stride of places to try: every one.
const stride = 1
