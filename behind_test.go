package imagecdn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/resize"
)

// A fakeAVIF is an encoder of AVIF that takes its time.
type fakeAVIF struct {
	takes  time.Duration
	size   int // of what it writes, in bytes
	err    error
	panics bool
	begun  atomic.Int32
	now    atomic.Int32 // being written
	most   atomic.Int32 // that were written at once
}

// register makes f the codec of AVIF until the test ends.
func (f *fakeAVIF) register(t *testing.T) {
	c := resize.Codec{
		Format:      resize.AVIF,
		ContentType: "image/avif",
		Match:       func(b []byte) bool { return bytes.HasPrefix(b, []byte("fake")) },
		Probe: func(b []byte) (resize.Info, error) {
			return resize.Info{Format: resize.AVIF, Width: int(binary.BigEndian.Uint16(b[4:])), Height: int(binary.BigEndian.Uint16(b[6:]))}, nil
		},
		Encode: f.encode,
		Alpha:  true,
	}
	resize.Register(c)
	t.Cleanup(func() {
		c.Encode = nil // read only, which is as if it were not linked in
		resize.Register(c)
	})
}

func (f *fakeAVIF) encode(_ context.Context, w io.Writer, m image.Image, _ resize.EncodeOptions) error {
	f.begun.Add(1)
	f.most.Store(max(f.most.Load(), f.now.Add(1)))
	defer f.now.Add(-1)
	time.Sleep(f.takes)
	if f.panics {
		panic("the encoder failed")
	}
	b := binary.BigEndian.AppendUint16([]byte("fake"), uint16(m.Bounds().Dx()))
	b = binary.BigEndian.AppendUint16(b, uint16(m.Bounds().Dy()))
	if _, err := w.Write(append(b, make([]byte, max(0, f.size-len(b)))...)); err != nil {
		return err
	}
	return f.err
}

// noise returns a PNG that is large in every format.
func noise(t testing.TB, seed uint64, w, h int) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32()) | uint8(i%4/3*255)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	takesAVIF  = "image/avif,image/webp,image/apng,image/*,*/*;q=0.8"
	takesWebP  = "image/webp,*/*"
	catBehind  = "/photos/cat.png?w=60&auto=format"
	catByName  = "/photos/cat.png?w=60&fm=avif"
	avifType   = "image/avif"
	webpType   = "image/webp"
	anHour     = "public, max-age=3600"
	standsIn   = "; detail=stand-in"
	fakeLength = 500
)

// behind runs a test in a bubble, with an encoder, an origin that has a picture, and a handler.
func behind(t *testing.T, f *fakeAVIF, opts *imagecdn.Options, test func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler)) {
	t.Helper()
	f.register(t)
	if f.size == 0 {
		f.size = fakeLength
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{header: cachedAnHour, body: noise(t, 1, 80, 80)})
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			h.Close()
			time.Sleep(2 * f.takes) // what the encoder is at ends by itself
		}()
		test(t, o, h)
	})
}

// expect fails unless an answer is of a type, may be kept as said, and its Cache-Status is right.
func expect(t *testing.T, what string, w *httptest.ResponseRecorder, contentType, cacheControl, status string) {
	t.Helper()
	got := w.Header()
	if w.Code != http.StatusOK || got.Get("Content-Type") != contentType || got.Get("Cache-Control") != cacheControl || got.Get("Cache-Status") != status || got.Get("Vary") != "Accept" {
		t.Errorf("%s: %d, %s, %q, %q, Vary %q; want %s, %q, %q", what, w.Code, got.Get("Content-Type"), got.Get("Cache-Control"),
			got.Get("Cache-Status"), got.Get("Vary"), contentType, cacheControl, status)
	}
}

