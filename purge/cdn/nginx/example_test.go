package nginx_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/nginx"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // in place of an nginx
		fmt.Println(r.Method, r.Host, r.URL, r.Header.Get("Accept"))
	}))
	defer server.Close()

	n, err := nginx.New([]string{server.URL}, &nginx.Options{ // "http://10.0.0.1", …
		Accepts:   []string{"*/*"}, // the key of this one has nothing of Accept
		Wildcards: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := n.Purge(context.Background(), cdn.Batch{Kind: cdn.Prefix, Values: []string{"https://www.example.com/img/cat.jpg"}})
	fmt.Println(receipt.Complete, err)
	// Output:
	// PURGE www.example.com /-/purge/img/cat.jpg* */*
	// true <nil>
}
