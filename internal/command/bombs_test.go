package command

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/imagecdn/imagecdn/internal/bombs"
	"github.com/imagecdn/imagecdn/resize"
)

var everyByte = flag.Bool("truncate.all", false, "whether TestHostile cuts pictures off at each of their bytes, and not at every fifth")

// mostMemory is what the server may take while strangers send it what they like.
const mostMemory = 512 << 20

// hang is when a request is given up that ought to take milliseconds. It is a guard, no measure.
const hang = 20 * time.Second

// inCgroup puts a process into a group of its own that may have so much memory and no more, where this system lets us.
func inCgroup(t *testing.T, pid int, bytes int64) {
	t.Helper()
	for _, g := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"},
	} {
		if _, err := os.Stat(filepath.Join(g.root, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(g.root, fmt.Sprintf("imagecdn-test-%d", pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		err := os.WriteFile(filepath.Join(dir, g.limit), []byte(strconv.FormatInt(bytes, 10)), 0o644)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		}
		if err == nil {
			t.Logf("the server is in %s, with %d MiB", dir, bytes>>20)
			return
		}
	}
	t.Log("no cgroup can be made here: only the server's peak is looked at")
}

// A hostileOrigin answers with files that are made when they are asked for.
type hostileOrigin struct {
	mu    sync.Mutex // guards files
	files map[string]func() []byte
}

func (o *hostileOrigin) add(name string, data func() []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files["/"+name] = sync.OnceValue(data)
}

func (o *hostileOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	data := o.files[r.URL.Path]
	o.mu.Unlock()
	if data == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg") // which is not to be believed
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Write(data())
}

// log keeps what the server writes.
type log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// hostile starts the real server under a limit of memory, before an origin of hostile files.
func hostile(t *testing.T) (o *hostileOrigin, get func(path string) (status int, body []byte), done func()) {
	t.Helper()
	binary := buildCommand(t)
	o = &hostileOrigin{files: map[string]func() []byte{}}
	origin := httptest.NewServer(o)
	t.Cleanup(origin.Close)
	written := new(log)
	s := startServerLogging(t, written, binary, "", origin.URL, "-memory", "64MiB", "-render-memory", "128MiB")
	t.Cleanup(s.kill)
	inCgroup(t, s.cmd.Process.Pid, mostMemory)
	client := &http.Client{Timeout: hang, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	t.Cleanup(client.CloseIdleConnections)
	get = func(path string) (int, []byte) {
		resp, err := client.Get(s.url + "/web/" + path)
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, written)
			return 0, nil
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return resp.StatusCode, body
	}
	return o, get, func() {
		if text := strings.ToLower(written.String()); strings.Contains(text, "panic") || strings.Contains(text, "runtime error") {
			i := max(strings.Index(text, "panic"), strings.Index(text, "runtime error"))
			t.Errorf("the log tells of a panic: %.2000s", written.String()[max(i-200, 0):])
		}
		if status, body := get("none.jpg"); status != http.StatusNotFound {
			t.Errorf("the server does not answer as before: %d %.200q", status, body)
		}
		if _, err := os.Stat("/proc/self/status"); err == nil {
			peak := peakMemory(t, s.cmd.Process.Pid)
			t.Logf("peak %d MiB", peak>>20)
			if peak > mostMemory {
				t.Errorf("peak %d MiB, want at most %d", peak>>20, mostMemory>>20)
			}
		}
	}
}

// ways are how pictures are asked for, each with other parts of the machine at work.
var ways = []string{
	"", "w=100", "w=100&h=100&fit=crop", "fm=webp", "fm=png&frame=2", "fm=gif", "fm=json", "trim=auto", "palette=json&colors=5", "blur=200", "fm=blurhash",
	"rot=30&fm=jpg",
}

// TestHostile sends the real server what strangers might, under a limit of memory.
func TestHostile(t *testing.T) {
	o, get, done := hostile(t)
	t.Run("bombs", func(t *testing.T) { testBombs(t, o, get) })
	t.Run("truncations", func(t *testing.T) { testTruncations(t, o, get) })
	done()
}

// Pictures that ask for far more than their size tells are refused by the real server, whatever is asked of them, in an instant and in little
// memory.
func testBombs(t *testing.T, o *hostileOrigin, get func(string) (int, []byte)) {
	for _, b := range bombs.All() {
		o.add(b.Name, b.Data)
		var r resize.Renderer
		_, err := r.Check(b.Data())
		for _, way := range ways {
			start := time.Now()
			status, body := get(b.Name + "?" + way)
			took := float64(time.Since(start).Microseconds()) / 1000
			switch {
			case status >= 400 && status < 500:
				t.Logf("%-22s %-24s %d %6.1f ms %.110q", b.Name, way, status, took, bytes.TrimSpace(body))
			case status == http.StatusOK && (b.Harmless || err == nil && (way == "" || way == "fm=json")):
				// What has nothing wrong with its header is passed through, and described by it, until its pixels are looked for.
				t.Logf("%-22s %-24s %d %6.1f ms %d bytes", b.Name, way, status, took, len(body))
			default:
				t.Errorf("%s?%s: %d %.200q", b.Name, way, status, body)
			}
		}
	}
}

// whole gives a small picture of each format that is read.
func whole(t *testing.T) map[string][]byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 16, 12))
	for i := range 16 * 12 {
		m.SetNRGBA(i%16, i/16, color.NRGBA{uint8(16 * i), uint8(20 * (i / 16)), uint8(7 * i), uint8(255 - i%3*60)})
	}
	files := map[string][]byte{}
	var b bytes.Buffer
	keep := func(name string, err error) {
		if err != nil {
			t.Fatal(err)
		}
		files[name] = bytes.Clone(b.Bytes())
		b.Reset()
	}
	keep("a.bmp", bmp.Encode(&b, m))
	keep("a.tiff", tiff.Encode(&b, m, &tiff.Options{Compression: tiff.Deflate}))
	frames := gif.GIF{}
	for i := range 3 {
		p := image.NewPaletted(image.Rect(0, 0, 16, 12), color.Palette{color.Black, color.White, color.Transparent})
		p.Pix[i] = 1
		frames.Image, frames.Delay = append(frames.Image, p), append(frames.Delay, 10)
	}
	keep("a.gif", gif.EncodeAll(&b, &frames))
	var r resize.Renderer
	for name, p := range map[string]resize.Plan{
		"a.jpg":  {Format: resize.JPEG},
		"p.jpg":  {Format: resize.JPEG, Encoding: resize.Encoding{Progressive: true}},
		"a.png":  {Format: resize.PNG, Encoding: resize.Encoding{TrueColor: true}},
		"a.webp": {Format: resize.WebP},
		"l.webp": {Format: resize.WebP, Encoding: resize.Encoding{Lossless: true}},
		"a.avif": {Format: resize.AVIF},
		"m.webp": {Format: resize.WebP, Animation: resize.Animation{FPS: 10}},
	} {
		from := files["a.bmp"]
		if p.Animation.FPS > 0 {
			from = files["a.gif"]
		}
		pic, err := r.Render(t.Context(), p, from)
		if err != nil {
			t.Fatal(name, err)
		}
		files[name] = pic.Bytes
	}
	icon := files["a.png"]
	head := binary.LittleEndian.AppendUint32([]byte{0, 0, 1, 0, 1, 0, 16, 12, 0, 0, 1, 0, 32, 0}, uint32(len(icon)))
	files["a.ico"] = append(binary.LittleEndian.AppendUint32(head, 22), icon...)
	return files
}

// A picture of each format, cut off in the middle of anything, is refused, unless what is missing shows in no pixel of the first frame.
func testTruncations(t *testing.T, o *hostileOrigin, get func(string) (int, []byte)) {
	files := whole(t)
	var group sync.WaitGroup
	limit := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for name, data := range files {
		step := 5
		if *everyByte {
			step = 1
		}
		o.add("0/whole-"+name, func() []byte { return data })
		status, want := get("0/whole-" + name + "?w=8&fm=png")
		if status != http.StatusOK {
			t.Errorf("%s: %d %.200q", name, status, want)
		}
		for n := 0; n < len(data); n += step {
			cut := fmt.Sprintf("%d/%s", n, name)
			o.add(cut, func() []byte { return data[:n] })
			group.Go(func() {
				limit <- struct{}{}
				defer func() { <-limit }()
				for _, way := range []string{"", "w=8&fm=png"} {
					status, body := get(cut + "?" + way)
					switch {
					case status >= 400 && status < 500:
					case status == http.StatusOK && (way == "" && bytes.Equal(body, data[:n]) || bytes.Equal(body, want)):
					default:
						t.Errorf("%s?%s: %d %.200q", cut, way, status, body)
					}
				}
			})
		}
	}
	group.Wait()
}
