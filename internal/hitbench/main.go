// Command hitbench serves one picture of about 35 KB in the ways that hits.sh compares: by a bare net/http
// handler, as a hit in memory, as a hit on disk, and by http.ServeContent from a file.
package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// noise is an origin of one PNG that does not compress.
func noise() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewNRGBA(image.Rect(0, 0, 216, 216))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32())
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}

type origin []byte

func (o origin) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode:    http.StatusOK,
		Header:        http.Header{"Cache-Control": {"max-age=86400"}},
		Body:          io.NopCloser(bytes.NewReader(o)),
		ContentLength: int64(len(o)),
		Request:       r,
	}, nil
}

const path = "/noise.png?w=110&h=110&fit=crop"

func handler(source string, store cache.Store) http.Handler {
	h, err := imagecdn.New(imagecdn.Sources{source: {Transport: origin(noise())}}, &imagecdn.Options{Cache: store})
	if err != nil {
		log.Fatal(err)
	}
	return h
}

func main() {
	dir, err := os.MkdirTemp("", "hitbench")
	if err != nil {
		log.Fatal(err)
	}
	disk, err := cache.OpenDisk(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	memory, onDisk := handler("memory", cache.NewMemory(0)), handler("disk", disk)
	made := httptest.NewRecorder()
	memory.ServeHTTP(made, httptest.NewRequest(http.MethodGet, "/memory"+path, nil))
	onDisk.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/disk"+path, nil))
	if made.Code != http.StatusOK {
		log.Fatalf("%d %s", made.Code, made.Body)
	}
	body, header := made.Body.Bytes(), made.Header()
	file := filepath.Join(dir, "body.png")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/bare/", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for k, v := range header {
			h[k] = v
		}
		w.Write(body)
	})
	mux.HandleFunc("/file/", func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.ServeContent(w, r, file, info.ModTime(), f)
	})
	mux.Handle("/memory/", memory)
	mux.Handle("/disk/", onDisk)
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on http://"+l.Addr().String(), "bytes", strconv.Itoa(len(body)))
	log.Fatal(http.Serve(l, mux))
}
