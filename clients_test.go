package imagecdn_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	_ "image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	_ "golang.org/x/image/webp"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/middleware"
)

// TestClients asks for pictures with the URLs that client libraries make: a site changes the host's name, and nothing else. What the
// libraries are is in scripts/clients.sh, which installs them.
func TestClients(t *testing.T) {
	modules := os.Getenv("IMAGECDN_CLIENTS")
	if modules == "" {
		t.Skip("IMAGECDN_CLIENTS names no folder with client libraries: scripts/clients.sh does, and runs this")
	}
	node := exec.CommandContext(t.Context(), "node", "internal/clients/urls.mjs", modules)
	var stderr bytes.Buffer
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}

	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, image.NewYCbCr(image.Rect(0, 0, 1600, 1200), image.YCbCrSubsampleRatio420), nil); err != nil {
		t.Fatal(err)
	}
	o := newOrigin()
	for _, path := range []string{"/photos/cat 1.jpg", "/photos/cat 1.jpg?alt=media&token=c7"} {
		o.set(path, answer{header: cachedAnHour, body: photo.Bytes()})
	}
	o.set("/photos/logo.png", answer{header: cachedAnHour, body: paint(t, red, 40, 40)})

	hosts := map[string]string{"img.example.com": "photos"}
	imgix := imagecdn.Imgix{Source: "photos", Hosts: hosts, Strict: true}
	handlers := make(map[string]http.Handler)
	for name, d := range map[string]imagecdn.Dialect{
		"imgix": imgix, "imgix unsigned": imgix,
		"cloudimage": imagecdn.Cloudimage{Hosts: hosts, Aliases: map[string]string{"_shop_": "photos"}, Strict: true},
	} {
		handlers[name] = open(t, queryOrigin{o}, &imagecdn.Options{Dialect: d})
	}
	handlers["imgix"] = (&middleware.ImgixSignature{Tokens: []string{"FOO123bar"}}).Handler(handlers["imgix"])

	type request struct {
		Dialect, Client, URL, Type string
		Width, Height              int
	}
	d := json.NewDecoder(bytes.NewReader(out))
	n := make(map[string]int)
	for d.More() {
		var r request
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		target := r.URL[strings.Index(r.URL, u.Host)+len(u.Host):] // as it is, not as it would be written again
		req := httptest.NewRequest(http.MethodGet, target, nil)
		req.Header.Set("Accept", "image/webp,*/*")
		w := httptest.NewRecorder()
		handlers[r.Dialect].ServeHTTP(w, req)
		config, _, err := image.DecodeConfig(w.Body)
		if w.Code != http.StatusOK || err != nil || config.Width != r.Width || config.Height != r.Height || w.Header().Get("Content-Type") != r.Type {
			t.Errorf("%s: %s is %d %s of %dx%d, %v, want %s of %dx%d", r.Client, target, w.Code, w.Header().Get("Content-Type"), config.Width, config.Height, err, r.Type, r.Width, r.Height)
		}
		client, _, _ := strings.Cut(r.Client, " ")
		n[r.Dialect+" of "+client]++
	}
	t.Logf("pictures asked for: %v", n)
	if len(n) < 6 {
		t.Errorf("not all clients have made URLs: %v", n)
	}
}
