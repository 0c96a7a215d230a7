package command

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/samples"
)

// Each flag of a lifetime does what it says in the command.
func TestServeLifetimes(t *testing.T) {
	photo, err := samples.FS().Open("rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	defer photo.Close()
	body, err := io.ReadAll(photo)
	if err != nil {
		t.Fatal(err)
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/says.jpg":
			w.Header().Set("Cache-Control", "max-age=600")
		case "/silent.jpg":
		default:
			http.NotFound(w, r)
			return
		}
		w.Write(body)
	}))
	defer origin.Close()
	for _, tt := range []struct {
		flags, path, want string
	}{
		{"", "/web/says.jpg?w=10", "public, max-age=600"},
		{"-min-lifetime=1h", "/web/says.jpg?w=10", "public, max-age=3600"},
		{"-min-lifetime=1m", "/web/says.jpg?w=10", "public, max-age=600"},
		{"-lifetime=1m", "/web/says.jpg?w=10", "public, max-age=60"},
		{"", "/web/silent.jpg?w=10", "public, max-age=31536000"},
		{"-default-lifetime=2h", "/web/silent.jpg?w=10", "public, max-age=7200"},
		{"-default-lifetime=2h", "/web/says.jpg?w=10", "public, max-age=600"},
		{"", "/web/none.jpg?w=10", "public, max-age=300"},
		{"-negative-lifetime=20s", "/web/none.jpg?w=10", "public, max-age=20"},
		{"-browser-max-age=30s", "/web/says.jpg?w=10", "public, max-age=30, s-maxage=600"},
	} {
		flags := []string{"-allow-private", "-source", "web=" + origin.URL}
		if tt.flags != "" {
			flags = append(flags, tt.flags)
		}
		responses, _ := answers(t, flags, "", tt.path)
		if got := responses[0].Header.Get("Cache-Control"); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.flags, tt.path, got, tt.want)
		}
	}
	for _, flags := range []string{"-lifetime=-1s", "-min-lifetime=1h -lifetime=1h", "-browser-max-age=-1s"} {
		var errs strings.Builder
		args := append([]string{"serve", "-source", "web=" + origin.URL}, strings.Fields(flags)...)
		if code := Run(context.Background(), args, io.Discard, &errs); code != 2 || strings.Count(errs.String(), "\n") < 1 {
			t.Errorf("%s: exit %d, %s", flags, code, errs.String())
		}
	}
}
