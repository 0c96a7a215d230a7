package command

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

var (
	memoryRequests = flag.Int("memory.requests", 0, "how many originals of 18 megapixels TestPeakMemory asks for at once; 64 is the usual number")
	memoryPhoto    = flag.String("memory.photo", "", "the JPEG `file` that TestPeakMemory varies; none means one of 18 megapixels that is made")
)

// The real server is asked for pictures of many large originals at once, none of which it knows. Its peak resident memory stays
// within what -memory and -render-memory allow together, and a quarter more.
func TestPeakMemory(t *testing.T) {
	if *memoryRequests == 0 {
		t.Skip("takes half a minute: -memory.requests 64")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("peak memory is read from /proc: ", err)
	}
	const images, renders = 256 << 20, 256 << 20
	photo := largePhoto(t)
	t.Logf("originals of %d KB", len(photo)>>10)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		// Each has a comment of its own.
		text := r.URL.Path
		comment := append([]byte{0xff, 0xd8, 0xff, 0xfe}, binary.BigEndian.AppendUint16(nil, uint16(2+len(text)))...)
		w.Header().Set("Content-Length", strconv.Itoa(len(comment)+len(text)+len(photo)-2))
		for _, part := range [][]byte{comment, []byte(text), photo[2:]} {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}))
	defer origin.Close()
	s := startServer(t, buildCommand(t), "", origin.URL, "-memory", fmt.Sprint(images), "-render-memory", fmt.Sprint(renders))
	defer s.kill()
	idle := peakMemory(t, s.cmd.Process.Pid)

	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: *memoryRequests}}
	var group sync.WaitGroup
	for i := range *memoryRequests {
		group.Go(func() {
			resp, err := client.Get(fmt.Sprintf("%s/web/%d.jpg?w=%d", s.url, i, []int{200, 500, 1200, 2400}[i%4]))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || err != nil {
				t.Errorf("%d %v %.200s", resp.StatusCode, err, body)
			}
		})
	}
	group.Wait()
	peak := peakMemory(t, s.cmd.Process.Pid)
	budget := int64(images + renders)
	t.Logf("peak %d MiB, of a budget of %d MiB (%.2f); %d MiB before", peak>>20, budget>>20, float64(peak)/float64(budget), idle>>20)
	if peak > budget+budget/4 {
		t.Errorf("peak %d MiB, want at most a quarter more than %d MiB", peak>>20, budget>>20)
	}
}

// largePhoto is a photograph of 18 megapixels, with noise as sensors have it.
func largePhoto(t *testing.T) []byte {
	t.Helper()
	if *memoryPhoto != "" {
		b, err := os.ReadFile(*memoryPhoto)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	small, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		t.Fatal(err)
	}
	var r resize.Renderer
	large, err := r.Render(t.Context(), resize.Plan{Width: 5184, Height: 3456, Fit: resize.Scale, Format: resize.JPEG}, small)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(large.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	luma := m.(*image.YCbCr).Y
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, v := range luma {
		luma[i] = uint8(min(max(int(v)+rnd.IntN(13)-6, 0), 255))
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// peakMemory is the largest resident memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(b))
	if m == nil {
		t.Fatalf("no peak in %s", strings.ReplaceAll(string(b), "\n", " "))
	}
	kb, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
