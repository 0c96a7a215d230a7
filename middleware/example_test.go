package middleware_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"

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
