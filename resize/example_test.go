package resize_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/imagecdn/imagecdn/resize"
)

func Example() {
	original, err := os.ReadFile("../internal/samples/photos/rocket.jpg")
	if err != nil {
		log.Fatal(err)
	}
	var r resize.Renderer
	pic, err := r.Render(context.Background(), resize.Plan{Width: 200, Height: 200, Fit: resize.Cover, Format: resize.PNG}, original)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pic.Format.ContentType(), pic.Width, pic.Height)

	_, err = r.Render(context.Background(), resize.Plan{Width: 200}, original[:len(original)/2])
	fmt.Println(errors.Is(err, resize.ErrDamaged))
	// Output:
	// image/png 200 200
	// true
}

// The header alone says what an original is.
func ExampleProbe() {
	original, err := os.ReadFile("../internal/samples/photos/rocket.jpg")
	if err != nil {
		log.Fatal(err)
	}
	info, err := resize.Probe(original)
	fmt.Println(info.Format, info.Width, info.Height, err)

	_, err = resize.Probe([]byte("<html>"))
	fmt.Println(errors.Is(err, resize.ErrUnsupported))
	// Output:
	// jpg 640 427 <nil>
	// true
}
