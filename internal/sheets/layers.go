package main

import (
	"image/color"

	"github.com/imagecdn/imagecdn/resize"
)

// blends has each mode, with a picture and with a colour.
func blends() sheet {
	modes := []struct {
		label string
		mode  resize.BlendMode
	}{{"normal", resize.Normal}, {"overlay", resize.Overlay}, {"multiply", resize.Multiply}, {"screen", resize.Screen}, {"darken", resize.Darken},
		{"lighten", resize.Lighten}, {"dodge", resize.Dodge}, {"burn", resize.Burn}, {"hardlight", resize.HardLight}, {"softlight", resize.SoftLight},
		{"difference", resize.Difference}, {"exclusion", resize.Exclusion}, {"hue", resize.HueBlend}, {"saturation", resize.SaturationBlend}, {"color", resize.ColorBlend},
		{"luminosity", resize.Luminosity}}
	var cells []cell
	for _, m := range modes {
		cells = append(cells, cell{label: "blend-mode=" + m.label, marks: []string{"rocket.jpg"}, plan: resize.Plan{Blend: &resize.Blend{Mode: m.mode, Inherit: true, Alpha: 80}}})
	}
	orange := color.NRGBA{0xff, 0x88, 0, 255}
	for _, m := range modes[1:4] {
		cells = append(cells, cell{label: "blend=ff8800 " + m.label, plan: resize.Plan{Blend: &resize.Blend{Mode: m.mode, Color: &orange}}})
	}
	cells = append(cells, cell{label: "blend-w=.5 normal", marks: []string{"rocket.jpg"}, plan: resize.Plan{Blend: &resize.Blend{Mode: resize.Normal, Width: 0.5}}})
	return sheet{"blends", "astronaut.png", 5, cells}
}

// marksAndTexts has watermarks, which are a part of another photograph here, and texts.
func marksAndTexts() sheet {
	n := func(v int) *int { return &v }
	mark := func(label string, m resize.Mark) cell {
		if m.Width == 0 && m.Scale == 0 {
			m.Width = 0.3
		}
		return cell{label: label, marks: []string{"chelsea.png"}, plan: resize.Plan{Marks: []resize.Mark{m}}}
	}
	yellow, black := color.NRGBA{0xff, 0xe0, 0x20, 255}, color.NRGBA{A: 255}
	text := func(label string, t resize.Text) cell {
		if t.Text == "" {
			t.Text = "Good morning"
		}
		if t.Size == 0 {
			t.Size = 18
		}
		if t.Color == nil {
			t.Color = &cream
		}
		return cell{label: label, plan: resize.Plan{Text: &t}}
	}
	long := "A cup of coffee on a wooden table"
	return sheet{"marks-texts", "coffee.png", 5, []cell{
		mark("mark-w=.3", resize.Mark{}), mark("mark-align=top,left", resize.Mark{XAlign: resize.Near, YAlign: resize.Near}),
		mark("mark-alpha=50", resize.Mark{Pad: n(0), Alpha: 50}), mark("mark-rot=30", resize.Mark{Rotate: 30, XAlign: resize.Middle, YAlign: resize.Middle}),
		mark("mark-scale=60", resize.Mark{Scale: 60, XAlign: resize.Middle}),
		mark("mark-fit=crop", resize.Mark{Width: 40, Height: 40, Fit: resize.Cover}), mark("mark-fit=scale", resize.Mark{Width: 20, Height: 60, Fit: resize.Scale}),
		mark("mark-x=100&mark-y=-10", resize.Mark{X: n(100), Y: n(-10), Width: 0.4}), mark("mark-tile=grid", resize.Mark{Tile: true, Width: 0.2, Alpha: 60}),
		mark("... mark-rot=30", resize.Mark{Tile: true, Width: 0.2, Alpha: 60, Rotate: 30, Pad: n(0)}),
		text("txt=Good morning", resize.Text{}), text("txt-align=top,center", resize.Text{XAlign: resize.Middle, YAlign: resize.Near}),
		text("txt-font=serif,bold", resize.Text{Font: "serif,bold", Size: 16}), text("txt-font=monospace", resize.Text{Font: "monospace", Size: 14}),
		text("txt-color=ffe020", resize.Text{Color: &yellow}),
		text("txt-line=1", resize.Text{Size: 17, Line: 1, LineColor: &black, Font: "sans-serif,bold"}), text("txt-shad=6", resize.Text{Shadow: 6}),
		text("txt-fit=max", resize.Text{Size: 60, Fit: resize.MaxText}), text("txt-fit=wrap", resize.Text{Text: long, Fit: resize.WrapText, XAlign: resize.Near, YAlign: resize.Near}),
		text("txt-clip=end,ellipsis", resize.Text{Text: long, Ellipsis: true}),
		text("txt-track=3", resize.Text{Track: 3, Size: 14}), text("txt-lead=8", resize.Text{Text: "two\nlines", Lead: 8}),
		text("Greek", resize.Text{Text: "Καλημέρα"}), text("Hebrew", resize.Text{Text: "שלום", Size: 26}), text("Arabic", resize.Text{Text: "صباح الخير", Size: 24}),
	}}
}
