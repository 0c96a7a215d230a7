package cache_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"

	"github.com/imagecdn/imagecdn/cache"
)

// A Transport is a shared cache for any proxy: nothing of it has to do with images.
func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, "hello")
	}))
	defer origin.Close()
	to, err := url.Parse(origin.URL)
	if err != nil {
		log.Fatal(err)
	}

	store := cache.NewMemory(64 << 20)
	defer store.Close()
	transport := cache.NewTransport(store, http.DefaultTransport, nil)
	defer transport.Close()
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: transport,
	})
	defer proxy.Close()

	for range 2 {
		resp, err := http.Get(proxy.URL + "/greeting")
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		status, _, _ := strings.Cut(resp.Header.Get("Cache-Status"), "; ttl=")
		fmt.Printf("%s: %s\n", body, status)
	}
	// Output:
	// hello: imagecdn; fwd=uri-miss; fwd-status=200; stored
	// hello: imagecdn; hit
}

// Memory in front of a directory: what memory has forgotten is on the disk, and a restart goes on from there.
func ExampleOpenDisk() {
	dir, err := os.MkdirTemp("", "imagecdn")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk, err := cache.OpenDisk(dir, &cache.DiskOptions{MaxBytes: 50 << 30})
	if err != nil {
		log.Fatal(err)
	}
	store := cache.Tiered(cache.NewMemory(1<<30), disk)

	// One process has a directory at a time.
	_, err = cache.OpenDisk(dir, nil)
	fmt.Println(strings.ReplaceAll(err.Error(), dir, "DIR"))
	fmt.Println(store.Close())
	// Output:
	// cache: DIR is in use by another process
	// <nil>
}
