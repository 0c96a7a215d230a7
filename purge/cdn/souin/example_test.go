package souin_test

import (
	"context"
	"fmt"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/souin"
)

func Example() {
	server := &cdntest.Souin{}
	server.Fill("https://www.example.com/img/cat.jpg?w=100", "cats")

	s, err := souin.New([]string{"http://10.0.0.1:2019"}, &souin.Options{Client: cdntest.Client(server)}) // nil for a real one
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := s.Purge(context.Background(), cdn.Batch{Kind: cdn.Tag, Values: []string{"cats", "dogs"}})
	fmt.Println(receipt.Complete, err, len(server.Copies()))
	// Output:
	// true <nil> 0
}
