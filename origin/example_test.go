package origin_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing/fstest"

	"github.com/imagecdn/imagecdn/origin"
)

func ExampleNewHTTP() {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintf(w, "%s for %s", r.RequestURI, r.UserAgent())
	}))
	defer shop.Close()

	// AllowPrivate, because the server of this example is on the loopback address.
	o, err := origin.NewHTTP(shop.URL+"/catalogue", &origin.HTTPOptions{AllowPrivate: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()

	req, _ := http.NewRequest(http.MethodGet, "/", nil)
	req.URL.Path = "/cats/tom & co.jpg"
	resp, err := o.RoundTrip(req)
	if err != nil {
		fmt.Println(origin.Status(err), err)
		return
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, resp.Header.Get("Cache-Control"))
	fmt.Println(string(b))
	// Output:
	// 200 max-age=600
	// /catalogue/cats/tom%20%26%20co.jpg for imagecdn
}

// Without AllowPrivate nothing but public addresses is dialled.
func ExampleNewHTTP_guard() {
	o, err := origin.NewHTTP("http://localhost:8080", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	req, _ := http.NewRequest(http.MethodGet, "/cat.jpg", nil)
	_, err = o.RoundTrip(req)
	fmt.Println(origin.Status(err), err)
	// Output: 403 origin: refused: the origin's address is not a public one
}

func ExampleNewFS() {
	photos := origin.NewFS(fstest.MapFS{"cats/tom.jpg": {Data: []byte("a cat")}})
	req, _ := http.NewRequest(http.MethodGet, "/cats/tom.jpg", nil)
	resp, err := photos.RoundTrip(req)
	if err != nil {
		fmt.Println(origin.Status(err), err)
		return
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"))
	fmt.Println(string(b))
	// Output:
	// 200 image/jpeg max-age=1
	// a cat
}
