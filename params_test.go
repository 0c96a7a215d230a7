package imagecdn

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/image/colornames"

	"github.com/imagecdn/imagecdn/resize"
)

// Each query and the canonical form that it shares with every other spelling of the same picture.
var canonicalTests = []struct{ query, want string }{
	{"", ""},
	{"&&", ""},
	{"w=500&h=300&fit=crop", "w=500&h=300&fit=crop"},
	{"fit=crop&h=300&w=500", "w=500&h=300&fit=crop"},
	{"width=500&height=300&f=crop", "w=500&h=300&fit=crop"},
	{"%77=5%300", "w=500"},
	{"w64=NTAw", "w=500"},

	// Pixels are rounded, and 1 is a fraction: the whole width.
	{"w=1120.0", "w=1120"},
	{"w=99.5", "w=100"},
	{"w=2", "w=2"},
	{"w=8192", "w=8192"},
	{"w=0500", "w=500"},
	{"w=1", "w=1"},
	{"w=1.0", "w=1"},
	{"w=.5", "w=0.5"},
	{"w=0.50", "w=0.5"},
	{"w=0.0000001", "w=0.0000001"},

	// Density multiplies pixels, so it says nothing about fractions. Twice 100 is not 200: pads and
	// marks are in pixels of the output.
	{"w=100&dpr=1", "w=100"},
	{"w=100&dpr=2", "w=100&dpr=2"},
	{"w=200", "w=200"},
	{"w=0.5&dpr=2", "w=0.5"},
	{"w=0.5&h=300&dpr=2", "w=0.5&h=300&dpr=2"},
	{"dpr=2", ""},
	{"w=1638&dpr=5", "w=1638&dpr=5"},

	// A fit needs a box. With one side the other follows, so there is nothing to cut, to pad or to
	// stretch, only to enlarge or not.
	{"fit=crop", ""},
	{"w=300&fit=clip", "w=300"},
	{"w=300&fit=crop", "w=300"},
	{"w=300&fit=clamp", "w=300"},
	{"h=300&fit=fill", "h=300"},
	{"h=300&fit=fillmax", "h=300&fit=max"},
	{"w=300&fit=max", "w=300&fit=max"},
	{"w=300&fit=min", "w=300&fit=max"},
	{"w=300&fit=scale", "w=300"},
	{"w=300&h=200&fit=clamp", "w=300&h=200&fit=clamp"},
	{"w=1&h=1&fit=crop", "w=1&h=1&fit=crop"},
	{"ar=16:9&fit=crop&w=1600", "w=1600&fit=crop&ar=1.7777777777777777"},
	{"ar=32:18&fit=crop&w=1600", "w=1600&fit=crop&ar=1.7777777777777777"},
	{"ar=3:2&fit=crop", "fit=crop&ar=1.5"},
	{"ar=1.5&fit=crop", "fit=crop&ar=1.5"},
	{"ar=3:2&fit=crop&w=300&h=300", "w=300&h=300&fit=crop"},
	{"ar=3:2&w=300", "w=300"},
	{"ar=3:2&w=300&fit=fill", "w=300&fit=fill&ar=1.5"},
	{"ar=3:2&fit=fill", "fit=fill&ar=1.5"},
	{"ar=3:2&w=300&fit=clamp", "w=300"},
	{"w=300&fit=crop&max-h=100", "w=300&fit=crop&max-h=100"},
	{"w=300&fit=max&max-h=100", "w=300&fit=max"},
	{"w=90&h=90&fit=crop&crop=faces&faceindex=2&facepad=3", "w=90&h=90&fit=crop&crop=faces&faceindex=2"},
	{"w=90&h=90&fit=crop&faceindex=2", "w=90&h=90&fit=crop"},

	// What to keep, only where something is cut.
	{"w=9&h=9&crop=top", "w=9&h=9"},
	{"w=9&h=9&fit=crop&crop=center", "w=9&h=9&fit=crop"},
	{"w=9&h=9&fit=crop&crop=top,left,top", "w=9&h=9&fit=crop&crop=top,left"},
	{"w=9&h=9&fit=crop&crop=left,top", "w=9&h=9&fit=crop&crop=left,top"},
	{"w=9&h=9&fit=min&crop=entropy", "w=9&h=9&fit=min&crop=entropy"},
	{"w=9&fit=min&crop=entropy", "w=9&fit=max"},
	{"w=9&fit=crop&crop=top", "w=9"},
	{"w=9&fit=crop&ar=1:1&crop=top", "w=9&fit=crop&ar=1&crop=top"},
	{"w=9&h=9&fit=crop&crop=focalpoint&fp-x=0.25", "w=9&h=9&fit=crop&crop=focalpoint&fp-x=0.25&fp-y=0.5"},
	{"w=9&h=9&fit=crop&crop=focalpoint&fp-x=0&fp-y=0", "w=9&h=9&fit=crop&crop=focalpoint&fp-x=0&fp-y=0"},
	{"w=9&h=9&fit=crop&crop=focalpoint&fp-x=.5", "w=9&h=9&fit=crop&crop=focalpoint"},
	{"w=9&h=9&fit=crop&fp-x=0.25", "w=9&h=9&fit=crop"},
	{"fp-x=0.25&fp-y=1", ""},

	{"w=9&h=9&fit=cropfill&crop=top", "w=9&h=9&fit=cropfill&crop=top"},
	{"w=9&h=9&fit=outside&crop=top", "w=9&h=9&fit=outside"},
	{"w=9&fit=cropfill", "w=9&fit=max"},
	{"w=9&fit=outside", "w=9"},
	{"w=9&h=9&fit=crop&crop=focalpoint&fp-unit=px&fp-x=433&fp-y=1", "w=9&h=9&fit=crop&crop=focalpoint&fp-unit=px&fp-x=433&fp-y=1"},
	{"fp-unit=px", ""},

	// What is never enlarged. Most fits have a word for it.
	{"w=9&enlarge=false", "w=9&fit=max"},
	{"w=9&h=9&enlarge=false", "w=9&h=9&fit=max"},
	{"w=9&h=9&fit=crop&enlarge=false&crop=top", "w=9&h=9&fit=min&crop=top"},
	{"w=9&h=9&fit=crop&min-w=20&enlarge=false", "w=9&h=9&fit=crop&enlarge=false&min-w=20"},
	{"w=9&h=9&fit=fill&enlarge=false", "w=9&h=9&fit=fillmax"},
	{"w=9&h=9&fit=max&enlarge=false", "w=9&h=9&fit=max"},
	{"w=9&h=9&fit=scale&enlarge=false", "w=9&h=9&fit=scale&enlarge=false"},
	{"w=9&fit=crop&ar=1&enlarge=false", "w=9&fit=crop&enlarge=false&ar=1"},
	{"fit=crop&ar=1&enlarge=false", "fit=crop&ar=1"},
	{"enlarge=false", ""},
	{"w=9&enlarge=true", "w=9"},

	// A range of aspect ratios.
	{"fit=crop&ar=1,2", "fit=crop&ar=1,2"},
	{"fit=crop&ar=16:9,4:3", "fit=crop&ar=1.3333333333333333,1.7777777777777777"},
	{"fit=crop&ar=2,2", "fit=crop&ar=2"},
	{"ar=1,2&w=9&h=9&fit=crop", "w=9&h=9&fit=crop"},

	// The part of the source.
	{"rect=1px,2,30,40", "rect=1px,2,30,40"},
	{"rect=0,0,1px,full", "rect=0,0,1px,full"},
	{"rect=right,1px,30,40", "rect=right,1px,30,40"},
	{"rect=10,20,300,200", "rect=10,20,300,200"},
	{"rect=left,top,300,200", "rect=0,0,300,200"},
	{"rect=center,middle,.5,.5", "rect=center,middle,0.5,0.5"},
	{"rect=right,bottom,full,20", "rect=0,bottom,1,20"},
	{"rect=0.5,0,0.5,1", "rect=0.5,0,0.5,1"},
	{"rect=0,0,1,1", ""},
	{"rect=center,bottom,full,full", ""},

	// Turning.
	{"orient=6", "orient=6"},
	{"or=90", "orient=6"},
	{"or=180", "orient=3"},
	{"or=270", "orient=8"},
	{"or=0", "orient=1"},
	{"flip=hv", "flip=hv"},
	{"flip=vh", "flip=hv"},
	{"rot=0", ""},
	{"rot=360", ""},
	{"rot=450", "rot=90"},
	{"rot=-90", "rot=270"},
	{"rot=-0", ""},
	{"rot=12.50", "rot=12.5"},

	// Colours.
	{"bg=FFF", "bg=ffffff"},
	{"bg=white", "bg=ffffff"},
	{"bg=White", "bg=ffffff"},
	{"bg=8f00", "bg=88ff0000"},
	{"bg=80ff0000", "bg=80ff0000"},
	{"bg=ffff0000", "bg=ff0000"},
	{"bg=0fff", "bg=00ffffff"},
	{"bg=rebeccapurple", "bg=663399"},

	// Formats and quality. Alone, q=75 encodes anew; no q at all is the original.
	{"fm=jpeg", "fm=jpg"},
	{"fm=png32", "fm=png32"},
	{"fm=png32&colorquant=16", "fm=png32"},
	{"fm=png8", "fm=png&colorquant=256"},
	{"fm=png8&colorquant=16", "fm=png&colorquant=16"},
	{"fm=pjpg", "fm=jpg&jpg-progressive=true"},
	{"fm=webp,jpg", "fm=webp,jpg"},
	{"fm=avif,webp,jpg&q=75", "fm=avif,webp,jpg"},
	{"fm=webp,avif,webp,png32", "fm=webp,avif,png32"},
	{"fm=webp,avif,webp", "fm=webp,avif,webp"},
	{"fm=avif,webp,webp", "fm=avif,webp"},
	{"fm=webp,webp", "fm=webp"},
	{"fm=webp,jpg&auto=format", "fm=jpg&auto=format"},
	{"fm=webp,jpg&auto=compress", "auto=compress"},
	{"w=9&h=9&fit=fill&fill-align=top,center", "w=9&h=9&fit=fill"},
	{"w=9&h=9&fit=fill&fill=solid&fill-align=top,center", "w=9&h=9&fit=fill&fill=solid&fill-align=top"},
	{"mark=/p/l.png&mark-pad=5,9", "mark=/p/l.png&mark-pad=5,9"},
	{"mark=/p/l.png&mark-pad=9,9", "mark=/p/l.png&mark-pad=9"},
	{"mark=/p/l.png&mark-percent=76&mark-w=9", "mark=/p/l.png&mark-percent=76"},
	{"fm=pjpg&jpg-progressive=false", "fm=jpg"},
	{"fm=webp&lossless=1&chromasub=444&dpi=300", "fm=webp&lossless=true"},
	{"fm=jpg&lossless=true&chromasub=422&dpi=300&jpeg-progressive=true", "fm=jpg&chromasub=422&jpg-progressive=true&dpi=300"},
	{"fm=jpg&auto=format&lossless=true", "fm=jpg&auto=format&lossless=true"},
	{"chromasub=420&lossless=false&iptc=block&svg-sanitize=true", ""},
	{"auto=true", "auto=enhance,format"},
	{"auto=redeye,enhance", "auto=enhance,redeye"},

	{"cs=srgb", ""},
	{"cs=adobergb1998", "cs=adobergb1998"},

	// What can be said about a picture.
	{"fm=json&w=100&auto=format&q=50&faces=1", "w=100&fm=json&faces=1"},
	{"fm=blurhash&lossless=true&dpi=3", "fm=blurhash"},
	{"palette=css&colors=6&prefix=image", "palette=css"},
	{"palette=json&colors=3&prefix=x", "palette=json&colors=3"},
	{"palette=css&colors=3&prefix=x-1", "palette=css&colors=3&prefix=x-1"},
	{"colors=3&prefix=x&faces=1", ""},

	// Bounds, faces, trimming.
	{"fit=crop&w=100&h=100&min-w=200&max-height=50", "w=100&h=100&fit=crop&min-w=200&max-h=50"},
	{"w=100&h=100&min-w=200", "w=100&h=100"},
	{"fit=facearea&w=100&h=100&facepad=1&faceindex=2", "w=100&h=100&fit=facearea&faceindex=2"},
	{"fit=facearea&facepad=2.5", "fit=facearea&facepad=2.5"},
	{"faceindex=2&facepad=3", ""},
	{"face-blur=30&face-pixelate=8", "face-blur=30&face-pixel=8"},
	{"w=9&h=9&fit=crop&crop=faces,edges", "w=9&h=9&fit=crop&crop=faces,edges"},
	{"w=9&h=9&fit=crop&crop=focalpoint&fp-z=2&fp-debug=true", "w=9&h=9&fit=crop&crop=focalpoint&fp-z=2&fp-debug=true"},
	{"fp-z=2&fp-debug=true", ""},
	{"trim=auto&trim-md=11&trim-sd=4&trim-tol=3&trim-color=f00&trim-alpha=3", "trim=auto&trim-sd=4"},
	{"trim=color&trimcolor=f00&trim-tol=3&trim-pad=-9", "trim=color&trim-color=ff0000&trim-tol=3&trim-pad=-9"},
	{"trim=alpha&trim-alpha=3", "trim=alpha&trim-alpha=3"},
	{"trim-pad=3&trim-md=1", ""},
	{"rot=10&rot-type=pivot", "rot=10&rot-type=pivot"},
	{"rot=10&rott=straighten", "rot=10"},
	{"rot-type=pivot", ""},

	// Colours and effects. Zero changes nothing.
	{"bri=-10&con=0&exp=5.5&gam=1&high=-3&shad=4&hue=370&sat=-100&vib=9&inv=true&sharp=3", "exp=5.5&bri=-10&gam=1&high=-3&shad=4&hue=10&sat=-100&vib=9&invert=true&sharp=3"},
	{"bri=-0&hue=360&invert=false", ""},
	{"usm=10&usmrad=2.5", "usm=10"},
	{"usm=10&usmrad=3", "usm=10&usmrad=3"},
	{"usmrad=3", ""},
	{"nr=5", "nr=5&nrs=20"},
	{"nrs=0", "nr=20&nrs=0"},
	{"nr=0&nrs=9", ""},
	{"blur=20&px=3&htn=4&mono=f00&sepia=50", "blur=20&px=3&htn=4&monochrome=ff0000&sepia=50"},
	{"duotone=000,fff&duotone-alpha=100", "duotone=000000,ffffff"},
	{"duotone=red,80ffffff&duotone-alpha=40", "duotone=ff0000,80ffffff&duotone-alpha=40"},
	{"duotone=000,fff&duotone-alpha=0", ""},
	{"duotone-alpha=40", ""},

	// What surrounds the picture.
	{"w=9&h=9&fit=fill&fill=solid", "w=9&h=9&fit=fill"},
	{"w=9&h=9&fit=fill&fill=solid&fill-color=red", "w=9&h=9&fit=fill&fill=solid&fill-color=ff0000"},
	{"w=9&h=9&fit=fill&fill=blur&fill-color=red", "w=9&h=9&fit=fill&fill=blur"},
	{"w=9&h=9&fit=fill&fill=gradient&fill-gradient-linear=f00,00f&fill-gradient-linear-direction=left,right&fill-gradient-radial-x=4", "w=9&h=9&fit=fill&fill=gradient&fill-gradient-linear=ff0000,0000ff&fill-gradient-linear-direction=left,right"},
	{"w=9&h=9&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-radial=f00,00f&fill-gradient-cs=oklab&fill-gradient-radial-x=4&fill-gradient-radial-radius=.25,.5", "w=9&h=9&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-cs=oklab&fill-gradient-radial=ff0000,0000ff&fill-gradient-radial-x=4"},
	{"w=9&h=9&fill=blur", "w=9&h=9"},
	{"pad=5", "pad=5"},
	{"pad=5&pad-top=5&pad-left=0", "pad-top=5&pad-right=5&pad-bottom=5"},
	{"pad-top=4", "pad-top=4"},
	{"border=5,f00", "border=5,ff0000"},
	{"border=5,f00&border-left=2&border-radius=3&border-radius-inner=1,2,3,4&border-stroke-size=1&border-stroke-color=00f", "border=5,ff0000&border-right=5&border-bottom=5&border-left=2&border-radius=3&border-radius-inner=1,2,3,4&border-stroke-size=1&border-stroke-color=0000ff"},
	{"border=0,f00", ""},
	{"border-radius=4", ""},
	{"mask=ellipse&corner-radius=4&mask-bg=f00", "mask=ellipse&mask-bg=ff0000"},
	{"mask=corners&corner-radius=1,2,3,4", "mask=corners&corner-radius=1,2,3,4"},
	{"mask=/p/m.png&maskbg=0fff", "mask=/p/m.png&mask-bg=00ffffff"},
	{"transparency=grid&grid-colors=D0D7DD,fff&grid-size=4", "transparency=grid"},
	{"transparency=grid&grid-colors=000,fff&grid-size=8", "transparency=grid&grid-colors=000000,ffffff&grid-size=8"},
	{"grid-size=8", ""},

	// Blends, marks and texts.
	{"blend=f00&bm=multiply&balph=50&bw=30", "blend=ff0000&blend-mode=multiply&blend-alpha=50"},
	{"blend-color=f00", "blend=ff0000"},
	{"blend=/p/b.png&blend-mode=overlay&ba=middle,center&bp=3&bx=4&bc=faces&bf=crop", "blend=/p/b.png&blend-fit=crop&blend-crop=faces&blend-pad=3&blend-x=4"},
	{"blend=/p/b.png&bs=inherit&bw=30", "blend=/p/b.png&blend-size=inherit"},
	{"blend=/p/b.png&blend-alpha=0", ""},
	{"mask=/p/m.png&blend=/p/b.png&mark=/p/l.png", "mask=/p/m.png&blend=/p/b.png&mark=/p/l.png"},
	{"mark=l.png&mark-base=/p/", "mark=/p/l.png"},
	{"mark=/p/l.png%3Fw=40%26h=20%26fit=crop%26q=3%26fm=webp&mw=10", "mark=/p/l.png%3Fw%3D40%26h%3D20%26fit%3Dcrop&mark-w=10"},
	{"mark=/p/l.png%3Fq=3%26vh=2", "mark=/p/l.png"},
	{"mark=~text%3Ftxt=a%2520b%2526c%26w=200%26txt-color=f00%26txt-align=center&ma=top", "mark=~text%3Ftxt%3Da%2520b%2526c%26txt-color%3Dff0000%26txt-align%3Dtop%2Cleft%26txt-fit%3Dwrap%26txt-width%3D200%26txt-x%3D0%26txt-y%3D0&mark-align=top"},
	{"mark64=aHR0cHM6Ly9hc3NldHMuaW1naXgubmV0L350ZXh0P3R4dD1h", "mark=~text%3Ftxt%3Da%26txt-align%3Dtop%2Cleft%26txt-fit%3Dwrap%26txt-x%3D0%26txt-y%3D0"},
	{"mark=/p/l.png&mark-tile=grid&mark-align=top,left&mark-x=-3", "mark=/p/l.png&mark-tile=grid&mark-x=-3"},
	{"mark=/p/l.png&mark-tile=grid&mark-align=bottom,right", "mark=/p/l.png&mark-align=bottom,right&mark-tile=grid"},
	{"mark=/p/l.png&mh=.5&mf=crop&ms=20&mark-rot=370&mtile=grid&mx=3&my=4", "mark=/p/l.png&mark-scale=20&mark-rot=10&mark-tile=grid&mark-x=3&mark-y=4"},
	{"mark=/p/l.png&mw=10&mh=10&mf=crop&mark-if-min-width=5", "mark=/p/l.png&mark-w=10&mark-h=10&mark-fit=crop&mark-if-min-width=5"},
	{"txt=Hello+World&txt-size=12&txt-clip=end,ellipsis&txt-line-color=f00", "txt=Hello%20World&txt-clip=ellipsis"},
	{"txt64=SSBjYW7DuHQ&tc=f00&ta=top,left&tsz=30&tl=2&txt-line-clr=00f&tsh=3&txt-x=-4&txt-track=-2&tf=Serif", "txt=I%20can%C3%B8t&txt-font=serif&txt-size=30&txt-color=ff0000&txt-align=top,left&txt-line=2&txt-line-color=0000ff&txt-shad=3&txt-x=-4&txt-track=-2"},
	{"txt=%3F%25%23%26&txt-fit=max&txt-width=50&txt-size=9", "txt=%3F%25%23%26&txt-size=9&txt-fit=max&txt-width=50"},
	{"txt=a&txt-fit=wrap&txt-h=.5&txt-clip=start,ellipsis&txt-shad=2&txt-shad-blur=3", "txt=a&txt-fit=wrap&txt-shad=2&txt-shad-blur=3&txt-h=0.5"},
	{"txt=a&txt-h=.5&txt-shad-blur=3", "txt=a"},
	{"txt-size=30", ""},

	// Animations.
	{"frame=3", "frame=3"},
	{"frame=1", "frame=1"},
	{"frame=1-1", "frame=1"},
	{"frame=-1", "frame=1"},
	{"frame=1-", ""},
	{"frame=2-", "frame=2-"},
	{"frame=1-7", "frame=-7"},
	{"frame=2-7&skip=3&interval=2&reverse=true&fps=10&loop=0", "frame=2-7&skip=3&interval=2&reverse=true&fps=10&loop=0"},
	{"interval=1&reverse=false", ""},

	// What asks for nothing that is refused otherwise.
	{"bg-remove=false&upscale=0", ""},
	{"dl=cat.jpg", ""},
	{"fm=avif", "fm=avif"},
	{"q=75", "q=75"},
	{"q=75&w=500", "w=500"},
	{"q=75&fm=webp", "fm=webp"},
	{"q=75&auto=format", "q=75&auto=format"},
	{"q=75&auto=format&w=500", "w=500&auto=format"},
	{"q=0", "q=1"},
	{"q=100", "q=100"},
	{"q=50&fm=png", "fm=png"},
	{"q=50&fm=gif", "fm=gif"},
	{"q=50&fm=png&auto=format", "fm=png&q=50&auto=format"},
	{"auto=format,compress", "auto=compress,format"},
	{"auto=compress&auto=format", "auto=compress,format"},
	{"auto=compress&fm=png", "auto=compress"},
	{"auto=compress&q=45", "auto=compress"},
	{"auto=compress&q=75", "q=75&auto=compress"},
	{"auto=format&fm=webp", "fm=webp&auto=format"},
	{"auto=format&fm=jpg", "fm=jpg&auto=format"},

	// Marks.
	{"mark=/photos/logo.png", "mark=/photos/logo.png"},
	{"m=%2Fphotos%2Flogo.png", "mark=/photos/logo.png"},
	{"mark64=L3Bob3Rvcy9sb2dvLnBuZw", "mark=/photos/logo.png"},
	{"mark=/photos/l%6Fgo.png", "mark=/photos/logo.png"},
	{"mark=/photos/my+logo.png", "mark=/photos/my%20logo.png"},
	{"mark=/photos/my%20logo.png", "mark=/photos/my%20logo.png"},
	{"mark=/photos/my%2520logo.png", "mark=/photos/my%20logo.png"},
	{"mark=/photos/100%2525.png", "mark=/photos/100%2525.png"},
	{"mark=/photos/a%26b%3Dc.png", "mark=/photos/a%26b%3Dc.png"},
	{"mark=/photos/a%253Fb.png", "mark=/photos/a%253Fb.png"},
	{"mark=/photos/é.png", "mark=/photos/%C3%A9.png"},
	{"mark=/p/l.png&mark-align=bottom,right&mark-alpha=100&mark-pad=5", "mark=/p/l.png"},
	{"mark=/p/l.png&ma=top,left", "mark=/p/l.png&mark-align=top,left"},
	{"mark=/p/l.png&ma=left,top", "mark=/p/l.png&mark-align=top,left"},
	{"mark=/p/l.png&ma=center,middle,center", "mark=/p/l.png&mark-align=middle,center"},
	{"mark=/p/l.png&ma=left", "mark=/p/l.png&mark-align=left"},
	{"mark=/p/l.png&ma=top", "mark=/p/l.png&mark-align=top"},
	{"mark=/p/l.png&mw=0.2&malph=40&mp=0", "mark=/p/l.png&mark-w=0.2&mark-alpha=40&mark-pad=0"},
	{"mark=/p/l.png&mark-alpha=0", ""},
	{"mark-w=100&mark-align=top&mark-alpha=3&mark-pad=9", ""},

	// What is not known is not part of the picture. Names are case-sensitive.
	{"W=500", ""},
	{"sharpness=20&utm_source=x", ""},
	{"auto64=Zm9ybWF0", ""},
	{"%zz=1&w=500", "w=500"},
	{"w=500&w=500&width=500", "w=500"},
	{"vh=2", ""},
}