func TestAVIFKeepsNobodyWaiting(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		begun := time.Now()
		first := mustGet(t, h, catBehind, "Accept", takesAVIF)
		if took := time.Since(begun); took != 0 {
			t.Errorf("the first visitor has waited %v", took)
		}
		expect(t, "the first", first, webpType, "public, max-age=30", "imagecdn; fwd=miss; stored"+standsIn)
		time.Sleep(500 * time.Millisecond)
		expect(t, "meanwhile", mustGet(t, h, catBehind, "Accept", takesAVIF), webpType, "public, max-age=30", "imagecdn; hit; ttl=30"+standsIn)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		then := mustGet(t, h, catBehind, "Accept", takesAVIF)
		expect(t, "then", then, avifType, anHour, "imagecdn; hit; ttl=3599")
		if then.Header().Get("Etag") == first.Header().Get("Etag") || then.Body.Len() != fakeLength {
			t.Errorf("%d bytes with the Etag %s; the stand-in's is %s", then.Body.Len(), then.Header().Get("Etag"), first.Header().Get("Etag"))
		}
		for range 3 { // as remembered
			expect(t, "again", mustGet(t, h, catBehind, "Accept", takesAVIF), avifType, anHour, "imagecdn; hit; ttl=3599")
		}

		// Whose picture is a hit in both formats gets the one that it takes, and what stood in is no stand-in for others.
		webp := mustGet(t, h, catBehind, "Accept", takesWebP)
		expect(t, "without AVIF", webp, webpType, anHour, "imagecdn; hit; ttl=3599")
		if webp.Header().Get("Etag") != first.Header().Get("Etag") || !bytes.Equal(webp.Body.Bytes(), first.Body.Bytes()) {
			t.Error("the stand-in was another picture")
		}
		expect(t, "without any", mustGet(t, h, catBehind, "Accept", "*/*"), "image/png", anHour, "imagecdn; fwd=miss; stored")
		if n := f.begun.Load(); n != 1 {
			t.Errorf("AVIF was made %d times", n)
		}
	})
}

func TestClientsWithoutAVIFAreAsBefore(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		for _, accept := range []string{takesWebP, "image/avif;q=0,image/webp", "image/*", ""} {
			mustGet(t, h, catBehind, "Accept", accept)
			if w := mustGet(t, h, catBehind, "Accept", accept); w.Header().Get("Cache-Control") != anHour || w.Header().Get("Cache-Status") != "imagecdn; hit; ttl=3600" {
				t.Errorf("%q: %v", accept, w.Header())
			}
		}
		synctest.Wait()
		if n := f.begun.Load(); n != 0 {
			t.Errorf("AVIF was made for clients that do not take it")
		}
	})
}

func TestNoAVIF(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{NoAVIF: true}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		expect(t, "auto=format", mustGet(t, h, catBehind, "Accept", takesAVIF), webpType, anHour, "imagecdn; fwd=miss; stored")
		if got := mustGet(t, h, catByName).Header().Get("Content-Type"); got != avifType {
			t.Errorf("fm=avif is %s", got)
		}
		if h := mustGet(t, h, "/photos/cat.png?w=300&auto=format&fm=webp", "Accept", takesAVIF).Header(); h.Get("Vary") != "" || h.Get("Content-Type") != webpType {
			t.Errorf("Accept decides nothing: %v", h) // WebP is what it could pick
		}
		if n := f.begun.Load(); n != 1 {
			t.Errorf("AVIF was made %d times", n)
		}
	})
}

func TestAVIFByNameWaits(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		mustGet(t, h, catBehind, "Accept", takesAVIF)
		synctest.Wait() // the encoder is at it
		begun := time.Now()
		w := mustGet(t, h, catByName)
		if took := time.Since(begun); took != time.Second || w.Header().Get("Content-Type") != avifType || w.Header().Get("Vary") != "" {
			t.Errorf("after %v: %v", took, w.Header())
		}
		synctest.Wait()
		if again := mustGet(t, h, catBehind, "Accept", takesAVIF); again.Header().Get("Etag") != w.Header().Get("Etag") {
			t.Errorf("one picture has two names: %v, %v", again.Header(), w.Header())
		}
		if n := f.begun.Load(); n != 1 {
			t.Errorf("the two made it %d times", n)
		}
	})
}

// Who asks for AVIF by name, and takes nothing that could stand in for it, waits as well.
func TestAVIFWithoutAStandInWaits(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=60&fm=avif&auto=format"
		expect(t, "first", mustGet(t, h, url, "Accept", avifType), avifType, anHour, "imagecdn; fwd=miss; stored")
		expect(t, "then", mustGet(t, h, url, "Accept", avifType), avifType, anHour, "imagecdn; hit; ttl=3599")
		expect(t, "WebP", mustGet(t, h, url, "Accept", takesWebP), webpType, anHour, "imagecdn; fwd=miss; stored")
	})
}

