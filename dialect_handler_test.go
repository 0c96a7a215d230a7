package imagecdn_test

import (
	"bytes"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/middleware"
	"github.com/imagecdn/imagecdn/purge"
)

// A queryOrigin has another image for each query.
type queryOrigin struct{ *fakeOrigin }

func (o queryOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.RawQuery != "" {
		r = r.Clone(r.Context())
		r.URL.Path += "?" + r.URL.RawQuery
	}
	return o.fakeOrigin.RoundTrip(r)
}

// The query of an original is asked of the origin, tells originals apart, survives a restart, and is purged with the path.
func TestQueriesOfOriginals(t *testing.T) {
	dir, o := t.TempDir(), newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	o.set("/cat.png?token=1", answer{header: cachedAnHour, body: paint(t, green, 40, 40)})
	o.set("/cat.png?token=2", answer{header: cachedAnHour, body: paint(t, blue, 40, 40)})
	openHandler := func() *imagecdn.Handler {
		d, err := cache.OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: queryOrigin{o}}}, &imagecdn.Options{
			Cache: d, Dialect: imagecdn.Cloudimage{Hosts: map[string]string{"a.example": "photos"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := openHandler()
	const one, two = "/v7/https://a.example/cat.png?token=1?w=20", "/v7/a.example%2Fcat.png%3Ftoken%3D2?w=20&ci_url_encoded=1"
	all := func(want int) {
		t.Helper()
		for _, tt := range []struct {
			url  string
			want any
		}{{"/v7/a.example/cat.png?w=20", red}, {one, green}, {two, blue}} {
			if got := colorOf(t, mustGet(t, h, tt.url).Body.Bytes()); got != tt.want {
				t.Errorf("%s is %v, want %v", tt.url, got, tt.want)
			}
		}
		if o.count() != want {
			t.Errorf("%d requests to the origin, want %d", o.count(), want)
		}
	}
	all(3)
	if o.last().Header.Get("Cache-Control") != "" {
		t.Error("a query is taken for a cache-busting word")
	}
	all(3)
	h.Close()

	h = openHandler()
	all(3)
	rec, _ := purged(t, h, purge.Options{}, "/photos/cat.png")
	if p := rec.Paths[0]; p.Originals != 3 || p.Derivatives != 3 {
		t.Errorf("removed %+v", p)
	}
	o.set("/cat.png?token=1", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	if got := colorOf(t, mustGet(t, h, one).Body.Bytes()); got != red {
		t.Errorf("%v after a purge", got)
	}
	h.Close()

	h = openHandler()
	defer h.Close()
	if got := colorOf(t, mustGet(t, h, one).Body.Bytes()); got != red {
		t.Errorf("%v after a purge and a restart", got)
	}

	// A version is no way to a query.
	for _, vh := range []string{"%0atoken=2", "%0Atoken=2", "a%0atoken=2", "%e2%80%a8token=2", "?token=2"} {
		w := get(h, "/v7/a.example/cat.png?w=20&vh="+vh)
		if w.Code == http.StatusOK && colorOf(t, w.Body.Bytes()) != red {
			t.Errorf("vh=%s gives another image", vh)
		}
	}
}

// Nothing of a native URL becomes a query of the origin.
func TestNativeURLsHaveNoQueriesForTheOrigin(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, nil)
	for _, url := range []string{"/photos/cat.png?token=1?w=20", "/photos/cat.png?w=20&vh=1", "/photos/cat.png?vh=?token=1"} {
		mustGet(t, h, url)
		if q := o.last().URL.RawQuery; q != "" {
			t.Errorf("%s asks the origin with %q", url, q)
		}
	}
}

func TestCacheTimeOfAURL(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Prefix: "photos"}})
	for _, tt := range []struct{ query, want string }{
		{"", "public, max-age=3600"}, {"&ci_cache=60", "public, max-age=60"}, {"&ci_cache=999999", "public, max-age=3600"},
	} {
		if got := mustGet(t, h, "/cat.png?w=20"+tt.query).Header().Get("Cache-Control"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.query, got, tt.want)
		}
	}
}

