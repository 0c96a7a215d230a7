#!/bin/sh
# Makes resize/testdata/color anew: pictures in other colours than sRGB, and what littleCMS makes of them.
# It wants jpgicc, cjpeg and djpeg, and a press's profile: on Debian liblcms2-utils, libjpeg-turbo-progs and libgs-common.
#
#	scripts/colour-samples.sh
#
# The inks of cmyk.jpg are those of Ghostscript's default_cmyk.icc, without that profile, which is its makers'; the test
# puts one of its own into the file.
set -eu
cd "$(dirname "$0")/.."
out=resize/testdata/color
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
mkdir -p "$out"
djpeg -scale 1/8 -ppm internal/samples/photos/rocket.jpg | cjpeg -quality 92 -sample 1x1 >"$tmp/small.jpg"
jpgicc -q92 -o/usr/share/color/icc/ghostscript/default_cmyk.icc "$tmp/small.jpg" "$out/inks.jpg"
cp "$tmp/small.jpg" "$out/rgb.jpg"
djpeg -grayscale -ppm "$tmp/small.jpg" | cjpeg -quality 92 -grayscale >"$out/gray.jpg"
go test ./resize -run TestColorLittleCMS -update