func TestParamsHaveOneCanonicalForm(t *testing.T) {
	for _, tt := range canonicalTests {
		p, _, err := ParseParams(tt.query, false)
		if err != nil {
			t.Errorf("ParseParams(%q): %v", tt.query, err)
			continue
		}
		if got := p.String(); got != tt.want {
			t.Errorf("ParseParams(%q).String() = %q, want %q", tt.query, got, tt.want)
		}
		if got, want := p.IsZero(), tt.want == ""; got != want {
			t.Errorf("ParseParams(%q).IsZero() = %t", tt.query, got)
		}
		again, _, err := ParseParams(tt.want, true)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("ParseParams(%q) = %+v, %v, want %+v", tt.want, again, err, p)
		}
	}
}

func TestParamsFillThePlan(t *testing.T) {
	pad := 12
	tests := []struct {
		query string
		want  Params
	}{
		{"w=400&h=0.5&dpr=1.5&fit=crop&crop=focalpoint,top&fp-x=0.1&fp-y=0.9", Params{Plan: resize.Plan{
			Width: 400, Height: .5, DPR: 1.5, Fit: resize.Cover,
			Crop: []resize.Crop{resize.FocalPoint, resize.Top}, Focal: &resize.Point{X: .1, Y: .9},
		}}},
		{"ar=4:3&fit=crop", Params{Plan: resize.Plan{Fit: resize.Cover, Aspect: 4. / 3}}},
		{"rect=center,10,0.5,200&orient=90&flip=v&rot=30", Params{Plan: resize.Plan{
			Rect: &resize.Rect{XAlign: resize.Middle, Y: 10, W: .5, H: 200}, Orient: 6, Flip: resize.Vertical, Rotate: 30,
		}}},
		{"bg=tomato&fm=webp&q=80", Params{Plan: resize.Plan{
			Background: &color.NRGBA{0xff, 0x63, 0x47, 0xff}, Format: resize.WebP, Quality: 80,
		}}},
		{"mark=/brand/a/logo.png&mark-align=top,center&mark-w=0.25&mark-alpha=60&mark-pad=12&auto=format", Params{
			Plan: resize.Plan{Marks: []resize.Mark{{
				XAlign: resize.Middle, YAlign: resize.Near, Width: .25, Alpha: 60, Pad: &pad,
			}}},
			AutoFormat: true,
			Inputs:     []Image{{Source: "brand", Path: "/a/logo.png"}},
		}},
		{"auto=compress", Params{Compress: true}},
	}
	for _, tt := range tests {
		got, _, err := ParseParams(tt.query, true)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("ParseParams(%q) = %+v, %v, want %+v", tt.query, got, err, tt.want)
		}
	}
}

