package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gen2brain/webp"

	"github.com/imagecdn/imagecdn/resize"
)

// work is this library's side of what client describes. It ends when in does.
func work(ctx context.Context, in io.Reader, out io.Writer) error {
	libwebp := "the system's libwebp"
	if webp.Dynamic() != nil {
		libwebp = "libwebp translated to Go"
	}
	if _, err := fmt.Fprintf(out, "ready\timagecdn engine %s, %s, WebP by %s\n", resize.Version, runtime.Version(), libwebp); err != nil {
		return err
	}
	w := worker{inputs: make(map[string][]byte)}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		answer, err := w.do(ctx, words[0], words[1:])
		if err != nil {
			answer = "error\t" + strings.NewReplacer("\t", " ", "\n", " ").Replace(err.Error())
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

type worker struct {
	renderer resize.Renderer
	inputs   map[string][]byte
}

func (w *worker) do(ctx context.Context, verb string, args []string) (string, error) {
	if n := map[string]int{"load": 2, "once": 5, "run": 6, "set": 6}[verb]; n == 0 || len(args) != n {
		return "", fmt.Errorf("%q with %d words", verb, len(args))
	}
	if verb == "load" {
		b, err := os.ReadFile(args[1])
		w.inputs[args[0]] = b
		return "ok", err
	}
	original, ok := w.inputs[args[0]]
	if !ok {
		return "", fmt.Errorf("no input %q is loaded", args[0])
	}
	var plans []resize.Plan
	quality, err := strconv.Atoi(args[3])
	if err != nil {
		return "", err
	}
	for width := range strings.SplitSeq(args[1], ",") {
		n, err := strconv.Atoi(width)
		if err != nil {
			return "", err
		}
		plans = append(plans, resize.Plan{Width: float64(n), Format: resize.Format(args[2]), Quality: quality, Color: resize.Strip}) // as the peers, who leave profiles out
	}
	if verb == "once" {
		pic, err := w.renderer.Render(ctx, plans[0], original)
		if err != nil {
			return "", err
		}
		return "ok", os.WriteFile(args[4], pic.Bytes, 0o644)
	}
	seconds, err := strconv.ParseFloat(args[4], 64)
	if err != nil {
		return "", err
	}
	workers, err := strconv.Atoi(args[5])
	if err != nil || workers < 1 {
		return "", fmt.Errorf("%q workers", args[5])
	}
	var t tally
	before := cpuTime()
	if verb == "run" {
		t, err = w.again(ctx, plans[0], original, seconds, workers)
	} else {
		t, err = w.setsAgain(ctx, plans, original, seconds, workers)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("ok\t%d\t%d\t%d\t%d", t.pictures, t.busy.Nanoseconds(), (cpuTime() - before).Microseconds(), t.bytes), nil
}

// again makes one picture over and over, in a number of goroutines, each of which begins none after the seconds are over.
func (w *worker) again(ctx context.Context, p resize.Plan, original []byte, seconds float64, workers int) (tally, error) {
	var wg sync.WaitGroup
	each := make([]tally, workers)
	errs := make([]error, workers)
	for i := range workers {
		wg.Go(func() {
			start := time.Now()
			for each[i].busy.Seconds() < seconds {
				pic, err := w.renderer.Render(ctx, p, original)
				if err != nil {
					errs[i] = err
					return
				}
				each[i] = tally{pictures: each[i].pictures + 1, busy: time.Since(start), bytes: len(pic.Bytes)}
			}
		})
	}
	wg.Wait()
	var sum tally
	for i, t := range each {
		if errs[i] != nil {
			return tally{}, errs[i]
		}
		sum = tally{pictures: sum.pictures + t.pictures, busy: sum.busy + t.busy, bytes: t.bytes}
	}
	return sum, nil
}

// setsAgain makes whole sets, one after the other.
func (w *worker) setsAgain(ctx context.Context, plans []resize.Plan, original []byte, seconds float64, workers int) (tally, error) {
	var sum tally
	start := time.Now()
	for time.Since(start).Seconds() < seconds {
		pics, err := renderSet(ctx, plans, original, workers)
		if err != nil {
			return tally{}, err
		}
		sum.pictures += len(pics)
		sum.bytes = len(pics[len(pics)-1].Bytes)
		sum.busy = time.Since(start) * time.Duration(workers)
	}
	return sum, nil
}

// renderSet makes pictures of one original that are asked for at the same moment, so many at a time. They share their decoding,
// and nothing of it is kept for the next set: each set stands for another original.
func renderSet(ctx context.Context, plans []resize.Plan, original []byte, workers int) ([]*resize.Picture, error) {
	slots := make(chan struct{}, workers)
	r := resize.Renderer{
		Pyramids: resize.NewPyramids(nil),
		Admit: func(ctx context.Context, _ int64, _ bool) (func(), error) {
			select {
			case slots <- struct{}{}:
				return func() { <-slots }, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}
	defer r.Pyramids.Close()
	var (
		wg   sync.WaitGroup
		pics = make([]*resize.Picture, len(plans))
		errs = make([]error, len(plans))
	)
	for i := range plans {
		wg.Go(func() {
			pics[i], errs[i] = r.RenderInputs(ctx, plans[i], []resize.Input{{ID: "original", Bytes: original}})
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return pics, nil
}
