package cdn_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/fastly"
)

func Example() {
	// A stand-in for Fastly's API; without Client, calls go to the real one.
	api := &cdntest.Fastly{Service: "SU1Z0isxPaozGVKXdv0eY", Token: "token"}
	edge, err := fastly.New("SU1Z0isxPaozGVKXdv0eY", "token", &fastly.Options{Client: cdntest.Client(api)})
	if err != nil {
		log.Fatal(err)
	}
	edges, err := cdn.New([]cdn.Ring{{{Name: "fastly", CDN: edge}}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.FS(fstest.MapFS{})}, &imagecdn.Options{CDNs: edges})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	job, err := h.Purge(context.Background(), []string{"/photos/cat.jpg"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	rec, err := job.Wait(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rec.State, rec.CDNs[0].Name, rec.CDNs[0].Outcome, api.Purged("tag"))
	// Output:
	// done fastly accepted [ioomnyjzdcns7sibmzaavu5rj3i]
}

func ExampleNamer_Tags() {
	n := cdn.Namer{}
	tags := n.Tags([]cdn.Image{{Source: "photos", Path: "/2026/cat.jpg", Tags: []string{"product-17"}}})
	fmt.Println(len(tags), "tags: everything, the image, its source, its folder, and its origin's")
	fmt.Println(cdn.TagHeader{Name: "Cache-Tag", Separator: ","}.Value(tags[:2]))
	// Output:
	// 5 tags: everything, the image, its source, its folder, and its origin's
	// a5jx55huebusaut256pmfwwwwda,iskvxr3t43r2fthq2hzdmrbcxsa
}
