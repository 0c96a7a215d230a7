package cdnfile_test

import (
	"fmt"
	"log"

	"github.com/imagecdn/imagecdn/purge/cdn/cdnfile"
)

func ExampleParse() {
	file := []byte(`{
		"rings": [
			[{"name": "shield", "type": "varnish", "servers": ["http://10.0.0.1:6081"]}],
			[{"name": "www", "type": "cloudflare", "zone": "023e105f4ecef8ad9ca31a8372d0c353", "token": "$CLOUDFLARE_TOKEN"}]
		]
	}`)
	environment := map[string]string{"CLOUDFLARE_TOKEN": "a token"} // os.LookupEnv, for a program
	edges, err := cdnfile.Parse(file, func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(edges.Names())

	_, err = cdnfile.Parse(file, nil, nil)
	fmt.Println(err)
	// Output:
	// [shield www]
	// CDN 2: "token": the environment variable CLOUDFLARE_TOKEN is not set
}