func TestPresetsOnlyAndAllow(t *testing.T) {
	o := newOrigin()
	o.set("/cat.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	presets := map[string]string{"thumb": "w=20&h=20&fit=crop"}
	widths := &imagecdn.Allow{Widths: []int{20, 30}, Params: []string{"w", "fit", "dpr", "q"}}
	for _, tt := range []struct {
		name    string
		opts    imagecdn.Options
		url     string
		status  int
		message string
	}{
		{"a preset", imagecdn.Options{Presets: presets}, "/photos/cat.png?preset=thumb", 200, ""},
		{"a preset and more", imagecdn.Options{Presets: presets}, "/photos/cat.png?preset=thumb&q=50", 200, ""},
		{"a preset that is contradicted", imagecdn.Options{Presets: presets}, "/photos/cat.png?preset=thumb&width=50", 400, "given twice"},
		{"an unknown preset", imagecdn.Options{Presets: presets}, "/photos/cat.png?preset=other", 400, "there is no such preset here"},
		{"no presets", imagecdn.Options{}, "/photos/cat.png?preset=thumb&w=20", 200, ""},
		{"presets only", imagecdn.Options{Presets: presets, PresetsOnly: true}, "/photos/cat.png?preset=thumb&vh=2&dl=a.png&expires=4000000000&utm=1", 200, ""},
		{"presets only, the original", imagecdn.Options{Presets: presets, PresetsOnly: true}, "/photos/cat.png", 403, "a URL has to have a preset here"},
		{"presets only, a width", imagecdn.Options{Presets: presets, PresetsOnly: true}, "/photos/cat.png?w=20", 403, "a URL has to have a preset here"},
		{"presets only, and more", imagecdn.Options{Presets: presets, PresetsOnly: true}, "/photos/cat.png?preset=thumb&q=50", 403, "q=: not allowed beside a preset here"},
		{"presets only, and more in base64", imagecdn.Options{Presets: presets, PresetsOnly: true}, "/photos/cat.png?q64=NTA&%70reset=thumb", 403, "not allowed beside a preset here"},
		{"presets of Cloudimage", imagecdn.Options{Dialect: imagecdn.Cloudimage{Prefix: "photos", Presets: map[string]string{"x": "w=20"}}, PresetsOnly: true}, "/v7/cat.png?p=x&ci_cache=9&ci_sign=a", 200, ""},
		{"presets of Cloudimage, and more", imagecdn.Options{Dialect: imagecdn.Cloudimage{Prefix: "photos", Presets: map[string]string{"x": "w=20"}}, PresetsOnly: true}, "/v7/cat.png?p=x&height=9", 403, "height=: not allowed beside a preset here"},
		{"presets of imgix", imagecdn.Options{Dialect: imagecdn.Imgix{Source: "photos", Presets: presets}, PresetsOnly: true}, "/cat.png?preset=thumb", 200, ""},

		{"a width on the list", imagecdn.Options{Allow: widths}, "/photos/cat.png?w=20&fit=max", 200, ""},
		{"by another name", imagecdn.Options{Allow: widths}, "/photos/cat.png?width=20.2&f=max&utm=1", 200, ""},
		{"in base64", imagecdn.Options{Allow: widths}, "/photos/cat.png?w64=MzE", 403, "w=31: not on the list of what is allowed here; the nearest is 30"},
		{"not on the list", imagecdn.Options{Allow: widths}, "/photos/cat.png?width=21", 403, "the nearest is 20"},
		{"a fraction", imagecdn.Options{Allow: widths}, "/photos/cat.png?w=0.5", 403, "w=0.5: a fraction"},
		{"whole densities", imagecdn.Options{Allow: widths}, "/photos/cat.png?w=20&dpr=2", 200, ""},
		{"densities between", imagecdn.Options{Allow: widths}, "/photos/cat.png?w=20&dpr=1.01", 403, "dpr=1.01: not a whole number"},
		{"another parameter", imagecdn.Options{Allow: widths}, "/photos/cat.png?w=20&flip=h", 403, "flip=h: not allowed here"},
		{"heights with widths", imagecdn.Options{Allow: &imagecdn.Allow{Widths: []int{20}}}, "/photos/cat.png?w=20&h=10", 403, "h=10: not allowed here"},
		{"heights", imagecdn.Options{Allow: &imagecdn.Allow{Widths: []int{20}, Heights: []int{10}}}, "/photos/cat.png?w=20&h=10", 200, ""},
		{"the original", imagecdn.Options{Allow: widths}, "/photos/cat.png", 200, ""},
		{"Cloudimage's names", imagecdn.Options{Allow: widths, Dialect: imagecdn.Cloudimage{Prefix: "photos"}}, "/v7/cat.png?width=31", 403, "w=31"},
		{"Cloudimage's rules", imagecdn.Options{Allow: widths, Dialect: imagecdn.Cloudimage{Prefix: "photos"}}, "/v7/cat.png?width=20&func=bound&org_if_sml=1", 200, ""},
	} {
		opts := tt.opts
		h := open(t, o, &opts)
		w := get(h, tt.url)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.message) {
			t.Errorf("%s: %s is %d %q, want %d %q", tt.name, tt.url, w.Code, w.Body, tt.status, tt.message)
		}
		if w.Code == http.StatusForbidden && !strings.Contains(w.Header().Get("Cache-Control"), "max-age=300") {
			t.Errorf("%s: Cache-Control %q", tt.name, w.Header().Get("Cache-Control"))
		}
	}

	for says, opts := range map[string]imagecdn.Options{
		"there are no presets":                   {PresetsOnly: true},
		`Native.Presets["x"]`:                    {Presets: map[string]string{"x": "w=a"}},
		"Options.Presets are for the native":     {Presets: presets, Dialect: imagecdn.Imgix{Source: "photos"}},
		"Options.Strict is for the native":       {Strict: true, Dialect: imagecdn.Imgix{Source: "photos"}},
		"Options.Allow.Widths: 1 is not between": {Allow: &imagecdn.Allow{Widths: []int{1}}},
		`Params does not have "w"`:               {Allow: &imagecdn.Allow{Widths: []int{9}, Params: []string{"q"}}},
		`Params has "h"`:                         {Allow: &imagecdn.Allow{Widths: []int{9}, Params: []string{"w", "h"}}},
		`"width" is another name of "w"`:         {Allow: &imagecdn.Allow{Params: []string{"width"}}},
		`there is no parameter "x"`:              {Allow: &imagecdn.Allow{Params: []string{"x"}}},
	} {
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &opts)
		if err == nil {
			h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}

// A site behind the three things it takes: signatures, a mux-proof path, a dialect.
func TestSignedURLsOfOtherDialects(t *testing.T) {
	o := newOrigin()
	o.set("/john-smith.png", answer{header: cachedAnHour, body: paint(t, red, 400, 400)})
	hosts := map[string]string{"avatars.com": "photos"}
	imgix := (&middleware.ImgixSignature{Tokens: []string{"FOO123bar"}}).Handler(open(t, o, &imagecdn.Options{Dialect: imagecdn.Imgix{Hosts: hosts, Strict: true}}))
	cloudimage := (&middleware.CloudimageSignature{Salts: []string{"salt"}}).Handler(open(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: hosts, Strict: true}}))
	seal := &middleware.CloudimageSeal{Salts: []string{"salt"}}
	sealed := seal.Handler(open(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: hosts, Strict: true}}))
	for _, tt := range []struct {
		h      http.Handler
		url    string
		status int
	}{
		// The vectors of imgix's documentation.
		{imgix, "/http%3A%2F%2Favatars.com%2Fjohn-smith.png?s=493a52f008c91416351f8b33d4883135", 200},
		{imgix, "/http%3A%2F%2Favatars.com%2Fjohn-smith.png?h=300&w=400&s=a201fe1a3caef4944dcb40f6ce99e746", 200},
		{imgix, "/http%3A%2F%2Favatars.com%2Fjohn-smith.png?h=301&w=400&s=a201fe1a3caef4944dcb40f6ce99e746", 403},
		{cloudimage, (&middleware.CloudimageSignature{Salts: []string{"salt"}}).Sign("/v7/https://avatars.com/john-smith.png?w=20"), 200},
		{cloudimage, "/v7/https://avatars.com/john-smith.png?w=20&ci_sign=8e71efd440164f3cc8", 403},
		{sealed, seal.Seal("/v7/https://avatars.com/john-smith.png?w=20&h=10", "w"), 200},
		{sealed, seal.Seal("/v7/https://avatars.com/john-smith.png?w=20", "w") + "&width=900", 403},
	} {
		w := httptest.NewRecorder()
		tt.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.url, nil))
		if w.Code != tt.status {
			t.Errorf("%s is %d %s, want %d", tt.url, w.Code, w.Body, tt.status)
		}
	}
}

