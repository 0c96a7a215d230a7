package tiff_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"log"

	"golang.org/x/image/tiff"

	"github.com/imagecdn/imagecdn/resize"
	_ "github.com/imagecdn/imagecdn/resize/tiff"
)

func Example() {
	var scan bytes.Buffer
	if err := tiff.Encode(&scan, image.NewGray(image.Rect(0, 0, 300, 200)), nil); err != nil {
		log.Fatal(err)
	}
	var r resize.Renderer
	pic, err := r.Render(context.Background(), resize.Plan{Width: 150, Format: resize.JPEG}, scan.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pic.Format.ContentType(), pic.Width, pic.Height)
	// Output: image/jpeg 150 100
}
