package imagecdn_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
)

func Example() {
	h, err := imagecdn.New(imagecdn.Sources{
		"photos": imagecdn.Dir("internal/samples/photos"),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	mux := http.NewServeMux()
	mux.Handle("/img/", http.StripPrefix("/img", h))
	server := httptest.NewServer(mux)
	defer server.Close()

	resp, err := http.Get(server.URL + "/img/photos/rocket.jpg?w=400&fm=webp")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	fmt.Println(resp.Header.Get("Content-Type"))
	fmt.Println(resp.Header.Get("Cache-Status"))
	// Output:
	// 200 OK
	// image/webp
	// imagecdn; fwd=miss; stored
}

func ExampleHandler_Purge() {
	h, err := imagecdn.New(imagecdn.Sources{
		"photos": imagecdn.Dir("internal/samples/photos"),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	for _, url := range []string{"/photos/coffee.png?w=100", "/photos/coffee.png?w=200"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, url, nil))
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	job, err := h.Purge(ctx, []string{"/photos/coffee.png"}, nil)
	if err != nil {
		log.Fatal(err) // refused, and err says why
	}
	rec, err := job.Wait(ctx)
	if err != nil {
		log.Fatal(err) // ctx ended; the job goes on
	}
	fmt.Println(rec.State)
	for _, p := range rec.Paths {
		fmt.Printf("%s %s: %d original, %d derivatives\n", p.Path, p.Outcome, p.Originals, p.Derivatives)
	}
	// Output:
	// done
	// /photos/coffee.png removed: 1 original, 2 derivatives
}

// A purge tells every state that it reaches, in order.
func ExampleHandler_PurgeAll() {
	h, err := imagecdn.New(imagecdn.Sources{
		"photos": imagecdn.Dir("internal/samples/photos"),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()

	states := make(chan purge.State, 10)
	_, err = h.PurgeAll(context.Background(), &purge.Options{
		Source:   "photos",
		OnStatus: func(e purge.Event) { states <- e.State },
	})
	if err != nil {
		log.Fatal(err)
	}
	for {
		state := <-states
		fmt.Println(state)
		if state.Final() {
			break
		}
	}
	// Output:
	// received
	// preparing
	// flushing_servers
	// flushing_cdn
	// done
}

func ExampleHandler_Admin() {
	h, err := imagecdn.New(imagecdn.Sources{
		"photos": imagecdn.Dir("internal/samples/photos"),
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	admin := h.Admin(&imagecdn.AdminOptions{Keys: []string{"a-long-random-key"}})

	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("/-/", http.StripPrefix("/-", admin))

	for _, path := range []string{"/photos/cat.jpg", "photos/cat.jpg"} {
		body := fmt.Sprintf(`{"scope":"original","paths":[%q]}`, path)
		r := httptest.NewRequest(http.MethodPost, "/-/api/v1/purges", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer a-long-random-key")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, http.StatusText(w.Code))
		if w.Code != http.StatusAccepted {
			_, _ = io.Copy(os.Stdout, w.Body)
		}
	}
	// Output:
	// 202 Accepted
	// 400 Bad Request
	// {"error":{"code":"invalid_path","message":"path \"photos/cat.jpg\" has no leading slash; the right form is \"/photos/cat.jpg\"","path":"photos/cat.jpg"}}
}

// The program that README.md shows is the one that runs here.
func TestReadmeShowsTheExample(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(source), "\r\n", "\n")
	_, rest, _ := strings.Cut(text, "func Example() {\n")
	body, _, ok := strings.Cut(rest, "\n}\n")
	if !ok {
		t.Fatal("there is no Example in example_test.go")
	}
	body = strings.ReplaceAll("\n"+body, "\n\t", "\n")
	if !strings.Contains(strings.ReplaceAll(string(readme), "\r\n", "\n"), "```go"+body+"\n```") {
		t.Errorf("README.md does not have the body of Example:\n%s", body)
	}
}