func TestEveryFieldOfThePlanHasAParameter(t *testing.T) {
	queries := map[string]string{
		"Width": "w=2", "Height": "h=2", "DPR": "w=2&dpr=2", "Fit": "w=2&fit=max", "Aspect": "fit=crop&ar=1",
		"Crop": "w=2&h=2&fit=crop&crop=top", "Focal": "w=2&h=2&fit=crop&crop=focalpoint&fp-x=0",
		"Rect": "rect=0,0,2,2", "Orient": "orient=1", "Rotate": "rot=1", "Flip": "flip=h",
		"Background": "bg=000", "Format": "fm=png", "Quality": "q=1", "Marks": "mark=/p/l.png",
		"MinWidth": "w=2&h=2&fit=crop&min-w=3", "MinHeight": "w=2&h=2&fit=crop&min-h=3",
		"MaxWidth": "w=2&h=2&fit=crop&max-w=3", "MaxHeight": "w=2&h=2&fit=crop&max-h=3",
		"Zoom": "w=2&h=2&fit=crop&crop=focalpoint&fp-z=2", "Crosshairs": "w=2&h=2&fit=crop&crop=focalpoint&fp-debug=true",
		"Face": "fit=facearea&faceindex=1", "FacePad": "fit=facearea&facepad=2", "Trim": "trim=auto", "Pivot": "rot=9&rot-type=pivot",
		"FaceBlur": "face-blur=9", "FacePixelate": "face-pixel=9", "Adjust": "bri=9", "Stylize": "blur=9",
		"Fill": "w=9&h=9&fit=fill&fill=blur", "Pad": "pad=9", "Border": "border=9,000", "Mask": "mask=ellipse",
		"Grid": "transparency=grid", "Color": "cs=strip", "Animation": "fps=9", "Encoding": "dpi=9", "Blend": "blend=000", "Text": "txt=a",
		"NoEnlarge": "w=9&h=9&fit=scale&enlarge=false", "AspectMax": "fit=crop&ar=1,2",
		"FocalPixels": "w=2&h=2&fit=crop&crop=focalpoint&fp-unit=px&fp-x=9",
	}
	plan := reflect.TypeFor[resize.Plan]()
	for i := range plan.NumField() {
		name := plan.Field(i).Name
		p, _, err := ParseParams(queries[name], true)
		if err != nil || reflect.ValueOf(p.Plan).Field(i).IsZero() || p.IsZero() || p.String() == "" {
			t.Errorf("%s: no parameter sets it: %q gives %q, %v", name, queries[name], p, err)
		}
	}
}

