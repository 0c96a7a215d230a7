#!/usr/bin/env bash
# Builds the S3 server of tests into dist/bin where it is not installed; internal/s3test/_server/go.sum has its hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! PATH=$PATH:$PWD/dist/bin command -v versitygw >/dev/null; then
	mkdir -p dist/bin
	CGO_ENABLED=0 go build -C internal/s3test/_server -mod=readonly -ldflags "-s -w" -o "$PWD/dist/bin/versitygw" github.com/versity/versitygw/cmd/versitygw
fi
