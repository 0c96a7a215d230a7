#!/usr/bin/env bash
# Runs the tests of buckets, against a real S3 server too, and fails where one is left out. The server is versitygw, see versitygw.sh. It
# listens on the loopback address, and ends with the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PATH:$PWD/dist/bin
bash scripts/versitygw.sh

out=$(mktemp)
trap 'rm -f "$out"' EXIT
for module in cache/blobcache origin/bloborigin; do
	go -C "$module" mod tidy -diff
	go -C "$module" vet ./...
	go -C "$module" test -count 1 -v -timeout 5m ./... >"$out" 2>&1 || {
		grep -v -E '^ *(=== |--- PASS)' "$out"
		exit 1
	}
	grep -E '^ok' "$out"
	if grep -B 3 -E '^ *--- SKIP' "$out"; then
		echo "these were left out"
		exit 1
	fi
done