func TestBadParametersAreNamed(t *testing.T) {
	const w = "w takes 2 to 8192 pixels, or a fraction of the original's width between 0 and 1"
	tests := []struct{ query, want string }{
		{"w=abc", "w=abc: not a number: " + w},
		{"width=abc", "width=abc: not a number: " + w},
		{"h=300&w=-5", "w=-5: negative: " + w},
		{"w=0", "w=0: zero: " + w},
		{"w=0.0", "w=0.0: zero: " + w},
		{"w=100000", "w=100000: too large: " + w},
		{"w=8192.4", "w=8192.4: too large: " + w},
		{"w=1.2", "w=1.2: neither two pixels nor a fraction: " + w},
		{"w=", "w=: no value: " + w},
		{"w", "w=: no value: " + w},
		{"w=NaN", "w=NaN: not a number: " + w},
		{"w=Inf", "w=Inf: not a number: " + w},
		{"w=0x10", "w=0x10: not a number: " + w},
		{"w=1e3", "w=1e3: not a number: " + w},
		{"w=+5", "w= 5: not a number: " + w},
		{"w=1_000", "w=1_000: not a number: " + w},
		{"w=.", "w=.: not a number: " + w},
		{"w=1.2.3", "w=1.2.3: not a number: " + w},
		{"w=500;h=300", "w=500;h=300: not a number: " + w},
		{"w=%0a", "w=�: not a number: " + w},
		{"w=%zz", "w=%zz: a percent sign that is not followed by two hexadecimal digits"},
		{"w=" + strings.Repeat("9", 400), "w=" + strings.Repeat("9", 100) + "…: too large: " + w},
		{"h=abc", "h=abc: not a number: h takes 2 to 8192 pixels, or a fraction of the original's height between 0 and 1"},
		{"w64=NTAw=", "w64=NTAw=: not base64url without padding"},
		{"dpr=0", "dpr=0: zero: dpr takes a number above 0, at most 5"},
		{"dpr=6", "dpr=6: too large: dpr takes a number above 0, at most 5"},
		{"w=4000&dpr=3", "dpr=3: w or h times dpr is more than 8192 pixels"},
		{"fit=cover", "fit=cover: unknown value: fit takes clip, crop, facearea, fill, fillmax, max, min, scale, clamp, outside or cropfill"},
		{"fit=FACEAREA", "fit=FACEAREA: unknown value: fit takes clip, crop, facearea, fill, fillmax, max, min, scale, clamp, outside or cropfill"},
		{"crop=top,,left", "crop=top,,left: unknown value: crop takes a list of top, bottom, left, right, center, focalpoint, entropy, edges and faces"},
		{"crop=face,top", "crop=face,top: unknown value: crop takes a list of top, bottom, left, right, center, focalpoint, entropy, edges and faces"},
		{"ar=16:0", "ar=16:0: out of range: ar takes width:height, such as 16:9, or their quotient, between 1:8192 and 8192:1, or the least and the most of that"},
		{"ar=0:0", "ar=0:0: out of range: ar takes width:height, such as 16:9, or their quotient, between 1:8192 and 8192:1, or the least and the most of that"},
		{"ar=16:9:4", "ar=16:9:4: not a number: ar takes width:height, such as 16:9, or their quotient, between 1:8192 and 8192:1, or the least and the most of that"},
		{"ar=1:10&w=1000&fit=crop", "ar=1:10: the side that follows from it is more than 8192 pixels"},
		{"fp-x=1.5", "fp-x=1.5: too large: fp-x takes a number from 0 (left) to 1 (right)"},
		{"rot=abc", "rot=abc: not a number: rot takes degrees counter-clockwise, 0 to 359"},
		{"orient=9", "orient=9: unknown value: orient takes 0 to 8 as EXIF has them, or 90, 180 or 270 degrees clockwise"},
		{"flip=x", "flip=x: unknown value: flip takes h, v or hv"},
		{"bg=12345", "bg=12345: not a colour: bg takes a hexadecimal RGB, ARGB, RRGGBB or AARRGGBB without #, or a CSS colour name"},
		{"bg=%23fff", "bg=#fff: not a colour: bg takes a hexadecimal RGB, ARGB, RRGGBB or AARRGGBB without #, or a CSS colour name"},
		{"fm=tiff", "fm=tiff: unknown value: fm takes jpg, pjpg, png, png8, png32, gif, webp, avif, json or blurhash; or avif, webp or both, in order of preference, and one of those"},
		{"fm=mp4", "fm=mp4: mp4 is not supported: fm takes jpg, pjpg, png, png8, png32, gif, webp, avif, json or blurhash; or avif, webp or both, in order of preference, and one of those"},
		{"q=101", "q=101: too large: q takes 0 to 100"},
		{"auto=format,enhanced", "auto=format,enhanced: unknown value: auto takes a list of format, compress, enhance, redeye and true"},
		{"bg-remove=true", "bg-remove=true: generative pictures are not made here: bg-remove takes no value"},
		{"fill=gen", "fill=gen: gen is not supported: fill takes solid, blur or gradient"},
		{"bri=-101", "bri=-101: too small: bri takes −100 to 100"},
		{"high=3", "high=3: too large: high takes −100 to 0"},
		{"frame=0", "frame=0: too small: frame takes the number of a frame from 1, or two: FIRST-LAST, either of which may be left out"},
		{"frame=7-2", "frame=7-2: the last before the first: frame takes the number of a frame from 1, or two: FIRST-LAST, either of which may be left out"},
		{"iptc=allow", "iptc=allow: only that is supported: iptc takes block"},
		{"duotone=000", "duotone=000: one colour: duotone takes two colours, DARK,LIGHT, each a hexadecimal RGB, ARGB, RRGGBB or AARRGGBB without #, or a CSS colour name"},
		{"w=500&width=600", "width=600: given twice, and before as w=500"},
		{"w=500&w=%0d%0aX:y", "w=��X:y: given twice, and before as w=500"},
		{"w=%0a500&w=9", "w=9: given twice, and before as w=�500"},
		{"q=50&q64=NTE", "q64=51: given twice, and before as q=50"},
		{"mark=https://example.com/logo.png", "mark=https://example.com/logo.png: absolute URLs are not supported yet: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=//example.com/logo.png", "mark=//example.com/logo.png: absolute URLs are not supported yet: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=logo.png", "mark=logo.png: the path has no leading slash: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=/p/l.png%3Fw=x", "mark=/p/l.png?w=x: of its own parameters, w=x: not a number: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=/p/l.png%3Fmark=/p/l.png", "mark=/p/l.png?mark=/p/l.png: of its own parameters, mark=/p/l.png: a mark has no images of its own: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=~text%3Fw=9", "mark=~text?w=9: ~text has no txt: mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark=/p/%252e%252e/l.png", "mark=/p/%2e%2e/l.png: the path has the segment \"..\": mark takes the path of an image here, /SOURCE/PATH, such as /photos/logo.png, with parameters of its own if need be"},
		{"mark-align=left,right", "mark-align=left,right: two places along one axis: mark-align takes at most one of left, center and right and one of top, middle and bottom"},
		{"mark-pad=-1", "mark-pad=-1: negative: mark-pad takes 0 to 8192 pixels, or two such for the sides and for top and bottom"},
		{"vh=%00", "vh=�: a control character: vh takes up to 256 bytes of text"},
		{"vh=%ff", "vh=�: not UTF-8: vh takes up to 256 bytes of text"},
		{"vh=" + strings.Repeat("v", 257), "vh=" + strings.Repeat("v", 100) + "…: too long: vh takes up to 256 bytes of text"},
	}
	for _, tt := range tests {
		p, vh, err := ParseParams(tt.query, false)
		if _, ok := errors.AsType[*ParamError](err); !ok || err.Error() != tt.want {
			t.Errorf("ParseParams(%q) = %v, want %v", tt.query, err, tt.want)
		}
		if !reflect.DeepEqual(p, Params{}) || vh != "" {
			t.Errorf("ParseParams(%q) returns parameters beside its error", tt.query)
		}
	}
}

