package cache

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"testing"
)

func sentBy(t *testing.T, s Finder, k Key) (body string, header http.Header, file bool) {
	t.Helper()
	found, err := s.Find(t.Context(), k)
	th, f := found.Thing, found.File
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		return string(th.Body), th.Header, false
	}
	defer f.Close()
	var b bytes.Buffer
	if n, err := f.WriteTo(&b); err != nil || n != f.Size {
		t.Errorf("%d bytes, %v, want %d", n, err, f.Size)
	}
	return b.String(), f.Header, true
}

func TestFindGivesTheFile(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	k := keyOf("/a", Derivative, "x")
	if _, err := d.Find(t.Context(), k); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing there: %v", err)
	}
	if err := d.Put(t.Context(), k, &Thing{Header: http.Header{"Content-Type": {"image/png"}}, Body: []byte("the bytes")}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // checked, and known to be whole
		if body, h, file := sentBy(t, d, k); body != "the bytes" || h.Get("Content-Type") != "image/png" || !file {
			t.Errorf("%q, %v, file %t", body, h, file)
		}
	}

	// Another file in its place is checked anew.
	path, _ := d.path(&k)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-1] ^= 1
	os.Remove(path)
	os.WriteFile(path, whole, 0o600)
	if _, err := d.Find(t.Context(), k); !errors.Is(err, ErrNotFound) {
		t.Errorf("damaged: %v", err)
	}
	if d.Stats().Damaged != 1 {
		t.Errorf("%+v", d.Stats())
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a damaged file was left")
	}
}

func TestFindReadsWhatIsCompressed(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	k := keyOf("/a", Original, "x")
	body := string(bytes.Repeat([]byte("BM pixels "), 1000))
	if err := d.Put(t.Context(), k, &Thing{Header: http.Header{"Content-Type": {"image/bmp"}}, Body: []byte(body)}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, _, file := sentBy(t, d, k); got != body || file {
			t.Errorf("%d bytes, file %t", len(got), file)
		}
	}
}

func TestFoundFileOutlivesAPurge(t *testing.T) {
	d := openDisk(t, t.TempDir(), nil)
	k := keyOf("/a", Derivative, "x")
	put(t, d, k, "the bytes")
	found, err := d.Find(t.Context(), k)
	f := found.File
	if err != nil || f == nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := d.Hide("s", "/a", false); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Remove(t.Context(), "s", "/a"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil || b.String() != "the bytes" {
		t.Errorf("%q, %v", &b, err)
	}
	if _, err := d.Find(t.Context(), k); !errors.Is(err, ErrNotFound) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTiersSendLargeFilesAndCopySmallOnes(t *testing.T) {
	dir := t.TempDir()
	small, large := keyOf("/a", Derivative, "small"), keyOf("/a", Derivative, "large")
	big := string(bytes.Repeat([]byte("x"), sendable))
	first := openDisk(t, dir, nil)
	put(t, first, small, "small")
	put(t, first, large, big)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := Tiered(NewMemory(0), openDisk(t, dir, nil)).(*tiered)
	t.Cleanup(func() { s.Close() })
	if body, _, file := sentBy(t, s, large); body != big || !file {
		t.Errorf("large: %d bytes, file %t", len(body), file)
	}
	if body, _, file := sentBy(t, s, small); body != "small" || file {
		t.Errorf("small: %q, file %t", body, file)
	}
	if _, err := s.fast.Get(t.Context(), small); err != nil {
		t.Errorf("the small one was not copied: %v", err)
	}
	if _, err := s.fast.Get(t.Context(), large); err == nil {
		t.Error("the large one was copied")
	}
}
