#!/usr/bin/env bash
# Runs the real command as a user would: serves images, restarts, purges, transforms. Needs go and curl.
# Everything it starts ends with it, and everything it writes is in one temporary directory.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
pids=() # that still run
cleanup() {
	for pid in ${pids[@]+"${pids[@]}"}; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

checks=0
ok() {
	checks=$((checks + 1))
	echo "ok    $1"
}
fail() {
	echo "FAIL  $1" >&2
	for f in "$tmp"/*.err; do
		if [ -s "$f" ]; then
			echo "--- ${f##*/}" >&2
			cat "$f" >&2
		fi
	done
	exit 1
}

# start NAME COMMAND...: runs a command behind, and waits until it has printed its URL. Sets pid and url.
start() {
	local name=$1
	shift
	: >"$tmp/$name.out"
	"$@" >"$tmp/$name.out" 2>"$tmp/$name.err" </dev/null &
	pid=$!
	pids+=("$pid")
	for _ in $(seq 100); do
		url=$(sed -n 's/.*listening on \(http[^ ]*\)$/\1/p' "$tmp/$name.out")
		if [ -n "$url" ]; then
			return
		fi
		kill -0 "$pid" 2>/dev/null || fail "$name ended before it was listening"
		sleep 0.1
	done
	fail "$name did not listen within 10 seconds"
}

# stop PID WHAT: ends a server by SIGTERM, which must be clean and quick.
stop() {
	kill -TERM "$1"
	for _ in $(seq 100); do
		if ! kill -0 "$1" 2>/dev/null; then
			local status=0
			wait "$1" || status=$?
			local running=() p
			for p in "${pids[@]}"; do
				[ "$p" = "$1" ] || running+=("$p")
			done
			pids=(${running[@]+"${running[@]}"})
			[ "$status" -eq 0 ] || fail "$2: exit status $status after SIGTERM"
			ok "$2: SIGTERM ends it with exit status 0"
			return
		fi
		sleep 0.1
	done
	fail "$2: still there 10 seconds after SIGTERM"
}

# get URL [curl's flags]: sets status, type and cache; the body is in $tmp/body.
get() {
	local url=$1
	shift
	status=$(curl -sS -m 60 -D "$tmp/head" -o "$tmp/body" -w '%{http_code}' "$@" "$url")
	type=$(field content-type)
	cache=$(field cache-status)
}
field() { tr -d '\r' <"$tmp/head" | awk -v name="$1: " 'index(tolower($0), name) == 1 { value = substr($0, length(name) + 1) } END { print value }'; }

# webp_size FILE: width and height in the header of a lossy WebP, whatever the program under test says.
webp_size() {
	[ "$(head -c 4 "$1")" = RIFF ] && [ "$(tail -c +9 "$1" | head -c 7)" = "WEBPVP8" ] || {
		echo "no WebP"
		return
	}
	local b
	read -r -a b <<<"$(od -An -tu1 -j26 -N4 "$1")"
	echo "$(((b[0] + b[1] * 256) & 16383))x$(((b[2] + b[3] * 256) & 16383))"
}

echo "building"
CGO_ENABLED=0 go build -o "$tmp/imagecdn" ./cmd/imagecdn

# An HTTP origin whose images live for an hour. It prints each request.
cat >"$tmp/origin.go" <<'GO'
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	files := http.FileServer(http.Dir(os.Args[1]))
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s %s cache-control=%q if-modified-since=%q\n", r.Method, r.URL.Path, r.Header.Get("Cache-Control"), r.Header.Get("If-Modified-Since"))
		w.Header().Set("Cache-Control", "max-age=3600")
		files.ServeHTTP(w, r)
	})))
}
GO
go build -o "$tmp/origin" "$tmp/origin.go"
start origin "$tmp/origin" internal/samples/photos
origin=$url
requests() { grep -c '^GET ' "$tmp/origin.out" || true; }

echo "the demo, in memory alone"
mkdir -p "$tmp/home/cache"
start demo env HOME="$tmp/home" XDG_CACHE_HOME="$tmp/home/cache" "$tmp/imagecdn" -listen 127.0.0.1:0 -cache ""
demo=$pid
get "$url/"
[ "$status" = 200 ] || fail "the page: $status"
[ "${type%%;*}" = text/html ] || fail "the page is $type"
images=0
while read -r image; do
	get "$image"
	[ "$status" = 200 ] || fail "$image: $status"
	[ "${type%%/*}" = image ] || fail "$image is $type"
	images=$((images + 1))
done < <(sed -n 's/^ *\(http[^ ]*\/photos\/.*\)$/\1/p' "$tmp/demo.out")
[ "$images" -gt 0 ] || fail "the demo printed no images"
ok "the page, and all $images images that it printed"
stop "$demo" "the demo"
left=$(find "$tmp/home" -type f)
[ -z "$left" ] || fail "it left files: $left"
ok "it left no file in HOME"