func TestValidatorsOfStandIns(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		standIn := mustGet(t, h, catBehind, "Accept", takesAVIF).Header().Get("Etag")
		w := get(h, catBehind, "Accept", takesAVIF, "If-None-Match", standIn)
		if w.Code != http.StatusNotModified || w.Header().Get("Cache-Control") != "public, max-age=30" || w.Header().Get("Etag") != standIn || w.Header().Get("Vary") != "Accept" {
			t.Errorf("meanwhile: %d %v", w.Code, w.Header())
		}
		r := httptest.NewRequest(http.MethodHead, catBehind, nil)
		r.Header.Set("Accept", takesAVIF)
		head := httptest.NewRecorder()
		h.ServeHTTP(head, r)
		if head.Body.Len() != 0 || head.Header().Get("Etag") != standIn || head.Header().Get("Cache-Control") != "public, max-age=30" {
			t.Errorf("HEAD: %d bytes, %v", head.Body.Len(), head.Header())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		better := mustGet(t, h, catBehind, "Accept", takesAVIF, "If-None-Match", standIn)
		expect(t, "then", better, avifType, anHour, "imagecdn; hit; ttl=3599")
		tag := better.Header().Get("Etag")

		// Who has the AVIF keeps it, also where the cache has lost it.
		purged(t, h, purge.Options{}, "/photos/cat.png")
		for range 2 {
			w := get(h, catBehind, "Accept", takesAVIF, "If-None-Match", tag)
			if w.Code != http.StatusNotModified || w.Header().Get("Etag") != tag || w.Header().Get("Cache-Control") != anHour {
				t.Errorf("who has it: %d %v", w.Code, w.Header())
			}
		}
	})
}

// HEAD alone, and a revalidation alone, have the AVIF made too.
func TestAVIFFollowsWhateverAsks(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		webp := mustGet(t, h, catBehind, "Accept", takesWebP).Header().Get("Etag")
		if w := get(h, catBehind, "Accept", takesAVIF, "If-None-Match", webp); w.Code != http.StatusNotModified {
			t.Errorf("%d", w.Code)
		}
		synctest.Wait()
		expect(t, "then", mustGet(t, h, catBehind, "Accept", takesAVIF, "If-None-Match", webp), avifType, anHour, "imagecdn; hit; ttl=3600")
	})
}

func TestPurgeWhileAVIFIsMade(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Delete, purge.Revalidate} {
		f := &fakeAVIF{takes: time.Second}
		behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			old := mustGet(t, h, catBehind, "Accept", takesAVIF).Header().Get("Etag")
			synctest.Wait()
			o.set("/cat.png", answer{header: version2, body: noise(t, 2, 80, 80)})
			purged(t, h, purge.Options{Mode: mode}, "/photos/cat.png")
			time.Sleep(2 * time.Second)
			synctest.Wait()
			fresh := mustGet(t, h, catBehind, "Accept", takesAVIF)
			if fresh.Header().Get("Content-Type") != webpType || fresh.Header().Get("Etag") == old {
				t.Errorf("%s: %v", mode, fresh.Header())
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if w := mustGet(t, h, catBehind, "Accept", takesAVIF); w.Header().Get("Content-Type") != avifType {
				t.Errorf("%s: %v", mode, w.Header())
			}

			// The same bytes again have the same name; what was made before the purge is gone all the same.
			o.set("/cat.png", answer{header: version2, body: noise(t, 1, 80, 80)})
			purged(t, h, purge.Options{}, "/photos/cat.png")
			if w := mustGet(t, h, catBehind, "Accept", takesAVIF); w.Header().Get("Content-Type") != webpType || w.Header().Get("Etag") != old {
				t.Errorf("%s: kept across a purge: %v", mode, w.Header())
			}
		})
	}
}

