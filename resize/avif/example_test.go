package avif_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/imagecdn/imagecdn/resize"
	_ "github.com/imagecdn/imagecdn/resize/avif"
)

func Example() {
	original, err := os.ReadFile("../../internal/samples/photos/rocket.jpg")
	if err != nil {
		log.Fatal(err)
	}
	var r resize.Renderer
	pic, err := r.Render(context.Background(), resize.Plan{Width: 64, Format: resize.AVIF}, original)
	if err != nil {
		log.Fatal(err)
	}
	info, err := resize.Probe(pic.Bytes)
	fmt.Println(pic.Format.ContentType(), info.Width, info.Height, err)
	// Output: image/avif 64 43 <nil>
}
