package imagecdn_test

import (
	"fmt"
	"net/url"

	"github.com/imagecdn/imagecdn"
)

func ExampleCloudimage() {
	d := imagecdn.Cloudimage{
		Hosts:   map[string]string{"img.example.com": "shop"},
		Presets: map[string]string{"thumb": "w=150&h=150"},
	}
	for _, s := range []string{
		"/v7/https://img.example.com/boat.jpg?width=400.0&force_format=webp,jpg",
		"/img.example.com/boat.jpg?p=thumb&w=9000",
		"/v7/https://img.example.com/boat.jpg?size=2?func=bound&w=400&h=400&org_if_sml=1",
		"/v7/https://elsewhere.example/boat.jpg?w=400",
	} {
		u, _ := url.Parse(s)
		r, err := d.ParseRequest(u)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r.Image.Source, r.Image.Path, r.Image.Query, r.Params)
	}
	// Output:
	// shop /boat.jpg  w=400&fm=webp,jpg
	// shop /boat.jpg  w=150&h=150&fit=crop
	// shop /boat.jpg size=2 w=400&h=400&fit=max
	// path /v7/https://elsewhere.example/boat.jpg: the host elsewhere.example is none of those that images come from here
}

func ExampleImgix() {
	d := imagecdn.Imgix{Source: "shop", Hosts: map[string]string{"img.example.com": "shop"}, Defaults: "auto=format"}
	for _, s := range []string{"/users/1.png?w=400", "/https%3A%2F%2Fimg.example.com%2Fusers%2F1.png?w=400&auto=compress"} {
		u, _ := url.Parse(s)
		r, err := d.ParseRequest(u)
		fmt.Println(r.Image.Source, r.Image.Path, r.Params, err)
	}
	// Output:
	// shop /users/1.png w=400&auto=format <nil>
	// shop /users/1.png w=400&auto=compress <nil>
}
