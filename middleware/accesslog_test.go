package middleware

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// newLog returns a logger without times, and what it writes.
func newLog() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})), &b
}

func TestAccessLog(t *testing.T) {
	ok := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Status", "imagecdn; hit; ttl=60")
		r.URL.Path, r.RequestURI, r.Method = "/changed", "/changed", "CHANGED" // as nobody should, and somebody does
		io.WriteString(w, "image")
	}
	for _, test := range []struct {
		name   string
		l      AccessLog
		method string
		uri    string
		header string
		h      http.HandlerFunc
		want   string
	}{
		{"all there is", AccessLog{}, "GET", "/a%20b.jpg?w=400", "Referer: https://u:p@shop.example/p?token=1#f;User-Agent: Moz illa", ok,
			`level=INFO msg=request method=GET host=example.com path=/a%20b.jpg query="w=400" status=200 bytes=5 duration=0s remote=192.0.2.1:1234 cache="imagecdn; hit; ttl=60" referer=https://shop.example/p agent="Moz illa"`},
		{"little", AccessLog{}, "GET", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) {},
			`level=INFO msg=request method=GET host=example.com path=/a.jpg status=200 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"HEAD has no bytes", AccessLog{}, "HEAD", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "image") },
			`level=INFO msg=request method=HEAD host=example.com path=/a.jpg status=200 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"the first status", AccessLog{}, "GET", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			time.Sleep(3 * time.Millisecond)
			http.NotFound(w, r)
			w.WriteHeader(500)
		}, `level=INFO msg=request method=GET host=example.com path=/a.jpg status=404 bytes=19 duration=3ms remote=192.0.2.1:1234`},
		{"failure", AccessLog{}, "GET", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) },
			`level=ERROR msg=request method=GET host=example.com path=/a.jpg status=502 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"level", AccessLog{Level: slog.LevelWarn}, "GET", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) {},
			`level=WARN msg=request method=GET host=example.com path=/a.jpg status=200 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"level below what is logged", AccessLog{Level: slog.LevelDebug}, "GET", "/a.jpg", "", func(w http.ResponseWriter, r *http.Request) {}, ``},
		{"signatures", AccessLog{}, "GET", "/a.jpg?s=SECRET&w=1&%73=SECRET&ci_sign=SECRET&ci_seal=SECRET&s", "", func(w http.ResponseWriter, r *http.Request) {},
			`level=INFO msg=request method=GET host=example.com path=/a.jpg query="s=REDACTED&w=1&%73=REDACTED&ci_sign=REDACTED&ci_seal=REDACTED&s=REDACTED" status=200 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"other secrets", AccessLog{Redact: []string{"key"}}, "GET", "/a.jpg?s=1&key=SECRET", "", func(w http.ResponseWriter, r *http.Request) {},
			`level=INFO msg=request method=GET host=example.com path=/a.jpg query="s=1&key=REDACTED" status=200 bytes=0 duration=0s remote=192.0.2.1:1234`},
		{"lines are kept apart", AccessLog{}, "GET", "/a.jpg", "User-Agent: a\nlevel=INFO", func(w http.ResponseWriter, r *http.Request) {},
			`level=INFO msg=request method=GET host=example.com path=/a.jpg status=200 bytes=0 duration=0s remote=192.0.2.1:1234 agent="a\nlevel=INFO"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, out := newLog()
				test.l.Logger = logger
				r := httptest.NewRequest(test.method, test.uri, nil)
				for field := range strings.SplitSeq(test.header, ";") {
					if name, value, ok := strings.Cut(field, ": "); ok {
						r.Header.Set(name, value)
					}
				}
				test.l.Handler(test.h).ServeHTTP(interim{httptest.NewRecorder()}, r)
				if got := strings.TrimSuffix(out.String(), "\n"); got != test.want {
					t.Errorf("got\n%s\nwant\n%s", got, test.want)
				}
				if strings.Contains(out.String(), "SECRET") {
					t.Error("a secret was logged")
				}
			})
		})
	}
}

// interim is a recorder that knows interim responses.
type interim struct{ *httptest.ResponseRecorder }

func (w interim) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseRecorder.WriteHeader(status)
	}
}

func TestAccessLogWithoutLoggerIsNotThere(t *testing.T) {
	h := http.NewServeMux()
	if got := (&AccessLog{}).Handler(h); got != http.Handler(h) {
		t.Errorf("got %T, want the handler itself", got)
	}
}

