package bloborigin_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"

	"gocloud.dev/blob/memblob"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/origin/bloborigin"
)

func Example() {
	bucket := memblob.OpenBucket(nil) // in place of bloborigin.Open(ctx, "s3://my-photos?region=eu-central-1", nil)
	defer bucket.Close()
	var cat bytes.Buffer
	if err := png.Encode(&cat, image.NewGray(image.Rect(0, 0, 400, 300))); err != nil {
		fmt.Println(err)
		return
	}
	if err := bucket.WriteAll(context.Background(), "originals/cat.png", cat.Bytes(), nil); err != nil {
		fmt.Println(err)
		return
	}

	photos, err := bloborigin.New(bucket, &bloborigin.Options{Prefix: "originals/", CacheControl: "max-age=60"})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: photos}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/photos/cat.png?w=200", nil))
	size, _, err := image.DecodeConfig(w.Body)
	fmt.Println(w.Code, w.Header().Get("Content-Type"), size.Width, size.Height, err)
	// Output: 200 image/png 200 150 <nil>
}
