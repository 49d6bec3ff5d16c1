// Package gate measures what an admitted request costs, next to other proxies that
// stand, each alone, on one pinned core in front of the same fast upstream. It owns the
// figures in docs/performance.md, which "make gatebench" writes; ordinary test runs
// see to its arithmetic, and "make bench" that it works. Figures are ratios taken inside interleaved rounds and are never
// asserted: a machine that does other things makes times, and no truth.
//
// It starts programs and must not be imported.
package gate
