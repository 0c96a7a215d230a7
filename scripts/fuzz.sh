#!/usr/bin/env bash
# Fuzzes every target of the module, one after the other: each Fuzz function in a _test.go file, wherever it is, so that none can be
# forgotten. FUZZTIME (30s) is for each, PKG (./...) narrows it. It goes on after a target that fails, and fails at the end.
#
#	scripts/fuzz.sh        fuzz them
#	scripts/fuzz.sh list   say which they are: package and name
set -euo pipefail
cd "$(dirname "$0")/.."

list() {
	go list -f '{{$dir := .Dir}}{{$path := .ImportPath}}{{range .TestGoFiles}}{{$path}} {{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$path}} {{$dir}}/{{.}}{{"\n"}}{{end}}' \
		"${PKG:-./...}" | while read -r package file; do
		[ -z "$package" ] || sed -n "s|^func \(Fuzz[A-Za-z0-9_]*\)(.*|$package \1|p" "$file"
	done
}

if [ "${1:-}" = list ]; then
	list
	exit
fi

# harmless FILE: whether all that failed is that a busy machine ended the time within an input, which Go before 1.27 takes for a failure
# (https://go.dev/issue/75804). What is found is written down, and said to be.
harmless() { grep -q '^ *context deadline exceeded$' "$1" && ! grep -qE 'Failing input written|panic: |found while' "$1"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=()
while read -r package target; do
	echo "== $package $target"
	# What is found is written below the package's testdata/fuzz, to be committed with what mends it.
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package" </dev/null 2>&1 | tee "$log" ||
		harmless "$log" || failed+=("$package $target")
done < <(list)
if [ ${#failed[@]} -gt 0 ]; then
	printf 'failed: %s\n' "${failed[@]}"
	exit 1
fi