func TestBadRectanglesAreRefused(t *testing.T) {
	for query, want := range map[string]string{
		"1,2,3":          "fewer than four values",
		"1,2,3,4,5":      "more than four values",
		"top,0,9,9":      "x: not a number",
		"0,left,9,9":     "y: not a number",
		"1,0,9,9":        "x: 1 is the far edge, which leaves nothing",
		"1.2,0,9,9":      "x: neither two pixels nor a fraction",
		"0,0,0,9":        "w: zero",
		"0,0,9,center":   "h: not a number",
		"0,0,70000,9":    "w: too large",
		"-5,0,100,100":   "x: negative",
		"0,0,100,":       "h: not a number",
		"0,0, 100,100":   "w: not a number",
		"full,0,100,100": "x: not a number",
	} {
		_, _, err := ParseParams("rect="+url.QueryEscape(query), false)
		e, ok := errors.AsType[*ParamError](err)
		if !ok || !strings.HasPrefix(e.Reason, want+":") {
			t.Errorf("rect=%s: %v, want %s", query, err, want)
		}
	}
}

func TestStrictNamesWhatItDoesNotKnow(t *testing.T) {
	for _, query := range []string{"sharpness=20", "w=500&sharpness=20", "W=500", "auto64=Zm9ybWF0", "x64=", "%zz=1", "=1"} {
		if _, _, err := ParseParams(query, false); err != nil {
			t.Errorf("ParseParams(%q): %v", query, err)
		}
		_, _, err := ParseParams(query, true)
		if err == nil || !strings.HasSuffix(err.Error(), ": unknown parameter") {
			t.Errorf("ParseParams(%q, strict): %v", query, err)
		}
	}
	if _, _, err := ParseParams("w=500&sharpness=20", true); err.Error() != "sharpness=20: unknown parameter" {
		t.Error(err)
	}
}

func TestVersionIsApartFromTheParameters(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"", ""}, {"vh=", ""}, {"vh=2", "2"}, {"w=500&vh=a%20b", "a b"}, {"vh64=djI", "v2"}, {"vh=2024-05-01T10:00Z", "2024-05-01T10:00Z"},
	} {
		if _, vh, err := ParseParams(tt.query, true); vh != tt.want || err != nil {
			t.Errorf("ParseParams(%q): vh %q, %v, want %q", tt.query, vh, err, tt.want)
		}
	}
}

func TestEveryColourNameIsKnown(t *testing.T) {
	for _, name := range append(slices.Clone(colornames.Names), "rebeccapurple") {
		c, problem := parseColor(name)
		if problem != "" || c.A != 0xff {
			t.Errorf("%s: %v, %s", name, c, problem)
		}
	}
}

// The first three are what browsers send for an <img>.
const (
	acceptChrome = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
	acceptOld    = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
	acceptAny    = "*/*"
)

func TestNegotiation(t *testing.T) {
	tests := []struct {
		query, accept string
		format        resize.Format
		quality       int
		varies        bool
	}{
		{"w=500", acceptChrome, resize.SameFormat, 0, false},
		{"fm=png", acceptChrome, resize.PNG, 0, false},
		{"auto=format", acceptChrome, resize.WebP, 0, true},
		{"auto=format", acceptOld, resize.SameFormat, 0, true}, // an animated GIF stays one
		{"auto=format", acceptAny, resize.SameFormat, 0, true},
		{"auto=format", "", resize.SameFormat, 0, true},
		{"auto=format&fm=jpg", acceptOld, resize.JPEG, 0, true},
		{"auto=format&fm=jpg", acceptChrome, resize.WebP, 0, true},
		{"auto=format&fm=png&q=50", acceptOld, resize.PNG, 0, true},
		{"auto=format&fm=png&q=50", acceptChrome, resize.WebP, 50, true},
		{"auto=format&fm=webp", acceptOld, resize.WebP, 0, false}, // asked for by name
		{"auto=format&q=75", acceptChrome, resize.WebP, 0, true},
		{"auto=format&q=75", acceptOld, resize.SameFormat, 75, true},
		{"auto=compress", acceptChrome, resize.Opaque, 45, false},
		{"auto=compress&q=80", acceptChrome, resize.Opaque, 80, false},
		{"auto=compress&q=75", acceptChrome, resize.Opaque, 0, false},
		{"auto=compress&fm=gif", acceptChrome, resize.Opaque, 45, false}, // compress overrides fm
		{"auto=format,compress", acceptChrome, resize.WebP, 45, true},
		{"auto=format,compress", acceptOld, resize.Opaque, 45, true},
		{"auto=format,compress&fm=webp", acceptOld, resize.Opaque, 45, true},
	}
	for _, tt := range tests {
		p, _, err := ParseParams(tt.query, true)
		if err != nil {
			t.Fatal(err)
		}
		plan, varies := p.Negotiate(tt.accept)
		if plan.Format != tt.format || plan.Quality != tt.quality || varies != tt.varies {
			t.Errorf("%s for %q: %q at %d, varies %t; want %q at %d, varies %t", tt.query, tt.accept,
				plan.Format, plan.Quality, varies, tt.format, tt.quality, tt.varies)
		}
	}
}