func TestCloseWhileAVIFIsMade(t *testing.T) {
	f := &fakeAVIF{takes: time.Minute}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		for i := range 10 {
			mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d&auto=format", 60+i), "Accept", takesAVIF)
		}
		synctest.Wait()
		begun, at := f.begun.Load(), time.Now()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(at); took != 0 {
			t.Errorf("it waited %v", took)
		}
		time.Sleep(10 * time.Minute)
		if n := f.begun.Load(); n != begun || n == 0 {
			t.Errorf("%d begun before it closed, %d after", begun, n-begun)
		}
	})
}

func TestQueueOfAVIFIsBounded(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{Renders: 3}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("max-age=100000"), body: noise(t, 1, 80, 80)})
		const many = imagecdn.MaxBehind + 20
		all := func() (better int) {
			for i := range many {
				url := fmt.Sprintf("/photos/cat.png?w=60&h=%d&fit=scale&auto=format", 60+i)
				switch w := mustGet(t, h, url, "Accept", takesAVIF).Header(); {
				case w.Get("Content-Type") == avifType:
					better++
				case w.Get("Cache-Control") != fmt.Sprintf("public, max-age=%d", 30+number(t, w.Get("Age"))):
					t.Fatalf("%s: %v", url, w)
				}
			}
			return better
		}
		for range 2 {
			if n := all(); n != 0 {
				t.Errorf("%d without waiting", n)
			}
			synctest.Wait()
		}
		time.Sleep(many * f.takes)
		if n := f.begun.Load(); n != imagecdn.MaxBehind+1 || f.most.Load() != 1 {
			t.Errorf("%d were made, %d at once; %d fit into the queue, beside the one in work", n, f.most.Load(), imagecdn.MaxBehind)
		}
		if n := all(); n != imagecdn.MaxBehind+1 {
			t.Errorf("%d are served", n)
		}
		time.Sleep(many * f.takes)
		if n := all(); n != many {
			t.Errorf("%d are served, %d were dropped and asked for again", n, many)
		}
	})
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A picture whose AVIF fails is not tried for every request, and its original is as good as before.
func TestAVIFThatFails(t *testing.T) {
	for name, f := range map[string]*fakeAVIF{"error": {err: errors.New("no memory")}, "panic": {panics: true}} {
		t.Run(name, func(t *testing.T) {
			behind(t, f, &imagecdn.Options{Lifetime: cache.Lifetime{Negative: time.Minute}}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
				expect(t, "first", mustGet(t, h, catBehind, "Accept", takesAVIF), webpType, "public, max-age=30", "imagecdn; fwd=miss; stored"+standsIn)
				synctest.Wait()
				for range 5 {
					expect(t, "then", mustGet(t, h, catBehind, "Accept", takesAVIF), webpType, "public, max-age=60", "imagecdn; hit; ttl=60"+standsIn)
					synctest.Wait()
				}
				if n := f.begun.Load(); n != 1 {
					t.Errorf("tried %d times", n)
				}
				time.Sleep(time.Minute)
				mustGet(t, h, catBehind, "Accept", takesAVIF)
				synctest.Wait()
				if n := f.begun.Load(); n != 2 {
					t.Errorf("a minute later: tried %d times", n)
				}
				if n := o.count(); n != 1 {
					t.Errorf("the original was fetched %d times", n)
				}
				expect(t, "others", mustGet(t, h, catBehind, "Accept", takesWebP), webpType, anHour, "imagecdn; hit; ttl=3540")
			})
		})
	}
}

