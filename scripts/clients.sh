#!/usr/bin/env bash
# Asks the handler for pictures with the URLs that client libraries of imgix and Cloudimage make (from npm, below), and looks at
# the size and the type of what comes. Needs go, node and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --silent --no-save --ignore-scripts --prefix "$tmp" \
	@imgix/js-core@3.8.0 unpic@4.2.2 @nuxt/image@2.1.0 \
	js-cloudimage-responsive@4.10.0 cloudimage-responsive-utils@2.5.2 >/dev/null
IMAGECDN_CLIENTS=$tmp go test -count 1 -timeout 3m -run '^TestClients$' -v .
