#!/bin/sh
# Makes the JPEGs beside this file, with cjpeg of libjpeg-turbo (2.1.5 made these): one small picture in
# every sampling, sequential and progressive, with and without restarts. All of one sampling and size have
# the same coefficients. The name says what a file is: SAMPLING-SIZE[-progressive][-restart][-separate].jpg
set -eu
cd "$(dirname "$0")"
rm -f *.jpg
trap 'rm -f picture.ppm script' EXIT

# Waves in all frequencies, away from black and white, so that nothing is clipped.
picture() {
	awk -v w="$1" -v h="$2" 'BEGIN {
		print "P3", w, h, 255
		for (y = 0; y < h; y++) for (x = 0; x < w; x++)
			print int(128 + 50*sin(x*x/40) + 30*sin(y/2)), int(128 + 60*sin((x+y)/5)), int(128 + 70*sin(y*y/60 - x/3))
	}' >picture.ppm
}

# variants NAME OPTION…
variants() {
	name=$1
	shift
	cjpeg -quality 70 -optimize "$@" picture.ppm >"$name.jpg"
	cjpeg -quality 70 -optimize -restart 1B "$@" picture.ppm >"$name-restart.jpg"
	cjpeg -quality 70 -progressive "$@" picture.ppm >"$name-progressive.jpg"
	cjpeg -quality 70 -progressive -restart 2B "$@" picture.ppm >"$name-progressive-restart.jpg"
}

picture 37 29
for s in 1x1 2x1 1x2 2x2 4x1 4x2; do
	variants "$s-37x29" -sample "$s"
done
variants "2x2,1x2-37x29" -sample 2x2,1x2,1x2
variants "2x2,2x1-37x29" -sample 2x2,2x1,2x1
variants "4x1,2x1-37x29" -sample 4x1,2x1,2x1
variants "2x1,2x1-37x29" -sample 2x1,2x1,2x1
variants "gray-37x29" -grayscale
variants "rgb-37x29" -rgb -sample 2x2
echo '0; 1; 2;' >script
for s in 2x2 4x1,2x1; do
	case $s in
	2x2) options="-sample 2x2" ;;
	*) options="-sample 4x1,2x1,2x1" ;;
	esac
	cjpeg -quality 70 -optimize $options -scans script picture.ppm >"$s-37x29-separate.jpg"
	cjpeg -quality 70 -optimize $options -restart 3B -scans script picture.ppm >"$s-37x29-separate-restart.jpg"
done
cjpeg -quality 70 -arithmetic picture.ppm >arithmetic.jpg
for size in "1 1" "8 8" "16 16" "17 33" "33 17" "64 8"; do
	picture $size
	set -- $size
	variants "2x2-$1x$2" -sample 2x2
done
