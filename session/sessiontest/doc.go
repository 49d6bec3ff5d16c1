// Package sessiontest is what every session store must do, as one test suite,
// and a store in memory for the unit tests of other packages.
//
// It owns [Store] (the suite) and [Fake]. It must not know any real store.
package sessiontest
