package main

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gen2brain/webp"
	_ "golang.org/x/image/webp" // decodes what sides have made

	"github.com/imagecdn/imagecdn/internal/samples"
)

// An input is an original that sides load from a file.
type input struct{ name, path string }

// The names of files that the script puts into the directory of inputs, less their ends.
const (
	small            = "4MP"
	smallProgressive = "4MP-progressive"
	large            = "18MP"
	largeProgressive = "18MP-progressive"
)

// findInputs gives the originals that are in dir, and makes a PNG and a WebP of the small one beside it.
func findInputs(dir string) (map[string]input, error) {
	inputs := make(map[string]input)
	for _, name := range []string{small, smallProgressive, large, largeProgressive} {
		path := filepath.Join(dir, name+".jpg")
		if _, err := os.Stat(path); err == nil {
			inputs[name] = input{name, path}
		}
	}
	from, ok := inputs[small]
	if !ok {
		return inputs, nil
	}
	data, err := os.ReadFile(from.path)
	if err != nil {
		return nil, err
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.path, err)
	}
	px := image.NewRGBA(m.Bounds())
	draw.Draw(px, px.Rect, m, m.Bounds().Min, draw.Src)
	for _, c := range []struct {
		name   string
		encode func(*bytes.Buffer) error
	}{
		{small + ".png", func(b *bytes.Buffer) error { return png.Encode(b, px) }},
		{small + ".webp", func(b *bytes.Buffer) error { return webp.Encode(b, px, webp.Options{Quality: 85, Method: 4}) }},
	} {
		path := filepath.Join(dir, c.name)
		if _, err := os.Stat(path); err != nil {
			var b bytes.Buffer
			if err := c.encode(&b); err != nil {
				return nil, err
			}
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				return nil, err
			}
		}
		inputs[c.name] = input{c.name, path}
	}
	return inputs, nil
}

// findSamples writes the library's sample photographs into dir.
func findSamples(dir string) ([]input, error) {
	names, err := fs.Glob(samples.FS(), "*.*")
	if err != nil {
		return nil, err
	}
	var inputs []input
	for _, name := range names {
		data, err := fs.ReadFile(samples.FS(), name)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return nil, err
		}
		inputs = append(inputs, input{name, path})
	}
	return inputs, nil
}

// hasWidth checks that a side has made what it was asked for.
func hasWidth(picture []byte, format string, width int) error {
	c, got, err := image.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return err
	}
	if want := strings.Replace(format, "jpg", "jpeg", 1); got != want || c.Width != width {
		return fmt.Errorf("a %s %d wide, not a %s %d wide", got, c.Width, want, width)
	}
	return nil
}