func TestAccessLogIsBounded(t *testing.T) {
	logger, out := newLog()
	long := strings.Repeat("x", 100<<10)
	r := httptest.NewRequest("GET", "/"+long+"?"+long, nil)
	r.Header.Set("User-Agent", long)
	r.Header.Set("Referer", "https://shop.example/"+long)
	r.Host = long
	(&AccessLog{Logger: logger}).Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	if out.Len() > 8<<10 {
		t.Errorf("a record has %d bytes", out.Len())
	}
}

func TestAccessLogOfPanics(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name  string
		h     http.HandlerFunc
		panic any
		want  string
	}{
		{"before the header", func(w http.ResponseWriter, r *http.Request) { panic(broken) }, broken, "level=ERROR status=500 panic=true"},
		{"after it", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); panic(broken) }, broken, "level=ERROR status=200 panic=true"},
		{"with what cannot be compared", func(w http.ResponseWriter, r *http.Request) { panic([]error{broken}) }, nil, "level=ERROR status=500 panic=true"},
		{"abort before the header", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, http.ErrAbortHandler, "level=INFO status=0 aborted=true"},
		{"abort", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, http.ErrAbortHandler, "level=INFO status=200 aborted=true"},
	} {
		logger, out := newLog()
		func() {
			defer func() {
				got := recover()
				if got == nil || test.panic != nil && got != test.panic {
					t.Errorf("%s: the panic became %v", test.name, got)
				}
			}()
			(&AccessLog{Logger: logger}).Handler(test.h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/a.jpg", nil))
		}()
		for part := range strings.SplitSeq(test.want, " ") {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: got %s, want %s", test.name, out, test.want)
			}
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: got %d records", test.name, strings.Count(out.String(), "\n"))
		}
	}
}

// readerFrom is a ResponseWriter that counts what is given to it as a whole, which is how files come to sendfile.
type readerFrom struct {
	http.ResponseWriter
	calls int
}

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	w.calls++
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}

func TestFilesStayWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cat.jpg")
	if err := os.WriteFile(name, bytes.Repeat([]byte("image"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	logger, out := newLog()
	h := (&AccessLog{Logger: logger}).Handler((&CORS{Origins: []string{"*"}}).Handler(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })))
	rec := httptest.NewRecorder()
	w := &readerFrom{rec, 0}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/cat.jpg", nil))
	if w.calls != 1 || rec.Body.Len() != 5000 || !strings.Contains(out.String(), "bytes=5000") {
		t.Errorf("got %d calls of ReadFrom and %d bytes; %s", w.calls, rec.Body.Len(), out)
	}

	// And a writer that has no ReadFrom gets all the same.
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/cat.jpg", nil))
	if rec.Body.Len() != 5000 {
		t.Errorf("got %d bytes, want 5000", rec.Body.Len())
	}
}

func TestResponseControllerWorksThrough(t *testing.T) {
	logger, _ := newLog()
	result := make(chan error, 3)
	h := (&AccessLog{Logger: logger}).Handler((&CORS{Origins: []string{"*"}}).Handler(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			result <- c.SetWriteDeadline(time.Now().Add(time.Minute))
			result <- c.SetReadDeadline(time.Now().Add(time.Minute))
			result <- c.Flush()
		})))
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 3 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

// A Flush that the server cannot do does not begin the response.
func TestFlushThatIsNotSupported(t *testing.T) {
	rec := httptest.NewRecorder()
	w := &response{ResponseWriter: struct{ http.ResponseWriter }{rec}}
	if err := w.FlushError(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v, want http.ErrNotSupported", err)
	}
	w.WriteHeader(404)
	if w.status != 404 || rec.Code != 404 {
		t.Errorf("got status %d, sent %d, want 404", w.status, rec.Code)
	}
}

func TestLogOfACancelledRequest(t *testing.T) {
	logger, out := newLog()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&AccessLog{Logger: logger}).Handler(http.NotFoundHandler()).ServeHTTP(
		httptest.NewRecorder(), httptest.NewRequest("GET", "/a.jpg", nil).WithContext(ctx))
	if !strings.Contains(out.String(), "status=404") {
		t.Errorf("got %q", out)
	}
}
