package cdntest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/fastly"
)

// What a CDN would refuse is a fault, and so is what it would take without doing what was meant.
func Example() {
	api := &cdntest.Fastly{Service: "SU1Z0isxPaozGVKXdv0eY", Token: "a token"}
	for _, token := range []string{"a token", "another"} {
		f, err := fastly.New(api.Service, token, &fastly.Options{Client: cdntest.Client(api)})
		if err != nil {
			log.Fatal(err)
		}
		_, err = f.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"iabc"}})
		fmt.Println("accepted:", err == nil, "faults:", len(api.Faults()))
	}
	// Output:
	// accepted: true faults: 0
	// accepted: false faults: 1
}
