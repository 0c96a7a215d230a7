//go:build unix

package origin

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	d, dir := newDir(t)
	fifo := filepath.Join(dir, "fifo.jpg")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Skipf("no FIFO here: %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket.jpg"))
	if err != nil {
		t.Skipf("no socket here: %v", err)
	}
	defer l.Close()
	for _, path := range []string{"/fifo.jpg", "/socket.jpg"} {
		if resp, _ := get(t, d, path); resp.StatusCode != 404 {
			t.Errorf("%s: got %d, want 404", path, resp.StatusCode)
		}
	}

	// A file that became a FIFO after it was stat'ed: the open itself must not wait for a writer.
	f, err := d.fsys.Open("fifo.jpg")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
