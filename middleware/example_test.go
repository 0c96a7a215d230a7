package middleware_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"time"

	"github.com/imagecdn/imagecdn/middleware"
)

// images stands for an *imagecdn.Handler.
var images = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Status", "imagecdn; hit; ttl=60")
	io.WriteString(w, "the image "+r.URL.String()+"\n")
})

func get(h http.Handler, uri string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, uri, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func ExampleSignature() {
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}

	mux := http.NewServeMux()
	mux.Handle("/img/", sign.Handler(http.StripPrefix("/img", images)))

	// A page that shows an image. The URL type does the escaping.
	u := url.URL{Path: "/img/photos/cat.jpg", RawQuery: url.Values{"w": {"400"}}.Encode()}
	src := sign.Sign(u.RequestURI())
	fmt.Println(src)

	for _, uri := range []string{src, "/img/photos/cat.jpg?w=4000"} {
		resp := get(mux, uri)
		fmt.Print(resp.StatusCode, " ")
		io.Copy(os.Stdout, resp.Body)
	}
	// Output:
	// /img/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU
	// 200 the image /photos/cat.jpg?w=400
	// 403 signature refused: the URL is not signed
}

// Under a pattern and a prefix, Signature may as well be inside: what is signed is the path that the browser sees.
func ExampleSignature_insideStripPrefix() {
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}

	mux := http.NewServeMux()
	mux.Handle("/img/", http.StripPrefix("/img", sign.Handler(images)))

	resp := get(mux, sign.Sign("/img/photos/cat.jpg?w=400"))
	fmt.Print(resp.StatusCode, " ")
	io.Copy(os.Stdout, resp.Body)
	// Output: 200 the image /photos/cat.jpg?w=400
}

func ExampleSignature_Sign() {
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}
	fmt.Println(sign.Sign("/photos/cat.jpg?w=400"))
	// Output:
	// /photos/cat.jpg?w=400&s=C5yNcIIYnY5whud_6EUF9jXE74EUhR0CbZREw85rufk
}

// A new key signs, and what the old one has signed is good until it is taken out.
func ExampleSignature_rotation() {
	before := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}
	after := &middleware.Signature{Keys: [][]byte{[]byte("another-key-of-32-bytes-012345678"), before.Keys[0]}}

	for _, uri := range []string{before.Sign("/photos/cat.jpg?w=400"), after.Sign("/photos/cat.jpg?w=400")} {
		fmt.Println(get(after.Handler(images), uri).StatusCode, get(before.Handler(images), uri).StatusCode)
	}
	// Output:
	// 200 200
	// 200 403
}

func ExampleUntil() {
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}
	past, future := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)

	fmt.Println(middleware.Until("/photos/cat.jpg?w=400", past))
	for _, t := range []time.Time{past, future} {
		resp := get(sign.Handler(images), sign.Sign(middleware.Until("/photos/cat.jpg?w=400", t)))
		fmt.Print(resp.StatusCode, " ")
		io.Copy(os.Stdout, resp.Body)
	}
	// Output:
	// /photos/cat.jpg?w=400&expires=1577836800
	// 404 the URL has expired
	// 200 the image /photos/cat.jpg?w=400&expires=32472144000
}

func ExampleImgixSignature() {
	sign := &middleware.ImgixSignature{Tokens: []string{"FOO123bar"}}
	fmt.Println(sign.Sign("/users/1.png?w=400&h=300"))
	// Output:
	// /users/1.png?w=400&h=300&s=c7b86f666a832434dd38577e38cf86d1
}

func ExampleCloudimageSignature() {
	sign := &middleware.CloudimageSignature{Salts: []string{"salt"}}
	fmt.Println(sign.Sign("/v7/assets/image.jpg?w=200"))
	// Output:
	// /v7/assets/image.jpg?w=200&ci_sign=84c81ef20852013046
}

func ExampleCloudimageSeal() {
	seal := &middleware.CloudimageSeal{Salts: []string{"salt"}}
	fmt.Println(seal.Seal("/v7/assets/image.jpg?w=100&h=300&blur=20", "h", "blur"))

	// What is not sealed may be changed, and what is may not.
	for _, add := range []string{"", "&q=50", "&h=9000"} {
		resp := get(seal.Handler(images), "/v7/assets/image.jpg?ci_eqs=Ymx1cj0yMCZoPTMwMA&ci_seal=a49adc8f592ef99188"+add)
		fmt.Print(resp.StatusCode, " ")
		io.Copy(os.Stdout, resp.Body)
	}
	// Output:
	// /v7/assets/image.jpg?w=100&ci_eqs=Ymx1cj0yMCZoPTMwMA&ci_seal=a49adc8f592ef99188
	// 200 the image /v7/assets/image.jpg?blur=20&h=300
	// 200 the image /v7/assets/image.jpg?blur=20&h=300&q=50
	// 403 signature refused: a parameter that is sealed is given twice
}

func ExampleAllow() {
	sizes := &middleware.Allow{Params: map[string][]string{"w": {"320", "640", "1280"}, "auto": {"format"}}}
	for _, query := range []string{"w=640", "w=641"} {
		resp := get(sizes.Handler(images), "/photos/cat.jpg?"+query)
		fmt.Print(resp.StatusCode, " ")
		io.Copy(os.Stdout, resp.Body)
	}
	// Output:
	// 200 the image /photos/cat.jpg?w=640
	// 403 parameter refused: "w" is not allowed to be "641" here
}

// Some sizes for everybody, and all sizes signed.
func ExampleAnyOf() {
	sign := &middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}}
	sizes := &middleware.Allow{Params: map[string][]string{"w": {"320", "640"}}}
	guard := middleware.AnyOf{sizes, sign}
	mux := http.NewServeMux()
	mux.Handle("/img/", sign.Handler(http.StripPrefix("/img", images))) // signs /img/photos/cat.jpg
	mux.Handle("/", guard.Handler(images))

	for _, uri := range []string{"/photos/cat.jpg?w=640", "/photos/cat.jpg?w=641", sign.Sign("/photos/cat.jpg?w=641"), "/img/photos/cat.jpg?w=640"} {
		fmt.Println(get(mux, uri).StatusCode)
	}
	// Output:
	// 200
	// 403
	// 200
	// 403
}

func ExampleCORS() {
	cors := &middleware.CORS{Origins: []string{"https://shop.example", "https://*.example.com"}}
	h := cors.Handler(images)

	for _, origin := range []string{"https://shop.example", "https://www.example.com", "https://evilexample.com"} {
		resp := get(h, "/photos/cat.jpg", "Origin", origin)
		fmt.Printf("%s: %q, Vary: %s\n", origin, resp.Header.Get("Access-Control-Allow-Origin"), resp.Header.Get("Vary"))
	}
	// Output:
	// https://shop.example: "https://shop.example", Vary: Origin
	// https://www.example.com: "https://www.example.com", Vary: Origin
	// https://evilexample.com: "", Vary: Origin
}

func ExampleAccessLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" || a.Key == "remote" { // not the same each time
				return slog.Attr{}
			}
			return a
		},
	}))
	logs := &middleware.AccessLog{Logger: logger}

	get(logs.Handler(images), "/photos/cat.jpg?w=400&s=5mV25YSBhUeIGNf57ndrNHAD9BoSo3aROH5zlNdpboU")
	// Output:
	// level=INFO msg=request method=GET host=example.com path=/photos/cat.jpg query="w=400&s=REDACTED" status=200 bytes=78 cache="imagecdn; hit; ttl=60"
}