// Where AVIF is larger than what stood in for it, that is served for good.
func TestAVIFThatIsLarger(t *testing.T) {
	f := &fakeAVIF{size: 100_000}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		first := mustGet(t, h, catBehind, "Accept", takesAVIF)
		expect(t, "first", first, webpType, "public, max-age=30", "imagecdn; fwd=miss; stored"+standsIn)
		synctest.Wait()
		for range 5 {
			w := mustGet(t, h, catBehind, "Accept", takesAVIF)
			expect(t, "then", w, webpType, anHour, "imagecdn; hit; ttl=3600")
			if w.Header().Get("Etag") != first.Header().Get("Etag") {
				t.Error("the same picture has two names")
			}
		}
		w := get(h, catBehind, "Accept", takesAVIF, "If-None-Match", first.Header().Get("Etag"))
		if w.Code != http.StatusNotModified || w.Header().Get("Cache-Control") != anHour {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if w := mustGet(t, h, catByName); w.Header().Get("Content-Type") != avifType || w.Header().Get("Cache-Status") != "imagecdn; fwd=miss; stored" {
			t.Errorf("by name: %v", w.Header())
		}
		expect(t, "still", mustGet(t, h, catBehind, "Accept", takesAVIF), webpType, anHour, "imagecdn; hit; ttl=3600")

		// A client without WebP has a stand-in of its own, which is larger yet.
		expect(t, "no WebP", mustGet(t, h, catBehind, "Accept", avifType), avifType, anHour, "imagecdn; hit; ttl=3600")

		// Another original is another question.
		f.size = fakeLength
		o.set("/cat.png", answer{header: version2, body: noise(t, 2, 80, 80)})
		purged(t, h, purge.Options{}, "/photos/cat.png")
		mustGet(t, h, catBehind, "Accept", takesAVIF)
		synctest.Wait()
		expect(t, "changed", mustGet(t, h, catBehind, "Accept", takesAVIF), avifType, anHour, "imagecdn; hit; ttl=3600")
	})
}

// For a picture of few bytes AVIF is not even tried.
func TestAVIFOfSmallPictures(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/dot.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
		const url = "/photos/dot.png?w=20&auto=format"
		expect(t, "first", mustGet(t, h, url, "Accept", takesAVIF), webpType, anHour, "imagecdn; fwd=miss; stored")
		for range 3 {
			expect(t, "then", mustGet(t, h, url, "Accept", takesAVIF), webpType, anHour, "imagecdn; hit; ttl=3600")
		}
		synctest.Wait()
		if f.begun.Load() != 0 {
			t.Error("it was tried")
		}
	})
}

// A picture of so many pixels that the encoder would be at it for too long is not tried either.
func TestAVIFOfLargePictures(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		const url = "/photos/cat.png?w=1500&h=1500&fit=scale&fm=jpg&q=10&auto=format"
		expect(t, "first", mustGet(t, h, url, "Accept", avifType), "image/jpeg", "public, max-age=30", "imagecdn; fwd=miss; stored"+standsIn)
		synctest.Wait()
		expect(t, "then", mustGet(t, h, url, "Accept", avifType), "image/jpeg", anHour, "imagecdn; hit; ttl=3600")
		if f.begun.Load() != 0 {
			t.Error("it was tried")
		}
	})
}

// Of many slots half are used behind, where nothing else needs them, as far as the pixels go.
func TestAVIFInManySlots(t *testing.T) {
	for side, want := range map[int]int32{60: 5, 500: 5, 1000: 2} {
		f := &fakeAVIF{takes: time.Second}
		behind(t, f, &imagecdn.Options{Renders: 10}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
			for i := range 7 {
				url := fmt.Sprintf("/photos/cat.png?w=%d&h=%d&fit=scale&fm=jpg&auto=format", side, side+i)
				mustGet(t, h, url, "Accept", avifType)
			}
			time.Sleep(10 * time.Second)
			if n := f.most.Load(); n != want || f.begun.Load() != 7 {
				t.Errorf("%d pixels wide: %d of %d at once, want %d", side, n, f.begun.Load(), want)
			}
		})
	}
}

// While the only slot is used behind, a request has it at once; and nothing begins behind while a request waits.
func TestAVIFGivesWay(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{Renders: 1}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		mustGet(t, h, catBehind, "Accept", takesAVIF)
		synctest.Wait()
		if f.now.Load() != 1 {
			t.Fatal("it has not begun")
		}
		at := time.Now()
		for i := range 5 {
			mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d", 20+i))
		}
		if took := time.Since(at); took != 0 {
			t.Errorf("requests waited %v", took)
		}
		time.Sleep(f.takes)
		synctest.Wait()
		release := imagecdn.HoldGate(h) // all of the one slot is there again
		begun := f.begun.Load()
		o.set("/dog.png", answer{header: cachedAnHour, body: noise(t, 3, 80, 80)})
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { mustGet(t, h, fmt.Sprintf("/photos/dog.png?w=%d&auto=format", 60+i), "Accept", takesAVIF) })
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		if f.begun.Load() != begun {
			t.Error("it began while requests wait")
		}
		release()
		wg.Wait()
		time.Sleep(3 * f.takes)
		synctest.Wait()
		if n := f.begun.Load() - begun; n != 3 || f.most.Load() != 1 {
			t.Errorf("afterwards %d were made, %d at once", n, f.most.Load())
		}
		imagecdn.HoldGate(h)() // no slot was lost, and none given back twice
	})
}

