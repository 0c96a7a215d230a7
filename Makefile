# `go run ./cmd/imagecdn` and `go test ./...` need none of this: here is what is longer to type.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 30s
BENCH ?= .
PKG ?= ./...
ROUNDS ?= 6
OPS ?= 1000000
KILLS ?= 500

.PHONY: help test race purego arm64 fuzz golden sheets console bench bench-compare bench-peers soak cluster load hits caches hitratio generate lint cross browser smoke s3 conformance ci

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

test: ## run all tests
	go test ./...

race: ## run all tests under the race detector (needs a C compiler; takes minutes)
	CGO_ENABLED=1 go test -race -timeout 30m ./...

purego: ## run all tests without cgo, and those of pixels without assembly
	CGO_ENABLED=0 go test ./...
	CGO_ENABLED=0 go test -tags purego $$(bash scripts/purego.sh)

arm64: ## run the tests of pixels on arm64, emulated where that is not what this is (needs qemu-user-static; takes minutes)
	CGO_ENABLED=0 GOARCH=arm64 go test -exec "$$(go env GOARCH | grep -qx arm64 || echo qemu-aarch64-static)" \
		./internal/jpegdec ./internal/kernel ./internal/pngdec ./internal/pngenc ./internal/vp8dec
	CGO_ENABLED=0 GOARCH=arm64 go test -tags nodynamic -exec "$$(go env GOARCH | grep -qx arm64 || echo qemu-aarch64-static)" \
		-run 'Golden|Constant|Transparency|NoFringes|OneToOne|Crop' ./resize

fuzz: ## fuzz each target for FUZZTIME (30s), one after the other; PKG narrows it
	@FUZZTIME=$(FUZZTIME) PKG=$(PKG) bash scripts/fuzz.sh

golden: ## write the golden pictures anew; raise resize.Version where a picture changes
	go test ./resize -run Golden -update

sheets: ## make the contact sheets of docs/sheets anew
	go run ./internal/sheets docs/sheets

bench: ## run benchmarks; BENCH and PKG narrow them
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

bench-compare: ## compare with the commit REF, in ROUNDS (6) rounds that alternate; BENCH and PKG narrow it
	@if [ -z "$(REF)" ]; then echo "usage: make bench-compare REF=main [BENCH=Render] [PKG=./resize] [ROUNDS=6]"; exit 2; fi
	@tmp=$$(mktemp -d); \
	trap 'git worktree remove --force "$$tmp/before"; rm -rf "$$tmp"' EXIT; \
	git worktree add --quiet --detach "$$tmp/before" "$(REF)"; \
	for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; \
		( cd "$$tmp/before" && go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG) ) >>"$$tmp/before.txt"; \
		go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG) >>"$$tmp/after.txt"; \
	done; \
	mkdir -p dist; \
	cp "$$tmp/before.txt" dist/bench-before.txt; \
	cp "$$tmp/after.txt" dist/bench-after.txt; \
	if command -v benchstat >/dev/null; then \
		benchstat dist/bench-before.txt dist/bench-after.txt; \
	else \
		echo "benchstat is not installed: the figures are in dist/bench-before.txt and dist/bench-after.txt"; \
	fi

soak: ## OPS (1,000,000) operations of random histories, and KILLS (500) kills of the real server, in about a quarter of an hour
	go test -run '^TestRandomHistories$$' -count 1 -v -timeout 0 . -soak.ops $(OPS)
	go test -run '^TestKillNineJobs$$' -count 1 -v -timeout 0 ./internal/command -jobkills $(KILLS)

cluster: ## test nodes of a cluster: the nested module, and nodes as processes under faults in all their forms, with tables (an hour; scripts/cluster.sh has the short forms)
	go -C cluster mod tidy -diff
	go -C cluster vet ./...
	go -C cluster test -timeout 15m ./...
	bash scripts/cluster.sh long

browser: ## look at SVG in a real Chromium: nothing of it runs, and it looks the same (a minute or two)
	go test -run Chromium -count 1 -v -timeout 10m . -chromium

console: ## use the console in a real Chromium and look at it with axe-core; pictures of it in dist/console (needs node and npm; two minutes)
	bash scripts/console.sh

bench-peers: ## compare with sharp and libvips: speed, sets of widths, quality, memory; ROUNDS, SECONDS_EACH (under 10 minutes)
	bash scripts/bench-peers.sh

load: ## ten times more renders than there is capacity for, beside hits, in a minute and a half; DURATION, FACTOR, HITS
	bash scripts/load.sh

hits: ## compare hits with bare net/http, http.ServeContent, nginx and Varnish (needs wrk)
	bash scripts/hits.sh

hitratio: ## compare the memory tier's hit ratios with otter's, on Zipf traces
	go -C internal/bench test -v .

generate: ## write generated files anew: assembly (needs GNU binutils for aarch64)
	go generate ./...

lint: ## gofmt, go vet, go mod tidy, and golangci-lint where it is installed
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go mod tidy -diff
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: left out"; fi

cross: ## build for each system that CI builds for, without cgo
	@for target in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		echo "$$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build ./...; \
	done

smoke: ## start the real command and use it
	bash scripts/smoke.sh

caches: ## try purges on a real Varnish and nginx, which are installed where apt-get is
	bash scripts/caches.sh

s3: ## try buckets on a real S3 server, which is built where it is not installed (a minute)
	bash scripts/s3.sh

conformance: ## grade the cache by the public HTTP cache tests, beside the peers that are installed (needs node and npm)
	bash scripts/conformance.sh peers

ci: ## exactly what CI runs
	bash .ci/run
