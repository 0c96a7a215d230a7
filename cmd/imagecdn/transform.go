package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/resize"
)

// transform makes one picture from a file. Without fm= the name of the output says its format. The images of
// mark= are read below the current directory.
func transform(ctx context.Context, args []string, _, stderr io.Writer) error {
	f := newFlags("transform", "IN 'w=500&fm=webp' OUT", stderr)
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 3 {
		return usageError("transform takes three words: IN, parameters such as 'w=500&fm=webp', and OUT")
	}
	in, out := f.Arg(0), f.Arg(2)
	params, _, err := imagecdn.ParseParams(strings.TrimPrefix(f.Arg(1), "?"), true)
	if err != nil {
		return err
	}
	plan, _ := params.Negotiate("")
	named, known := formats[strings.ToLower(filepath.Ext(out))]
	switch {
	case plan.Format.Data():
	case plan.Format == resize.SameFormat && known:
		plan.Format = named
	case plan.Format == resize.SameFormat:
		return fmt.Errorf("%s: its name ends in none of .jpg, .png, .gif, .webp and .avif; say fm=", out)
	case plan.Format != resize.Opaque && known && named != plan.Format:
		return fmt.Errorf("%s: its name says %s, and fm= says %s", out, named, plan.Format)
	}
	body, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	inputs := [][]byte{body}
	if len(params.Inputs) > 0 {
		root, err := os.OpenRoot(".")
		if err != nil {
			return err
		}
		defer root.Close()
		for _, mark := range params.Inputs {
			body, err := root.ReadFile(filepath.FromSlash(mark.Source + mark.Path))
			if err != nil {
				return err
			}
			inputs = append(inputs, body)
		}
	}
	finder, setter, err := extras()
	if err != nil {
		return err
	}
	renderer := resize.Renderer{Faces: finder, Text: setter}
	pic, err := renderer.Render(ctx, plan, inputs...)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	return os.WriteFile(out, pic.Bytes, 0o666)
}

// formats are what the ends of files' names mean.
var formats = map[string]resize.Format{
	".jpg": resize.JPEG, ".jpeg": resize.JPEG, ".png": resize.PNG, ".gif": resize.GIF, ".webp": resize.WebP, ".avif": resize.AVIF,
}
