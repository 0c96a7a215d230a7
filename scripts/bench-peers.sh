#!/usr/bin/env bash
# Compares this library, built without cgo, with sharp from npm and the system's libvips, in rounds that alternate: pictures a
# second, sets of widths, quality and memory. docs/benchmarks.md says what is measured, and how each side is set.
#
# Needs go, and Linux for the memory. What else it needs it puts into dist/peers: the photographs (Debian's
# mate-backgrounds, 47 MB, GPL-2+, never committed), sharp. libvips-dev, gcc and jpegtran it installs by apt-get where it runs
# as root, since packages know no other place. A peer that cannot be had is left out, and it says so.
#
# ROUNDS (5) rounds of SECONDS_EACH (0.4) seconds for each side and picture, REQUESTS (64) at once for the memory,
# SHARP (latest) is sharp's version, OUT (dist/peers/peers.tsv) the file of raw figures, LIMIT (7m) the time after which no
# further round begins, MEMORY_OF (18MP) the originals for the memory: 18MP,18MP-progressive takes minutes more.
set -euo pipefail
cd "$(dirname "$0")/.."
work=dist/peers
out=${OUT:-$work/peers.tsv}
mkdir -p "$work/inputs" "$work/npm"

missing() { echo "$1: left out" >&2; }

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

updated=
install() { # install PACKAGE...: nothing where that is not allowed
	may_install || return 0
	if [ -z "$updated" ]; then
		apt-get update -qq || true
		updated=1
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1 || tail -n 3 "$work/apt.log" >&2
}

# Photographs: a camera's, 2560x1600 4:2:0 baseline, and 5640x3172 4:2:2 progressive. The other kind of each is the
# same coefficients, coded anew.
photos=$work/photos/usr/share/backgrounds/mate
if [ ! -f "$photos/nature/TwoWings.jpg" ] && [ -d /usr/share/backgrounds/mate/nature ]; then
	photos=/usr/share/backgrounds/mate
fi
if [ ! -f "$photos/nature/TwoWings.jpg" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
	echo "fetching the photographs: mate-backgrounds" >&2
	(cd "$work" && { apt-get download -qq mate-backgrounds || { may_install && apt-get update -qq && apt-get download -qq mate-backgrounds; }; } &&
		dpkg-deb -x mate-backgrounds_*.deb photos && rm mate-backgrounds_*.deb) >&2 || true
fi
command -v jpegtran >/dev/null || install libjpeg-turbo-progs
if [ ! -f "$photos/nature/TwoWings.jpg" ]; then
	missing "no photographs (Debian's mate-backgrounds, in /usr/share/backgrounds/mate or by apt-get download): speed and memory"
elif [ ! -f "$work/inputs/18MP-progressive.jpg" ]; then
	cp "$photos/nature/TwoWings.jpg" "$work/inputs/4MP.jpg"
	if command -v jpegtran >/dev/null; then
		jpegtran -copy all -progressive -outfile "$work/inputs/4MP-progressive.jpg" "$photos/nature/TwoWings.jpg"
		jpegtran -copy all -optimize -outfile "$work/inputs/18MP.jpg" "$photos/abstract/Elephants_5640x3172.jpg"
	else
		missing "no jpegtran (libjpeg-turbo-progs): the progressive 4-megapixel and the baseline 18-megapixel photograph"
	fi
	cp "$photos/abstract/Elephants_5640x3172.jpg" "$work/inputs/18MP-progressive.jpg"
fi

CGO_ENABLED=0 go build -o "$work/imagecdn" ./cmd/imagecdn
CGO_ENABLED=0 go -C internal/bench build -o "$PWD/$work/peers" ./peers
CGO_ENABLED=0 go -C internal/bench build -tags nodynamic -o "$PWD/$work/peers-nodynamic" ./peers
sides=(-side "imagecdn=$work/peers worker")
memory=(-serve "$work/imagecdn")

if command -v node >/dev/null && command -v npm >/dev/null &&
	npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix "$work/npm" "sharp@${SHARP:-latest}" >"$work/npm.log" 2>&1; then
	sides+=(-side "sharp=node internal/bench/peers/clients/sharp.mjs $work/npm")
	memory+=(-sharp-server "node internal/bench/peers/clients/sharp-server.mjs $work/npm")
else
	missing "no sharp (it needs node and npm, and npm install of it to succeed; see $work/npm.log)"
fi

if ! { command -v gcc && command -v pkg-config && pkg-config --exists vips; } >/dev/null 2>&1; then
	install gcc libc6-dev pkg-config libvips-dev
fi
if command -v gcc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists vips; then
	# shellcheck disable=SC2046
	gcc -O2 -o "$work/vips" internal/bench/peers/clients/vips.c $(pkg-config --cflags --libs vips) -lpthread
	sides+=(-side "libvips=$work/vips")
else
	missing "no libvips (libvips-dev, gcc, pkg-config)"
fi
sides+=(-side "imagecdn without libwebp=$work/peers-nodynamic worker")

exec "$work/peers" compare "${sides[@]}" "${memory[@]}" -inputs "$work/inputs" -out "$out" \
	-rounds "${ROUNDS:-5}" -seconds "${SECONDS_EACH:-0.4}" -limit "${LIMIT:-7m}" -requests "${REQUESTS:-64}" -memory-of "${MEMORY_OF:-18MP}" \
	-fact "commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ' and changes')"
