package imagecdn

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/resize"
	"github.com/imagecdn/imagecdn/resize/faces"
	"github.com/imagecdn/imagecdn/resize/text"
)

// literal is what a query says before its canonical form is looked for.
func literal(query string) (Params, bool) {
	args, err := splitQuery(query, true)
	if err != nil {
		return Params{}, false
	}
	r := newReader(parseImage)
	for _, arg := range args {
		r.given[arg.param/64] |= 1 << (arg.param % 64)
		if params[arg.param].read(r, arg.value) != "" {
			return Params{}, false
		}
	}
	if _, problem := r.finish(); problem != "" {
		return Params{}, false
	}
	return r.params, true
}

// TestCanonicalFormIsTheSamePicture: what the canonical form leaves out makes no difference. Queries are put together from those of
// docs/imgix-parameters.md, which have every parameter.
func TestCanonicalFormIsTheSamePicture(t *testing.T) {
	doc, err := os.ReadFile("docs/imgix-parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for _, m := range regexp.MustCompile("supported \\| `\\?([^`]+)`").FindAllStringSubmatch(string(doc), -1) {
		for pair := range strings.SplitSeq(m[1], "&") {
			// Files of one format can be compared byte for byte, and quickly.
			if name, _, _ := strings.Cut(pair, "="); name != "fm" && name != "expires" && name != "palette" && !slices.Contains(pairs, pair) {
				pairs = append(pairs, pair)
			}
		}
	}
	if len(pairs) < 150 {
		t.Fatalf("%d examples", len(pairs))
	}
	finder, err := faces.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	setter, err := text.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &resize.Renderer{Faces: finder, Text: setter}
	m := image.NewNRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(4 * x), uint8(5 * y), uint8(x * y), uint8(255 - (x+y)%3*60)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	n, compared := 1500, 0
	if testing.Short() {
		n = 200
	}
	for range n {
		var some []string
		for range 2 + rnd.IntN(7) {
			pair := pairs[rnd.IntN(len(pairs))]
			name, _, _ := strings.Cut(pair, "=")
			if !slices.ContainsFunc(some, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
				some = append(some, pair)
			}
		}
		query := strings.Join(some, "&")
		said, ok := literal(query)
		if !ok {
			continue
		}
		canonical, _, err := ParseParams(query, true)
		if err != nil {
			continue
		}
		render := func(p Params) (string, error) {
			p.Plan.Format = resize.PNG
			inputs := make([][]byte, p.Plan.Inputs())
			for i := range inputs {
				inputs[i] = b.Bytes()
			}
			pic, err := r.Render(t.Context(), p.Plan, inputs...)
			if err != nil {
				return "", err
			}
			return string(pic.Bytes), nil
		}
		want, wantErr := render(said)
		got, gotErr := render(canonical)
		if got != want || (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%s\nis in its canonical form\n%s\nand another picture: %v, %v", query, canonical, wantErr, gotErr)
		}
		if wantErr == nil {
			compared++
		}
	}
	if compared < n/2 {
		t.Errorf("%d of %d were pictures", compared, n)
	}
}
