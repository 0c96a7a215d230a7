package origintest_test

import (
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/origin/origintest"
)

// The test of an origin of one's own has this body.
func ExampleRun() {
	test := func(t *testing.T) {
		origintest.Run(t, func(t *testing.T, files map[string]string) http.RoundTripper {
			fsys := fstest.MapFS{}
			for path, text := range files {
				fsys[path[1:]] = &fstest.MapFile{Data: []byte(text)}
			}
			return origin.NewFS(fsys)
		})
	}
	_ = test
}
