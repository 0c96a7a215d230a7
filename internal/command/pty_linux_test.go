package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imagecdn/imagecdn/purge"
)

// openTerminal returns both ends of a new terminal of so many columns.
func openTerminal(t *testing.T, columns uint16) (far, near *os.File) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { far.Close() })
	n, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(far.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		near, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: 24})
	}
	if err != nil {
		t.Skip("no terminals here: ", err)
	}
	t.Cleanup(func() { near.Close() })
	return far, near
}

// On a real terminal there are bars, as wide as it is at most; a dumb one has lines.
func TestWatchOnARealTerminal(t *testing.T) {
	states := []purge.State{purge.Received, purge.FlushingServers, purge.FlushingCDN, purge.Done}
	rec := job(states...)
	rec.Paths = []purge.PathResult{{Path: "/photos/a.jpg", State: purge.Done, Outcome: purge.Removed}}
	rec.CDNs = []purge.CDNResult{{Name: "a-content-delivery-network-with-a-long-name", State: purge.Done, Outcome: purge.Confirmed, Items: 1, Purged: 1}}
	s := &script{now: job(purge.Received), blind: true}
	for n := range states[1:] {
		r := rec
		r.State, r.History = states[n+1], rec.History[:n+2]
		s.events = append(s.events, r)
	}
	url := serveScript(t, s)
	for term, want := range map[string]string{
		"xterm": "0198c1d2\nreceived\nflushing_servers [####################] 1 of 1 paths\nflushing_cdn     [####################] a-content-delivery…\ndone\n" +
			"1 removed, originals 0, derivatives 0, composites 0, bytes 0\nconfirmed  a-content-delivery-network-with-a-long-name: 1 of 1\n",
		"dumb": "0198c1d2 received\n0198c1d2 flushing_servers\n0198c1d2 flushing_cdn\n0198c1d2 done\n" +
			"1 removed, originals 0, derivatives 0, composites 0, bytes 0\nconfirmed  a-content-delivery-network-with-a-long-name: 1 of 1\n",
	} {
		t.Setenv("TERM", term)
		far, near := openTerminal(t, 60)
		read := make(chan string)
		go func() {
			b, _ := io.ReadAll(far) // ends with EIO, when the near end is closed
			read <- string(b)
		}()
		code := Run(t.Context(), []string{"purge", "-server", url, "-watch", "/photos/a.jpg"}, near, near)
		near.Close()
		got := seen(t, strings.ReplaceAll(<-read, "\r\n", "\n"), 100)
		if code != 0 || got != want {
			t.Errorf("TERM=%s: exit %d,\n%s\nwant\n%s", term, code, got, want)
		}
	}
}
