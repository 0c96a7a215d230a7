package text_test

import (
	"context"
	"fmt"
	"image"
	"log"

	"github.com/imagecdn/imagecdn/resize"
	"github.com/imagecdn/imagecdn/resize/text"
)

func Example() {
	setter, err := text.New(&text.Options{
		Aliases: map[string]string{"Helvetica": "sans-serif"},
	})
	if err != nil {
		log.Fatal(err)
	}
	frame := image.Pt(640, 480)
	m, err := setter.Set(context.Background(), resize.Text{
		Text: "© 2026 Example\nשלום",
		Font: "Helvetica,bold",
		Size: 32,
	}, frame)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Rect.In(image.Rectangle{Max: frame}), m.Rect.Max.X > 600)
	// Output: true true
}

func ExampleSetter_Set_unknownFont() {
	setter, err := text.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = setter.Set(context.Background(), resize.Text{Text: "x", Font: "Futura"}, image.Pt(100, 100))
	fmt.Println(err)
	// Output: text: cannot be done: there is no font "Futura": there are Noto Sans, Noto Sans Arabic, Noto Sans Hebrew, Noto Sans Mono, Noto Serif, cursive, fantasy, monospace, sans-serif, serif
}
