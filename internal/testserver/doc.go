// Package testserver starts private, real programs for tests: PostgreSQL,
// redis-server (alone, under Sentinel, as a Cluster, with TLS), Chromium, and a
// TCP relay that breaks connections on purpose.
//
// It owns the processes it starts, each on a free loopback port with its data
// in a temporary directory, and ends them with the test or the test binary,
// however that ends. It must not be imported by anything but tests.
//
// A missing program skips the test, except with CI=true, where it fails: a
// server that was not there must never look like a test that passed.
package testserver
