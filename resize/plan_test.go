package resize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// leaves calls f for each value of v that is no struct, pointer, slice or array of others, with its path. What is nil on the way is
// made first, so that all of a Plan is gone through, and fields that are added later too.
func leaves(v reflect.Value, path string, f func(path string, leaf reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*Plan]() && strings.Count(path, ".Plan") > 1 {
			return // a mark's plan has no marks
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		leaves(v.Elem(), path, f)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Array:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), path+"."+v.Type().Field(i).Name, f)
		}
	default:
		f(path, v)
	}
}

// setLeaf gives a leaf a value that depends on n.
func setLeaf(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n%2 == 1)
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.String:
		v.SetString(fmt.Sprint("s", n))
	case reflect.Uint8:
		v.SetUint(uint64(n))
	default:
		v.SetInt(int64(n))
	}
}

// TestStringTellsAllFieldsApart: whatever field of a plan is another, its canonical form is, so that a field that is left out of
// Append fails here: two pictures would share a key. Each field alone, and beside all others.
func TestStringTellsAllFieldsApart(t *testing.T) {
	paths := []string{}
	leaves(reflect.ValueOf(new(Plan)).Elem(), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	if len(paths) < 150 {
		t.Fatalf("only %d fields are gone through", len(paths))
	}
	for _, background := range []int{0, 4} { // what all other fields are
		seen := map[string]string{}
		for _, changed := range append([]string{"nothing"}, paths...) {
			for _, n := range []int{3, 5} {
				if changed == "nothing" && n != 3 {
					continue
				}
				p := new(Plan)
				leaves(reflect.ValueOf(p).Elem(), "", func(path string, leaf reflect.Value) {
					setLeaf(leaf, background)
					if path == changed {
						if leaf.Kind() == reflect.Bool {
							leaf.SetBool(background%2 == 0)
							return
						}
						setLeaf(leaf, n)
					}
				})
				what := fmt.Sprintf("%s=%d", changed, n)
				if was, ok := seen[p.String()]; ok && strings.Split(was, "=")[0] != changed {
					t.Errorf("%s and %s have one form, %s", was, what, p)
				} else if ok && reflectLeaf(p, changed) != reflect.Bool {
					t.Errorf("%s and %s have one form, %s", was, what, p)
				}
				seen[p.String()] = what
			}
		}
	}
}

// reflectLeaf is the kind of the field at a path.
func reflectLeaf(p *Plan, at string) (kind reflect.Kind) {
	leaves(reflect.ValueOf(p).Elem(), "", func(path string, leaf reflect.Value) {
		if path == at {
			kind = leaf.Kind()
		}
	})
	return kind
}

// TestStringTellsWhatIsThereFromWhatIsNot: a pointer that is nil is another plan than one to a zero value, at any depth, as is a list
// that is one longer.
func TestStringTellsWhatIsThereFromWhatIsNot(t *testing.T) {
	var pointers func(v reflect.Value, path string, f func(path string, p reflect.Value))
	pointers = func(v reflect.Value, path string, f func(path string, p reflect.Value)) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice:
			if strings.Count(path, ".Plan") > 1 {
				return // which leaves does not make
			}
			f(path, v)
			if v.Kind() == reflect.Slice && v.Len() == 1 {
				pointers(v.Index(0), path+"[0]", f)
			} else if v.Kind() == reflect.Pointer && !v.IsNil() {
				pointers(v.Elem(), path, f)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				pointers(v.Field(i), path+"."+v.Type().Field(i).Name, f)
			}
		}
	}
	full := func() *Plan {
		p := new(Plan)
		leaves(reflect.ValueOf(p).Elem(), "", func(_ string, leaf reflect.Value) {
			if leaf.Type() == reflect.TypeFor[Crop]() {
				leaf.SetUint(uint64(Left)) // there is none of zero
			}
		})
		return p
	}
	with, count := full().String(), 0
	pointers(reflect.ValueOf(full()).Elem(), "", func(at string, _ reflect.Value) {
		count++
		p := full()
		pointers(reflect.ValueOf(p).Elem(), "", func(path string, v reflect.Value) {
			if path == at {
				v.SetZero()
			}
		})
		if p.String() == with {
			t.Errorf("%s may be nil or not: %s", at, p)
		}
		p = full()
		pointers(reflect.ValueOf(p).Elem(), "", func(path string, v reflect.Value) {
			if path == at && v.Kind() == reflect.Slice {
				v.Set(reflect.AppendSlice(v, v))
			}
		})
		if strings.HasSuffix(at, "Crop") && p.String() == with {
			t.Errorf("%s may be twice as long: %s", at, p)
		}
	})
	if count < 25 {
		t.Fatalf("only %d pointers and lists are gone through", count)
	}
	two := Plan{Marks: []Mark{{Scale: 3}, {}}}.String()
	if one, other := (Plan{Marks: []Mark{{Scale: 3}}}).String(), (Plan{Marks: []Mark{{}, {Scale: 3}}}).String(); one == two || other == two {
		t.Errorf("%s, %s, %s", one, two, other)
	}
}