// A URL that Scribe's pages have, in all its parts: a float for a width, a corner above the picture, a pad below zero.
func TestCloudimageURLOfAPage(t *testing.T) {
	o := newOrigin()
	o.set("/a.png", answer{header: cachedAnHour, body: paint(t, red, 1720, 1400)})
	o.set("/mark.png", answer{header: cachedAnHour, body: paint(t, blue, 100, 50)})
	h := open(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: map[string]string{"shots.example": "photos"}}})
	w := mustGet(t, h, "/v7/https://shots.example/a.png?tl_px=0,433&br_px=1719,1394&force_format=png&sharp=0.8&width=1120.0"+
		"&wat=1&wat_opacity=1&wat_gravity=northwest&wat_url=https://shots.example/mark.png&wat_scale=76&wat_pad=243,-8")
	m, err := png.Decode(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Bounds(); b.Dx() != 1120 || b.Dy() != 626 {
		t.Errorf("%v", b)
	}
	for _, tt := range []struct {
		x, y int
		want color.NRGBA
	}{{236, 10, red}, {250, 4, blue}, {315, 34, blue}, {325, 10, red}, {250, 44, red}, {1100, 600, red}} {
		if got := color.NRGBAModel.Convert(m.At(tt.x, tt.y)); got != tt.want {
			t.Errorf("at %d,%d: %v, want %v", tt.x, tt.y, got, tt.want)
		}
	}
}

func TestCloudimageFormatsByAccept(t *testing.T) {
	o := newOrigin()
	o.set("/a.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})
	h := open(t, o, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Prefix: "photos"}})
	for accept, want := range map[string]string{"image/avif,image/webp,*/*": "image/webp", "*/*": "image/jpeg"} {
		w := mustGet(t, h, "/a.png?w=20&force_format=webp,jpg,png", "Accept", accept)
		if w.Header().Get("Content-Type") != want || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s: %v", accept, w.Header())
		}
	}
	if w := mustGet(t, h, "/a.png?w=20&force_format=webp", "Accept", "*/*"); w.Header().Get("Content-Type") != "image/webp" || w.Header().Get("Vary") != "" {
		t.Errorf("%v", w.Header())
	}
}
