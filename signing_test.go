package imagecdn_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/middleware"
)

// getRaw asks for a URL as a server hands it on: with the bytes that were sent beside what they mean.
func getRaw(h http.Handler, uri string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, uri, nil))
	return w
}

// Signatures and times are in front of the handler, and not in the keys of what it keeps.
func TestSignedURLsShareOneDerivative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/cat.png", answer{body: paint(t, red, 40, 40)})
		h := open(t, o, nil)
		older, newer := []byte("the-old-key-of-more-than-16-bytes"), []byte("the-new-key-of-more-than-16-bytes")
		native, before := &middleware.Signature{Keys: [][]byte{newer, older}}, &middleware.Signature{Keys: [][]byte{older}}
		imgix, ci, seal := &middleware.ImgixSignature{Tokens: []string{"FOO123bar"}}, &middleware.CloudimageSignature{Salts: []string{"salt"}}, &middleware.CloudimageSeal{Salts: []string{"salt"}}
		mux := http.NewServeMux()
		mux.Handle("/img/", http.StripPrefix("/img", middleware.AnyOf{native, imgix, ci, seal}.Handler(h)))

		now := time.Now()
		hour, day := native.Sign(middleware.Until("/img/photos/cat.png?w=20", now.Add(time.Hour))), native.Sign(middleware.Until("/img/photos/cat.png?w=20", now.Add(24*time.Hour)))
		etag := ""
		for i, uri := range []string{
			native.Sign("/img/photos/cat.png?w=20"),
			before.Sign("/img/photos/cat.png?w=20"),
			imgix.Sign("/img/photos/cat.png?w=20"),
			ci.Sign("/img/photos/cat.png?w=20"),
			seal.Seal("/img/photos/cat.png?w=20", "w"),
			hour, day,
			imgix.Sign(middleware.Until("/img/photos/cat.png?w=20", now.Add(time.Hour))),
		} {
			w := getRaw(mux, uri)
			status := w.Header().Get("Cache-Status")
			if i == 0 {
				etag = w.Header().Get("Etag")
			}
			if w.Code != 200 || etag == "" || w.Header().Get("Etag") != etag || strings.Contains(status, "; hit") != (i > 0) {
				t.Errorf("%s: got %d, ETag %s, Cache-Status %s; want ETag %s", uri, w.Code, w.Header().Get("Etag"), status, etag)
			}
		}
		if o.count() != 1 {
			t.Errorf("the origin was asked %d times", o.count())
		}
		if got := getRaw(mux, hour).Header().Get("Cache-Control"); got != "public, max-age=3600" {
			t.Errorf("what ends in an hour may be kept for %s", got)
		}
		time.Sleep(time.Hour)
		if w := getRaw(mux, hour); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("after an hour: got %d, %v", w.Code, w.Header())
		}
		if w := getRaw(mux, day); w.Code != 200 {
			t.Errorf("after an hour, what ends in a day: got %d", w.Code)
		}
	})
}

func TestUnsignedURLsReachNothing(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	native := &middleware.Signature{Keys: [][]byte{[]byte("the-new-key-of-more-than-16-bytes")}}
	signed := native.Sign("/photos/cat.png?w=20")
	for _, uri := range []string{
		"/photos/cat.png?w=20",
		"/photos/cat.png",
		strings.Replace(signed, "w=20", "w=21", 1),
		strings.Replace(signed, "cat", "dog", 1),
		strings.Replace(signed, "cat", "c%61t", 1),
		signed + "&w=20",
	} {
		if w := getRaw(native.Handler(h), uri); w.Code != 403 || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s: got %d %q", uri, w.Code, w.Body)
		}
	}
	if o.count() != 0 {
		t.Errorf("the origin was asked %d times", o.count())
	}
	// What is sealed wins over what is added, by whatever name.
	seal := &middleware.CloudimageSeal{Salts: []string{"salt"}}
	fixed := seal.Seal("/photos/cat.png?w=20", "w")
	for add, want := range map[string]int{"": 200, "&q=50": 200, "&w=30": 403, "&width=30": 403, "&w64=MzA": 403, "&%77=30": 403} {
		if w := getRaw(seal.Handler(h), fixed+add); w.Code != want {
			t.Errorf("sealed, with %q: got %d %q", add, w.Code, w.Body)
		}
	}
	// Presets would be this, by the name that they have.
	list := &middleware.Allow{Params: map[string][]string{"w": {"20"}, "fm": {"png"}}, Required: []string{"w"}}
	for query, want := range map[string]int{"?w=20": 200, "?w=20&fm=png": 200, "?w=21": 403, "": 403, "?w=20&h=3": 403} {
		if w := getRaw(list.Handler(h), "/photos/cat.png"+query); w.Code != want {
			t.Errorf("%q: got %d %q", query, w.Code, w.Body)
		}
	}
}
