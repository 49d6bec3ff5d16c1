#!/bin/sh
# Format every Go file with the pinned gofumpt.
set -eu
cd "$(dirname "$0")/../.."
. internal/tools/common.sh
tools
gofiles | xargs gofumpt -w
