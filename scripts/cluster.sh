#!/usr/bin/env bash
# Runs cluster/e2e: nodes, NATS servers and an S3 server as processes on the loopback address, and faults between them. With no words the short
# forms, within three minutes; with "long" all there is, with nodes that are away for a minute and the tables of docs/scale.md, in about an hour.
# Other words go to go test. Servers that are not installed are built.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PATH:$PWD/dist/bin
bash scripts/versitygw.sh

flags=(-timeout 10m)
if [ "${1:-}" = long ]; then
	shift
	flags=(-timeout 3h -e2e.long -e2e.away 1m -e2e.rounds 1000 -e2e.table)
fi
go -C cluster/e2e mod tidy -diff
go -C cluster/e2e vet ./...
go -C cluster/e2e test -count 1 -v ./... "${flags[@]}" "$@"
