package purge

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

var plot = flag.String("plot", "", "draw what TestWaitingTimes measures to this PNG `file`")

const waitingTenants = 200

// waitingTimes submits the same jobs in every run: 200 tenants, of whom the n-th has 1/n as many as the first, ask within a minute for
// more than four workers do in it. It returns how long each tenant's jobs waited, the tenant with most jobs first.
func waitingTimes(t *testing.T, tenant func(n int) string) [][]time.Duration {
	times := make([][]time.Duration, waitingTenants)
	synctest.Test(t, func(t *testing.T) {
		target := &fake{path: func(context.Context, string, Mode) (PathResult, error) {
			time.Sleep(20 * time.Millisecond)
			return PathResult{}, nil
		}}
		s := NewService(target, &ServiceOptions{MaxQueued: 100_000, MaxLog: 100_000, MaxBytes: 1 << 40, MaxWait: -1, CloseTimeout: time.Hour})
		rnd := rand.New(rand.NewPCG(1, 2))
		type arrival struct {
			at     time.Duration
			tenant int
			paths  []string
		}
		var all []arrival
		for n := range waitingTenants {
			for i := range max(1, 1000/(n+1)) {
				a := arrival{at: time.Duration(rnd.Int64N(int64(time.Minute))), tenant: n}
				for k := range 1 + rnd.IntN(9) {
					a.paths = append(a.paths, fmt.Sprintf("/photos/%d-%d-%d", n, i, k))
				}
				all = append(all, a)
			}
		}
		slices.SortFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
		start := time.Now()
		jobs := make([]*Job, len(all))
		for i, a := range all {
			time.Sleep(a.at - time.Since(start))
			j, err := s.Submit(t.Context(), Request{Tenant: tenant(a.tenant), Paths: a.paths}, nil)
			if err != nil {
				t.Fatal(err)
			}
			jobs[i] = j
		}
		s.Close()
		for i, a := range all {
			h := jobs[i].Record().History
			times[a.tenant] = append(times[a.tenant], h[1].Time.Sub(h[0].Time))
		}
	})
	return times
}

// Where a few ask for more than there is, the many who ask for little wait less than a second, and less than if it were first come,
// first served.
func TestWaitingTimes(t *testing.T) {
	fair := waitingTimes(t, func(n int) string { return fmt.Sprint(n) })
	fifo := waitingTimes(t, func(int) string { return "" })
	var small, smallFIFO []time.Duration
	for n := waitingTenants / 4; n < waitingTenants; n++ {
		small, smallFIFO = append(small, fair[n]...), append(smallFIFO, fifo[n]...)
	}
	a, b := median(small), median(smallFIFO)
	t.Logf("median wait of the 150 smallest tenants: %v; first come, first served: %v", a, b)
	t.Logf("median wait of the largest tenant: %v; first come, first served: %v", median(fair[0]), median(fifo[0]))
	if a > time.Second || a > b/10 {
		t.Errorf("the small tenants wait %v; first come, first served would be %v", a, b)
	}
	if *plot != "" {
		var b bytes.Buffer
		if err := png.Encode(&b, drawWaiting(fifo, fair)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*plot, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// drawWaiting draws each tenant's median as a dot, and a line from there to its longest wait.
func drawWaiting(fifo, fair [][]time.Duration) image.Image {
	const width, height, left, top, right, bottom = 900, 460, 70, 50, 20, 50
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	text := func(x, y int, c color.Color, s string) {
		(&font.Drawer{Dst: m, Src: image.NewUniform(c), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}).DrawString(s)
	}
	fill := func(x0, y0, x1, y1 int, c color.Color) {
		draw.Draw(m, image.Rect(x0, y0, x1, y1), image.NewUniform(c), image.Point{}, draw.Over)
	}
	grey, black := color.Gray{220}, color.Gray{40}
	const low, high = -2.0, 2.5 // powers of ten of a second
	y := func(d time.Duration) int {
		v := min(max(math.Log10(max(d.Seconds(), 0.01)), low), high)
		return top + int((high-v)/(high-low)*(height-top-bottom))
	}
	for _, d := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, 100 * time.Second} {
		fill(left, y(d), width-right, y(d)+1, grey)
		text(8, y(d)+4, black, fmt.Sprintf("%7v", d))
	}
	x := func(n int) int { return left + 4 + n*(width-left-right-8)/waitingTenants }
	for n := 0; n <= waitingTenants; n += 50 {
		text(x(n)-6, height-bottom+18, black, fmt.Sprint(max(n, 1)))
	}
	text(left, height-12, black, "tenants, from the one with most jobs (1,000) to those with fewest (5)")
	for i, series := range []struct {
		name  string
		times [][]time.Duration
		c     color.NRGBA
	}{
		{"first come, first served", fifo, color.NRGBA{200, 80, 40, 255}},
		{"fair between tenants", fair, color.NRGBA{30, 100, 190, 255}},
	} {
		pale := series.c
		pale.A = 60
		for n, d := range series.times {
			mid, most := y(median(d)), y(slices.Max(d))
			fill(x(n)+i, most, x(n)+i+1, mid, pale)
			fill(x(n)-1+i, mid-1, x(n)+2+i, mid+2, series.c)
		}
		fill(left+i*260, 18, left+i*260+10, 28, series.c)
		text(left+i*260+16, 28, black, series.name)
	}
	text(left+540, 28, black, "dot: median; line: longest")
	return m
}
