// Command chi is a program of chi with images in it: a page at /, the images at /img/, and the API of operators at /-/.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/examples/gallery"
	"github.com/imagecdn/imagecdn/middleware"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to listen on")
	photos := flag.String("photos", "../internal/samples/photos", "`directory` of the images")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *photos); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, photos string) error {
	h, err := imagecdn.New(imagecdn.Sources{"photos": imagecdn.Dir(photos)}, &imagecdn.Options{Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer h.Close()

	// Both are new with each start here. A program that runs in earnest has them from its configuration: the URLs of its pages are then
	// good after a restart, too.
	key, secret := rand.Text(), []byte(rand.Text())
	server := &http.Server{
		Addr:              listen,
		Handler:           routes(h, key, secret),
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      5 * time.Minute,
		IdleTimeout:       2 * time.Minute,
	}
	log.Printf("http://%s/, and the API's key is %s", listen, key)
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	h.Drain() // what only waits for its turn is answered at once
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return server.Close()
	}
	return nil
}

func routes(h *imagecdn.Handler, key string, secret []byte) http.Handler {
	sign := &middleware.Signature{Keys: [][]byte{secret}}
	page := &gallery.Gallery{Mount: "/img", Sign: sign, Images: []gallery.Image{
		{Path: "/photos/rocket.jpg", Alt: "A rocket on its pad"},
		{Path: "/photos/hubble_deep_field.jpg", Alt: "Galaxies"},
	}}

	r := chi.NewRouter()
	r.Handle("/img/*", sign.Handler(http.StripPrefix("/img", h)))
	r.Handle("/-/*", http.StripPrefix("/-", h.Admin(&imagecdn.AdminOptions{Keys: []string{key}})))
	r.Method(http.MethodGet, "/", page)
	return r
}
