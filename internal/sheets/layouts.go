package main

import (
	"fmt"
	"image/color"

	"github.com/imagecdn/imagecdn/resize"
)

// boxed sets the size that cells are asked for, where they say nothing.
func boxed(w, h float64, cells []cell) []cell {
	for i := range cells {
		if p := &cells[i].plan; p.Width == 0 && p.Height == 0 {
			p.Width, p.Height = w, h
		}
	}
	return cells
}

// of sets the photograph of cells.
func of(photo string, cells []cell) []cell {
	for i := range cells {
		cells[i].photo = photo
	}
	return cells
}

var (
	sand  = color.NRGBA{0xe8, 0xd8, 0xb0, 255}
	brick = color.NRGBA{0xb0, 0x3a, 0x2e, 255}
	navy  = color.NRGBA{0x1b, 0x2a, 0x55, 255}
	cream = color.NRGBA{0xff, 0xf0, 0xc0, 255}
	teal  = color.NRGBA{0x1a, 0x80, 0x80, 255}
)

// fits has each mode with a photograph that is larger than the box, and with one that is smaller.
func fits() sheet {
	modes := func(photo string, rect *resize.Rect) (cells []cell) {
		for _, f := range []struct {
			label string
			fit   resize.Fit
		}{{"clip", resize.Clip}, {"crop", resize.Cover}, {"max", resize.Max}, {"min", resize.Min}, {"scale", resize.Scale},
			{"fill", resize.Fill}, {"fillmax", resize.FillMax}, {"clamp", resize.Clamp}} {
			cells = append(cells, cell{label: "fit=" + f.label, photo: photo, plan: resize.Plan{Fit: f.fit, Rect: rect, Background: &sand}})
		}
		cells = append(cells, cell{label: "fit=facearea", photo: "astronaut.png", plan: resize.Plan{Fit: resize.FaceArea, FacePad: 1.5}},
			cell{label: "fit=crop&ar=3:2", photo: photo, plan: resize.Plan{Width: 90, Aspect: 1.5, Fit: resize.Cover, Rect: rect}})
		return cells
	}
	eyes := resize.Rect{X: 140, Y: 85, W: 90, H: 45} // smaller than the box
	small := modes("chelsea.png", &eyes)
	small[8] = cell{label: "fit=fill&ar=2:3", photo: "chelsea.png", plan: resize.Plan{Width: 60, Aspect: 2. / 3, Fit: resize.Fill, Background: &sand, Rect: &eyes}}
	return sheet{"fits", "", 5, boxed(140, 96, join(modes("rocket.jpg", &resize.Rect{X: 0.3, W: 0.3, H: 1}), small))}
}

func crops() sheet {
	crop := func(label string, c ...resize.Crop) cell {
		return cell{label: "crop=" + label, plan: resize.Plan{Fit: resize.Cover, Crop: c}}
	}
	focal := func(x, y, z float64, cross bool) cell {
		c := cell{label: fmt.Sprintf("fp-x=%v&fp-y=%v", x, y), plan: resize.Plan{Fit: resize.Cover, Crop: []resize.Crop{resize.FocalPoint},
			Focal: &resize.Point{X: x, Y: y}, Zoom: z, Crosshairs: cross}}
		if z > 0 {
			c.label = fmt.Sprintf("fp-x=%v y=%v z=%v", x, y, z)
		}
		if cross {
			c.label = "... &fp-debug=true"
		}
		return c
	}
	turn := func(label string, p resize.Plan) cell { return cell{label: label, plan: p} }
	return sheet{"crops", "", 5, join(
		of("rocket.jpg", boxed(60, 96, []cell{crop("left", resize.Left), crop("center", resize.Center), crop("right", resize.Right),
			crop("entropy", resize.Entropy), crop("edges", resize.Edges)})),
		of("astronaut.png", boxed(148, 60, []cell{crop("top", resize.Top), crop("center", resize.Center), crop("bottom", resize.Bottom),
			crop("faces", resize.Faces), crop("entropy", resize.Entropy)})),
		of("chelsea.png", boxed(96, 96, []cell{focal(0.5, 0.5, 0, false), focal(0.8, 0.4, 0, false), focal(0.61, 0.41, 3, false), focal(0.39, 0.37, 3, false), focal(0.61, 0.41, 0, true)})),
		of("chelsea.png", boxed(96, 96, []cell{turn("flip=h", resize.Plan{Flip: resize.Horizontal, Fit: resize.Cover}), turn("flip=v", resize.Plan{Flip: resize.Vertical, Fit: resize.Cover}),
			turn("orient=90", resize.Plan{Orient: 6, Fit: resize.Cover}), turn("rot=15", resize.Plan{Rotate: 15, Fit: resize.Cover}),
			turn("rot=15&rot-type=pivot", resize.Plan{Rotate: 15, Pivot: true, Width: 78, Height: 78, Fit: resize.Cover, Background: &sand})})),
		of("astronaut.png", boxed(96, 96, []cell{turn("fit=facearea", resize.Plan{Fit: resize.FaceArea}), turn("facepad=2", resize.Plan{Fit: resize.FaceArea, FacePad: 2}),
			turn("face-blur=100", resize.Plan{Fit: resize.Cover, Crop: []resize.Crop{resize.Top}, FaceBlur: 100}),
			turn("face-pixel=6", resize.Plan{Fit: resize.Cover, Crop: []resize.Crop{resize.Top}, FacePixelate: 6}), turn("rect=190,40,120,120", resize.Plan{Rect: &resize.Rect{X: 190, Y: 40, W: 120, H: 120}})})),
	)}
}

