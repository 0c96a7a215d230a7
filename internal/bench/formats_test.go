//go:build unix

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gen2brain/avif"
	"github.com/gen2brain/webp"

	"github.com/imagecdn/imagecdn/resize"
	_ "github.com/imagecdn/imagecdn/resize/avif"
)

var (
	formats       = flag.String("formats", "", "measure bytes and CPU time against quality of webp, avif (effort), q (one quality for all) or small (sizes)")
	formatsPhotos = flag.String("formats.photos", "../samples/photos/*", "pattern of the photographs for -formats")
	formatsWidth  = flag.Int("formats.width", 400, "width in pixels of the pictures for -formats")
	formatsEffort = flag.String("formats.effort", "", "efforts to measure, with commas; empty means all")
)

// TestFormats writes the tables of docs/formats.md. Quality is the SSIM of luma (Wang et al. 2004, windows of 8x8) of what is
// decoded again, against the resized picture; bytes at equal quality are interpolated between qualities, on a log scale.
//
//	go -C internal/bench test -run TestFormats -v -timeout 0 -formats webp
//	go -C internal/bench test -run TestFormats -v -timeout 0 -formats avif -tags wasm2go
func TestFormats(t *testing.T) {
	switch *formats {
	case "":
		t.Skip("measures for minutes: say -formats webp, avif, q or small")
	case "webp":
		t.Logf("system library: %v", webp.Dynamic() == nil)
		efforts(t, []int{0, 1, 2, 3, 4, 5, 6}, encodeWebP)
	case "avif":
		t.Logf("system library: %v", avif.Dynamic() == nil)
		efforts(t, []int{10, 9, 8, 7, 6, 5, 4}, encodeAVIF)
	case "q":
		oneQuality(t)
	case "small":
		small(t)
	default:
		t.Fatalf("-formats %s", *formats)
	}
}

func encodeWebP(m *image.RGBA, effort, quality int) ([]byte, error) {
	var b bytes.Buffer
	err := webp.Encode(&b, m, webp.Options{Quality: quality, Method: effort})
	return b.Bytes(), err
}

func encodeAVIF(m *image.RGBA, effort, quality int) ([]byte, error) {
	var b bytes.Buffer
	err := avif.Encode(&b, m, avif.Options{Quality: quality, QualityAlpha: quality, Speed: effort, ChromaSubsampling: image.YCbCrSubsampleRatio420})
	return b.Bytes(), err
}

type photo struct {
	name string
	m    *image.RGBA
}

func photographs(t *testing.T, width int) []photo {
	t.Helper()
	names, err := filepath.Glob(*formatsPhotos)
	if err != nil || len(names) == 0 {
		t.Fatalf("no photographs at %s: %v", *formatsPhotos, err)
	}
	var all []photo
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, photo{filepath.Base(name), decoded(t, data, resize.Plan{Width: float64(width)})})
	}
	return all
}

func rendered(t *testing.T, p resize.Plan, data []byte) []byte {
	t.Helper()
	var r resize.Renderer
	pic, err := r.Render(t.Context(), p, data)
	if err != nil {
		t.Fatal(err)
	}
	return pic.Bytes
}

// decoded gives the pixels that the module itself sees.
func decoded(t *testing.T, data []byte, p resize.Plan) *image.RGBA {
	t.Helper()
	p.Format = resize.PNG
	m, err := png.Decode(bytes.NewReader(rendered(t, p, data)))
	if err != nil {
		t.Fatal(err)
	}
	if rgba, ok := m.(*image.RGBA); ok {
		return rgba
	}
	dst := image.NewRGBA(m.Bounds())
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			dst.Set(x, y, m.At(x, y))
		}
	}
	return dst
}

