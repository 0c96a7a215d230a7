package cache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var scaleThings = flag.Int("disk.things", 0, "how many things BenchmarkDiskScale keeps, of 4 KB, ten to an image; 1,000,000 take 9 GB")

// BenchmarkDiskScale measures a large cache once, and prints a table:
//
//	go test ./cache -run '^$' -bench DiskScale -benchtime 1x -disk.things 1000000 -timeout 1h
//
// The page cache is as the machine has it, so what does not fit in memory is measured with its disk.
func BenchmarkDiskScale(b *testing.B) {
	if *scaleThings == 0 {
		b.Skip("give -disk.things N")
	}
	things, dir := *scaleThings, filepath.Join(b.TempDir(), "cache")
	images := max(1, things/10)
	unbounded := DiskOptions{MaxBytes: -1, MaxFiles: -1, Durable: DurablePurges}
	var table strings.Builder
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&table, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	rate := func(what string, n int, do func(i int) error) {
		start := time.Now()
		for i := range n {
			if err := do(i); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(start)
		row(what, "%.0f/s, %.1f µs each", float64(n)/took.Seconds(), float64(took.Microseconds())/float64(n))
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	open := func(dir string, o DiskOptions) *Disk {
		d, err := OpenDisk(dir, &o)
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	shut := func(d *Disk) {
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
	key := func(i int) Key {
		var sum Digest
		binary.BigEndian.PutUint64(sum[:], uint64(i))
		return Key{"photos", fmt.Sprint("/", i%images, ".jpg"), Derivative, sum}
	}
	body := make([]byte, 4000)
	rand.Read(body)
	th := &Thing{Header: map[string][]string{"Content-Type": {"image/jpeg"}, "Etag": {`"abc"`}}, Body: body}
	insert := func(d *Disk, first int) func(i int) error {
		return func(i int) error { return d.Put(context.Background(), key(first+i), th, nil) }
	}

	for b.Loop() {
		row("things, images", "%d, %d", things, images)
		d := open(dir, unbounded)
		rate("insert things", things, insert(d, 0))
		rate("insert names", images, func(i int) error {
			return d.saveName(Name{"photos", key(i).Image, ""}, &nameWrite{e: newEntry(int64(i))})
		})
		row("bytes, files and folders", "%.2f GB, %d", float64(d.bytes.Load())/1e9, d.inodes.Load())
		shut(d)

		before := heap()
		start := time.Now()
		d = open(dir, unbounded)
		if _, err := d.Get(context.Background(), key(things/2)); err != nil {
			b.Fatal(err)
		}
		row("open to first hit", "%.1f ms", float64(time.Since(start).Microseconds())/1000)
		row("heap after open", "%.1f MB", float64(int64(heap())-int64(before))/1e6)
		tidied(d)
		row("open until all is counted, behind", "%.1f s", time.Since(start).Seconds())

		bytes, files := d.bytes.Load(), d.inodes.Load()
		table := NewTable(d, nil)
		rate("first lookup of a name", images, func(i int) error {
			if table.Lookup(table.Lease(Name{"photos", key(i).Image, ""})) == nil {
				return errors.New("a name is gone")
			}
			return nil
		})
		row("heap after all names", "%.1f MB", float64(int64(heap())-int64(before))/1e6)
		r := mrand.New(mrand.NewPCG(1, 2))
		rate("hit, at random", min(things, 100_000), func(int) error {
			_, err := d.Get(context.Background(), key(r.IntN(things)))
			return err
		})
		runtime.KeepAlive(table)
		shut(d)

		more := min(max(things/50, 1000), 20_000)
		d = open(filepath.Join(b.TempDir(), "empty"), unbounded)
		rate("insert into an empty cache", more, insert(d, things))
		shut(d)
		d = open(dir, unbounded)
		tidied(d)
		rate("insert into the cache, without eviction", more, insert(d, 2*things))
		shut(d)
		d = open(dir, DiskOptions{MaxBytes: bytes, MaxFiles: files, Durable: DurablePurges})
		tidied(d)
		for d.over(1, 1) {
			time.Sleep(time.Millisecond)
		}
		was := d.evicted.Load()
		start = time.Now()
		rate("insert into the cache while it is full", more*3, insert(d, 3*things))
		for d.over(1, 1) {
			time.Sleep(time.Millisecond)
		}
		n := d.evicted.Load() - was
		row("evicted meanwhile", "%d, %.0f/s", n, float64(n)/time.Since(start).Seconds())
		row("bytes over the bound afterwards", "%d", max(0, d.bytes.Load()-bytes))
		start, was = time.Now(), d.evicted.Load()
		for range 50 {
			d.evictSome(func() bool { return true })
		}
		if n := d.evicted.Load() - was; n > 0 {
			row("evicting a file, alone", "%.1f µs", float64(time.Since(start).Microseconds())/float64(n))
		}
		shut(d)
	}
	fmt.Print("\n| | |\n| --- | --- |\n" + table.String()) // a benchmark's log has ten lines at the most
}