// boxFaces finds one or two faces in anything, at places that hang on its size alone.
type boxFaces struct{}

func (boxFaces) Find(_ context.Context, m *image.Gray) ([]Face, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w < 3 || h < 3 {
		return nil, nil
	}
	faces := []Face{{Rect: image.Rect(w/3, h/3, w/3+max(w/3, 1), h/3+max(h/3, 1)), Score: 1}}
	if w > 12 {
		faces = append(faces, Face{Rect: image.Rect(w-2, h-2, w, h), Score: 0.5})
	}
	return faces, nil
}

// boxText sets any text as a box with a soft edge, of the length of it, placed as it says.
type boxText struct{}

func (boxText) Set(_ context.Context, text Text, frame image.Point) (*image.NRGBA, error) {
	size := text.Size
	if size == 0 {
		size = 12
	}
	pad := 10
	if text.Pad != nil {
		pad = *text.Pad
	}
	w, h := int(min(float64(len(text.Text))*size/2, float64(frame.X))), int(min(size, float64(frame.Y)))
	at := image.Pt(pad+text.XAlign.of(frame.X-2*pad-w, Far), pad+text.YAlign.of(frame.Y-2*pad-h, Far))
	if text.X != nil {
		at.X = *text.X
	}
	if text.Y != nil {
		at.Y = *text.Y
	}
	m := image.NewNRGBA(image.Rectangle{at, at.Add(image.Pt(w, h))}.Intersect(image.Rectangle{Max: frame}))
	c := color.NRGBA{A: 255}
	if text.Color != nil {
		c = *text.Color
	}
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			c := c
			if (x+y)%3 == 0 {
				c.A /= 2
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m, nil
}

// A planner draws plans from bytes, so that a fuzzer can change one field at a time.
type planner struct{ bytes []byte }

func (d *planner) next() int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b)
}

// most are the highest values of the types that are lists of words.
var most = map[reflect.Type]int{
	reflect.TypeFor[Fit](): int(FaceArea), reflect.TypeFor[Crop](): int(Faces), reflect.TypeFor[Flip](): int(Both), reflect.TypeFor[Align](): int(Far),
	reflect.TypeFor[TrimBy](): int(TrimColorUnlessAlpha), reflect.TypeFor[GradientSpace](): int(GradientLCH), reflect.TypeFor[MaskShape](): int(PictureMask),
	reflect.TypeFor[BlendMode](): int(SoftLight), reflect.TypeFor[TextFit](): int(WrapMaxText), reflect.TypeFor[TextCut](): int(CutMiddle),
	reflect.TypeFor[ColorSpace](): int(Strip), reflect.TypeFor[Chroma](): int(Chroma444),
}

