#!/usr/bin/env bash
# Grades the cache with the public HTTP cache tests (http-cache-tests 0.4.5 from npm), with nothing of images in it.
# Needs go, node and npm. With "peers" it grades nginx, Varnish, Squid and Traffic Server beside it, where they are
# installed, and prints a table. All of it is on the loopback, and ends with the script.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
chmod 755 "$tmp" # caches that give up root's rights read their settings here
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

behind() { # behind LOG COMMAND...: runs a command behind
	local log=$1
	shift
	"$@" >"$tmp/$log.log" 2>&1 </dev/null &
	pids+=("$!")
}

wait_for() { # wait_for PORT: waits until something listens there
	for _ in $(seq 100); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
			return
		fi
		sleep 0.1
	done
	echo "nothing listens on port $1" >&2
	tail -n 20 "$tmp"/*.log >&2
	return 1
}

npm install --silent --no-save --ignore-scripts --prefix "$tmp/npm" http-cache-tests@0.4.5 >/dev/null
suite=$tmp/npm/node_modules/http-cache-tests
origin=18000
(
	cd "$suite"
	exec env npm_package_config_protocol=http npm_package_config_port=$origin npm_package_config_pidfile="$tmp/origin.pid" \
		node server/server.mjs
) >"$tmp/origin.log" 2>&1 </dev/null &
pids+=("$!")
wait_for $origin

test_cache() { # test_cache NAME PORT
	wait_for "$2"
	(
		cd "$suite"
		npm_package_config_base=http://127.0.0.1:$2 npm_package_config_id= timeout 180 node --no-warnings cli.mjs
	) >"$tmp/$1.json" </dev/null
}

go build -o "$tmp/conformance" ./internal/conformance
behind imagecdn "$tmp/conformance" -listen 127.0.0.1:18010 -origin http://127.0.0.1:$origin
test_cache imagecdn 18010
REQUIRED=${REQUIRED:-150} node --no-warnings internal/conformance/grade.mjs "$suite" "$tmp/imagecdn.json"
if [ "${1:-}" != peers ]; then
	exit
fi

results=("$tmp/imagecdn.json")
peer() { # peer NAME PORT VERSION: tests a peer that has been started
	echo "testing $1" >&2
	if test_cache "$1" "$2"; then
		mv "$tmp/$1.json" "$tmp/$3.json"
		results+=("$tmp/$3.json")
	fi
}
missing() { echo "$1 is not installed: left out" >&2; }

if command -v nginx >/dev/null; then
	mkdir -p "$tmp/nginx"
	cat >"$tmp/nginx.conf" <<EOF
daemon off; pid $tmp/nginx/pid; error_log $tmp/nginx/error.log; worker_processes 1;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path $tmp/nginx/body; proxy_temp_path $tmp/nginx/proxy;
	fastcgi_temp_path $tmp/nginx/f; uwsgi_temp_path $tmp/nginx/u; scgi_temp_path $tmp/nginx/s;
	proxy_cache_path $tmp/nginx/cache keys_zone=c:10m inactive=1h;
	server {
		listen 127.0.0.1:18011;
		location / {
			proxy_pass http://127.0.0.1:$origin; proxy_cache c; proxy_cache_revalidate on; proxy_http_version 1.1;
			proxy_set_header Connection ""; add_header Age \$upstream_http_age;
		}
	}
}
EOF
	chmod -R 777 "$tmp/nginx"
	behind nginx nginx -c "$tmp/nginx.conf" -p "$tmp/nginx"
	peer nginx 18011 "nginx $(nginx -v 2>&1 | sed 's|.*nginx/||')"
else
	missing nginx
fi

if command -v varnishd >/dev/null; then
	printf 'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "%s"; }\n' $origin >"$tmp/default.vcl"
	behind varnish varnishd -F -n "$tmp/varnish" -f "$tmp/default.vcl" -a 127.0.0.1:18012 -s malloc,64m -j none
	peer varnish 18012 "varnish $(varnishd -V 2>&1 | sed -n '1s/.*varnish-\([0-9.]*\).*/\1/p')"
else
	missing varnishd
fi

if command -v squid >/dev/null; then
	mkdir -p "$tmp/squid"
	cat >"$tmp/squid.conf" <<EOF
http_port 127.0.0.1:18013 accel defaultsite=127.0.0.1 no-vhost
cache_peer 127.0.0.1 parent $origin 0 no-query originserver name=o
acl all src all
http_access allow all
cache_peer_access o allow all
cache_mem 64 MB
memory_cache_mode always
access_log none
cache_log $tmp/squid/cache.log
pid_filename $tmp/squid/pid
coredump_dir $tmp/squid
EOF
	chmod -R 777 "$tmp/squid"
	behind squid squid -N -f "$tmp/squid.conf"
	peer squid 18013 "squid $(squid -v | sed -n '1s/.*Version \([0-9.]*\).*/\1/p')"
else
	missing squid
fi

if command -v traffic_server >/dev/null; then
	root=$tmp/ats
	mkdir -p "$root"/{etc,cache,log,run}
	cp -r /etc/trafficserver/. "$root/etc/"
	cat >>"$root/etc/records.config" <<EOF
CONFIG proxy.config.http.server_ports STRING 18014:ip-in=127.0.0.1
CONFIG proxy.config.cache.ram_cache.size INT 67108864
CONFIG proxy.config.http.insert_age_in_response INT 1
CONFIG proxy.config.admin.user_id STRING $(id -u trafficserver >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && echo trafficserver || id -un)
CONFIG proxy.config.local_state_dir STRING $root/run
CONFIG proxy.config.log.logfile_dir STRING $root/log
CONFIG proxy.config.http.cache.required_headers INT 0
EOF
	echo "map / http://127.0.0.1:$origin/" >"$root/etc/remap.config"
	echo "$root/cache 128M" >"$root/etc/storage.config"
	chmod -R 777 "$root"
	cat >"$root/runroot.yaml" <<EOF
sysconfdir: $root/etc
localstatedir: $root/run
runtimedir: $root/run
logdir: $root/log
cachedir: $root/cache
EOF
	behind trafficserver traffic_server --run-root="$root/runroot.yaml"
	peer trafficserver 18014 "trafficserver $(traffic_server -V 2>&1 | sed -n '1s/.*Server \([0-9.]*\).*/\1/p')"
else
	missing traffic_server
fi
node --no-warnings internal/conformance/grade.mjs "$suite" "${results[@]}"
