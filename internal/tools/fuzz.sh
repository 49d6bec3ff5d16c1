#!/bin/sh
# Run every fuzz target for a while: go test takes one target of one package at a
# time. What it finds is kept in testdata/fuzz beside the test; commit it.
set -eu
cd "$(dirname "$0")/../.."
. internal/tools/common.sh
time=${1:-20s}
status=0
for pkg in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
		echo "== $pkg $target ($time)"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$pkg" || status=1
	done
done
exit $status