// limits are the ranges of fields, by name, that are smaller than those of most.
var limits = map[string][2]float64{
	"Orient": {0, 8}, "Palette": {0, 16}, "Shadow": {0, 10}, "FacePad": {1, 10}, "Zoom": {1, 100}, "Highlights": {-100, 0}, "Aspect": {0.3, 3.3}, "DPR": {0, 3.3},
	"First": {0, 2}, "Last": {2, 3}, "Skip": {2, 3}, "Colors": {2, 256}, "Track": {-4, 10},
	"Width": {0, 300}, "Height": {0, 300}, "Rotate": {0, 359}, "Hue": {0, 359}, "Blur": {0, 300}, "Size": {0, 300}, "X": {-10, 300}, "Y": {-10, 300},
}

// fill gives the fields of v values, most of them none.
func (d *planner) fill(v reflect.Value, name string) {
	set := func() bool { return d.next()%5 == 1 }
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			d.fill(v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		if set() {
			v.Set(reflect.New(v.Type().Elem()))
			d.fill(v.Elem(), name)
		}
	case reflect.Slice:
		n := d.next()
		if n = n % 16; n > 2 || name == "Crop" && n > 3 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			d.fill(v.Index(i), name)
		}
	case reflect.Array:
		for i := range v.Len() {
			d.fill(v.Index(i), name)
		}
	case reflect.Bool:
		v.SetBool(set() && name != "RedEye")
	case reflect.String:
		if v.Type() == reflect.TypeFor[Format]() {
			v.SetString(string([]Format{PNG, PNG, PNG, SameFormat, JPEG, GIF, Opaque, JSON, BlurHashText, PaletteJSON, PaletteCSS, BMP}[d.next()%12]))
		} else {
			v.SetString([]string{"Text", "a", "", "two\nlines"}[d.next()%4])
		}
	case reflect.Uint8:
		n := d.next()
		if high, ok := most[v.Type()]; ok {
			if n %= high + 1; name == "Crop" {
				n = max(n, 1)
			}
		}
		v.SetUint(uint64(n))
	case reflect.Int, reflect.Float64:
		if !set() {
			return
		}
		n := []float64{1, 2, 3, 5, 8, 13, 20, 50, 100, 7, 0.25, 0.5, 0.01, 3.3, -10, 24, 33, 90, 180, 359, 45, 300}[d.next()%22]
		limit, ok := limits[name]
		if !ok {
			limit = [2]float64{0, 100}
		}
		if limit[0] < 0 && n > 0 && d.next()%2 == 1 {
			n = -n
		}
		if d.next() < 253 { // else it may be refused
			n = min(max(n, limit[0]), limit[1])
		}
		if v.Kind() == reflect.Int {
			v.SetInt(int64(n))
		} else {
			v.SetFloat(n)
		}
	}
}

// tinies are pictures of every kind that is decoded, small and smaller.
func tinies(f testing.TB) [][]byte {
	gray16 := image.NewGray16(image.Rect(0, 0, 9, 14))
	deep := image.NewNRGBA64(image.Rect(0, 0, 14, 6))
	for i := range gray16.Pix {
		gray16.Pix[i] = uint8(i * 37)
	}
	for i := range deep.Pix {
		deep.Pix[i] = uint8(i * 91)
	}
	return [][]byte{
		encodePixels(f, arrow(23, 17)), encodePixels(f, soft(19, 24)), encodePixels(f, plain(1, 1, color.NRGBA{200, 100, 50, 255})),
		encodePixels(f, plain(1, 13, color.NRGBA{200, 100, 50, 90})), encodePixels(f, plain(31, 1, color.NRGBA{1, 2, 3, 255})),
		encodePixels(f, gray8(arrow(12, 8))), encodePixels(f, gray16), encodePixels(f, deep), encodePixels(f, framed(30, 20, color.NRGBA{9, 99, 9, 255}, 4, 3, 6, 2)),
		encodePixels(f, plain(7, 7, color.NRGBA{})),
		render(f, Plan{Format: JPEG}, encodePixels(f, arrow(33, 21))).Bytes, render(f, Plan{Format: JPEG, Encoding: Encoding{Progressive: true, Chroma: Chroma444}}, encodePixels(f, arrow(40, 9))).Bytes,
		withEXIF(f, arrow(30, 18), JPEG, 6), withEXIF(f, soft(30, 18), PNG, 7), animation3(f), render(f, Plan{Format: GIF, Width: 14}, encodePixels(f, soft(19, 24))).Bytes,
	}
}

