// Package store measures what one read of a session costs in each store: the
// price of a request that the principal cache cannot answer.
//
//	go test -bench . -benchmem ./bench/store
//
// It owns the benchmarks only. It must not be imported.
package store
