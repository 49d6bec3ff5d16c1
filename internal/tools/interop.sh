#!/bin/sh
# Sign in and out with identity providers that share nothing with Go's libraries:
# SimpleSAMLphp (Debian) and oidc-provider (npm). What is missing is installed, with
# apt-get and npm; the packages of npm go to .cache.
set -eu
cd "$(dirname "$0")/../.."
. internal/tools/common.sh

missing() {
	{ have php && php -r 'exit(extension_loaded("dom") && extension_loaded("mbstring") ? 0 : 1);'; } || echo php-cli php-xml php-mbstring
	[ -d /usr/share/simplesamlphp/www ] || echo simplesamlphp
	have node || echo nodejs
	have npm || echo npm
	{ have chromium || have chromium-browser || have google-chrome; } || echo chromium
}

want=$(missing | tr '\n' ' ')
if [ -n "${want%% }" ]; then
	echo "not installed: $want"
	as_root timeout 120 apt-get update -qq || true
	# RUNLEVEL keeps the web server, which the package recommends, from starting.
	# shellcheck disable=SC2086 # a list of words on purpose
	as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
		timeout 600 apt-get install -y -qq --no-install-recommends $want >/dev/null || true
fi

# Exactly what package-lock.json says, once for each version of it.
lock=$(cksum <internal/interop/oidc/package-lock.json | tr -d ' ')
node_dir="$PWD/.cache/interop-node-$lock"
if [ ! -d "$node_dir/node_modules/oidc-provider" ]; then
	mkdir -p "$node_dir"
	cp internal/interop/oidc/package.json internal/interop/oidc/package-lock.json "$node_dir/"
	(cd "$node_dir" && npm ci --no-audit --no-fund --ignore-scripts)
fi

dpkg-query -W -f '${Package} ${Version}\n' simplesamlphp 2>/dev/null || true
php -v 2>/dev/null | head -n 1 || true
echo "oidc-provider $(sed -n 's/.*"oidc-provider": "\([^"]*\)".*/\1/p' internal/interop/oidc/package.json) under node $(node -v)"
# A missing part fails here: a run that showed nothing is no result.
CI=true SSOGATE_INTEROP_NODE="$node_dir" \
	exec go test -tags interop -count=1 -timeout 20m -v ./internal/interop "$@"