// scribble writes over memory that was given back, so that what still uses it shows.
func scribble(v byte) {
	var a arena
	for n := 4096; n <= 1<<17; n += n / 4 {
		for range 3 {
			b := a.alloc(n)
			for i := range b {
				b[i] = v
			}
		}
	}
	a.release()
}

// FuzzPlan renders small pictures by plans of any fields: no panic, errors of the kinds there are, a size as the layout has it, the same
// picture each time, whatever is in memory that is used again, and no plan changed on the way.
func FuzzPlan(f *testing.F) {
	inputs := tinies(f)
	r := rand.New(rand.NewPCG(7, 11))
	for i := range 120 {
		b := make([]byte, 400)
		for k := range b {
			b[k] = uint8(r.Uint32())
		}
		f.Add(b, uint8(i), uint8(i*7))
	}
	f.Fuzz(func(t *testing.T, how []byte, from, over uint8) {
		if len(how) > 1000 {
			return
		}
		var p Plan
		d := &planner{bytes: how}
		d.fill(reflect.ValueOf(&p).Elem(), "")
		form := p.String()
		all := [][]byte{inputs[int(from)%len(inputs)]}
		for i := 1; i < p.Inputs(); i++ {
			all = append(all, inputs[(int(over)+i)%len(inputs)])
		}
		r := Renderer{MaxPixels: 1 << 16, MaxSize: 200, MaxFrames: 5, Faces: boxFaces{}, Text: boxText{}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		pic, err := r.Render(ctx, p, all...)
		if form != p.String() {
			t.Fatalf("%s became %s", form, p)
		}
		scribble(0xa5)
		again, err2 := r.Render(ctx, p, all...)
		if err != nil {
			if !errors.Is(err, ErrPlan) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%s of input %d: %v", p, from, err)
			}
			if err2 == nil || err.Error() != err2.Error() {
				t.Fatalf("%s of input %d: %v, and then %v", p, from, err, err2)
			}
			return
		}
		if err2 != nil || pic.Format != WebP && !bytes.Equal(pic.Bytes, again.Bytes) {
			t.Fatalf("%s of input %d: two pictures of one plan: %v", p, from, err2)
		}
		if !p.Format.Data() {
			checkSize(t, p, all[0], pic, &r)
		}
	})
}

// checkSize holds pic, made of data, to the layout of p.
func checkSize(t *testing.T, p Plan, data []byte, pic *Picture, r *Renderer) {
	t.Helper()
	info, err := Probe(pic.Bytes)
	if err != nil || info.Width != pic.Width || info.Height != pic.Height || info.Format != pic.Format {
		t.Fatalf("%s gave %+v, %v; %s %dx%d", p, info, err, pic.Format, pic.Width, pic.Height)
	}
	if pic.Width > r.MaxSize || pic.Height > r.MaxSize {
		t.Fatalf("%s gave %dx%d", p, pic.Width, pic.Height)
	}
	original, err := Probe(data)
	if err != nil {
		t.Fatal(err)
	}
	if (&job{plan: p}).looks() {
		return
	}
	ps := poseOf(original.Orientation, p.Flip)
	if p.Orient != 0 {
		ps = poseOf(p.Orient, p.Flip)
	}
	l, err := p.layout(ps.size(original.Width, original.Height))
	if err != nil || l.out != image.Pt(pic.Width, pic.Height) {
		t.Fatalf("%s gave %dx%d, and not %v, %v", p, pic.Width, pic.Height, l.out, err)
	}
}