func TestNegotiationWithAVIF(t *testing.T) {
	const acceptWebP, acceptNot = "image/webp,*/*", "image/avif;q=0,image/webp,*/*"
	tests := []struct {
		query, accept string
		format        resize.Format
		quality       int
		varies        bool
	}{
		{"w=500", acceptChrome, resize.SameFormat, 0, false},
		{"fm=png", acceptChrome, resize.PNG, 0, false},
		{"fm=avif", acceptOld, resize.AVIF, 0, false}, // asked for by name
		{"auto=format", acceptChrome, resize.AVIF, 0, true},
		{"auto=format", acceptWebP, resize.WebP, 0, true},
		{"auto=format", acceptNot, resize.WebP, 0, true},
		{"auto=format", "image/avif", resize.AVIF, 0, true},
		{"auto=format", acceptOld, resize.SameFormat, 0, true},
		{"auto=format", "image/*", resize.SameFormat, 0, true},
		{"auto=format&fm=jpg&q=50", acceptChrome, resize.AVIF, 50, true},
		{"auto=format&fm=webp", acceptChrome, resize.AVIF, 0, true},
		{"auto=format&fm=webp", acceptOld, resize.WebP, 0, true},
		{"auto=format&fm=avif", acceptWebP, resize.WebP, 0, true},
		{"auto=format&fm=avif", acceptOld, resize.AVIF, 0, true},
		{"auto=compress", acceptChrome, resize.Opaque, 45, false},
		{"auto=format,compress", acceptChrome, resize.AVIF, 45, true},
		{"auto=format,compress", acceptOld, resize.Opaque, 45, true},
	}
	for _, tt := range tests {
		p, _, err := ParseParams(tt.query, true)
		if err != nil {
			t.Fatal(err)
		}
		plan, varies := p.negotiate(tt.accept, true)
		if plan.Format != tt.format || plan.Quality != tt.quality || varies != tt.varies {
			t.Errorf("%s for %q: %q at %d, varies %t; want %q at %d, varies %t", tt.query, tt.accept,
				plan.Format, plan.Quality, varies, tt.format, tt.quality, tt.varies)
		}
	}
}

func TestNegotiationOfLists(t *testing.T) {
	const both, webp, none = "image/avif,image/webp,*/*", "image/webp", "*/*"
	for _, tt := range []struct {
		query, accept string
		avif          bool
		want          resize.Format
		varies        bool
	}{
		{"fm=avif,webp,jpg", both, true, resize.AVIF, true},
		{"fm=avif,webp,jpg", both, false, resize.WebP, true},
		{"fm=avif,webp,jpg", webp, true, resize.WebP, true},
		{"fm=avif,webp,jpg", none, true, resize.JPEG, true},
		{"fm=webp,avif,jpg", both, true, resize.WebP, true},
		{"fm=avif,jpg", both, false, resize.JPEG, false},
		{"fm=avif,webp", none, true, resize.WebP, true},
		{"fm=avif,webp", none, false, resize.WebP, false},
		{"fm=webp,avif,webp", "image/avif", true, resize.AVIF, true},
		{"fm=webp", none, true, resize.WebP, false},
	} {
		p, _, err := ParseParams(tt.query, true)
		if err != nil {
			t.Fatal(err)
		}
		if plan, varies := p.negotiate(tt.accept, tt.avif); plan.Format != tt.want || varies != tt.varies {
			t.Errorf("%s for %s with AVIF %t is %s, %t, want %s, %t", tt.query, tt.accept, tt.avif, plan.Format, varies, tt.want, tt.varies)
		}
	}
}

func TestAcceptNamesTheType(t *testing.T) {
	tests := []struct {
		accept string
		want   bool
	}{
		{"image/webp", true},
		{"IMAGE/WebP", true},
		{"text/html, image/webp ;q=0.5", true},
		{"image/webp;q=1", true},
		{"image/webp;q=1.000", true},
		{"image/webp;q=0.001", true},
		{"image/webp; Q=0.8", true},
		{"image/webp;q=0", false},
		{"image/webp;q=0.000", false},
		{"image/webp;level=1;q=0", false},
		{"image/webp;level=1", true},
		{"image/webp;q=0,image/webp", true},
		{"image/webp;q=abc", false},
		{"image/webp;q=-1", false},
		{"image/webp;q=1.1", false},
		{"image/webp;q=0.0001", false},
		{"image/webp;q=", false},
		{"image/webpx", false},
		{"ximage/webp", false},
		{"image/*", false},
		{"*/*", false},
		{"", false},
		{",,", false},
		{`text/plain;x="a,image/webp"`, false},
		{`text/plain;x="a\",image/webp"`, false},
		{`text/plain;x="a",image/webp`, true},
		{`text/plain;x="unclosed,image/webp`, false},
	}
	for _, tt := range tests {
		if got := acceptsType(tt.accept, "image/webp"); got != tt.want {
			t.Errorf("%q: %t", tt.accept, got)
		}
	}
}

func TestPaths(t *testing.T) {
	tests := []struct {
		escaped, source, path string
		fault                 string
	}{
		{"/photos/cat.jpg", "photos", "/cat.jpg", ""},
		{"/photos/a/b/cat.jpg", "photos", "/a/b/cat.jpg", ""},
		{"/ph%6ftos/c%61t.jpg", "photos", "/cat.jpg", ""},
		{"/photos/my%20cat.jpg", "photos", "/my cat.jpg", ""},
		{"/photos/my+cat.jpg", "photos", "/my+cat.jpg", ""},
		{"/photos/%C3%A9.jpg", "photos", "/é.jpg", ""},
		{"/photos/é.jpg", "photos", "/é.jpg", ""},
		{"/photos/a%3Fb%23c.jpg", "photos", "/a?b#c.jpg", ""},
		{"/photos/100%25.jpg", "photos", "/100%.jpg", ""},
		{"/photos/%252e%252e/x", "photos", "/%2e%2e/x", ""}, // decoded once, so a name with percent signs
		{"/photos/...", "photos", "/...", ""},
		{"/photos/.hidden", "photos", "/.hidden", ""},
		{"/photos/a;b=c,d:e@f", "photos", "/a;b=c,d:e@f", ""},
		{"", "", "", "empty"},
		{"photos/cat.jpg", "", "", "slash"},
		{"https://example.com/cat.jpg", "", "", "a scheme and a host"},
		{"/", "", "", "empty segment"},
		{"/photos", "", "", "one segment"},
		{"/photos/", "", "", "ends in a slash"},
		{"/photos/a/", "", "", "ends in a slash"},
		{"//cat.jpg", "", "", "two slashes"},
		{"/photos//cat.jpg", "", "", "empty segment"},
		{"/photos/./cat.jpg", "", "", "the segment"},
		{"/photos/../cat.jpg", "", "", "the segment"},
		{"/photos/%2e%2E/cat.jpg", "", "", "the segment"},
		{"/photos/.%2e", "", "", "the segment"},
		{"/../cat.jpg", "", "", "the segment"},
		{"/photos/a%2fb.jpg", "", "", "encoded slash"},
		{"/photos/..%2Fb.jpg", "", "", "encoded slash"},
		{"/photos%2Fb.jpg", "", "", "encoded slash"},
		{`/photos/a\b.jpg`, "", "", "backslash"},
		{"/photos/a%5cb.jpg", "", "", "backslash"},
		{"/photos/a%00.jpg", "", "", "control character"},
		{"/photos/a%0D%0Ab.jpg", "", "", "control character"},
		{"/photos/a%7f.jpg", "", "", "control character"},
		{"/photos/a%C2%85.jpg", "", "", "control character"},
		{"/photos/a%ff.jpg", "", "", "UTF-8"},
		{"/photos/a%C0%AFb.jpg", "", "", "UTF-8"},
		{"/photos/a%", "", "", "hexadecimal"},
		{"/photos/a%2", "", "", "hexadecimal"},
		{"/photos/a%zz.jpg", "", "", "hexadecimal"},
		{"/photos/a.jpg?w=5", "", "", ""},
		{"/photos/%61.jpg#x", "", "", ""},
		{"/photos/" + strings.Repeat("a", 2048-8), "photos", "/" + strings.Repeat("a", 2048-8), ""},
		{"/photos/" + strings.Repeat("a", 2048-7), "", "", "2048 bytes"},
	}
	for _, tt := range tests {
		source, path, fault := splitPath(tt.escaped)
		if source != tt.source || path != tt.path || (fault == nil) != (tt.source != "") {
			t.Errorf("splitPath(%q) = %q, %q, %v, want %q, %q, %q", tt.escaped, source, path, fault, tt.source, tt.path, tt.fault)
		} else if fault != nil && !strings.Contains(fault.Reason, tt.fault) {
			t.Errorf("splitPath(%q): %v, want %q", tt.escaped, fault, tt.fault)
		}
	}
}

func TestRequests(t *testing.T) {
	u, err := url.Parse("/photos/my%20cat.jpg?w=500&vh=3")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRequest(u, true)
	want := Request{Image: Image{Source: "photos", Path: "/my cat.jpg", Version: "3"}, Params: Params{Plan: resize.Plan{Width: 500}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, tt := range []struct{ url, want string }{
		{"/photos/a%2fb.jpg", "path /photos/a%2fb.jpg: has an encoded slash, \"%2f\""},
		{"/photos//b.jpg?w=abc", "path /photos//b.jpg: has an empty segment"},
		{"/photos/b.jpg?q=abc", "q=abc: not a number: q takes 0 to 100"},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseRequest(u, false)
		if _, ok := errors.AsType[*ParamError](err); !ok || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.url, err, tt.want)
		}
	}
}

