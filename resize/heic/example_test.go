package heic_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"

	"github.com/imagecdn/imagecdn/resize"
	_ "github.com/imagecdn/imagecdn/resize/heic"
)

// photograph is 16 pixels wide and high, by heif-enc 1.15.1 of Debian: one red.
const photograph = "" +
	"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAa1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA" +
	"AA5waXRtAAAAAAACAAAAEGlkYXQAAAAAABAAEAAAADhpbG9jAQAAAERAAAIAAQAAAAAAAAHRAAEAAAAAAAAAMwACAAEAAAAAAAAA" +
	"AQAAAAAAAAAIAAAAOGlpbmYAAAAAAAIAAAAVaW5mZQIAAAEAAQAAaHZjMQAAAAAVaW5mZQIAAAAAAgAAZ3JpZAAAAADYaXBycAAA" +
	"ALZpcGNvAAAAdmh2Y0MBA3AAAAAAAAAAAAAe8AD8/fj4AAAPAyAAAQAYQAEMAf//A3AAAAMAkAAAAwAAAwAeugJAIQABACpCAQED" +
	"cAAAAwCQAAADAAADAB6gIIEFluqumubgQEDAgAAAAwCAAAADAIQiAAEABkQBwXPBiQAAABRpc3BlAAAAAAAAAEAAAABAAAAAFGlz" +
	"cGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADCAgIAAAAGmlwbWEAAAAAAAAAAgABAoECAAICA4QAAAAaaXJlZgAAAAAAAAAOZGlt" +
	"ZwACAAEAAQAAADttZGF0AAAALygBrxMhZGNA9Sci//9qup/60Fn/b/ZYWdyugMFb8vrA9mSbwPOqkZ6Ah2mnMBV4"

func Example() {
	original, err := base64.StdEncoding.DecodeString(photograph)
	if err != nil {
		log.Fatal(err)
	}
	var r resize.Renderer
	pic, err := r.Render(context.Background(), resize.Plan{Width: 8, Format: resize.JPEG}, original)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pic.Format.ContentType(), pic.Width, pic.Height)
	// Output: image/jpeg 8 8
}
