#!/usr/bin/env bash
# Runs the tests of purges against a real Varnish and a real nginx, and fails where one is left out. What they need is installed where apt-get
# is: varnish and varnish-modules, nginx and libnginx-mod-http-cache-purge.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
	missing=()
	for package in gcc varnish varnish-modules nginx-light libnginx-mod-http-cache-purge; do
		if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
			missing+=("$package")
		fi
	done
	if [ "${#missing[@]}" != 0 ]; then
		sudo=()
		if [ "$(id -u)" != 0 ]; then
			sudo=(sudo)
		fi
		${sudo[@]+"${sudo[@]}"} apt-get update -qq
		DEBIAN_FRONTEND=noninteractive ${sudo[@]+"${sudo[@]}"} apt-get install -y -qq --no-install-recommends "${missing[@]}"
	fi
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
{ go test -count 1 -v ./purge/cdn/varnish ./purge/cdn/nginx && go test -count 1 -v -run "ShieldAndEdge|NginxInFront" ./internal/command; } >"$out" 2>&1 || {
	grep -v -E '^ *(=== |--- PASS)' "$out"
	exit 1
}
grep -E '^ok' "$out"
if grep -B 3 -E '^ *--- SKIP' "$out"; then
	echo "these were left out"
	exit 1
fi