// describe says what p comes to for a client and an original of sw by sh pixels, straight from the
// documentation of Plan and of the parameters, with no thought of canonical forms.
func describe(p Params, accept string, sw, sh float64) string {
	plan := p.Plan
	var b strings.Builder
	orient := plan.Orient
	fmt.Fprintf(&b, "orient %d flip %d ", orient, plan.Flip)

	if r := plan.Rect; r != nil {
		pixels := func(v, side float64) float64 {
			if v > 1 {
				return v
			}
			return v * side
		}
		place := func(v, side, extent float64, a resize.Align) float64 {
			switch a {
			case resize.Near:
				return 0
			case resize.Middle:
				return (side - extent) / 2
			case resize.Far:
				return side - extent
			}
			return pixels(v, side)
		}
		w, h := min(pixels(r.W, sw), sw), min(pixels(r.H, sh), sh)
		x, y := place(r.X, sw, w, r.XAlign), place(r.Y, sh, h, r.YAlign)
		fmt.Fprintf(&b, "from %v,%v ", x, y)
		sw, sh = min(w, sw-x), min(h, sh-y)
	} else {
		b.WriteString("from 0,0 ")
	}
	fmt.Fprintf(&b, "%vx%v ", sw, sh)

	side := func(v, of float64) float64 {
		if v > 1 && plan.DPR != 0 {
			return v * plan.DPR
		}
		if v > 1 {
			return v
		}
		return v * of
	}
	bw, bh := side(plan.Width, sw), side(plan.Height, sh)
	if ar := plan.Aspect; ar != 0 && plan.Fit == resize.Cover {
		switch {
		case bw == 0 && bh == 0:
			bw, bh = min(sw, sh*ar), min(sh, sw/ar)
		case bw == 0:
			bw = bh * ar
		case bh == 0:
			bh = bw / ar
		}
	}
	keep := func() string {
		crop := []resize.Crop{}
		for _, c := range plan.Crop {
			if !slices.Contains(crop, c) {
				crop = append(crop, c)
			}
		}
		if len(crop) == 0 {
			crop = append(crop, resize.Center)
		}
		focal := ""
		if slices.Contains(crop, resize.FocalPoint) {
			focal = "{0.5 0.5}"
			if plan.Focal != nil {
				focal = fmt.Sprint(*plan.Focal)
			}
		}
		return fmt.Sprint(crop, focal)
	}
	inside := math.Inf(1) // the scale at which the source is inside the box
	if bw != 0 {
		inside = bw / sw
	}
	if bh != 0 {
		inside = min(inside, bh/sh)
	}
	both := bw != 0 && bh != 0
	switch {
	case bw == 0 && bh == 0:
		b.WriteString("as it is")
	case plan.Fit == resize.Cover && both:
		fmt.Fprintf(&b, "covering %vx%v keeping %s", bw, bh, keep())
	case plan.Fit == resize.Min && both:
		fmt.Fprintf(&b, "cut to %v no larger than %vx%v keeping %s", bw/bh, bw, bh, keep())
	case plan.Fit == resize.Clamp && both:
		fmt.Fprintf(&b, "at %v smeared over %vx%v", inside, bw, bh)
	case plan.Fit == resize.Fill && both:
		fmt.Fprintf(&b, "at %v padded to %vx%v", inside, bw, bh)
	case plan.Fit == resize.FillMax && both:
		fmt.Fprintf(&b, "at %v padded to %vx%v", min(inside, 1), bw, bh)
	case plan.Fit == resize.Scale && both:
		fmt.Fprintf(&b, "stretched to %vx%v", bw, bh)
	case plan.Fit == resize.Max, plan.Fit == resize.Min, plan.Fit == resize.FillMax:
		fmt.Fprintf(&b, "at %v", min(inside, 1))
	default:
		fmt.Fprintf(&b, "at %v", inside)
	}

	fmt.Fprintf(&b, " rotated %v", math.Mod(plan.Rotate, 360))
	if c := plan.Background; c != nil {
		fmt.Fprintf(&b, " on %v", *c)
	}
	for i, m := range plan.Marks {
		x, y, alpha, pad := m.XAlign, m.YAlign, m.Alpha, 5
		if x == resize.NoAlign {
			x = resize.Far
		}
		if y == resize.NoAlign {
			y = resize.Far
		}
		if alpha == 0 {
			alpha = 100
		}
		if m.Pad != nil {
			pad = *m.Pad
		}
		fmt.Fprintf(&b, " under %v at %d,%d width %v alpha %d pad %d", p.Inputs[i], x, y, m.Width, alpha, pad)
	}

	format, quality := plan.Format, plan.Quality
	webp := strings.Contains(accept, "image/webp")
	switch {
	case p.AutoFormat && webp:
		format = resize.WebP
	case p.Compress:
		format = resize.Opaque
	}
	switch {
	case format == resize.PNG, format == resize.GIF:
		quality = 0
	case quality == 0 && p.Compress:
		quality = 45
	case quality == 0:
		quality = 75
	}
	fmt.Fprintf(&b, " as %q at %d", format, quality)
	return b.String()
}

// randomParams mixes values that are easily confused.
func randomParams(r *rand.Rand) Params {
	pick := func(values ...float64) float64 { return values[r.IntN(len(values))] }
	maybe := func() bool { return r.IntN(3) == 0 }
	var p Params
	plan := &p.Plan
	plan.Width = pick(0, 0, .5, 1, 2, 100, 200)
	plan.Height = pick(0, 0, .5, 1, 2, 100, 200)
	plan.DPR = pick(0, 0, 1, 2)
	plan.Fit = resize.Fit(r.IntN(int(resize.Scale) + 1))
	plan.Aspect = pick(0, 0, 1, 2)
	for range r.IntN(4) {
		plan.Crop = append(plan.Crop, resize.Crop(1+r.IntN(int(resize.Entropy))))
	}
	if maybe() {
		plan.Focal = &resize.Point{X: pick(0, .5, 1), Y: pick(0, .5, 1)}
	}
	if maybe() {
		align := func() resize.Align { return resize.Align(r.IntN(int(resize.Far) + 1)) }
		plan.Rect = &resize.Rect{X: pick(0, 0, .5, 30), Y: pick(0, 0, .5, 30), W: pick(.5, 1, 1, 50), H: pick(.5, 1, 1, 50), XAlign: align(), YAlign: align()}
		if plan.Rect.XAlign != resize.NoAlign {
			plan.Rect.X = 0
		}
		if plan.Rect.YAlign != resize.NoAlign {
			plan.Rect.Y = 0
		}
	}
	if maybe() {
		plan.Orient = r.IntN(9)
		plan.Flip = resize.Flip(r.IntN(4))
		plan.Rotate = pick(0, 90, 45.5)
	}
	if maybe() {
		plan.Background = &color.NRGBA{uint8(r.IntN(2) * 255), 255, 255, uint8(r.IntN(2) * 255)}
	}
	plan.Format = []resize.Format{resize.SameFormat, resize.SameFormat, resize.JPEG, resize.PNG, resize.GIF, resize.WebP, resize.AVIF}[r.IntN(7)]
	plan.Quality = int(pick(0, 0, 1, 45, 75, 80))
	p.AutoFormat = maybe()
	p.Compress = maybe()
	if maybe() {
		m := resize.Mark{XAlign: resize.Align(r.IntN(4)), YAlign: resize.Align(r.IntN(4)), Width: pick(0, .5, 1, 50), Alpha: int(pick(0, 50, 100))}
		if pad := int(pick(-1, 0, 5, 9)); pad >= 0 {
			m.Pad = &pad
		}
		plan.Marks = []resize.Mark{m}
		p.Inputs = []Image{{Source: "p", Path: []string{"/l.png", "/a b%?.png"}[r.IntN(2)]}}
	}
	return p
}

func TestTwoPicturesNeverShareAKey(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	clients := []string{acceptChrome, acceptOld}
	originals := [][2]float64{{300, 200}, {200, 300}, {1000, 1000}, {60, 50}}
	all := func(p Params) string {
		var b strings.Builder
		for _, accept := range clients {
			for _, o := range originals {
				b.WriteString(describe(p, accept, o[0], o[1]) + "\n")
			}
		}
		return b.String()
	}
	n := 10000
	if testing.Short() {
		n = 2000
	}
	seen := map[string]string{}
	keys := map[string]string{}
	for range n {
		p := randomParams(r)
		before := fmt.Sprintf("%#v %v %v", p, p.Plan.String(), p.Plan.Crop)
		key, want := p.String(), all(p)
		if got := all(p.canonical()); got != want {
			t.Fatalf("%+v\nshows\n%sbut its canonical form %s shows\n%s", p, want, key, got)
		}
		if other, ok := seen[key]; ok && other != want {
			t.Fatalf("%s stands for both\n%sand\n%s", key, other, want)
		}
		seen[key] = want
		parsed, _, err := ParseParams(key, true)
		if err != nil || parsed.String() != key {
			t.Fatalf("%s is read as %s, %v", key, parsed, err)
		}
		for _, accept := range clients {
			plan, varies := p.Negotiate(accept)
			again, v := parsed.Negotiate(accept)
			if plan.String() != again.String() || varies != v {
				t.Fatalf("%s: %q and %q for one key", key, plan, again)
			}
			if !varies {
				if other, ok := keys[key]; ok && other != plan.String() {
					t.Fatalf("%s does not vary but gives %q and %q", key, other, plan)
				}
				keys[key] = plan.String()
			}
		}
		if after := fmt.Sprintf("%#v %v %v", p, p.Plan.String(), p.Plan.Crop); after != before {
			t.Fatalf("the methods of %s changed it to %s", before, after)
		}
	}
}

