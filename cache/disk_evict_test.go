package cache

import (
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"testing/synctest"
	"time"
)

// A zipf draws numbers below n, of which the i-th is as frequent as 1/(i+1)^s.
type zipf []float64

func newZipf(n int, s float64) zipf {
	z := make(zipf, n)
	sum := 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -s)
		z[i] = sum
	}
	for i := range z {
		z[i] /= sum
	}
	return z
}

func (z zipf) draw(r *rand.Rand) int { return sort.SearchFloat64s(z, r.Float64()) }

// zipfWithScans is a trace of requests: popular things by Zipf's law, whose ranks drift, and between them scans of
// things that nobody asks for again, as a crawler makes them.
func zipfWithScans(r *rand.Rand, requests int) []int {
	const popular, scan = 4000, 600
	z := newZipf(popular, 0.9)
	var trace []int
	for next, shift := popular*10, 0; len(trace) < requests; {
		for range 1500 {
			trace = append(trace, z.draw(r)+shift)
		}
		for range scan {
			trace = append(trace, next)
			next++
		}
		shift += 20 // half a per cent of what is popular is no longer, or newly so
	}
	return trace[:requests]
}

// hitRatio plays a trace on a Disk that holds so many files, one request a second.
func hitRatio(t *testing.T, trace []int, files int64, change func(*Disk)) (ratio float64) {
	synctest.Test(t, func(t *testing.T) {
		d, err := newDisk(newCrashFS(), diskDir, &DiskOptions{MaxFiles: files, Durable: DurablePurges})
		if err != nil {
			t.Fatal(err)
		}
		change(d)
		d.work.Go(d.writeNames)
		d.work.Go(d.tidy)
		d.work.Go(d.evictLoop)
		synctest.Wait()
		hits := 0
		for _, n := range trace {
			time.Sleep(time.Second)
			k := Key{"s", fmt.Sprint("/", n), Derivative, DigestOf(fmt.Append(nil, n))}
			if _, err := d.Get(t.Context(), k); err == nil {
				hits++
				continue
			}
			put(t, d, k, "x")
			synctest.Wait() // until there is room again
			if n := d.inodes.Load(); n > files {
				t.Fatalf("%d files, of %d", n, files)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := d.check(); err != nil {
			t.Error(err)
		}
		ratio = float64(hits) / float64(len(trace))
	})
	return ratio
}

func TestTheEvictionResistsScans(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	trace := zipfWithScans(r, 30_000)
	const files = 1200 // 600 things and their folders
	sketched := hitRatio(t, trace, files, func(*Disk) {})
	plain := hitRatio(t, trace, files, func(d *Disk) {
		d.worth = func(string) uint8 { return 0 }
		d.idle = 1 // exact, at a price
	})
	t.Logf("hit ratio %.1f %%, of plain sampled LRU %.1f %%", sketched*100, plain*100)
	if sketched < plain*1.1 {
		t.Errorf("hit ratio %.1f %%, of plain sampled LRU %.1f %%", sketched*100, plain*100)
	}
}

// What is popular changes: the sketch must let go.
func TestTheEvictionFollowsWhatIsPopular(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	z := newZipf(2000, 0.9)
	var trace []int
	for phase := range 3 {
		for range 8000 {
			trace = append(trace, z.draw(r)+phase*10_000)
		}
	}
	last := func(trace []int) float64 { return hitRatio(t, trace, 800, func(*Disk) {}) }
	// As good on the last phase as a disk that never saw the others, within a fifth.
	after := last(trace)*3 - last(trace[:len(trace)*2/3])*2
	alone := last(trace[len(trace)*2/3:])
	t.Logf("hit ratio after changes %.1f %%, without %.1f %%", after*100, alone*100)
	if after < alone*0.8 {
		t.Errorf("hit ratio after changes %.1f %%, without %.1f %%", after*100, alone*100)
	}
}

func TestTheSketchCounts(t *testing.T) {
	s := newSketch(1024)
	for i := range 200 {
		for range i % 20 {
			s.add(fmt.Sprint(i))
		}
	}
	wrong := 0
	for i := range 200 {
		got, want := int(s.count(fmt.Sprint(i))), min(i%20, sketchMax)
		if got < want {
			t.Errorf("%d was added %d times, and counts %d", i, i%20, got)
		} else if got > want {
			wrong++
		}
	}
	if wrong > 10 {
		t.Errorf("%d of 200 are too high", wrong)
	}
	s.last(0)
	for range 4000 {
		s.add("other")
	}
	if got := s.count("19"); got > 4 {
		t.Errorf("what was long ago still counts %d", got)
	}
}

// A name is not evicted before what cannot be found without it.
func TestNamesGoLast(t *testing.T) {
	d, err := newDisk(newCrashFS(), diskDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.all = true
	for i := range 20 {
		n := Name{"s", fmt.Sprint("/", i), ""}
		if err := d.saveName(n, &nameWrite{e: newEntry(1)}); err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			put(t, d, thingOf(n, j), "x")
		}
	}
	for range 400 {
		d.evictSome(func() bool { return true })
		for i := range 20 {
			n := Name{"s", fmt.Sprint("/", i), ""}
			files := d.listed(d.folder(n.Source, n.Image))
			if len(files) > 0 && !slices.ContainsFunc(files, func(f fs.DirEntry) bool { return f.Name() == nameFile("") }) {
				t.Fatalf("%v: its name went before %d of its things", n, len(files))
			}
		}
	}
	if d.inodes.Load() != 0 || d.bytes.Load() != 0 {
		t.Errorf("%d files and %d bytes are left", d.inodes.Load(), d.bytes.Load())
	}
	if err := d.check(); err != nil {
		t.Error(err)
	}
}
