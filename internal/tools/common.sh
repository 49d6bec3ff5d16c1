# Sourced by the scripts beside it, from the root of the repository.

# The same build everywhere: no stamping (there may be no git), no silent change of
# go.mod.
export GOFLAGS="-buildvcs=false -mod=readonly"

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo -n "$@"; else return 1; fi
}

# tools builds the pinned gofumpt and golangci-lint into .cache, once for each
# version of internal/tools/go.sum, and puts them first on the PATH.
tools() {
	tools_sum=$(cat internal/tools/go.mod internal/tools/go.sum | cksum | tr -d ' ')
	tools_dir="$PWD/.cache/tools-$tools_sum"
	if [ ! -x "$tools_dir/golangci-lint" ] || [ ! -x "$tools_dir/gofumpt" ]; then
		echo "building gofumpt and golangci-lint (some minutes, once)..." >&2
		mkdir -p "$tools_dir.new"
		(cd internal/tools && CGO_ENABLED=0 go build -o "$tools_dir.new/" tool) || return 1
		rm -rf "$tools_dir"
		mv "$tools_dir.new" "$tools_dir"
	fi
	PATH="$tools_dir:$PATH"
	# The linter's own cache stays out of the home directory, which may be read-only.
	export GOLANGCI_LINT_CACHE="$PWD/.cache/golangci-lint"
}

# gofiles lists our Go files, with or without git.
gofiles() {
	find . -name '*.go' -not -path './.git/*' -not -path './.cache/*' -not -path './dist/*' -not -path '*/testdata/*'
}

# unformatted prints files that gofumpt would change, and fails when there are any.
unformatted() {
	bad=$(gofiles | xargs gofumpt -l) || return 1
	[ -z "$bad" ] || {
		echo "not formatted (run make fmt):"
		echo "$bad"
		return 1
	}
}
