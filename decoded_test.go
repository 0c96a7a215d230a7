package imagecdn_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/purge"
)

// Sizes of one image that are asked for together share its decoding, and so do those that come within the age that is set.
func TestSizesShareDecoding(t *testing.T) {
	rocket, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/a/rocket.jpg", answer{header: cachedAnHour, body: rocket})
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Renders: 2, DecodedAge: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		release := imagecdn.HoldGate(h)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() { mustGet(t, h, fmt.Sprintf("/photos/a/rocket.jpg?w=%d&fm=jpg", 60*(i+1))) })
		}
		synctest.Wait() // all have asked
		release()
		group.Wait()
		decodes := func(what string, want int64) {
			t.Helper()
			if n, _ := imagecdn.Decoded(h); n != want {
				t.Errorf("%s: %d decodings, want %d", what, n, want)
			}
		}
		decodes("together", 1)
		mustGet(t, h, "/photos/a/rocket.jpg?w=100")
		decodes("soon after", 1)
		time.Sleep(time.Minute + time.Second)
		if _, bytes := imagecdn.Decoded(h); bytes != 0 {
			t.Errorf("%d bytes are decoded after the age that was set", bytes)
		}
		mustGet(t, h, "/photos/a/rocket.jpg?w=101")
		decodes("later", 2)

		// A takedown leaves nothing decoded.
		for i, p := range []func() (*purge.Job, error){
			func() (*purge.Job, error) { return h.Purge(t.Context(), []string{"/photos/a/rocket.jpg"}, nil) },
			func() (*purge.Job, error) { return h.PurgeFolders(t.Context(), []string{"/photos/a/"}, nil) },
			func() (*purge.Job, error) { return h.PurgeAll(t.Context(), nil) },
		} {
			mustGet(t, h, fmt.Sprintf("/photos/a/rocket.jpg?w=%d", 102+i))
			if _, bytes := imagecdn.Decoded(h); bytes == 0 {
				t.Error("nothing is decoded before the purge")
			}
			if _, err := p(); err != nil {
				t.Fatal(err)
			}
			if _, bytes := imagecdn.Decoded(h); bytes != 0 {
				t.Errorf("%d bytes are decoded after a purge", bytes)
			}
		}
	})
}

// A picture that takes more than the whole budget is made all the same, alone, where nothing bounds what one may take.
func TestRenderMemoryIsNoSizeLimit(t *testing.T) {
	h, err := imagecdn.New(imagecdn.Sources{"samples": imagecdn.FS(samples.FS())}, &imagecdn.Options{RenderMemory: 1, MaxRenderMemory: -1, Renders: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/samples/rocket.jpg?w=%d", 100+i), nil))
			if w.Code != 200 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	group.Wait()
}

// A picture that would take more than one may is 413, with one line that says how much it takes, before anything is decoded, and that is remembered.
// Others of the same original are made.
func TestMaxRenderMemory(t *testing.T) {
	deep := image.NewNRGBA64(image.Rect(0, 0, 1500, 1000))
	for i := range deep.Pix {
		deep.Pix[i] = uint8(i * i >> 9)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, deep); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"deep.png": {Data: b.Bytes()}, "logo.svg": {Data: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)}}
	for _, name := range []string{"retina.jpg", "rocket.jpg"} {
		data, err := fs.ReadFile(samples.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	large := regexp.MustCompile(`^image too large: making the picture would take about \d+ MiB of memory, of at most \d+ MiB\n$`)
	for _, tt := range []struct {
		name      string
		opts      imagecdn.Options
		url       string
		status    int
		malformed bool // the line is another's
	}{
		{"sixteen bits a channel", imagecdn.Options{MaxRenderMemory: 20 << 20}, "/f/deep.png?w=100", 413, false},
		{"as it is, nothing is decoded of it", imagecdn.Options{MaxRenderMemory: 20 << 20}, "/f/deep.png", 200, false},
		{"with enough", imagecdn.Options{MaxRenderMemory: 60 << 20}, "/f/deep.png?w=100", 200, false},
		{"a JPEG with little", imagecdn.Options{MaxRenderMemory: 20 << 20}, "/f/retina.jpg?w=100", 200, false},
		{"the same, blurred at its size", imagecdn.Options{MaxRenderMemory: 20 << 20}, "/f/retina.jpg?blur=100", 413, false},
		{"a large result", imagecdn.Options{MaxRenderMemory: 100 << 20}, "/f/rocket.jpg?w=6000&fm=png", 413, false},
		{"a mark in it", imagecdn.Options{MaxRenderMemory: 20 << 20}, "/f/rocket.jpg?w=100&mark=/f/deep.png", 413, false},
		{"four times the budget", imagecdn.Options{RenderMemory: 5 << 20}, "/f/deep.png?w=100", 413, false},
		{"within four times the budget", imagecdn.Options{RenderMemory: 15 << 20}, "/f/deep.png?w=100", 200, false},
		{"no limit", imagecdn.Options{RenderMemory: 1 << 20, MaxRenderMemory: -1}, "/f/deep.png?w=100", 200, false},
		{"no limit of the budget", imagecdn.Options{RenderMemory: -1}, "/f/deep.png?w=100", 200, false},
		{"a drawing", imagecdn.Options{MaxRenderMemory: 1000}, "/f/logo.svg", 413, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := imagecdn.New(imagecdn.Sources{"f": imagecdn.FS(files)}, &tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			for range 2 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", tt.url, nil))
				if w.Code != tt.status || w.Code == 413 && !tt.malformed && !large.MatchString(w.Body.String()) {
					t.Fatalf("%d %.200s, want %d", w.Code, w.Body, tt.status)
				}
				if decodes, _ := imagecdn.Decoded(h); w.Code == 413 && (decodes != 0 || imagecdn.Renders(h) != 1) {
					t.Errorf("%d decodings, and %d tries", decodes, imagecdn.Renders(h))
				}
			}
		})
	}
}
