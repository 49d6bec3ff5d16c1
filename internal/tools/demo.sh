#!/bin/sh
# Build with progress, then run the demo. A cold build compiles a database and a
# SAML stack; a silent minute would look like a hang.
set -eu
cd "$(dirname "$0")/../.."
# Without cgo: no C compiler is needed, and it is the binary that is shipped.
export CGO_ENABLED=0
echo "building ssogate (a minute or two the first time)..." >&2
# Errors are not lost: the same build runs again below and prints them.
go build -v -o /dev/null ./cmd/ssogate 2>&1 |
	awk '{ n++ } n % 25 == 0 { print "  " n " packages compiled..." > "/dev/stderr" }' || true
exec go run ./cmd/ssogate demo "$@"
