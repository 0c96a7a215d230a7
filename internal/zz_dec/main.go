package main

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"sort"
	"syscall"
	"time"

	"github.com/imagecdn/imagecdn/internal/pngdec"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func main() {
	for _, n := range os.Args[1:] {
		data, _ := os.ReadFile(n)
		pix := make([]byte, 64<<20)
		var a, b []float64
		for range 9 {
			c := cpu()
			pngdec.Decode(context.Background(), data, &pngdec.Options{Alloc: func(n int) []byte { return pix[:n] }})
			a = append(a, (cpu()-c).Seconds()*1000)
			c = cpu()
			png.Decode(bytes.NewReader(data))
			b = append(b, (cpu()-c).Seconds()*1000)
		}
		sort.Float64s(a)
		sort.Float64s(b)
		fmt.Printf("%s pngdec %.1f (min %.1f) image/png %.1f (min %.1f)\n", n, a[4], a[0], b[4], b[0])
	}
}
