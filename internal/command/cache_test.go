package command

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
)

// filled makes the directory of a cache that holds a name, an original and two derivatives.
func filled(t *testing.T) (dir string, open *cache.Disk) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cache")
	d, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{"one", "two", "three"} {
		kind := cache.Derivative
		if i == 0 {
			kind = cache.Original
		}
		k := cache.Key{Source: "photos", Image: "/cat.jpg", Kind: kind, Sum: cache.DigestOf([]byte(body))}
		th := &cache.Thing{Header: http.Header{"Content-Type": {"image/jpeg"}}, Body: []byte(body)}
		if err := d.Put(t.Context(), k, th, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SaveName(cache.Name{Source: "photos", Image: "/cat.jpg"}, &cache.Entry{Status: 200}, nil); err != nil {
		t.Fatal(err)
	}
	return dir, d
}

func derivatives(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, f fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(f.Name(), "d-") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestCache(t *testing.T) {
	dir, d := filled(t)
	if code, _, stderr := command(t, "cache", "clear", dir); code != 1 || !strings.Contains(stderr, "is in use by another process") {
		t.Errorf("clear of an open cache: exit %d, %q", code, stderr)
	}
	if code, _, stderr := command(t, "cache", "verify", "-fix", dir); code != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("verify -fix of an open cache: exit %d, %q", code, stderr)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	code, stdout, stderr := command(t, "cache", "stats", dir)
	stats := strings.Join(strings.Fields(stdout), " ")
	if want := "sources 1 images 1 names 1 originals 1 derivatives 2 composites 0 references 0 files 5 bytes 20480 (20 KiB) freeable 0 files, 0 B epoch epoch-"; code != 0 || !strings.HasPrefix(stats, want) {
		t.Errorf("stats: exit %d, %q, %q", code, stats, stderr)
	}
	if code, stdout, stderr := command(t, "cache", "verify", dir); code != 0 || !strings.HasPrefix(stdout, "4 files, ") || stderr != "" {
		t.Errorf("verify: exit %d, %q, %q", code, stdout, stderr)
	}

	damaged := derivatives(t, dir)[0]
	if err := os.WriteFile(damaged, []byte("imgcdn3\nnot whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fix := range []bool{false, true} {
		args := []string{"cache", "verify", dir}
		if fix {
			args = []string{"cache", "verify", "-fix", dir}
		}
		code, stdout, stderr := command(t, args...)
		if code != 1 || !strings.Contains(stdout, "4 files") || !strings.Contains(stdout, "1 damaged") || !strings.Contains(stderr, damaged) {
			t.Errorf("%q: exit %d, %q, %q", args, code, stdout, stderr)
		}
		if _, err := os.Stat(damaged); (err == nil) == fix {
			t.Errorf("%q: the file is there: %v", args, err)
		}
	}
	if code, stdout, _ := command(t, "cache", "verify", dir); code != 0 || !strings.Contains(stdout, "3 files") {
		t.Errorf("verify after -fix: exit %d, %q", code, stdout)
	}

	// What is not the cache's own stays, wherever it is.
	theirs := []string{
		filepath.Join(dir, "notes.txt"), filepath.Join(dir, "epoch-photos", "cat.jpg"),
		filepath.Join(filepath.Dir(derivatives(t, dir)[0]), "d-cat.jpg"), filepath.Join(dir, "trash", "old", "cat.jpg"),
	}
	for _, path := range theirs {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, stdout, stderr := command(t, "cache", "clear", dir); code != 0 || !strings.Contains(stdout, "removed 4 files") {
		t.Errorf("clear: exit %d, %q, %q", code, stdout, stderr)
	}
	for _, path := range theirs {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if code, stdout, _ := command(t, "cache", "stats", dir); code != 0 || !strings.Contains(stdout, "images       0") {
		t.Errorf("stats after clear: exit %d, %q", code, stdout)
	}
	if d, err := cache.OpenDisk(dir, nil); err != nil {
		t.Error(err)
	} else if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A cache that is empty is cleared to its lock.
func TestClearLeavesTheLock(t *testing.T) {
	dir, d := filled(t)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, "cache", "clear", dir); code != 0 {
		t.Fatal(stderr)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "LOCK" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestCacheOfAnythingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cat.jpg"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"stats", "verify", "clear"} {
		if code, _, stderr := command(t, "cache", c, dir); code != 1 || !strings.Contains(stderr, "not the directory of a cache") {
			t.Errorf("%s: exit %d, %q", c, code, stderr)
		}
		if code, _, _ := command(t, "cache", c, filepath.Join(dir, "none")); code != 1 {
			t.Errorf("%s of nothing: exit %d", c, code)
		}
		if code, _, _ := command(t, "cache", c); code != 2 {
			t.Errorf("%s without a directory: exit %d", c, code)
		}
	}
	for _, args := range [][]string{{"cache"}, {"cache", "frob", dir}, {"cache", "stats", dir, dir}, {"cache", "stats", "-fix", dir}} {
		if code, _, stderr := command(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
	if code, _, _ := command(t, "cache", "-h"); code != 0 {
		t.Errorf("cache -h: exit %d", code)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there is %v", left)
	}
}
