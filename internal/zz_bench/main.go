// scratch
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"

	"github.com/imagecdn/imagecdn/resize"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func main() {
	prof := flag.String("prof", "", "")
	out := flag.String("out", "", "")
	secs := flag.Float64("s", 1, "")
	flag.Parse()
	data, err := os.ReadFile(flag.Arg(0))
	if err != nil {
		panic(err)
	}
	w, _ := strconv.ParseFloat(flag.Arg(2), 64)
	var r resize.Renderer
	p := resize.Plan{Width: w, Format: resize.Format(flag.Arg(1)), Quality: 80}
	pic, err := r.Render(context.Background(), p, data)
	if err != nil {
		panic(err)
	}
	if *out != "" {
		os.WriteFile(*out, pic.Bytes, 0o644)
	}
	r.Render(context.Background(), p, data)
	if *prof != "" {
		f, _ := os.Create(*prof)
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	c0, t0, n := cpu(), time.Now(), 0
	for n == 0 || time.Since(t0).Seconds() < *secs {
		r.Render(context.Background(), p, data)
		n++
	}
	fmt.Printf("%.2f %.2f %d\n", (cpu()-c0).Seconds()*1000/float64(n), time.Since(t0).Seconds()*1000/float64(n), len(pic.Bytes))
}
