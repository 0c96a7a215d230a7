package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/internal/ssim"
)

// Each side has two pictures in the making at a time.
const workers = 2

// The setting of what all sides encode.
const quality = 80

// A comparison asks all sides the same things and keeps what it measures.
type comparison struct {
	figures
	sides []*client
	dir   string // for pictures and samples
	log   func(format string, args ...any)
}

// oneAsks are what is asked for again and again.
func oneAsks(inputs map[string]input) (asks []ask) {
	for _, name := range []string{small, smallProgressive, large, largeProgressive} {
		for _, width := range []string{"200", "500", "1200"} {
			asks = append(asks, ask{name, width, "jpg"})
		}
	}
	asks = append(asks,
		ask{small + ".png", "500", "png"}, ask{small + ".png", "1200", "png"},
		ask{small + ".png", "500", "webp"}, ask{small + ".png", "1200", "webp"},
		ask{small + ".webp", "500", "jpg"}, ask{small + ".webp", "1200", "jpg"})
	return known(asks, inputs)
}

// setAsks are sets of widths, those of a page that serves an image to any screen.
func setAsks(inputs map[string]input) []ask {
	const widths = "160,320,480,640,800,1080,1280,1600"
	return known([]ask{{small, widths, "jpg"}, {large, widths, "jpg"}}, inputs)
}

func known(asks []ask, inputs map[string]input) (known []ask) {
	for _, a := range asks {
		if _, ok := inputs[a.input]; ok {
			known = append(known, a)
		}
	}
	return known
}

func (c *comparison) keep(r record) { c.records = append(c.records, r) }

