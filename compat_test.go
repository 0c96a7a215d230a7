package imagecdn_test

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"net/http"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
	"github.com/imagecdn/imagecdn/resize/faces"
	"github.com/imagecdn/imagecdn/resize/text"
)

var updateCompat = flag.Bool("update-compat", false, "write docs/compatibility.md")

// An effect is a parameter of imgix's and a query that has it. Without the parameter, the same query gives something else.
type effect struct {
	param string
	query string
	note  string // the original, where that is not coffee.jpg, or one of the words below and what follows it
}

const (
	takenOnly = "taken: "   // 200, and nothing changes: what it asks for is done anyway
	refusedAs = "refused: " // 400, which says so
	inHeader  = "header "   // what differs is a header
	needed    = "needed"    // without it the query is an error
	expired   = "expired"   // with it the URL is a 404
)

var imgixEffects = []effect{
	// adjustment
	{"bri", "w=90&bri=30", ""}, {"con", "w=90&con=30", ""}, {"exp", "w=90&exp=30", ""}, {"gam", "w=90&gam=30", ""},
	{"high", "w=90&high=-60", ""}, {"hue", "w=90&hue=90", ""}, {"invert", "w=90&invert=true", ""}, {"sat", "w=90&sat=-50", ""},
	{"shad", "w=90&shad=60", ""}, {"sharp", "w=90&sharp=60", ""}, {"usm", "w=90&usm=60", ""}, {"usmrad", "w=90&usm=60&usmrad=8", ""},
	{"vib", "w=90&vib=80", ""},
	// animation
	{"fps", "w=90&fps=4", "film.gif"}, {"frame", "w=90&frame=2", "film.gif"}, {"interval", "w=90&interval=2", "film.gif"}, {"loop", "w=90&loop=3", "film.gif"},
	{"reverse", "w=90&reverse=true", "film.gif"}, {"skip", "w=90&skip=2", "film.gif"},
	// auto
	{"auto", "w=90&auto=enhance", ""},
	// background
	{"bg-remove", "bg-remove=true", refusedAs + "generative"},
	{"bg-remove-fallback", "bg-remove-fallback=true", takenOnly + "of bg-remove"},
	{"bg-remove-fg-type", "bg-remove-fg-type=car", takenOnly + "of bg-remove"},
	{"bg-remove-semi-transparency", "bg-remove-semi-transparency=true", takenOnly + "of bg-remove"},
	{"bg-remove-transparency-threshold", "bg-remove-transparency-threshold=0.2", takenOnly + "of bg-remove"},
	{"bg-replace", "bg-replace=beach", refusedAs + "generative"},
	{"bg-replace-fallback", "bg-replace-fallback=true", takenOnly + "of bg-replace"},
	{"bg-replace-neg-prompt", "bg-replace-neg-prompt=x", takenOnly + "of bg-replace"},
	// blending
	{"blend", "w=90&blend=f80", ""}, {"blend-align", "w=90&blend=/photos/logo.png&blend-align=bottom,right&blend-w=20", ""},
	{"blend-alpha", "w=90&blend=f80&blend-alpha=30", ""}, {"blend-color", "w=90&blend-color=f80", ""},
	{"blend-crop", "w=90&blend=/photos/coffee.jpg&blend-w=20&blend-h=40&blend-fit=crop&blend-crop=left", ""},
	{"blend-fit", "w=90&blend=/photos/coffee.jpg&blend-w=20&blend-h=40&blend-fit=scale", ""},
	{"blend-h", "w=90&blend=/photos/logo.png&blend-h=9", ""}, {"blend-mode", "w=90&blend=f80&blend-mode=multiply", ""},
	{"blend-pad", "w=90&blend=/photos/logo.png&blend-w=20&blend-pad=9", ""},
	{"blend-size", "w=90&blend=/photos/coffee.jpg&blend-w=20&blend-size=inherit", ""},
	{"blend-w", "w=90&blend=/photos/logo.png&blend-w=20", ""}, {"blend-x", "w=90&blend=/photos/logo.png&blend-w=20&blend-x=9", ""},
	{"blend-y", "w=90&blend=/photos/logo.png&blend-w=20&blend-y=9", ""},
	// border-and-padding
	{"border", "w=90&border=5,f00", ""}, {"border-bottom", "w=90&border=5,f00&border-bottom=20", ""},
	{"border-left", "w=90&border=5,f00&border-left=20", ""}, {"border-radius", "w=90&border=5,f00&border-radius=20", ""},
	{"border-radius-inner", "w=90&border=5,f00&border-radius=20&border-radius-inner=2", ""},
	{"border-right", "w=90&border=5,f00&border-right=20", ""},
	{"border-stroke-color", "w=90&border=5,f00&border-stroke-size=2&border-stroke-color=00f", ""},
	{"border-stroke-size", "w=90&border=5,f00&border-stroke-size=2", ""}, {"border-top", "w=90&border=5,f00&border-top=20", ""},
	{"pad", "w=90&pad=9", ""}, {"pad-bottom", "w=90&pad-bottom=9", ""}, {"pad-left", "w=90&pad-left=9", ""},
	{"pad-right", "w=90&pad-right=9", ""}, {"pad-top", "w=90&pad-top=9", ""},
	// color-palette
	{"colors", "palette=json&colors=2", ""}, {"palette", "palette=css", ""}, {"prefix", "palette=css&prefix=cat", ""},
	// expiration
	{"expires", "w=90&expires=1", expired},
	// face-detection
	{"face-blur", "w=200&face-blur=80", "face.png"}, {"face-pixel", "w=200&face-pixel=20", "face.png"},
	{"faceindex", "w=90&h=90&fit=facearea&faceindex=1&facepad=1.5", "faces.png"}, {"facepad", "w=90&h=90&fit=facearea&facepad=3", "face.png"},
	{"faces", "fm=json&faces=1", "face.png"},
	// fill
	{"bg", "w=90&h=90&fit=fill&bg=f00", ""}, {"fill", "w=90&h=90&fit=fill&fill=blur", ""},
	{"fill-color", "w=90&h=90&fit=fill&fill=solid&fill-color=f00", ""},
	{"fill-gen-fallback", "fill-gen-fallback=true", takenOnly + "of fill=gen"}, {"fill-gen-neg-prompt", "fill-gen-neg-prompt=x", takenOnly + "of fill=gen"},
	{"fill-gen-pos", "fill-gen-pos=top", takenOnly + "of fill=gen"}, {"fill-gen-prompt", "fill-gen-prompt=x", takenOnly + "of fill=gen"},
	{"fill-gen-seed", "fill-gen-seed=1", takenOnly + "of fill=gen"},
	{"fill-gradient-cs", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-linear=f00,00f&fill-gradient-cs=oklab", ""},
	{"fill-gradient-linear", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-linear=f00,00f", ""},
	{"fill-gradient-linear-direction", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-linear=f00,00f&fill-gradient-linear-direction=left,right", ""},
	{"fill-gradient-radial", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-radial=f00,00f", ""},
	{"fill-gradient-radial-radius", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-radial-radius=0.4,0.9", ""},
	{"fill-gradient-radial-x", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-radial-x=0.1", ""},
	{"fill-gradient-radial-y", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-type=radial&fill-gradient-radial-y=0.1", ""},
	{"fill-gradient-type", "w=90&h=90&fit=fill&fill=gradient&fill-gradient-type=radial", ""},
	{"grid-colors", "w=90&transparency=grid&grid-colors=f00,00f", "alpha.png"}, {"grid-size", "w=90&transparency=grid&grid-size=9", "alpha.png"},
	{"transparency", "w=90&transparency=grid", "alpha.png"},
	// focalpoint-crop
	{"fp-debug", "w=90&h=90&fit=crop&crop=focalpoint&fp-debug=true", ""}, {"fp-x", "w=40&h=90&fit=crop&crop=focalpoint&fp-x=0.9", ""},
	{"fp-y", "w=90&h=20&fit=crop&crop=focalpoint&fp-y=0.9", ""}, {"fp-z", "w=90&h=90&fit=crop&crop=focalpoint&fp-z=3", ""},
	// format
	{"ch", "ch=width", refusedAs + "client hints are not looked at"}, {"chromasub", "w=90&fm=jpg&chromasub=444", ""},
	{"colorquant", "w=90&fm=png&colorquant=4", ""}, {"cs", "w=90&fm=png&cs=tinysrgb", ""}, {"dl", "w=90&dl=a.jpg", inHeader + "Content-Disposition"},
	{"dpi", "w=90&dpi=300", ""}, {"fm", "w=90&fm=png", ""}, {"iptc", "w=90&iptc=block", takenOnly + "no metadata is passed on"},
	{"jpg-progressive", "w=90&fm=jpg&jpg-progressive=true", ""}, {"lossless", "w=90&fm=webp&lossless=true", ""}, {"q", "w=90&q=20", ""},
	{"svg-sanitize", "w=90&svg-sanitize=true", takenOnly + "an SVG is never passed on as it is"},
	// license-plate-detection
	{"lp-blur", "lp-blur=50", refusedAs + "license plates are not looked for"},
	// mask
	{"corner-radius", "w=90&mask=corners&corner-radius=30", ""}, {"mask", "w=90&mask=ellipse", ""}, {"mask-bg", "w=90&mask=ellipse&mask-bg=f00", ""},
	// misc
	{"rasterize-bypass", "w=90&rasterize-bypass=true", takenOnly + "of vector originals"},
	// noise-reduction
	{"nr", "w=90&nr=80", ""}, {"nrs", "w=90&nrs=80", ""},
	// object-manipulation
	{"object-removal-negative-prompt", "object-removal-negative-prompt=x", takenOnly + "of object-removal-rect"},
	{"object-removal-prompt", "object-removal-prompt=x", takenOnly + "of object-removal-rect"},
	{"object-removal-rect", "object-removal-rect=1,2,3,4", refusedAs + "generative"},
	{"object-removal-seed", "object-removal-seed=1", takenOnly + "of object-removal-rect"},
	// pdf
	{"page", "page=2", refusedAs + "PDF is not read"}, {"pdf-annotation", "pdf-annotation=true", refusedAs + "PDF is not read"},
	// pixel-density, rotation
	{"dpr", "w=90&dpr=2", ""}, {"flip", "w=90&flip=h", ""}, {"orient", "w=90&orient=90", ""}, {"rot", "w=90&rot=20", ""},
	{"rot-type", "w=90&rot=20&rot-type=pivot", ""},
	// size
	{"ar", "w=90&fit=crop&ar=2:1", ""}, {"crop", "w=40&h=90&fit=crop&crop=left", ""}, {"fit", "w=40&h=90&fit=crop", ""}, {"h", "h=40", ""},
	{"max-h", "w=90&h=90&fit=crop&max-h=50", ""}, {"max-w", "w=90&h=90&fit=crop&max-w=50", ""}, {"min-h", "w=90&h=90&fit=crop&min-h=100", ""},
	{"min-w", "w=90&h=90&fit=crop&min-w=100", ""}, {"rect", "w=90&rect=10,10,50,50", ""}, {"w", "w=90", ""},
	// stylize
	{"blur", "w=90&blur=80", ""}, {"duotone", "w=90&duotone=000080,fa8072", ""}, {"duotone-alpha", "w=90&duotone=000080,fa8072&duotone-alpha=30", ""},
	{"htn", "w=90&htn=6", ""}, {"monochrome", "w=90&monochrome=f00", ""}, {"px", "w=90&px=8", ""}, {"sepia", "w=90&sepia=80", ""},
	// super-resolution
	{"upscale", "upscale=true", refusedAs + "generative"}, {"upscale-fallback", "upscale-fallback=true", takenOnly + "of upscale"},
	// text, typesetting
	{"txt", "w=300&txt=Hello", ""}, {"txt-align", "w=300&txt=Hello&txt-align=top,left", ""},
	{"txt-clip", "w=60&txt=Hello+to+all+who+read&txt-clip=start", ""}, {"txt-color", "w=300&txt=Hello&txt-color=f00", ""},
	{"txt-fit", "w=60&txt=Hello+to+all+who+read&txt-size=20&txt-fit=max", ""}, {"txt-font", "w=300&txt=Hello&txt-font=monospace", ""},
	{"txt-line", "w=300&txt=Hello&txt-line=2", ""}, {"txt-line-color", "w=300&txt=Hello&txt-line=2&txt-line-color=f00", ""},
	{"txt-pad", "w=300&txt=Hello&txt-pad=30", ""}, {"txt-shad", "w=300&txt=Hello&txt-shad=5", ""}, {"txt-size", "w=300&txt=Hello&txt-size=40", ""},
	{"txt-width", "w=300&txt=Hello+to+all+who+read&txt-width=40", ""}, {"txt-x", "w=300&txt=Hello&txt-x=30", ""},
	{"txt-y", "w=300&txt=Hello&txt-y=30", ""}, {"txt-lead", "w=300&txt=Hello%0Aall&txt-lead=20", ""}, {"txt-track", "w=300&txt=Hello&txt-track=4", ""},
	// trim
	{"trim", "trim=auto", "edge.png"}, {"trim-alpha", "trim=alpha&trim-alpha=200", "alpha.png"}, {"trim-color", "trim=color&trim-color=fafafa", "edge.png"},
	{"trim-md", "trim=auto&trim-sd=255&trim-md=255", "edge.png"}, {"trim-pad", "trim=auto&trim-pad=5", "edge.png"}, {"trim-sd", "trim=auto&trim-md=255&trim-sd=255", "edge.png"},
	{"trim-tol", "trim=color&trim-color=1010ff&trim-tol=20", "edge.png"},
	// video
	{"video-clip-end", "video-clip-end=3", refusedAs + "video"}, {"video-clip-start", "video-clip-start=3", refusedAs + "video"},
	{"video-bitrate", "video-bitrate=1m", refusedAs + "video"}, {"video-codec", "video-codec=av1", refusedAs + "video"},
	{"video-thumbnail", "video-thumbnail=3", refusedAs + "video"},
	// watermark
	{"mark", "w=90&mark=/photos/logo.png", ""}, {"mark-align", "w=90&mark=/photos/logo.png&mark-w=20&mark-align=top,left", ""},
	{"mark-alpha", "w=90&mark=/photos/logo.png&mark-alpha=40", ""}, {"mark-base", "w=90&mark=logo.png&mark-base=/photos", needed},
	{"mark-fit", "w=90&mark=/photos/coffee.jpg&mark-w=20&mark-h=40&mark-fit=scale", ""}, {"mark-h", "w=90&mark=/photos/logo.png&mark-h=8", ""},
	{"mark-if-min-height", "w=90&mark=/photos/logo.png&mark-if-min-height=500", ""}, {"mark-if-min-width", "w=90&mark=/photos/logo.png&mark-if-min-width=500", ""},
	{"mark-pad", "w=90&mark=/photos/logo.png&mark-w=20&mark-pad=20", ""}, {"mark-rot", "w=90&mark=/photos/logo.png&mark-rot=40", ""},
	{"mark-scale", "w=90&mark=/photos/logo.png&mark-scale=15", ""}, {"mark-tile", "w=90&mark=/photos/logo.png&mark-w=20&mark-tile=grid", ""},
	{"mark-w", "w=90&mark=/photos/logo.png&mark-w=20", ""}, {"mark-x", "w=90&mark=/photos/logo.png&mark-w=20&mark-x=3", ""},
	{"mark-y", "w=90&mark=/photos/logo.png&mark-w=20&mark-y=3", ""},
}

// compatImages are what the effects are seen on.
func compatImages(t *testing.T) fstest.MapFS {
	sample := func(name string) []byte {
		b, err := samples.FS().Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		return body.Bytes()
	}
	made := func(p resize.Plan, inputs ...[]byte) []byte {
		pic, err := (&resize.Renderer{}).Render(t.Context(), p, inputs...)
		if err != nil {
			t.Fatal(err)
		}
		return pic.Bytes
	}
	encoded := func(m image.Image) []byte {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	logo := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	for y := range 20 {
		for x := range 40 {
			logo.SetNRGBA(x, y, color.NRGBA{uint8(6 * x), 40, uint8(12 * y), uint8(128 + 3*x)})
		}
	}
	alpha := image.NewNRGBA(image.Rect(0, 0, 120, 80))
	for y := 20; y < 60; y++ {
		for x := 20; x < 100; x++ {
			alpha.SetNRGBA(x, y, color.NRGBA{uint8(2 * x), uint8(3 * y), 90, uint8(100 + x)})
		}
	}
	edge := image.NewNRGBA(image.Rect(0, 0, 120, 80))
	for y := range 80 {
		for x := range 120 {
			c := color.NRGBA{250, 250, 250, 255}
			switch {
			case x < 6 || x >= 114 || y < 6 || y >= 74:
				c = color.NRGBA{0, 0, 255, 255}
			case x >= 20 && x < 100 && y >= 20 && y < 60:
				c = color.NRGBA{uint8(2 * x), uint8(x * y), 90, 255}
			}
			edge.SetNRGBA(x, y, c)
		}
	}
	film := gif.GIF{LoopCount: 0}
	for i := range 6 {
		m := image.NewPaletted(image.Rect(0, 0, 60, 40), color.Palette{color.White, color.Black, color.NRGBA{255, 0, 0, 255}})
		for y := 10; y < 30; y++ {
			for x := 8 * i; x < 8*i+12; x++ {
				m.SetColorIndex(x, y, uint8(1+i%2))
			}
		}
		film.Image, film.Delay = append(film.Image, m), append(film.Delay, 7)
	}
	var frames bytes.Buffer
	if err := gif.EncodeAll(&frames, &film); err != nil {
		t.Fatal(err)
	}
	face := sample("astronaut.png")
	two := encoded(image.NewNRGBA(image.Rect(0, 0, 900, 420)))
	zero, over := 0, 480
	two = made(resize.Plan{Format: resize.PNG, Marks: []resize.Mark{
		{Width: 400, X: &zero, Y: &zero}, {Width: 300, X: &over, Y: &zero},
	}}, two, face, face)
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	return fstest.MapFS{
		"coffee.jpg": file(made(resize.Plan{Width: 300, Format: resize.JPEG, Quality: 95}, sample("coffee.png"))),
		"logo.png":   file(encoded(logo)), "alpha.png": file(encoded(alpha)), "edge.png": file(encoded(edge)),
		"film.gif": file(frames.Bytes()), "face.png": file(face), "faces.png": file(two),
	}
}

func TestEveryParameterOfImgixHasAnEffect(t *testing.T) {
	finder, err := faces.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	setter, err := text.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(compatImages(t))}, &imagecdn.Options{Faces: finder, Text: setter})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()

	rows, supported := map[string]string{}, 0
	for _, e := range imgixEffects {
		img := "coffee.jpg"
		if path.Ext(e.note) != "" && !strings.Contains(e.note, " ") {
			img = e.note
		}
		with := get(h, "/photos/"+img+"?"+e.query)
		var rest []string
		for pair := range strings.SplitSeq(e.query, "&") {
			if name, _, _ := strings.Cut(pair, "="); name != e.param {
				rest = append(rest, pair)
			}
		}
		without := get(h, "/photos/"+img+"?"+strings.Join(rest, "&"))
		same := bytes.Equal(with.Body.Bytes(), without.Body.Bytes())
		row := "supported"
		switch {
		case strings.HasPrefix(e.note, refusedAs):
			if with.Code != http.StatusBadRequest || !strings.Contains(with.Body.String(), e.note[len(refusedAs):]) {
				t.Errorf("%s: %d %s", e.param, with.Code, with.Body)
			}
			row = "refused: " + e.note[len(refusedAs):]
		case strings.HasPrefix(e.note, takenOnly):
			if with.Code != http.StatusOK || !same {
				t.Errorf("%s: %d, the same %t", e.param, with.Code, same)
			}
			row = "ignored: " + e.note[len(takenOnly):]
			if !strings.HasPrefix(e.note, takenOnly+"of ") {
				row, supported = "supported: "+e.note[len(takenOnly):], supported+1
			}
		case e.note == expired:
			supported++
			if with.Code != http.StatusNotFound || without.Code != http.StatusOK {
				t.Errorf("%s: %d and %d", e.param, with.Code, without.Code)
			}
		case with.Code != http.StatusOK:
			t.Errorf("%s: %d %s", e.param, with.Code, with.Body)
		case strings.HasPrefix(e.note, inHeader):
			supported++
			if name := e.note[len(inHeader):]; !same || with.Header().Get(name) == without.Header().Get(name) {
				t.Errorf("%s: %s is %q, the same body %t", e.param, name, with.Header().Get(name), same)
			}
		case e.note == needed:
			supported++
			if without.Code == http.StatusOK {
				t.Errorf("%s: not needed", e.param)
			}
		default:
			supported++
			if without.Code != http.StatusOK || same {
				t.Errorf("%s: %d, the same %t", e.param, without.Code, same)
			}
		}
		rows[e.param] = fmt.Sprintf("%s | `?%s`", row, e.query)
	}

	list, err := os.ReadFile("testdata/imgix-parameters.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var doc bytes.Buffer
	total := 0
	fmt.Fprint(&doc, "| parameter | other names | | in the test |\n|---|---|---|---|\n")
	for line := range strings.Lines(string(list)) {
		field := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if field[0] == "category" || len(field) < 3 {
			continue
		}
		total++
		row := rows[field[0]]
		if row == "" {
			t.Errorf("%s has no row", field[0])
		}
		aliases := ""
		for alias := range strings.SplitSeq(field[2], ",") {
			if alias != "" {
				aliases += " `" + alias + "`"
			}
		}
		fmt.Fprintf(&doc, "| `%s` |%s | %s |\n", field[0], aliases, row)
	}
	if supported < 140 {
		t.Errorf("%d of %d", supported, total)
	}
	head := fmt.Sprintf("# imgix's parameters, one by one\n\nMade by `go test -run TestEveryParameterOfImgix -update-compat .`, which requests each URL with and without its parameter, and holds "+
		"what comes\nto be different: in the body, in a header for `dl`, and a 404 for what has expired. %d of imgix's %d parameters (its specification 11.35.0) are supported.\n\n", supported, total)
	want := head + doc.String()
	const name = "docs/imgix-parameters.md"
	if *updateCompat {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what this test makes: run it with -update-compat (%v)", name, err)
	}
}
