#!/usr/bin/env bash
# Compares hits, in rounds that alternate on one machine: in memory with a bare net/http handler that writes the same bytes,
# on disk with http.ServeContent of the same file, and nginx and Varnish beside them where they are installed.
# Needs go and wrk. ROUNDS (5) rounds of SECONDS_EACH (3) seconds; all on the loopback.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5} each=${SECONDS_EACH:-3}

tmp=$(mktemp -d)
chmod 755 "$tmp"
pids=()
cleanup() {
	for pid in ${pids[@]+"${pids[@]}"}; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

go build -o "$tmp/hitbench" ./internal/hitbench
TMPDIR=$tmp "$tmp/hitbench" 127.0.0.1:18020 >"$tmp/out" &
pids+=("$!")
for _ in $(seq 100); do
	grep -q listening "$tmp/out" && break
	sleep 0.1
done
echo "a body of $(sed -n 's/.*bytes //p' "$tmp/out") bytes, 32 connections, $rounds rounds of $each seconds"

path='noise.png?w=110&h=110&fit=crop'
names=(bare memory file disk)
declare -A url=()
for name in "${names[@]}"; do url[$name]=http://127.0.0.1:18020/$name/$path; done

if command -v nginx >/dev/null; then
	mkdir -p "$tmp/nginx"
	cat >"$tmp/nginx.conf" <<EOF
daemon off; pid $tmp/nginx/pid; error_log $tmp/nginx/error.log; worker_processes auto;
events { worker_connections 1024; }
http {
	access_log off; sendfile on; keepalive_requests 1000000;
	client_body_temp_path $tmp/nginx/body; proxy_temp_path $tmp/nginx/proxy;
	fastcgi_temp_path $tmp/nginx/f; uwsgi_temp_path $tmp/nginx/u; scgi_temp_path $tmp/nginx/s;
	proxy_cache_path $tmp/nginx/cache keys_zone=c:10m inactive=1h;
	server { listen 127.0.0.1:18021; location / { proxy_pass http://127.0.0.1:18020; proxy_cache c; } }
}
EOF
	chmod -R 777 "$tmp/nginx"
	nginx -c "$tmp/nginx.conf" -p "$tmp/nginx" >/dev/null 2>&1 &
	pids+=("$!")
	names+=(nginx)
	url[nginx]=http://127.0.0.1:18021/memory/$path
fi
if command -v varnishd >/dev/null; then
	printf 'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "18020"; }\n' >"$tmp/default.vcl"
	varnishd -F -n "$tmp/varnish" -f "$tmp/default.vcl" -a 127.0.0.1:18022 -s malloc,64m -j none >/dev/null 2>&1 &
	pids+=("$!")
	names+=(varnish)
	url[varnish]=http://127.0.0.1:18022/memory/$path
fi
sleep 2

declare -A figures=()
for _ in $(seq "$rounds"); do
	for name in "${names[@]}"; do
		n=$(wrk -t1 -c32 -d"${each}s" "${url[$name]}" | awk '/Requests\/sec/ {print int($2)} /Non-2xx/ {print "errors" > "/dev/stderr"}')
		figures[$name]="${figures[$name]:-} $n"
	done
done

median() { tr ' ' '\n' | grep . | sort -n | awk '{a[NR]=$1} END {print NR%2 ? a[(NR+1)/2] : int((a[NR/2]+a[NR/2+1])/2)}'; }
# ratio A B: the median of A divided by B, round by round.
ratio() {
	paste <(tr ' ' '\n' <<<"${figures[$1]}" | grep .) <(tr ' ' '\n' <<<"${figures[$2]}" | grep .) |
		awk '{printf "%.4f\n", $1/$2}' | sort -n | awk '{a[NR]=$1} END {printf "%.3f", NR%2 ? a[(NR+1)/2] : (a[NR/2]+a[NR/2+1])/2}'
}
echo "| what | requests a second, median | rounds |"
echo "|---|--:|---|"
for name in "${names[@]}"; do echo "| $name | $(median <<<"${figures[$name]}") |${figures[$name]} |"; done
echo "memory hit / bare net/http: $(ratio memory bare)"
echo "disk hit / http.ServeContent: $(ratio disk file)"
