package main

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"os"
	"syscall"
	"time"

	kf "github.com/klauspost/compress/flate"
	kz "github.com/klauspost/compress/zlib"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func med(f func()) float64 {
	best := 1e9
	for range 7 {
		c := cpu()
		f()
		best = min(best, (cpu()-c).Seconds()*1000)
	}
	return best
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}
func paeth(a, b, c uint8) uint8 {
	pc := int(c)
	pa := int(b) - pc
	pb := int(a) - pc
	pc = abs(pa + pb)
	pa = abs(pa)
	pb = abs(pb)
	if pa <= pb && pa <= pc {
		return a
	} else if pb <= pc {
		return b
	}
	return c
}

// filter rows: mode -1 adaptive MSAD all 5, 0..4 fixed, 5 = adaptive among sub,up,paeth, 6: among none/up/paeth...
func filt(m *image.RGBA, bpp int, modes []int) []byte {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	n := w * bpp
	prev := make([]byte, n)
	cur := make([]byte, n)
	var out []byte
	cands := [5][]byte{}
	for i := range cands {
		cands[i] = make([]byte, n)
	}
	for y := range h {
		for x := range w {
			copy(cur[x*bpp:x*bpp+bpp], m.Pix[y*m.Stride+4*x:])
		}
		best, bs := 0, 1<<60
		for _, f := range modes {
			s := 0
			for i := range n {
				var a, c byte
				if i >= bpp {
					a, c = cur[i-bpp], prev[i-bpp]
				}
				var p byte
				switch f {
				case 1:
					p = a
				case 2:
					p = prev[i]
				case 3:
					p = byte((int(a) + int(prev[i])) / 2)
				case 4:
					p = paeth(a, prev[i], c)
				}
				v := cur[i] - p
				cands[f][i] = v
				s += abs(int(int8(v)))
			}
			if s < bs {
				best, bs = f, s
			}
		}
		out = append(out, byte(best))
		out = append(out, cands[best]...)
		prev, cur = cur, prev
	}
	return out
}

func main() {
	for _, name := range os.Args[1:] {
		data, _ := os.ReadFile(name)
		src, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			panic(err)
		}
		// inflate speed
		var idat []byte
		for b := data[8:]; len(b) >= 12; {
			n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
			if string(b[4:8]) == "IDAT" {
				idat = append(idat, b[8:8+n]...)
			}
			b = b[12+n:]
		}
		zr, _ := zlib.NewReader(bytes.NewReader(idat))
		raw, _ := io.ReadAll(zr)
		buf := make([]byte, len(raw))
		fmt.Println(name, len(data), "raw", len(raw), "std inflate", med(func() {
			zr.(zlib.Resetter).Reset(bytes.NewReader(idat), nil)
			io.ReadFull(zr, buf)
		}))
		kr, _ := kz.NewReader(bytes.NewReader(idat))
		fmt.Println("  klauspost inflate", med(func() {
			kr.(kz.Resetter).Reset(bytes.NewReader(idat), nil)
			io.ReadFull(kr, buf)
		}))
		var hist [5]int
		b := src.Bounds()
		m := image.NewRGBA(image.Rectangle{Max: b.Size()})
		draw.Draw(m, m.Rect, src, b.Min, draw.Src)
		bpp := 3
		if !m.Opaque() {
			bpp = 4
		}
		if len(raw) == b.Dy()*(b.Dx()*bpp+1) {
			for y := range b.Dy() {
				hist[raw[y*(b.Dx()*bpp+1)]]++
			}
		}
		fmt.Println("  filters", hist, " png.Decode", med(func() { png.Decode(bytes.NewReader(data)) }))
		if b.Dx() > 2000 {
			continue
		}
		for _, mode := range []struct {
			n string
			m []int
		}{{"all5", []int{0, 1, 2, 3, 4}}, {"paeth", []int{4}}, {"sub", []int{1}}, {"up", []int{2}}, {"none", []int{0}}, {"avg", []int{3}}, {"sub,up,paeth", []int{1, 2, 4}}, {"sub,up", []int{1, 2}}, {"none,sub,up,avg", []int{0,1, 2, 3}}} {
			f := filt(m, bpp, mode.m)
			fmt.Printf("  %-14s", mode.n)
			for _, l := range []int{kf.HuffmanOnly, 1, 2, 3, 4, 5, 6} {
				var o bytes.Buffer
				w, _ := kz.NewWriterLevel(&o, l)
				t := med(func() { o.Reset(); w.Reset(&o); w.Write(f); w.Close() })
				fmt.Printf(" %d:%.1fms/%d", l, t, o.Len()/1000)
			}
			for _, l := range []int{1, 6} {
				var o bytes.Buffer
				w, _ := zlib.NewWriterLevel(&o, l)
				t := med(func() { o.Reset(); w.Reset(&o); w.Write(f); w.Close() })
				fmt.Printf(" std%d:%.1fms/%d", l, t, o.Len()/1000)
			}
			fmt.Println()
		}
	}
}
