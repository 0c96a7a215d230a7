package faces_test

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	_ "image/png"
	"log"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize/faces"
)

func Example() {
	file, err := samples.FS().Open("astronaut.png")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	m, _, err := image.Decode(file)
	if err != nil {
		log.Fatal(err)
	}
	gray := image.NewGray(m.Bounds())
	draw.Draw(gray, gray.Rect, m, m.Bounds().Min, draw.Src)

	finder, err := faces.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	found, err := finder.Find(context.Background(), gray)
	if err != nil {
		log.Fatal(err)
	}
	for _, face := range found {
		fmt.Println(face.Rect)
	}
	// Output: (170,57)-(280,167)
}
