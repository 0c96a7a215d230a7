// Command conformance puts a cache.Transport between the public HTTP cache tests and their origin, with
// nothing of images in it, so that the cache can be graded beside others. conformance.sh runs it.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/imagecdn/imagecdn/cache"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18010", "`address` to listen on")
	origin := flag.String("origin", "http://127.0.0.1:18000", "`URL` of the tests' own server")
	flag.Parse()
	u, err := url.Parse(*origin)
	if err != nil {
		log.Fatal(err)
	}
	next := http.DefaultTransport.(*http.Transport).Clone()
	next.DisableCompression = true
	next.Proxy = nil
	next.MaxIdleConnsPerHost = 100
	t := cache.NewTransport(cache.NewMemory(0), next, nil)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = u.Host },
		Transport: t,
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