// What is to be made behind and was there first does not go first.
func TestAVIFGivesWayInTheLine(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{Renders: 1}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		mustGet(t, h, catBehind, "Accept", takesWebP)
		release := imagecdn.HoldGate(h)
		mustGet(t, h, catBehind, "Accept", takesAVIF) // a hit: what waits for the slot is what follows it
		synctest.Wait()
		at := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d", 20+i)) })
		}
		synctest.Wait()
		release()
		wg.Wait()
		if took := time.Since(at); took != 0 {
			t.Errorf("requests waited %v", took)
		}
		time.Sleep(f.takes)
		synctest.Wait()
		expect(t, "then", mustGet(t, h, catBehind, "Accept", takesAVIF), avifType, anHour, "imagecdn; hit; ttl=3599")
	})
}

// What may not be kept has no AVIF made that would not be kept either.
func TestNoStoreHasNothingBehind(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		o.set("/cat.png", answer{header: cacheFor("no-store"), body: noise(t, 1, 80, 80)})
		for range 2 {
			w := mustGet(t, h, catBehind, "Accept", takesAVIF)
			if w.Header().Get("Content-Type") != webpType || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%v", w.Header())
			}
			synctest.Wait()
		}
		if f.begun.Load() != 0 {
			t.Error("it was made")
		}
	})
}

func TestAnimationsStayGIF(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		moving := &gif.GIF{Delay: []int{5, 5}}
		for i := range 2 {
			m := image.NewPaletted(image.Rect(0, 0, 40, 40), color.Palette{red, green, blue})
			for j := range m.Pix {
				m.Pix[j] = uint8((i + j/7) % 3)
			}
			moving.Image = append(moving.Image, m)
		}
		var b bytes.Buffer
		if err := gif.EncodeAll(&b, moving); err != nil {
			t.Fatal(err)
		}
		o.set("/wave.gif", answer{header: cachedAnHour, body: b.Bytes()})
		for _, accept := range []string{takesAVIF, takesWebP, "*/*"} {
			w := mustGet(t, h, "/photos/wave.gif?w=20&auto=format", "Accept", accept)
			again, err := gif.DecodeAll(w.Body)
			if err != nil || len(again.Image) != 2 || w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != anHour {
				t.Errorf("%q: %v, %v", accept, err, w.Header())
			}
		}
		if n := imagecdn.Renders(h); n != 1 {
			t.Errorf("made %d times", n)
		}
		// Where a still is asked for, it is one in the best format.
		if w := mustGet(t, h, "/photos/wave.gif?w=20&fm=png&auto=format", "Accept", takesWebP); w.Header().Get("Content-Type") != webpType {
			t.Errorf("%v", w.Header())
		}
	})
}

// An animation that is negotiated to AVIF is WebP, and nothing is made behind it.
func TestAnimationsStayWebP(t *testing.T) {
	f := &fakeAVIF{}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		moving := &gif.GIF{Delay: []int{5, 5, 5}}
		r := rand.New(rand.NewPCG(1, 1))
		for range 3 {
			m := image.NewPaletted(image.Rect(0, 0, 80, 80), color.Palette{red, green, blue})
			for j := range m.Pix {
				m.Pix[j] = uint8(r.IntN(3))
			}
			moving.Image = append(moving.Image, m)
		}
		var b bytes.Buffer
		if err := gif.EncodeAll(&b, moving); err != nil {
			t.Fatal(err)
		}
		var renderer resize.Renderer
		pic, err := renderer.Render(t.Context(), resize.Plan{Format: resize.WebP}, b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		o.set("/wave.webp", answer{header: cachedAnHour, body: pic.Bytes})
		for i := range 3 {
			w := mustGet(t, h, "/photos/wave.webp?w=60&auto=format", "Accept", takesAVIF)
			info, err := resize.Probe(w.Body.Bytes())
			if err != nil || info.Frames != 3 || w.Header().Get("Content-Type") != webpType {
				t.Errorf("%+v, %v, %v", info, err, w.Header())
			}
			if i > 0 && w.Header().Get("Cache-Control") != anHour {
				t.Errorf("request %d: %v", i, w.Header())
			}
			synctest.Wait()
		}
		if f.begun.Load() != 0 {
			t.Error("AVIF was made of it")
		}
	})
}

