package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/resize"
)

func noise(w, h int, seed uint64) plane {
	p := newPlane(w, h)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range p.v {
		p.v[i] = 255 * r.Float64()
	}
	return p
}

func flat(w, h int, v float64) plane {
	p := newPlane(w, h)
	for i := range p.v {
		p.v[i] = v
	}
	return p
}

func TestLanczos(t *testing.T) {
	photo := noise(60, 45, 1)
	if got := lanczos(photo, 60, 45); far(got, photo) > 1e-9 {
		t.Errorf("at its own size a picture changes by %v", far(got, photo))
	}
	for _, size := range [][2]int{{20, 15}, {7, 44}, {61, 90}} {
		if got := lanczos(flat(60, 45, 77), size[0], size[1]); far(got, flat(size[0], size[1], 77)) > 1e-9 {
			t.Errorf("%v: a flat picture changes by %v", size, far(got, flat(size[0], size[1], 77)))
		}
	}
	// A wave of a period far above the output's samples survives at its place.
	wave := func(w int) plane {
		p := newPlane(w, 1)
		for x := range w {
			p.v[x] = 128 + 100*math.Sin(2*math.Pi*3*(float64(x)+0.5)/float64(w))
		}
		return p
	}
	got, want := lanczos(wave(900), 90, 1), wave(90)
	for x := 9; x < 81; x++ { // the edge is not the wave's
		if math.Abs(got.v[x]-want.v[x]) > 0.5 {
			t.Errorf("the wave at %d is %v, want %v", x, got.v[x], want.v[x])
		}
	}
}

// far is the largest difference.
func far(a, b plane) (d float64) {
	if a.w != b.w || a.h != b.h {
		return math.Inf(1)
	}
	for i := range a.v {
		d = max(d, math.Abs(a.v[i]-b.v[i]))
	}
	return d
}

func TestDistinctOriginals(t *testing.T) {
	original := sampleJPEG(t)
	h := serveDistinct(original)
	var bodies [][]byte
	for _, path := range []string{"/1.jpg", "/2.jpg"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if err := hasWidth(w.Body.Bytes(), "jpg", 640); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		bodies = append(bodies, w.Body.Bytes())
	}
	if bytes.Equal(bodies[0], bodies[1]) {
		t.Error("two originals have the same bytes")
	}
}

func sampleJPEG(t *testing.T) []byte {
	t.Helper()
	photos, err := findSamples(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(photos, func(in input) bool { return in.name == "rocket.jpg" })
	data, err := os.ReadFile(photos[i].path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// inProcess is this library's side, without a process.
func inProcess(t *testing.T, name string) *client {
	t.Helper()
	in, toWorker := io.Pipe()
	fromWorker, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := work(context.Background(), in, out)
		out.CloseWithError(io.EOF)
		ended <- err
	}()
	c := &client{name: name, in: toWorker, out: bufio.NewScanner(fromWorker)}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	words, err := c.answer("ready")
	if err != nil {
		t.Fatal(err)
	}
	c.version = strings.Join(words, " ")
	return c
}

// TestComparison compares the library with itself on a small photograph, keeps the figures, reads them and writes tables.
func TestComparison(t *testing.T) {
	c := &comparison{dir: t.TempDir(), log: t.Logf, sides: []*client{inProcess(t, ours), inProcess(t, "twin")}}
	photos, err := findSamples(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	photos = slices.DeleteFunc(photos, func(in input) bool { return in.name != "rocket.jpg" })
	if err := c.load(photos); err != nil {
		t.Fatal(err)
	}
	ones := []ask{{"rocket.jpg", "200", "jpg"}, {"rocket.jpg", "100", "webp"}}
	sets := []ask{{"rocket.jpg", "100,200,300", "jpg"}}
	if err := c.check(slices.Concat(ones, sets)); err != nil {
		t.Fatal(err)
	}
	if err := c.speed(t.Context(), ones, sets, 2, 0.001, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := c.quality(t.Context(), photos); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.records {
		switch {
		case r.part == "set" && r.pictures%3 != 0:
			t.Errorf("%d pictures are no whole sets of three", r.pictures)
		case r.part != "quality" && (r.pictures < 1 || r.busy <= 0):
			t.Errorf("%s: %d pictures in %v", askOf(r), r.pictures, r.busy)
		case r.part == "quality" && (r.ssim < 0.9 || r.ssim >= 1 || r.bytes < 1000):
			t.Errorf("%s at %d: SSIM %v in %d bytes", askOf(r), r.quality, r.ssim, r.bytes)
		}
	}

	c.fact("date", "2026-01-01: a day")
	var kept bytes.Buffer
	if err := c.writeTo(&kept); err != nil {
		t.Fatal(err)
	}
	first := kept.String()
	read, err := readFigures(&kept)
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := read.writeTo(&again); err != nil {
		t.Fatal(err)
	}
	if again.String() != first {
		t.Errorf("what was read is not what was kept:\n%s\n%s", first, again.String())
	}
	var tables strings.Builder
	read.writeTables(&tables)
	for _, want := range []string{
		"- date: 2026-01-01: a day\n",
		"| rocket.jpg → jpg, 3 widths |",
		"| rocket.jpg → webp, 100 px |",
		"### Quality against twin",
		"| median | | | +0.0000 | | | 1.00 | +0.0000 | 1.00 |", // a twin is neither better nor worse
	} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, tables.String())
		}
	}
}

func TestErrorsOfWorkers(t *testing.T) {
	c := inProcess(t, ours)
	for _, c2 := range []struct{ line, want string }{
		{"dance", "words"},
		{"run\tx\t200\tjpg\t80\t0.1\t2", "no input"},
		{"load\tx\t/nowhere", "no such file"},
	} {
		_, err := c.call(c2.line)
		if err == nil || !strings.Contains(err.Error(), c2.want) {
			t.Errorf("%q: %v, want an error that has %q", c2.line, err, c2.want)
		}
	}
}

func TestMedians(t *testing.T) {
	sizes := map[string]int{ours: 90, "peer": 60}
	rec := func(side string, round, pictures int) record {
		return record{part: "one", input: "in", widths: "200", format: "jpg", side: side, round: round,
			pictures: pictures, busy: 2 * time.Second, cpu: time.Second, bytes: sizes[side]}
	}
	f := &figures{records: []record{
		rec(ours, 1, 10), rec("peer", 1, 5), rec(ours, 2, 40), rec("peer", 2, 10), rec(ours, 3, 30), rec("peer", 3, 30),
	}}
	var b strings.Builder
	f.writeTables(&b)
	// Medians of 10, 40, 30 and of 5, 10, 30 pictures in one second by two workers; ratios 2, 4 and 1.
	if want := "| in → jpg, 200 px | 30 | 10 | 2.00 | 33.3 | 100 | 1.50 |"; !strings.Contains(b.String(), want) {
		t.Errorf("no %q in\n%s", want, b.String())
	}
}

func TestSetsAreWhole(t *testing.T) {
	var plans []resize.Plan
	for _, w := range []float64{50, 60, 70, 80, 90} {
		plans = append(plans, resize.Plan{Width: w, Format: resize.JPEG})
	}
	pics, err := renderSet(t.Context(), plans, sampleJPEG(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, pic := range pics {
		if err := hasWidth(pic.Bytes, "jpg", int(plans[i].Width)); err != nil {
			t.Error(i, err)
		}
	}
	if _, err := renderSet(t.Context(), plans, []byte("no picture"), 2); err == nil {
		t.Error("a set of a damaged original has no error")
	}
}
