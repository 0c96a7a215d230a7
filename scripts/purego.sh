#!/usr/bin/env bash
# Says which packages the tag purego changes: those with assembly and a twin of it in Go, and the one that is made of them.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*.go' '^//go:build .*purego' internal resize | xargs -n 1 dirname | sort -u | sed 's|^|./|'
echo ./resize
