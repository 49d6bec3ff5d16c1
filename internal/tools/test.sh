#!/bin/sh
# Everything continuous integration runs. Every step runs, whatever failed before
# it, and the last lines are those of go test; what else failed stands just above.
set -u
cd "$(dirname "$0")/../.." || exit 1
. internal/tools/common.sh
exec </dev/null # nothing may wait for an answer

summary=$(mktemp)
trap 'rm -f "$summary"' EXIT INT TERM
failed=""

# step NAME COMMAND... runs one check and notes its time and verdict.
step() {
	name=$1
	shift
	echo "== $name"
	began=$(date +%s)
	if "$@"; then verdict=ok; else
		verdict=FAILED
		failed="$failed $name"
	fi
	printf '  %-16s %-7s %4ss\n' "$name" "$verdict" "$(($(date +%s) - began))" >>"$summary"
}

# Debian keeps PostgreSQL's programs off the PATH; internal/testserver looks here too.
have_postgres() { have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
have_chromium() { have chromium || have chromium-browser || have google-chrome; }

# missing prints the Debian packages of the servers that are not installed.
missing() {
	have redis-server || echo redis-server
	have_postgres || echo postgresql
	have_chromium || echo chromium
	have nginx || echo nginx-light
	have haproxy || echo haproxy
	have caddy || echo caddy
	have gcc || echo gcc libc6-dev
}

# servers installs what is missing where that is possible. It never fails: what
# cannot be had is reported, and with CI=true the tests that need it fail.
servers() {
	want=$(missing | tr '\n' ' ')
	[ -n "${want%% }" ] || return 0
	echo "not installed: $want"
	have apt-get || return 0
	as_root timeout 120 apt-get update -qq
	# Also with yesterday's lists, when today's cannot be had. RUNLEVEL keeps the
	# daemons from starting: they would take the operator's own ports.
	# shellcheck disable=SC2086 # a list of words on purpose
	as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		timeout 600 apt-get install -y -qq --no-install-recommends $want >/dev/null
	return 0
}

# modules checks that what is downloaded is what go.sum says, and that go.mod names
# what is used, no more. The second wants the network for the tests of libraries;
# without it nothing is known, which is no fault of the change under test.
modules() {
	go mod verify || return 1
	if tidy=$(go mod tidy -diff 2>&1); then return 0; fi
	case $tidy in
	*"diff current/"*)
		echo "$tidy" | grep -v '^go: downloading'
		return 1
		;;
	esac
	echo "go mod tidy could not be checked: $(echo "$tidy" | tail -n 1)"
}

began_all=$(date +%s)
step servers servers
step modules modules
step tools tools
step gofumpt unformatted
step vet go vet -tags interop ./...
step lint golangci-lint run --allow-serial-runners ./...
step floors go test -run 'Floor|MustNotKnow|Fenced|Depguard' ./internal/repo
# One goroutine at a time runs in the model: under the race detector, which finds
# nothing there, it plays fewer rounds.
step model go test -run CutoffModel ./session
step differential go test -run Differential ./sso/saml

absent=$(missing | tr '\n' ' ')
race=-race
if ! have gcc; then
	race="" # the race detector needs cgo; "absent" says so, and CI=true fails below
fi
# Built, not "go run": that adds a line of its own below the last one.
mkdir -p .cache && go build -o .cache/testrun ./internal/repo/testrun || exit 1
# shellcheck disable=SC2086 # absent flags must vanish
.cache/testrun -summary "$summary" -failed "$failed" -missing "$absent" -began "$began_all" -- \
	$race -p 2 -timeout 20m ./...
