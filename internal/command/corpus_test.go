package command

import (
	"compress/bzip2"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/imagecdn/imagecdn"
)

// corpus is every file that the Go distribution's and x/image's packages for pictures are tested with, PngSuite's among them, those that
// are no pictures too. What is compressed is there as it is and unpacked.
func corpus(t *testing.T) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for name, args := range map[string][]string{
		"go": {"env", "GOROOT"},
		"x":  {"list", "-m", "-f", "{{.Dir}}", "golang.org/x/image"},
	} {
		out, err := exec.Command("go", args...).Output()
		dir := strings.TrimSpace(string(out))
		if err != nil || dir == "" {
			t.Skip("there is no Go distribution, or no source of x/image, to take pictures from")
		}
		if name == "go" {
			dir = filepath.Join(dir, "src", "image")
		}
		err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.Contains(path, "testdata/") {
				return err
			}
			f, err := os.Open(filepath.Join(dir, path))
			if err != nil {
				return err
			}
			defer f.Close()
			body, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			files[name+"/"+path] = &fstest.MapFile{Data: body}
			if packed, ok := strings.CutSuffix(path, ".bz2"); ok {
				body, err := io.ReadAll(bzip2.NewReader(strings.NewReader(string(body))))
				if err != nil {
					return err
				}
				files[name+"/"+packed] = &fstest.MapFile{Data: body}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Every file that decoders are tested with, however it is asked for, is a picture or is refused: it never makes the server fail.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("makes thousands of pictures")
	}
	files := corpus(t)
	written := new(log)
	h, err := imagecdn.New(imagecdn.Sources{"corpus": imagecdn.FS(files)}, &imagecdn.Options{Logger: slog.New(slog.NewTextHandler(written, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	pictures, refused := 0, 0
	work := make(chan string)
	var group sync.WaitGroup
	var mu sync.Mutex // guards the counts
	for range 4 {
		group.Go(func() {
			for path := range work {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				mu.Lock()
				switch {
				case w.Code == http.StatusOK:
					pictures++
				case w.Code >= 400 && w.Code < 500:
					refused++
				default:
					t.Errorf("%s: %d %.200q", path, w.Code, w.Body)
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		for _, way := range ways {
			work <- (&url.URL{Path: "/corpus/" + name, RawQuery: way}).String()
		}
	}
	close(work)
	group.Wait()
	t.Logf("%d files in %d ways: %d pictures, %d refusals", len(names), len(ways), pictures, refused)
	if pictures < 1000 {
		t.Errorf("%d pictures came out, of %d files", pictures, len(names))
	}
	if text := written.String(); strings.Contains(text, "panic") {
		t.Errorf("the log tells of a panic: %.2000s", text[max(strings.Index(text, "panic")-200, 0):])
	}
}
