package generic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/generic"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // in place of a CDN's API
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("%s %s %s\n", r.Method, r.URL, body)
	}))
	defer server.Close()

	g, err := generic.New(&generic.Options{
		Forms: map[cdn.Kind]generic.Form{
			cdn.Tag: {
				URL:      server.URL + "/v1/purge",
				Header:   map[string]string{"Authorization": "Bearer 123", "Content-Type": "application/json"},
				Body:     `{"tags": {tags}}`,
				MaxItems: 50,
			},
			cdn.All: {Method: "DELETE", URL: server.URL + "/v1/cache"},
		},
		Tags: []cdn.TagHeader{{Name: "Cache-Tag", Separator: ","}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range []cdn.Batch{{Kind: cdn.Tag, Values: []string{"cats", "dogs"}}, {Kind: cdn.All}} {
		if _, err := g.Purge(context.Background(), b); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// POST /v1/purge {"tags": ["cats","dogs"]}
	// DELETE /v1/cache
}