echo "a directory and an HTTP origin, with a disk cache"
serve() {
	start "$1" "$tmp/imagecdn" serve -listen 127.0.0.1:0 -cache "$tmp/cache" -api-key smoke \
		-allow-private -source photos=internal/samples/photos -source "web=$origin/"
}
serve first
first=$pid
for source in photos web; do
	get "$url/$source/rocket.jpg?w=400&fm=webp"
	[ "$status" = 200 ] || fail "$source: $status: $(cat "$tmp/body")"
	[ "$type" = image/webp ] || fail "$source: $type"
	[ "$(webp_size "$tmp/body")" = 400x267 ] || fail "$source: the picture is $(webp_size "$tmp/body")"
	[ "$cache" = "imagecdn; fwd=miss; stored" ] || fail "$source: $cache"
	cp "$tmp/body" "$tmp/$source.webp"
	ok "$source: a WebP of 400x267, and a miss"
	get "$url/$source/rocket.jpg?w=400&fm=webp"
	case $cache in
	"imagecdn; hit; "*) ok "$source: again: $cache" ;;
	*) fail "$source: again: $cache" ;;
	esac
	cmp -s "$tmp/body" "$tmp/$source.webp" || fail "$source: again: other bytes"
done
get "$url/web/rocket.jpg?w=abc"
[ "$status" = 400 ] || fail "w=abc: $status"
grep -q '^w=abc: ' "$tmp/body" || fail "w=abc: $(cat "$tmp/body")"
ok "w=abc is 400: $(cat "$tmp/body")"
[ "$(requests)" = 1 ] || fail "the origin was asked $(requests) times"
ok "the origin was asked once"
stop "$first" "the server"

echo "a restart"
serve second
second=$pid
get "$url/web/rocket.jpg?w=400&fm=webp"
case $cache in
"imagecdn; hit; "*) ok "the first request is a hit, from disk: $cache" ;;
*) fail "after the restart: $cache" ;;
esac
cmp -s "$tmp/body" "$tmp/web.webp" || fail "after the restart: other bytes"
[ "$(requests)" = 1 ] || fail "the origin was asked $(requests) times"
sleep 1.1 # so that the file is looked at anew; a picture that was made again would be a miss
get "$url/photos/rocket.jpg?w=400&fm=webp"
case $cache in
"imagecdn; hit; "*) ok "of the directory, too, whose file is the same: $cache" ;;
*) fail "after the restart, of the directory: $cache" ;;
esac
cmp -s "$tmp/body" "$tmp/photos.webp" || fail "after the restart, of the directory: other bytes"

echo "a purge"
if "$tmp/imagecdn" purge -server "$url" -key wrong /web/rocket.jpg >"$tmp/purge.out" 2>"$tmp/purge.err"; then
	fail "a wrong key was taken"
fi
ok "a wrong key is refused"
get "$url/-/console"
[ "$status" = 303 ] || fail "the console without a session: $status"
curl -sS -m 60 -o /dev/null -c "$tmp/jar" -d key=smoke "$url/-/console/sign-in" || fail "signing in to the console: exit status $?"
get "$url/-/console" -b "$tmp/jar"
[ "$status" = 200 ] && grep -q "Invalidation log" "$tmp/body" || fail "the console with a session: $status"
ok "the console opens for its key"
"$tmp/imagecdn" purge -server "$url" -key smoke /web/rocket.jpg >"$tmp/purge.out" 2>"$tmp/purge.err" || fail "the purge: exit status $?"
grep -q ' done$' "$tmp/purge.out" || fail "the purge: $(cat "$tmp/purge.out")"
ok "done: $(tail -n 1 "$tmp/purge.out")"
get "$url/web/rocket.jpg?w=400&fm=webp"
[ "$cache" = "imagecdn; fwd=miss; stored" ] || fail "after the purge: $cache"
grep '^GET ' "$tmp/origin.out" | tail -n 1 | grep -q 'cache-control="no-cache" if-modified-since=""' || fail "after the purge: $(tail -n 1 "$tmp/origin.out")"
[ "$(requests)" = 2 ] || fail "the origin was asked $(requests) times"
ok "the next request is a miss, and the origin is asked anew, with no-cache"
get "$url/-/api/v1/purges" -H "Authorization: Bearer smoke"
[ "$status" = 200 ] && grep -q '"state":"done"' "$tmp/body" || fail "the API: $status: $(cat "$tmp/body")"
ok "the API lists the purge"
stop "$second" "the server"

echo "transform"
"$tmp/imagecdn" transform internal/samples/photos/rocket.jpg 'w=200&h=100&fit=crop' "$tmp/out.webp"
[ "$(webp_size "$tmp/out.webp")" = 200x100 ] || fail "transform: the picture is $(webp_size "$tmp/out.webp")"
ok "a WebP of 200x100"

echo "all $checks checks passed"