func (c *comparison) load(inputs []input) error {
	for _, side := range c.sides {
		for _, in := range inputs {
			if _, err := side.call("load", in.name, in.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// once has a side make a picture, and gives its bytes.
func (c *comparison) once(side *client, a ask, quality int) ([]byte, error) {
	path := filepath.Join(c.dir, "picture")
	if _, err := side.call("once", a.input, a.widths, a.format, quality, path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// check has every side make every picture once, which also warms it up. What a side cannot make is an error: a throughput
// of something else would be no comparison.
func (c *comparison) check(asks []ask) error {
	for _, a := range asks {
		for _, side := range c.sides {
			if side.skips(a) {
				continue
			}
			for text := range strings.SplitSeq(a.widths, ",") {
				data, err := c.once(side, ask{a.input, text, a.format}, quality)
				if err == nil {
					width, _ := strconv.Atoi(text)
					err = hasWidth(data, a.format, width)
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", side.name, a, err)
				}
			}
		}
	}
	return nil
}

// skips says what a side is not asked for: the build without the system's libwebp differs where WebP is written alone.
func (c *client) skips(a ask) bool { return c.name == withoutLibwebp && a.format != "webp" }

// speed runs rounds until the deadline. In each, every ask goes to all sides in turn, and the side that is first changes
// with the round.
func (c *comparison) speed(ctx context.Context, ones, sets []ask, rounds int, seconds float64, deadline time.Time) error {
	for round := range rounds {
		if round > 0 && time.Now().After(deadline) {
			c.log("time is up after %d of %d rounds", round, rounds)
			break
		}
		c.log("round %d of %d", round+1, rounds)
		for _, p := range []struct {
			part, verb string
			asks       []ask
		}{{"one", "run", ones}, {"set", "set", sets}} {
			for _, a := range p.asks {
				for i := range c.sides {
					side := c.sides[(i+round)%len(c.sides)]
					if side.skips(a) {
						continue
					}
					t, err := side.measure(p.verb, a.input, a.widths, a.format, quality, seconds, workers)
					if err != nil {
						return err
					}
					if p.part == "set" {
						t.bytes = 0 // which picture was the last is not the same on all sides
					}
					c.keep(record{
						part: p.part, input: a.input, widths: a.widths, format: a.format, quality: quality, side: side.name, round: round + 1,
						pictures: t.pictures, busy: t.busy, cpu: t.cpu, bytes: t.bytes,
					})
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
			}
		}
	}
	return nil
}

// The edge that is left out of SSIM: as far as Lanczos3 reaches, since sides may extend pictures each in its own way.
const edge = 3

// quality makes each photograph at several widths, and at several qualities by the peers, so that there is a curve.
func (c *comparison) quality(ctx context.Context, inputs []input) error {
	for _, in := range inputs {
		data, err := os.ReadFile(in.path)
		if err != nil {
			return err
		}
		full, err := lumaOf(data)
		if err != nil {
			return fmt.Errorf("%s: %w", in.path, err)
		}
		for _, width := range []int{200, 500, 1200} {
			if width > full.w {
				continue
			}
			a := ask{in.name, strconv.Itoa(width), "jpg"}
			references := make(map[[2]int]plane)
			for _, side := range c.sides {
				if side.skips(a) {
					continue
				}
				settings := []int{quality}
				if side.name != ours {
					settings = []int{60, 65, 70, 75, 80, 85, 90, 95}
				}
				for _, q := range settings {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					picture, err := c.once(side, a, q)
					if err != nil {
						return err
					}
					luma, err := lumaOf(picture)
					if err != nil {
						return fmt.Errorf("%s: %s: %w", side.name, a, err)
					}
					size := [2]int{luma.w, luma.h}
					if _, ok := references[size]; !ok {
						references[size] = lanczos(full, luma.w, luma.h).cut(edge)
					}
					s, err := ssim.Mean(luma.cut(edge).samples(), references[size].samples())
					if err != nil {
						return err
					}
					c.keep(record{part: "quality", input: a.input, widths: a.widths, format: a.format, quality: q, side: side.name,
						bytes: len(picture), ssim: s})
				}
			}
		}
	}
	return nil
}

// memory has every server make n pictures of n originals at once, in a process of its own, and reads its peak.
func (c *comparison) memory(ctx context.Context, in input, servers []server, jobs []string, n int) error {
	original, err := os.ReadFile(in.path)
	if err != nil {
		return err
	}
	origin := httptest.NewServer(serveDistinct(original))
	defer origin.Close()
	const width = 500
	keep := func(side string, r record) {
		r.part, r.input, r.widths, r.format, r.quality, r.side = "memory", in.name, strconv.Itoa(width), "jpg", quality, side
		c.keep(r)
	}
	for _, s := range servers {
		c.log("%d requests at once to %s", n, s.side)
		r, err := s.load(ctx, origin.URL, width, quality, n)
		if err != nil {
			return err
		}
		keep(s.side, r)
	}
	if len(jobs) == 0 {
		return nil
	}
	side, err := startClient(ctx, "libvips", jobs)
	if err != nil {
		return err
	}
	defer side.close()
	c.log("%d jobs to %s", n, side.version)
	if _, err := side.call("load", in.name, in.path); err != nil {
		return err
	}
	t, err := side.measure("jobs", in.name, width, "jpg", quality, n, workers)
	if err != nil {
		return err
	}
	peak, err := peakOf(side.cmd.Process.Pid)
	if err != nil {
		return err
	}
	keep(side.name+", no server, 2 jobs at a time", record{pictures: t.pictures, busy: t.busy, cpu: t.cpu, peak: peak})
	return nil
}

// servers are those that are there.
func servers(imagecdn, sharp string) (all []server) {
	if imagecdn != "" {
		all = append(all, server{ours + " serve", func(origin, address string) []string {
			return []string{imagecdn, "serve", "-listen", address, "-source", "p=" + origin, "-allow-private", "-cache", "", "-memory", "16MiB"}
		}})
	}
	if words := strings.Fields(sharp); len(words) > 0 {
		all = append(all, server{"sharp server", func(origin, address string) []string {
			return append(words[:len(words):len(words)], origin, address[strings.LastIndex(address, ":")+1:])
		}})
	}
	return all
}
