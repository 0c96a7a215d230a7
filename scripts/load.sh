#!/usr/bin/env bash
# What hits notice of ten times more renders than there is capacity for, as a table for docs/load.md. It needs go, takes about
# a minute and a half of the whole machine, and stays on the loopback. DURATION (60s), FACTOR (10), HITS (200 a second).
set -euo pipefail
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/loadtest" ./internal/loadtest
if [ -r /proc/loadavg ]; then
	echo "load of the machine before: $(cut -d' ' -f1-3 /proc/loadavg)" >&2
fi
timeout 300 "$tmp/loadtest" -duration "${DURATION:-60s}" -factor "${FACTOR:-10}" -hits "${HITS:-200}" "$@"