func asPNG(t *testing.T, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A point is one encoding of a picture.
type point struct {
	quality int
	bytes   int
	ssim    float64
	psnr    float64
	cpu     time.Duration
}

func measure(t *testing.T, m *image.RGBA, quality int, encode func() ([]byte, error)) point {
	t.Helper()
	runtime.GC()
	before := cpuTime(t)
	b, err := encode()
	cpu := cpuTime(t) - before
	if err != nil {
		t.Fatal(err)
	}
	again := decoded(t, b, resize.Plan{})
	return point{quality, len(b), ssim(luma(m), luma(again), m.Rect.Dx(), m.Rect.Dy()), psnr(m, again), cpu}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func jpegPoint(t *testing.T, p photo, quality int) point {
	t.Helper()
	data := asPNG(t, p.m)
	return measure(t, p.m, quality, func() ([]byte, error) {
		return rendered(t, resize.Plan{Format: resize.JPEG, Quality: quality}, data), nil
	})
}

// efforts compares the efforts of an encoder by their bytes at the quality that JPEG has at 75.
func efforts(t *testing.T, all []int, encode func(m *image.RGBA, effort, quality int) ([]byte, error)) {
	if *formatsEffort != "" {
		all = nil
		for s := range strings.SplitSeq(*formatsEffort, ",") {
			var n int
			if _, err := fmt.Sscan(s, &n); err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
		}
	}
	photos := photographs(t, *formatsWidth)
	_, _ = encode(photos[0].m, all[0], 50) // what is loaded once
	t.Log("| effort | bytes at the SSIM of JPEG 75, of JPEG's | CPU ms (median) | per megapixel |")
	for _, effort := range all {
		ratio, n := 0.0, 0
		var cpu, perPixel []float64
		for _, p := range photos {
			target := jpegPoint(t, p, 75)
			var curve []point
			for _, q := range []int{35, 50, 65, 80, 90} {
				pt := measure(t, p.m, q, func() ([]byte, error) { return encode(p.m, effort, q) })
				curve = append(curve, pt)
				if q == 65 || q == 80 {
					ms := pt.cpu.Seconds() * 1000
					cpu = append(cpu, ms)
					perPixel = append(perPixel, ms/float64(p.m.Rect.Dx()*p.m.Rect.Dy())*1e6)
				}
			}
			_, size, ok := at(curve, target.ssim)
			if !ok {
				t.Logf("%s, effort %d: SSIM %.4f is out of reach of %v", p.name, effort, target.ssim, curve)
				continue
			}
			ratio += math.Log(size / float64(target.bytes))
			n++
		}
		t.Logf("| %d | %.3f | %.0f | %.0f |", effort, math.Exp(ratio/float64(n)), median(cpu), median(perPixel))
	}
}

// oneQuality finds the quality of WebP and AVIF at which pictures are as good as JPEG's at each quality.
func oneQuality(t *testing.T) {
	photos := photographs(t, *formatsWidth)
	for _, f := range []struct {
		name   string
		effort int
		encode func(*image.RGBA, int, int) ([]byte, error)
	}{{"WebP", 4, encodeWebP}, {"AVIF", 7, encodeAVIF}} {
		curves := make([][]point, len(photos))
		for i, p := range photos {
			for _, q := range []int{5, 15, 25, 35, 45, 55, 65, 75, 82, 88, 94, 98, 100} {
				curves[i] = append(curves[i], measure(t, p.m, q, func() ([]byte, error) { return f.encode(p.m, f.effort, q) }))
			}
		}
		t.Logf("| q | SSIM of JPEG | %s quality, median | lowest | highest | bytes of JPEG's |", f.name)
		for _, q := range []int{10, 20, 30, 45, 60, 75, 80, 85, 90, 95, 100} {
			var quality, ratio, similar []float64
			for i, p := range photos {
				target := jpegPoint(t, p, q)
				similar = append(similar, target.ssim)
				at, size, ok := at(curves[i], target.ssim)
				if !ok { // beyond an end
					end := curves[i][0]
					if target.ssim > end.ssim {
						end = curves[i][len(curves[i])-1]
					}
					at, size = float64(end.quality), float64(end.bytes)
				}
				quality = append(quality, at)
				ratio = append(ratio, size/float64(target.bytes))
			}
			t.Logf("| %d | %.4f | %.0f | %.0f | %.0f | %.2f |", q, median(similar), median(quality), slices.Min(quality), slices.Max(quality), median(ratio))
		}
	}
}

// small compares the formats, as the module writes them at quality 75, by the width of the picture.
func small(t *testing.T) {
	t.Log("| width | JPEG bytes | WebP | AVIF | AVIF of WebP, median | worst | CPU ms of AVIF |")
	for _, width := range []int{16, 32, 48, 64, 96, 128, 200, 320} {
		var j, w, a, ratio, cpu []float64
		for _, p := range photographs(t, width) {
			data := asPNG(t, p.m)
			jpeg := rendered(t, resize.Plan{Format: resize.JPEG}, data)
			webp := rendered(t, resize.Plan{Format: resize.WebP}, data)
			before := cpuTime(t)
			avif := rendered(t, resize.Plan{Format: resize.AVIF}, data)
			cpu = append(cpu, (cpuTime(t)-before).Seconds()*1000)
			j, w, a = append(j, float64(len(jpeg))), append(w, float64(len(webp))), append(a, float64(len(avif)))
			ratio = append(ratio, float64(len(avif))/float64(len(webp)))
		}
		t.Logf("| %d | %.0f | %.0f | %.0f | %.2f | %.2f | %.0f |", width, median(j), median(w), median(a), median(ratio), slices.Max(ratio), median(cpu))
	}
}

// at gives the quality and the bytes at which a curve has an SSIM.
func at(curve []point, target float64) (quality, size float64, ok bool) {
	for i := 1; i < len(curve); i++ {
		a, b := curve[i-1], curve[i]
		if a.ssim <= target && target <= b.ssim && a.ssim < b.ssim {
			f := (target - a.ssim) / (b.ssim - a.ssim)
			return float64(a.quality) + f*float64(b.quality-a.quality),
				math.Exp(math.Log(float64(a.bytes)) + f*math.Log(float64(b.bytes)/float64(a.bytes))), true
		}
	}
	return 0, 0, false
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func luma(m *image.RGBA) []float64 {
	y := make([]float64, 0, m.Rect.Dx()*m.Rect.Dy())
	for j := range m.Rect.Dy() {
		for i := range m.Rect.Dx() {
			c := m.RGBAAt(i, j)
			l, _, _ := color.RGBToYCbCr(c.R, c.G, c.B)
			y = append(y, float64(l))
		}
	}
	return y
}

// ssim is the mean over windows of 8x8 samples, four apart.
func ssim(a, b []float64, w, h int) float64 {
	const c1, c2 = (0.01 * 255) * (0.01 * 255), (0.03 * 255) * (0.03 * 255)
	side := min(8, w, h)
	sum, n := 0.0, 0
	for y := 0; y+side <= h; y += 4 {
		for x := 0; x+side <= w; x += 4 {
			var sa, sb, saa, sbb, sab float64
			for j := range side {
				for i := range side {
					p, q := a[(y+j)*w+x+i], b[(y+j)*w+x+i]
					sa, sb, saa, sbb, sab = sa+p, sb+q, saa+p*p, sbb+q*q, sab+p*q
				}
			}
			k := float64(side * side)
			ma, mb := sa/k, sb/k
			va, vb, cov := saa/k-ma*ma, sbb/k-mb*mb, sab/k-ma*mb
			sum += (2*ma*mb + c1) * (2*cov + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			n++
		}
	}
	return sum / float64(n)
}

func psnr(a, b *image.RGBA) float64 {
	sum, n := 0.0, 0
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			p, q := a.RGBAAt(x, y), b.RGBAAt(x, y)
			for _, d := range []float64{float64(p.R) - float64(q.R), float64(p.G) - float64(q.G), float64(p.B) - float64(q.B)} {
				sum, n = sum+d*d, n+1
			}
		}
	}
	return 10 * math.Log10(255*255*float64(n)/sum)
}
