package main

import (
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/examples/gallerytest"
)

func TestRoutes(t *testing.T) {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir("../../internal/samples/photos")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	gallerytest.Run(t, routes(h, "a-long-random-key", []byte("secret-key-of-32-bytes-0123456789")), "a-long-random-key")
}
