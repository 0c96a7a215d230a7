package varnish_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/varnish"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // in place of a Varnish
		fmt.Println(r.Method, r.URL, r.Header.Get("xkey-purge"))
	}))
	defer server.Close()

	v, err := varnish.New([]string{server.URL}, nil) // "http://10.0.0.1:6081", …
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := v.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cats", "dogs"}})
	fmt.Println(receipt.Complete, err)
	// Output:
	// PURGE / cats dogs
	// true <nil>
}
