package otel_test

import (
	"fmt"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/otel"
)

// A handler that tells OpenTelemetry's global providers.
func Example() {
	if err := serve(imagecdn.Sources{"photos": {Transport: new(origin)}}); err != nil {
		fmt.Println(err)
	}
	// Output: 200
}

func serve(sources imagecdn.Sources) error {
	tell := otel.New(nil) // the global providers
	defer tell.Close()
	h, err := imagecdn.New(sources, tell.Options(&imagecdn.Options{}))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := tell.Observe(h); err != nil {
		return err
	}
	fmt.Println(get(h, "/photos/a.png?w=20"))
	return nil
}
