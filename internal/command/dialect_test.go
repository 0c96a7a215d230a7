package command

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// TestServeDialects asks the command for URLs as imgix and Cloudimage have them.
func TestServeDialects(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "photos"), samples.FS()); err != nil {
		t.Fatal(err)
	}
	source := "photos=" + filepath.Join(dir, "photos")
	for _, test := range []struct {
		args   []string
		status map[string]int
	}{
		{[]string{"-dialect", "imgix", "-defaults", "q=40", "-host", "img.example.com=photos"}, map[string]int{
			"/rocket.jpg?w=20": 200, "/https%3A%2F%2Fimg.example.com%2Frocket.jpg?w=20": 200, "/https%3A%2F%2Fevil.example%2Frocket.jpg": 403, "/-/healthz": 200,
		}},
		{[]string{"-dialect", "cloudimage", "-host", "img.example.com=photos", "-alias", "_p_=photos", "-preset", "t=w=20&h=20"}, map[string]int{
			"/v7/https://img.example.com/rocket.jpg?width=20": 200, "/img.example.com/rocket.jpg?w=20": 200, "/v7/_p_/rocket.jpg?p=t": 200,
			"/rocket.jpg?func=bound&w=20&h=20": 200, "/v7/https://evil.example/rocket.jpg": 403,
		}},
		{[]string{"-preset", "t=w=20", "-presets-only"}, map[string]int{"/photos/rocket.jpg?preset=t": 200, "/photos/rocket.jpg?w=20": 403}},
		{[]string{"-widths", "20,30"}, map[string]int{"/photos/rocket.jpg?width=30": 200, "/photos/rocket.jpg?w=31": 403}},
	} {
		ctx, stop := context.WithCancel(t.Context())
		out := &lineWriter{url: make(chan string, 1)}
		ended := make(chan int)
		go func() {
			ended <- Run(ctx, append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", source}, test.args...), out, io.Discard)
		}()
		base := <-out.url
		for target, want := range test.status {
			resp, err := http.Get(base + target)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%q: %s is %d, want %d", test.args, target, resp.StatusCode, want)
			}
		}
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("%q ended with %d", test.args, code)
		}
	}
}

func TestDialectFlags(t *testing.T) {
	sources := sourceFlags{"shop": "https://img.example.com", "other": "https://Img.Example.com:443/", "deep": "https://b.example.com/catalogue", "dir": "./photos"}
	want := map[string]string{"img.example.com": "other"}
	if got := hostsOf(sources); !reflect.DeepEqual(got, want) {
		t.Errorf("hosts of sources are %v, want %v", got, want)
	}
	for _, d := range []dialectFlags{
		{dialect: "thumbor"},
		{dialect: "native", prefix: "shop"},
		{dialect: "imgix", aliases: pairFlags{"_a_": "shop"}},
		{dialect: "cloudimage", defaults: "q=9"},
		{dialect: "native", widths: "20,x"},
	} {
		var usage usageError
		if err := d.set(new(imagecdn.Options), sources); !errors.As(err, &usage) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}
