package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
)

func TestContents(t *testing.T) {
	disk := func() cache.Store {
		d, err := cache.OpenDisk(t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, tt := range []struct {
		name  string
		store cache.Store
		where string
	}{
		{"memory", cache.NewMemory(0), "memory"},
		{"disk", disk(), "disk"},
		{"tiers", cache.Tiered(cache.NewMemory(0), disk()), "memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer tt.store.Close()
			teller := tt.store.(cache.Teller)
			put := func(image string, kind cache.Kind, body string, inputs ...cache.Input) {
				t.Helper()
				th := &cache.Thing{Header: http.Header{"Content-Type": {"image/png"}, "Content-Length": {fmt.Sprint(len(body))}}, Body: []byte(body), Inputs: inputs}
				k := cache.Key{Source: "photos", Image: image, Kind: kind, Sum: cache.DigestOf([]byte(body))}
				if err := tt.store.Put(t.Context(), k, th, nil); err != nil {
					t.Fatal(err)
				}
			}
			logo := cache.Input{Source: "photos", Image: "/logo.png"}
			put("/cat.png", cache.Original, "original")
			put("/cat.png", cache.Derivative, strings.Repeat("derivative ", 1000)) // which is compressed on disk
			put("/cat.png", cache.Composite, "composite", logo)
			put("/dog.png", cache.Composite, "another", logo)
			put("/dog.png", cache.Derivative, "not the cat's")

			tell := func(image string, most int) (got string, more bool) {
				t.Helper()
				all, more, err := teller.Contents(t.Context(), "photos", image, most)
				if err != nil {
					t.Fatal(err)
				}
				cache.SortContents(all)
				for _, c := range all {
					got += fmt.Sprintf("%d of %s: %d %s %v; ", c.Key.Kind, c.Key.Image, c.Bytes, c.Header.Get("Content-Type"), c.Inputs)
					if tt.where == "memory" && !c.Memory || tt.where == "disk" && (c.Memory || !c.Disk) {
						t.Errorf("%v is in memory %v, on disk %v", c.Key, c.Memory, c.Disk)
					}
				}
				return got, more
			}
			for image, want := range map[string]string{
				"/cat.png":  "0 of /cat.png: 8 image/png []; 1 of /cat.png: 11000 image/png []; 2 of /cat.png: 9 image/png [{photos /logo.png}]; ",
				"/logo.png": "2 of /cat.png: 9 image/png [{photos /logo.png}]; 2 of /dog.png: 7 image/png [{photos /logo.png}]; ",
				"/none.png": "",
			} {
				if got, more := tell(image, 10); got != want || more {
					t.Errorf("%s: %v\ngot  %s\nwant %s", image, more, got, want)
				}
			}
			if got, more := tell("/cat.png", 2); strings.Count(got, ";") != 2 || !more {
				t.Errorf("two at most: %s, %v", got, more)
			}
			u := cache.UsageOf(tt.store)
			if (u.Memory == nil) == (tt.name != "disk") || (u.Disk == nil) == (tt.name != "memory") {
				t.Errorf("%+v", u)
			}
			if u.Memory != nil && (u.Memory.Bytes < 11000 || u.Memory.Bytes > u.Memory.MaxBytes) {
				t.Errorf("%+v", u.Memory)
			}
			if _, err := tt.store.Remove(context.Background(), "photos", "/cat.png"); err != nil {
				t.Fatal(err)
			}
			if tt.name == "memory" {
				if got, _ := tell("/logo.png", 10); got != "2 of /dog.png: 7 image/png [{photos /logo.png}]; " {
					t.Errorf("after the cat is gone: %s", got)
				}
			}
		})
	}
}
