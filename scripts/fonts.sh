#!/usr/bin/env bash
# Makes the fonts in resize/text/fonts anew: Noto (SIL OFL 1.1, no reserved font names), cut down to the letters
# that resize/text promises. Needs Debian's packages fonts-noto-core and fonts-noto-mono (20201225), whose
# directory of TrueType files is the argument, and python3-fonttools (4.38). docs/text.md says what is covered.
set -euo pipefail

from=${1:-/usr/share/fonts/truetype/noto}
to=$(dirname "$0")/../resize/text/fonts

# Latin with the Vietnamese letters, Greek, Cyrillic, punctuation, currencies, arrows, and what steers direction.
european=U+0020-007E,U+00A0-017F,U+0192,U+01A0-01A1,U+01AF-01B0,U+0218-021B,U+0259,U+02BB-02BC,U+02C6-02C7,U+02D8-02DD,U+0300-0304,U+0306-030C
european+=,U+0323,U+0327-0328,U+0384-03CE,U+0400-045F,U+0490-0493,U+049A-049B,U+04A2-04A3,U+04AE-04B1,U+04BA-04BB
european+=,U+04D8-04D9,U+04E8-04E9,U+1E80-1E85,U+1E9E,U+1EA0-1EF9,U+200B-200F,U+2010-2015,U+2018-201E,U+2020-2022
european+=,U+2026,U+2028-202E,U+2030,U+2032-2033,U+2039-203A,U+2044,U+2066-2069,U+20AA,U+20AC,U+20B4,U+20BD,U+2116
european+=,U+2122,U+2190-2193,U+2212,U+25CC,U+FFFD
arabic=U+0020-0022,U+0028-0029,U+002C-002E,U+003A,U+00A0,U+00AB,U+00BB,U+0600-06FF,U+0750-077F,U+200B-200F
arabic+=,U+2010-2011,U+204F,U+25CC,U+2E41,U+FB50-FDFF,U+FE70-FEFF
features=kern,mark,mkmk,ccmp,locl,liga,calt,rlig

subset() { # FONT UNICODES FEATURES
	python3 -m fontTools.subset "$from/$1.ttf" --output-file="$to/$1.ttf" --unicodes="$2" --layout-features="$3" \
		--no-hinting --desubroutinize --notdef-outline --name-IDs=0,1,2,3,4,5,6,13,14,16,17 --drop-tables+=DSIG,MATH,HVAR
}

for family in NotoSans NotoSerif; do
	for style in Regular Bold Italic BoldItalic; do
		subset $family-$style "$european" "$features"
	done
done
for style in Regular Bold; do
	subset NotoSansMono-$style "$european" "$features"
	subset NotoSansArabic-$style "$arabic" "$features,init,medi,fina,isol,cswh,curs"
	subset NotoSansHebrew-$style '*' "$features"
done
