#!/bin/sh
# gofumpt (check only), go vet and golangci-lint.
set -eu
cd "$(dirname "$0")/../.."
. internal/tools/common.sh
tools
unformatted
go vet -tags interop ./...
golangci-lint run --allow-serial-runners ./...
