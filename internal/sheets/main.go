// Command sheets makes contact sheets for docs: a photograph once for each of a list of plans, with labels.
//
//	go run ./internal/sheets DIR [NAME...]
//
// It writes DIR/NAME.jpg for each sheet, or for those that are named. A family of plans is a file beside this one with a sheet in it, and a
// line in sheets.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
	"github.com/imagecdn/imagecdn/resize/faces"
	"github.com/imagecdn/imagecdn/resize/text"
)

// sheets are all there are.
func sheets() []sheet {
	return []sheet{tones(), tints(), details(), styles(), fits(), crops(), frames(), fills(), blends(), marksAndTexts()}
}

// A sheet is a picture of rows of cells.
type sheet struct {
	name    string // of the file, without .jpg
	photo   string // of package samples; a cell may have another
	columns int
	cells   []cell
}

// A cell is a photograph as a plan makes it. The plan says nothing of size.
type cell struct {
	label string
	plan  resize.Plan
	photo string   // instead of the sheet's
	marks []string // photographs that the plan takes beside it
}

const (
	cellW, cellH = 150, 100
	labelH       = 16
	gap          = 4

	// mostBytes is what a file may have: docs are read over slow lines too.
	mostBytes = 150_000
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: sheets DIR [NAME...]")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "sheets:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, names []string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, s := range sheets() {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		b, err := s.render(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if len(b) > mostBytes {
			return fmt.Errorf("%s takes %d bytes, of at most %d: split it", s.name, len(b), mostBytes)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name+".jpg"), b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// render makes s, as JPEG.
func (s sheet) render(ctx context.Context) ([]byte, error) {
	if s.columns < 1 || len(s.cells) == 0 {
		return nil, errors.New("a sheet without cells")
	}
	rows := (len(s.cells) + s.columns - 1) / s.columns
	dst := image.NewRGBA(image.Rect(0, 0, s.columns*(cellW+gap)+gap, rows*(cellH+labelH)+gap))
	draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
	for i, c := range s.cells {
		if most := cellW / basicfont.Face7x13.Advance; len(c.label) > most {
			return nil, fmt.Errorf("the label %q is longer than %d characters of ASCII", c.label, most)
		}
		m, err := c.render(ctx, s.photo)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.label, err)
		}
		at := image.Pt(gap+i%s.columns*(cellW+gap), gap+i/s.columns*(cellH+labelH))
		draw.Draw(dst, m.Bounds().Add(at), m, m.Bounds().Min, draw.Over)
		(&font.Drawer{
			Dst: dst, Src: image.Black, Face: basicfont.Face7x13,
			Dot: fixed.P(at.X, at.Y+cellH+11),
		}).DrawString(c.label)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, dst); err != nil {
		return nil, err
	}
	var r resize.Renderer
	pic, err := r.Render(ctx, resize.Plan{Format: resize.JPEG, Quality: 72}, b.Bytes())
	if err != nil {
		return nil, err
	}
	return pic.Bytes, nil
}

// render makes c's picture. It is cut to the cell unless the plan says how large it is to be.
func (c cell) render(ctx context.Context, photo string) (image.Image, error) {
	if c.photo != "" {
		photo = c.photo
	}
	var inputs [][]byte
	for _, name := range append([]string{photo}, c.marks...) {
		b, err := fs.ReadFile(samples.FS(), name)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, b)
	}
	p := c.plan
	p.Format = resize.PNG
	if p.Width == 0 && p.Height == 0 {
		p.Width, p.Height = cellW, cellH
		if p.Fit == resize.Clip {
			p.Fit = resize.Cover
		}
	}
	finder, err := faces.New(nil)
	if err != nil {
		return nil, err
	}
	setter, err := text.New(nil)
	if err != nil {
		return nil, err
	}
	r := resize.Renderer{Faces: finder, Text: setter}
	pic, err := r.Render(ctx, p, inputs...)
	if err != nil {
		return nil, err
	}
	return png.Decode(bytes.NewReader(pic.Bytes))
}