// frames has what is around a picture.
func frames() sheet {
	all := func(n int) resize.Insets { return resize.Insets{Top: n, Right: n, Bottom: n, Left: n} }
	round := func(n int) resize.Corners {
		return resize.Corners{TopLeft: n, TopRight: n, BottomRight: n, BottomLeft: n}
	}
	plan := func(label string, p resize.Plan) cell {
		if p.Fit == resize.Clip {
			p.Fit = resize.Cover
		}
		return cell{label: label, plan: p}
	}
	inner := round(4)
	grid := &resize.Grid{}
	return sheet{"frames", "coffee.png", 5, boxed(146, 96, []cell{
		plan("pad=12&bg=e8d8b0", resize.Plan{Pad: all(12), Background: &sand}),
		plan("pad=4&pad-bottom=24", resize.Plan{Pad: resize.Insets{Top: 4, Right: 4, Bottom: 24, Left: 4}, Background: &sand}),
		plan("border=8,b03a2e", resize.Plan{Border: &resize.Border{Width: all(8), Color: brick}}),
		plan("border-bottom=24", resize.Plan{Border: &resize.Border{Width: resize.Insets{Top: 6, Right: 6, Bottom: 24, Left: 6}, Color: cream}}),
		plan("border-stroke-size=2", resize.Plan{Border: &resize.Border{Width: all(12), Color: cream, Stroke: 2}}),
		plan("border-radius=24", resize.Plan{Border: &resize.Border{Width: all(8), Color: brick, Radius: round(24)}}),
		plan("radius=40,0,40,0", resize.Plan{Border: &resize.Border{Width: all(8), Color: brick, Radius: resize.Corners{TopLeft: 40, BottomRight: 40}}}),
		plan("border-radius-inner=4", resize.Plan{Border: &resize.Border{Width: all(12), Color: brick, Radius: round(24), InnerRadius: &inner}}),
		plan("pad, border, radius", resize.Plan{Pad: all(8), Background: &sand, Border: &resize.Border{Width: all(6), Color: navy, Radius: round(18)}}),
		plan("border=14,80000000", resize.Plan{Border: &resize.Border{Width: all(14), Color: color.NRGBA{0, 0, 0, 128}}}),
		plan("mask=ellipse", resize.Plan{Mask: &resize.Mask{}, Grid: grid}),
		plan("mask=corners", resize.Plan{Mask: &resize.Mask{Shape: resize.CornersMask}, Grid: grid}),
		plan("corners 48,0,0,48", resize.Plan{Mask: &resize.Mask{Shape: resize.CornersMask, Radius: resize.Corners{TopLeft: 48, BottomLeft: 48}}, Grid: grid}),
		plan("mask-bg=1b2a55", resize.Plan{Mask: &resize.Mask{Background: &navy}}),
		{label: "mask=/p/rocket.jpg", plan: resize.Plan{Fit: resize.Cover, Mask: &resize.Mask{Shape: resize.PictureMask}, Grid: grid}, marks: []string{"rocket.jpg"}},
	})}
}

// fills has what pads with fit=fill.
func fills() sheet {
	gradient := func(label string, g resize.Gradient) cell {
		if g.From == (color.NRGBA{}) {
			g.From, g.To = color.NRGBA{0xff, 0x40, 0x20, 255}, color.NRGBA{0x20, 0x50, 0xff, 255}
		}
		return cell{label: label, plan: resize.Plan{Fit: resize.Fill, Fill: &resize.Padding{Gradient: &g}}}
	}
	plan := func(label string, f resize.Padding) cell {
		return cell{label: label, plan: resize.Plan{Fit: resize.Fill, Fill: &f}}
	}
	cells := []cell{
		plan("fill=solid", resize.Padding{Color: &teal}), plan("fill=blur", resize.Padding{Blur: 100}),
		{label: "fit=clamp", plan: resize.Plan{Fit: resize.Clamp}},
		gradient("fill=gradient", resize.Gradient{}), gradient("bottom,top", resize.Gradient{Reverse: true}),
		gradient("left,right cs=srgb", resize.Gradient{Toward: resize.Horizontal}), gradient("cs=linear", resize.Gradient{Toward: resize.Horizontal, Space: resize.GradientLinear}),
		gradient("cs=oklab", resize.Gradient{Toward: resize.Horizontal, Space: resize.GradientOklab}), gradient("cs=hsl", resize.Gradient{Toward: resize.Horizontal, Space: resize.GradientHSL}),
		gradient("cs=lch", resize.Gradient{Toward: resize.Horizontal, Space: resize.GradientLCH}),
	}
	radius := func(v float64) *float64 { return &v }
	cells = append(cells, gradient("type=radial", resize.Gradient{Radial: true, Inner: radius(0.3), Outer: radius(0.8)}),
		gradient("radial-x=0&radial-y=0", resize.Gradient{Radial: true, X: radius(0), Y: radius(0), Inner: radius(0), Outer: radius(1)}),
		gradient("radial-radius=30,34", resize.Gradient{Radial: true, X: radius(0.12), Inner: radius(30), Outer: radius(34)}),
		cell{label: "transparency=grid", plan: resize.Plan{Fit: resize.Cover, Width: 146, Height: 60, Mask: &resize.Mask{}, Grid: &resize.Grid{}}},
		cell{label: "grid-size=12", plan: resize.Plan{Fit: resize.Cover, Width: 146, Height: 60, Mask: &resize.Mask{}, Grid: &resize.Grid{Size: 12, Colors: [2]color.NRGBA{cream, sand}}}})
	for i := range cells {
		cells[i].plan.Rect = &resize.Rect{X: 0.3, Y: 0.1, W: 0.3, H: 0.45}
	}
	return sheet{"fills", "astronaut.png", 5, boxed(148, 96, cells)}
}
