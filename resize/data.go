package resize

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"io"
	"math"
)

// dataSize is the box of the picture that BlurHash and palettes are made of, where the plan asks for no size: they tell nothing that a
// larger one has.
const dataSize = 256

func init() {
	never := func([]byte) bool { return false }
	Register(Codec{Format: JSON, ContentType: "application/json", Match: never, Encode: writeNothing, Alpha: true})
	Register(Codec{
		Format: BlurHashText, ContentType: "text/plain; charset=utf-8", Match: never,
		Encode: func(_ context.Context, w io.Writer, m image.Image, _ EncodeOptions) error {
			hash, err := BlurHash(m, 5, 5) // as imgix has it
			if err != nil {
				return err
			}
			_, err = io.WriteString(w, hash)
			return err
		},
	})
	palette := func(write func(w io.Writer, p Palette, o EncodeOptions) error) encodeFunc {
		return func(_ context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
			n := o.Encoding.Palette
			if n == 0 {
				n = 6
			}
			p, err := PaletteOf(m, n)
			if err != nil {
				return err
			}
			return write(w, p, o)
		}
	}
	Register(Codec{
		Format: PaletteJSON, ContentType: "application/json", Match: never, Alpha: true,
		Encode: palette(func(w io.Writer, p Palette, _ EncodeOptions) error {
			_, err := w.Write(p.JSON())
			return err
		}),
	})
	Register(Codec{
		Format: PaletteCSS, ContentType: "text/css; charset=utf-8", Match: never, Alpha: true,
		Encode: palette(func(w io.Writer, p Palette, o EncodeOptions) error {
			css, err := p.CSS(o.Encoding.Prefix)
			if err == nil {
				_, err = w.Write(css)
			}
			return err
		}),
	})
}

// writeNothing stands for JSON, which is of an original and not of a picture.
func writeNothing(context.Context, io.Writer, image.Image, EncodeOptions) error { return nil }

// describe gives the original's header, as JSON in imgix's form, without what tells of people and places.
func (j *job) describe() (*Picture, error) {
	type bounds struct {
		X      int `json:"x"`
		Y      int `json:"y"`
		Width  int `json:"width"`
		Height int `json:"height"`
	}
	type face struct {
		Bounds bounds `json:"bounds"`
	}
	about := struct {
		Type        string  `json:"Content-Type"`
		Length      int     `json:"Content-Length"`
		Width       int     `json:"PixelWidth"`
		Height      int     `json:"PixelHeight"`
		Orientation int     `json:"Orientation"`
		Frames      int     `json:"Frames"`
		HasAlpha    bool    `json:"HasAlpha"`
		ColorModel  string  `json:"ColorModel"`
		Faces       *[]face `json:"Faces,omitempty"`
	}{
		Type: j.info.Format.ContentType(), Length: len(j.inputs[0].Bytes), Width: j.srcW, Height: j.srcH,
		Orientation: j.info.Orientation, Frames: j.info.Frames, HasAlpha: j.info.Alpha, ColorModel: "RGB",
	}
	switch {
	case j.inputs[0].jpeg.components == 1:
		about.ColorModel = "Gray"
	case j.inputs[0].jpeg.components == 4:
		about.ColorModel = "CMYK"
	}
	if j.plan.Encoding.Faces {
		list := make([]face, 0, len(j.sight.faces))
		for _, f := range j.sight.faces {
			list = append(list, face{bounds{
				int(math.Round(f.x0)), int(math.Round(f.y0)), int(math.Round(f.x1 - f.x0)), int(math.Round(f.y1 - f.y0)),
			}})
		}
		about.Faces = &list
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(about); err != nil {
		return nil, err
	}
	return &Picture{Bytes: b.Bytes(), Format: JSON, Width: j.srcW, Height: j.srcH}, nil
}
