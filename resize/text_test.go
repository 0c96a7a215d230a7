package resize

import (
	"image/color"
	"reflect"
	"testing"
)

// canonical is a text's form.
func canonical(t Text) string {
	var f form
	t.form(&f)
	return string(f)
}

// Texts that differ have different canonical forms, in each field.
func TestTextForm(t *testing.T) {
	five := 5
	black := &color.NRGBA{A: 255}
	texts := []Text{
		{}, {Text: "a"}, {Text: `a";font="b`}, {Text: "a", Font: "b"}, {Text: "b", Font: "a"}, {Font: "a"}, {Size: 5}, {Size: 5.5},
		{Color: black}, {LineColor: black}, {XAlign: Near}, {YAlign: Near}, {XAlign: Middle}, {X: &five}, {Y: &five},
		{X: new(int)}, {Pad: &five}, {Pad: new(int)}, {Width: 5}, {Height: 5}, {Fit: MaxText}, {Fit: WrapText}, {Cut: CutStart},
		{Ellipsis: true}, {Lead: 5}, {Track: 5}, {Track: -5}, {Line: 5}, {Shadow: 5}, {ShadowBlur: &five}, {ShadowBlur: new(int)},
		{Text: "text;end;"},
	}
	seen := make(map[string]int)
	for i, text := range texts {
		s := canonical(text)
		if was, ok := seen[s]; ok {
			t.Errorf("%+v and %+v are both %s", texts[was], text, s)
		}
		seen[s] = i
	}
	if n := reflect.TypeFor[Text]().NumField(); n != 20 {
		t.Errorf("Text has %d fields: those that are new belong in form, and here", n)
	}
}

func TestTextScaled(t *testing.T) {
	minus, seven := -3, 7
	got := Text{Text: "a", X: &minus, Pad: &seven, Width: 100, Height: 0.5, Lead: 1, Track: -1, Line: 2, Shadow: 3, ShadowBlur: &seven}.scaled(1.5)
	x, pad := -5, 11
	want := Text{Text: "a", Size: 18, X: &x, Pad: &pad, Width: 150, Height: 0.5, Lead: 1.5, Track: -1.5, Line: 3, Shadow: 4.5, ShadowBlur: &pad}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", canonical(got), canonical(want))
	}
	if minus != -3 || seven != 7 {
		t.Error("the text's own numbers are changed")
	}
	if one := (Text{Text: "a"}).scaled(1); !reflect.DeepEqual(one, Text{Text: "a"}) {
		t.Errorf("scaled by 1: %s", canonical(one))
	}
	if pad := (Text{}).scaled(2).Pad; pad == nil || *pad != 20 {
		t.Error("the default pad is not scaled")
	}
}
