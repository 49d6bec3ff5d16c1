//go:build race

package saml_test

// slow is how much longer things may take under the race detector.
const slow = 20

// stride skips places that are tried one by one without the race detector.
const stride = 7
