package main

import (
	"fmt"
	"image/color"

	"github.com/imagecdn/imagecdn/resize"
)

// vary gives a cell for each value of a parameter.
func vary(name string, set func(p *resize.Plan, v float64), values ...float64) (cells []cell) {
	for _, v := range values {
		var p resize.Plan
		set(&p, v)
		cells = append(cells, cell{label: fmt.Sprintf("%s=%v", name, v), plan: p})
	}
	return cells
}

func join(rows ...[]cell) (all []cell) {
	for _, r := range rows {
		all = append(all, r...)
	}
	return all
}

// at sets where in their photograph cells are cut out, one pixel of it to one of the sheet.
func at(x, y float64, photo string, cells []cell) []cell {
	for i := range cells {
		cells[i].plan.Rect = &resize.Rect{X: x, Y: y, W: cellW, H: cellH}
		cells[i].photo = photo
	}
	return cells
}

func tones() sheet {
	enhanced := resize.Plan{Adjust: resize.Adjust{Enhance: true}}
	var pairs []cell
	for _, photo := range []string{"coffee.png", "rocket.jpg"} {
		pairs = append(pairs, cell{label: "original", photo: photo}, cell{label: "auto=enhance", photo: photo, plan: enhanced})
	}
	return sheet{"adjust-tones", "astronaut.png", 5, join(
		vary("exp", func(p *resize.Plan, v float64) { p.Adjust.Exposure = v }, -100, -50, 0, 50, 100),
		vary("bri", func(p *resize.Plan, v float64) { p.Adjust.Brightness = v }, -60, -30, 0, 30, 60),
		vary("con", func(p *resize.Plan, v float64) { p.Adjust.Contrast = v }, -100, -50, 0, 50, 100),
		vary("gam", func(p *resize.Plan, v float64) { p.Adjust.Gamma = v }, -100, -50, 0, 50, 100),
		vary("high", func(p *resize.Plan, v float64) { p.Adjust.Highlights = v }, 0, -25, -50, -75, -100),
		vary("shad", func(p *resize.Plan, v float64) { p.Adjust.Shadows = v }, 0, 25, 50, 75, 100),
		pairs,
	)}
}

func tints() sheet {
	return sheet{"adjust-colours", "chelsea.png", 5, join(
		vary("hue", func(p *resize.Plan, v float64) { p.Adjust.Hue = v }, 0, 60, 120, 180, 300),
		vary("sat", func(p *resize.Plan, v float64) { p.Adjust.Saturation = v }, -100, -50, 0, 50, 100),
		vary("vib", func(p *resize.Plan, v float64) { p.Adjust.Vibrance = v }, -100, -50, 0, 50, 100),
		[]cell{{label: "original", photo: "astronaut.png"}, {label: "sat=60", photo: "astronaut.png", plan: resize.Plan{Adjust: resize.Adjust{Saturation: 60}}},
			{label: "vib=60", photo: "astronaut.png", plan: resize.Plan{Adjust: resize.Adjust{Vibrance: 60}}},
			{label: "vib=100", photo: "astronaut.png", plan: resize.Plan{Adjust: resize.Adjust{Vibrance: 100}}},
			{label: "invert=true", photo: "astronaut.png", plan: resize.Plan{Adjust: resize.Adjust{Invert: true}}}},
	)}
}

func details() sheet {
	noise := func(nr, nrs int) cell {
		return cell{label: fmt.Sprintf("nr=%d&nrs=%d", nr, nrs), plan: resize.Plan{Adjust: resize.Adjust{NoiseReduction: nr, NoiseThreshold: nrs}}}
	}
	return sheet{"adjust-details", "", 5, join(
		at(140, 80, "chelsea.png", vary("sharp", func(p *resize.Plan, v float64) { p.Adjust.Sharpen = v }, 0, 25, 50, 75, 100)),
		at(140, 80, "chelsea.png", vary("usm", func(p *resize.Plan, v float64) { p.Adjust.Unsharp = v }, -100, -50, 0, 50, 100)),
		at(140, 80, "chelsea.png", vary("usm=100&usmrad", func(p *resize.Plan, v float64) { p.Adjust.Unsharp, p.Adjust.UnsharpRadius = 100, v }, 1, 2.5, 5, 10, 40)),
		at(400, 300, "hubble_deep_field.jpg", []cell{noise(0, 0), noise(20, 20), noise(60, 40), noise(100, 0), noise(0, 100)}),
		at(140, 80, "chelsea.png", []cell{noise(20, 20), noise(60, 40), noise(100, 0), noise(100, 100), noise(-50, -50)}),
	)}
}

func styles() sheet {
	mono := func(label string, c color.NRGBA) cell {
		return cell{label: "monochrome=" + label, plan: resize.Plan{Stylize: resize.Stylize{Monochrome: &c}}}
	}
	duo := func(label string, alpha int, dark, light color.NRGBA) cell {
		return cell{label: label, plan: resize.Plan{Stylize: resize.Stylize{Duotone: &resize.Duotone{Dark: dark, Light: light, Alpha: alpha}}}}
	}
	navy := color.NRGBA{0, 0, 0x80, 255}
	red, yellow := color.NRGBA{0xc0, 0, 0x30, 255}, color.NRGBA{0xff, 0xe0, 0x20, 255}
	return sheet{"stylize", "astronaut.png", 5, join(
		vary("blur", func(p *resize.Plan, v float64) { p.Stylize.Blur = v }, 10, 40, 100, 400, 2000),
		vary("px", func(p *resize.Plan, v float64) { p.Stylize.Pixelate = int(v) }, 2, 4, 8, 16, 50),
		vary("htn", func(p *resize.Plan, v float64) { p.Stylize.Halftone = v }, 2, 4, 6, 10, 20),
		[]cell{mono("f26", color.NRGBA{0xff, 0x22, 0x66, 255}), mono("8f26", color.NRGBA{0xff, 0x22, 0x66, 0x88}), mono("fff", color.NRGBA{255, 255, 255, 255}),
			duo("duotone=000080,fff0c0", 0, navy, cream), duo("duotone=fff0c0,000080", 0, cream, navy)},
		append(vary("sepia", func(p *resize.Plan, v float64) { p.Stylize.Sepia = v }, 30, 60, 100),
			duo("duotone=c00030,ffe020", 0, red, yellow), duo("... duotone-alpha=50", 50, red, yellow)),
	)}
}
