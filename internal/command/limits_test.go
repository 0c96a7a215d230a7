package command

import (
	"bytes"
	"context"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/samples"
)

// answers starts the command with flags and asks it for paths, in order, as a page of an origin does.
func answers(t *testing.T, flags []string, origin string, paths ...string) (responses []*http.Response, bodies []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "photos"), samples.FS()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &lineWriter{url: make(chan string, 1)}
	errs, ended := new(log), make(chan int, 1)
	go func() {
		ended <- Run(ctx, append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", "photos=" + filepath.Join(dir, "photos")}, flags...), out, errs)
	}()
	var base string
	select {
	case base = <-out.url:
	case code := <-ended:
		t.Fatalf("%q: exit %d, %s", flags, code, errs)
	}
	client := &http.Client{Transport: new(http.Transport)}
	for _, path := range paths {
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		responses, bodies = append(responses, resp), append(bodies, string(body))
	}
	client.CloseIdleConnections()
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("%q: exit %d, %s", flags, code, errs)
	}
	return responses, bodies
}

// Each flag of a limit does what it says in the command, and what is within the limit is answered.
func TestServeLimits(t *testing.T) {
	for _, tt := range []struct {
		flags  []string
		path   string
		status int
		says   string // in the body, or in Cache-Status
	}{
		{[]string{"-max-render-memory", "8MiB"}, "/photos/retina.jpg?w=100", 200, ""},
		{[]string{"-max-render-memory", "8MiB"}, "/photos/retina.jpg?blur=100", 413, "MiB of memory, of at most 8 MiB"},
		{[]string{"-render-memory", "2MiB"}, "/photos/retina.jpg?blur=100", 413, "MiB of memory, of at most 8 MiB"},
		{[]string{"-render-memory", "2MiB", "-max-render-memory", "unlimited"}, "/photos/retina.jpg?blur=100", 200, ""},
		{[]string{"-max-bytes", "20KiB"}, "/photos/rocket.jpg?w=20", 413, "bytes"},
		{[]string{"-max-bytes", "unlimited"}, "/photos/rocket.jpg?w=20", 200, ""},
		{[]string{"-max-pixels", "100000"}, "/photos/rocket.jpg?w=20", 413, "of at most 100000 pixels"},
		{[]string{"-max-pixels", "-1"}, "/photos/rocket.jpg?w=20", 200, ""},
		{[]string{"-max-enlarge", "1.5"}, "/photos/rocket.jpg?w=2000", 400, "1.5 times"},
		{[]string{"-max-enlarge", "5"}, "/photos/rocket.jpg?w=2000", 200, ""},
		{[]string{"-render-timeout", "1ns"}, "/photos/retina.jpg?w=1000", 422, "takes too long to make"},
		{[]string{"-render-timeout", "20s"}, "/photos/rocket.jpg?w=20", 200, ""},
	} {
		responses, bodies := answers(t, tt.flags, "", tt.path)
		if got := responses[0]; got.StatusCode != tt.status || !strings.Contains(bodies[0], tt.says) {
			t.Errorf("%q: %s is %d %.200q, want %d %q", tt.flags, tt.path, got.StatusCode, bodies[0], tt.status, tt.says)
		}
	}

	responses, _ := answers(t, []string{"-max-versions", "1"}, "", "/photos/rocket.jpg?w=20&vh=1", "/photos/rocket.jpg?w=20&vh=2")
	if responses[0].StatusCode != 200 || responses[1].StatusCode != 403 {
		t.Errorf("-max-versions 1: %d, %d", responses[0].StatusCode, responses[1].StatusCode)
	}
	responses, _ = answers(t, []string{"-max-variants", "2"}, "", "/photos/rocket.jpg?w=20", "/photos/rocket.jpg?w=21", "/photos/rocket.jpg?w=22", "/photos/rocket.jpg?w=23", "/photos/rocket.jpg?w=20")
	for i, says := range []string{"stored", "stored", "", "too-many-variants", "hit"} { // of the third, "about" decides
		if status := responses[i].Header.Get("Cache-Status"); responses[i].StatusCode != 200 || !strings.Contains(status, says) {
			t.Errorf("-max-variants 2: picture %d is %d %q, want %q", i+1, responses[i].StatusCode, status, says)
		}
	}
	responses, bodies := answers(t, []string{"-ladder", "20,40", "-ladder-qualities", "30,90"}, "",
		"/photos/rocket.jpg?w=21&q=31", "/photos/rocket.jpg?w=33&q=80", "/photos/rocket.jpg?w=12&q=31")
	for i, width := range []int{40, 40, 20} {
		c, err := jpeg.DecodeConfig(bytes.NewReader([]byte(bodies[i])))
		if err != nil || c.Width != width {
			t.Errorf("-ladder: picture %d is %d wide, want %d; %v", i+1, c.Width, width, err)
		}
	}
	if a, b := responses[0].Header.Get("Etag"), responses[1].Header.Get("Etag"); a != b || a == "" {
		t.Errorf("-ladder-qualities: qualities of one rung are %s and %s", a, b)
	}
}