func FuzzParseParams(f *testing.F) {
	for _, tt := range canonicalTests {
		f.Add(tt.query)
	}
	for _, query := range []string{"w=abc", "mark=https://x/y", "rot=-0.000000000000000000000001", "w=%", "w=1.4", "ar=1:3&fit=crop", "vh=%ff"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p, vh, err := ParseParams(query, false)
		if err != nil {
			e, ok := errors.AsType[*ParamError](err)
			if !ok || e.Param == "" || strings.ContainsFunc(e.Error()+e.Reason, unicode.IsControl) {
				t.Fatalf("not one line that names a parameter: %q", err)
			}
			if _, _, err := ParseParams(query, true); err == nil {
				t.Fatal("strict takes what is refused otherwise")
			}
			return
		}
		checkParams(t, p)
		if len(vh) > maxVersionBytes || checkVersion(vh) != "" {
			t.Fatalf("vh %q", vh)
		}
		key := p.String()
		again, _, err := ParseParams(key, true)
		if err != nil {
			t.Fatalf("canonical form %q: %v", key, err)
		}
		if !reflect.DeepEqual(again, p) {
			t.Fatalf("%q is read as %+v, want %+v", key, again, p)
		}
		if again.String() != key {
			t.Fatalf("%q is written as %q", key, again)
		}
		if p.IsZero() != (key == "") {
			t.Fatalf("%q: IsZero %t", key, p.IsZero())
		}
		for _, accept := range []string{acceptChrome, acceptOld} {
			plan, varies := p.Negotiate(accept)
			if plan.Quality < 0 || plan.Quality > 100 || varies != (p.AutoFormat && p.Plan.Format != resize.WebP || slices.Contains(p.Prefer, resize.WebP) && p.Plan.Format != resize.WebP) { // AVIF is not linked in here
				t.Fatalf("%q negotiates %+v", key, plan)
			}
		}
	})
}

// checkParams fails where a number is out of the range that resize is promised.
func checkParams(t *testing.T, p Params) {
	t.Helper()
	plan := p.Plan
	length := func(name string, v, most float64) {
		if v != 0 && !(v > 0 && v <= 1 || v >= 2 && v <= most && v == math.Trunc(v)) {
			t.Fatalf("%s %v", name, v)
		}
	}
	within := func(name string, v, least, most float64) {
		if !(v >= least && v <= most) {
			t.Fatalf("%s %v", name, v)
		}
	}
	length("Width", plan.Width, maxSide)
	length("Height", plan.Height, maxSide)
	within("DPR", plan.DPR, 0, 5)
	if plan.DPR != 0 && (plan.Width > 1 && plan.Width*plan.DPR > maxSide || plan.Height > 1 && plan.Height*plan.DPR > maxSide) {
		t.Fatalf("%vx%v at %v", plan.Width, plan.Height, plan.DPR)
	}
	if plan.Aspect != 0 {
		within("Aspect", plan.Aspect, 1./maxSide, maxSide)
	}
	if plan.Fit > resize.CoverFill || plan.Flip > resize.Both {
		t.Fatalf("Fit %d, Flip %d", plan.Fit, plan.Flip)
	}
	if len(plan.Crop) > int(resize.Faces) {
		t.Fatalf("Crop %v", plan.Crop)
	}
	if f := plan.Focal; f != nil {
		most := 1.
		if plan.FocalPixels {
			most = maxSourceSide
		}
		within("Focal.X", f.X, 0, most)
		within("Focal.Y", f.Y, 0, most)
	}
	if r := plan.Rect; r != nil {
		length("Rect.X", r.X, maxSourceSide)
		length("Rect.Y", r.Y, maxSourceSide)
		length("Rect.W", r.W, maxSourceSide)
		length("Rect.H", r.H, maxSourceSide)
		if (r.W == 0 || r.H == 0) && !r.Pixels || r.XAlign > resize.Far || r.YAlign > resize.Far {
			t.Fatalf("Rect %+v", *r)
		}
	}
	within("Orient", float64(plan.Orient), 0, 8)
	if !(plan.Rotate >= 0 && plan.Rotate < 360) {
		t.Fatalf("Rotate %v", plan.Rotate)
	}
	within("Quality", float64(plan.Quality), 0, 100)
	if 1+len(p.Inputs) != plan.Inputs() {
		t.Fatalf("%d inputs of %d", 1+len(p.Inputs), plan.Inputs())
	}
	for _, in := range p.Inputs {
		if in.Source == "" || !strings.HasPrefix(in.Path, "/") || in.Version != "" {
			t.Fatalf("input %+v", in)
		}
	}
	for _, m := range plan.Marks {
		length("Mark.Width", m.Width, maxSide)
		within("Mark.Alpha", float64(m.Alpha), 0, 99)
		if m.Pad != nil {
			within("Mark.Pad", float64(*m.Pad), 0, maxSide)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, path := range []string{
		"/photos/cat.jpg", "/photos/a%2fb", "/photos/%2e%2e/x", "/photos/%C3%A9", "//a", "/a/", "/a/b?w=5", "/a/b%00", "/a/%252f",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, target string) {
		source, path, fault := splitPath(target)
		if fault == nil {
			checkPath(t, source, path)
			var again query
			again.path(Image{Source: source, Path: path})
			if img, problem := parseImage(mustUnescape(t, string(again.b))); problem != "" || img.Source != source || img.Path != path {
				t.Fatalf("%q as a mark is %q: %+v, %s", target, again.b, img, problem)
			}
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r, err := ParseRequest(u, false)
		if err != nil {
			if _, ok := errors.AsType[*ParamError](err); !ok {
				t.Fatal(err)
			}
			return
		}
		checkPath(t, r.Image.Source, r.Image.Path)
		checkParams(t, r.Params)
		again, err := ParseRequest(&url.URL{Path: "/" + r.Image.Source + r.Image.Path, RawQuery: r.Params.String()}, true)
		r.Image.Version = ""
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func mustUnescape(t *testing.T, s string) string {
	t.Helper()
	s, err := url.QueryUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkPath fails where a path could lead out of its source or be spelled in a second way.
func checkPath(t *testing.T, source, path string) {
	t.Helper()
	segments := strings.Split(source+path, "/")
	if !strings.HasPrefix(path, "/") || len(segments) < 2 || segments[0] != source {
		t.Fatalf("%q, %q", source, path)
	}
	for _, s := range segments {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "\\\x00\r\n") {
			t.Fatalf("%q, %q", source, path)
		}
	}
}

var benchmarkQueries = []string{
	"w=500&h=300&fit=crop",
	"w=500&auto=format",
	"w=400&h=300&fit=crop&crop=focalpoint&fp-x=0.3&fp-y=0.6&dpr=2&q=60&auto=format,compress&bg=fff",
	"w=500&mark=%2Fphotos%2Flogo.png&mark-w=0.2&mark-align=top,left&mark-pad=10",
}

func BenchmarkParseParams(b *testing.B) {
	for _, query := range benchmarkQueries {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ParseParams(query, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseRequest(b *testing.B) {
	u, err := url.Parse("/photos/2024/05/cat.jpg?w=500&h=300&fit=crop")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(u, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParamsString(b *testing.B) {
	for _, query := range benchmarkQueries {
		b.Run(query, func(b *testing.B) {
			p, _, err := ParseParams(query, false)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = p.String()
			}
		})
	}
}

func BenchmarkNegotiate(b *testing.B) {
	p, _, err := ParseParams("w=500&auto=format", false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Negotiate(acceptChrome)
	}
}

func TestDocumentationNamesEveryParameter(t *testing.T) {
	doc, err := os.ReadFile("docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("`\\?([^`]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(examples) < 20 {
		t.Errorf("%d examples", len(examples))
	}
	for _, m := range examples {
		_, _, err := ParseParams(m[1], true)
		if err != nil && !strings.Contains(m[1], "utm_source") {
			t.Errorf("example %s: %v", m[1], err)
		}
	}
	for _, p := range params {
		for _, name := range append([]string{p.name}, p.aliases...) {
			if !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("%s is not in docs/parameters.md", name)
			}
		}
	}
}
