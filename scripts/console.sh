#!/usr/bin/env bash
# Uses the console in a real Chromium, and looks at it with axe-core. Pictures of it are left in dist/console. Needs go, node, npm and a Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

npm install --silent --no-save --ignore-scripts --prefix "$tmp" playwright-core@1.65.1 axe-core@4.14.1 >/dev/null
mkdir -p dist/console
IMAGECDN_CONSOLE=$tmp IMAGECDN_CONSOLE_PICTURES=$PWD/dist/console go test -count 1 -timeout 5m -run '^TestConsoleInChromium$' -v .