// Warming makes the stand-in while there is room, and the AVIF behind it.
func TestWarmingWithAVIF(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{Warm: 2, Renders: 1}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		urls := []string{catBehind, "/photos/cat.png?w=70&auto=format"}
		for range 3 {
			for _, url := range urls {
				mustGet(t, h, url, "Accept", takesAVIF)
			}
			time.Sleep(3 * time.Second)
		}
		o.set("/cat.png", answer{header: version2, body: noise(t, 2, 80, 80)})
		purged(t, h, purge.Options{}, "/photos/cat.png")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, url := range urls {
			expect(t, url, mustGet(t, h, url, "Accept", takesAVIF), avifType, anHour, "imagecdn; hit; ttl=3597")
		}
	})
}

// Many clients of all kinds, with purges between, get bytes that fit their headers; two formats never share an ETag.
func TestManyClientsOfAVIF(t *testing.T) {
	f := &fakeAVIF{takes: 10 * time.Millisecond}
	behind(t, f, nil, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		var mu sync.Mutex
		tags := make(map[string]string)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 30 {
					accept := []string{takesAVIF, takesWebP, "image/png", avifType}[(i+j)%4]
					w := mustGet(t, h, fmt.Sprintf("/photos/cat.png?w=%d&auto=format", 60+j%5), "Accept", accept)
					kind, tag := w.Header().Get("Content-Type"), w.Header().Get("Etag")
					if !strings.Contains(accept, kind) || http.DetectContentType(w.Body.Bytes()) == webpType != (kind == webpType) || bytes.HasPrefix(w.Body.Bytes(), []byte("fake")) != (kind == avifType) {
						if kind != "image/png" {
							t.Errorf("%q: %s with %.10q", accept, kind, w.Body.Bytes())
						}
					}
					mu.Lock()
					if known := tags[tag]; known != "" && known != kind {
						t.Errorf("%s is %s and %s", tag, known, kind)
					}
					tags[tag] = kind
					mu.Unlock()
					time.Sleep(3 * time.Millisecond)
				}
			})
		}
		for range 5 {
			time.Sleep(15 * time.Millisecond)
			purged(t, h, purge.Options{}, "/photos/cat.png")
		}
		wg.Wait()
		time.Sleep(time.Second)
		imagecdn.HoldGate(h)()
		if w := mustGet(t, h, "/photos/cat.png?w=60&auto=format", "Accept", avifType); w.Header().Get("Content-Type") != avifType {
			mustGet(t, h, catBehind, "Accept", takesAVIF)
			time.Sleep(time.Second)
			if w := mustGet(t, h, catBehind, "Accept", takesAVIF); w.Header().Get("Content-Type") != avifType {
				t.Errorf("at the end: %v", w.Header())
			}
		}
	})
}

// A decoding that requests share is never one that was begun behind, which waits after all of them.
func TestAVIFSharesNoDecoding(t *testing.T) {
	f := &fakeAVIF{takes: time.Second}
	behind(t, f, &imagecdn.Options{Decoded: -1}, func(t *testing.T, o *fakeOrigin, h *imagecdn.Handler) {
		mustGet(t, h, catBehind, "Accept", takesAVIF)
		time.Sleep(2 * f.takes)
		synctest.Wait()
		if decodes, _ := imagecdn.Decoded(h); decodes != 1 || f.begun.Load() != 1 {
			t.Errorf("%d decodings that others may join, %d pictures in AVIF; want one each", decodes, f.begun.Load())
		}
	})
}