// Pages of origins that are listed may read images, and measure them, and nothing else of the server.
func TestServeCORS(t *testing.T) {
	const page = "https://shop.example"
	for _, tt := range []struct {
		flags          []string
		origin         string
		allows, timing string
	}{
		{nil, page, "", ""},
		{[]string{"-cors", page}, page, page, page},
		{[]string{"-cors", "https://a.example", "-cors", "https://*.shop.example"}, "https://www.shop.example", "https://www.shop.example", "https://www.shop.example"},
		{[]string{"-cors", page}, "https://evilshop.example", "", ""},
		{[]string{"-cors", "*"}, page, "*", "*"},
		{[]string{"-cors", "*", "-timing-origins", "none"}, page, "*", ""},
		{[]string{"-cors", "*", "-timing-origins", page}, page, "*", page},
		{[]string{"-timing-origins", "*"}, page, "", "*"},
	} {
		// A picture, a refusal that its page may want to read, and a page of another kind.
		responses, _ := answers(t, append(tt.flags, "-allow", "w"), tt.origin, "/photos/rocket.jpg?w=20", "/photos/rocket.jpg?h=20", "/-/healthz")
		for i, status := range []int{200, 403, 200} {
			allows, timing := tt.allows, tt.timing
			if i == 2 {
				allows, timing = "", ""
			}
			h := responses[i].Header
			if responses[i].StatusCode != status || h.Get("Access-Control-Allow-Origin") != allows || h.Get("Timing-Allow-Origin") != timing {
				t.Errorf("%q: answer %d to %s is %d, with %q and %q, want %d, %q and %q", tt.flags, i+1, tt.origin, responses[i].StatusCode,
					h.Get("Access-Control-Allow-Origin"), h.Get("Timing-Allow-Origin"), status, allows, timing)
			}
		}
	}
}

func TestServeRefusesBadLimits(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-max-render-memory", "much"}, 2, "give a size"},
		{[]string{"-max-bytes", "0"}, 2, "give a size"},
		{[]string{"-max-pixels", "1e6"}, 2, "max-pixels"},
		{[]string{"-max-enlarge", "NaN"}, 2, "-max-enlarge takes"},
		{[]string{"-max-enlarge", "-1"}, 2, "-max-enlarge takes"},
		{[]string{"-render-timeout", "20"}, 2, "render-timeout"},
		{[]string{"-ladder", "640,320"}, 2, "each above the one before"},
		{[]string{"-ladder", "320,,640"}, 2, "each above the one before"},
		{[]string{"-ladder", "1,320"}, 1, "Ladder.Widths"},
		{[]string{"-ladder-qualities", "40,101"}, 1, "Ladder.Qualities"},
		{[]string{"-cors", "shop.example"}, 2, "CORS.Origins"},
		{[]string{"-cors", "*", "-timing-origins", "https://shop.example/path"}, 2, "CORS.TimingOrigins"},
		{[]string{"-timing-origins", "none", "-timing-origins", "*"}, 2, "stands alone"},
	} {
		args := append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", "photos=" + t.TempDir()}, tt.args...)
		if code, _, stderr := command(t, args...); code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit %d, %.300q, want %d, %q", tt.args, code, stderr, tt.code, tt.says)
		}
	}
}
