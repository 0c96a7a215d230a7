// Package bench holds benchmarks that need what the library does not.
package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/maypok86/otter/v2"

	"github.com/imagecdn/imagecdn/cache"
)

// A trace is what is asked for, by number, and how large each is in bytes.
type trace struct {
	name  string
	asked []int
	size  func(i int) int
}

// sizes are those of derivatives: log-normal, around 16 KiB.
func sizes(i int) int {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	return min(256<<10, max(512, int(math.Exp(r.NormFloat64()*0.8+math.Log(16<<10)))))
}

func zipf(n int, s float64, images int) []int {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), s, 8, uint64(images-1))
	asked := make([]int, n)
	for i := range asked {
		asked[i] = int(z.Uint64())
	}
	return asked
}

// scanned is a Zipf trace through which somebody walks: a quarter of the requests are for what is asked for once.
func scanned(n int, s float64, images int) []int {
	asked := zipf(n, s, images)
	for i := range asked {
		if i%4 == 3 {
			asked[i] = images + i
		}
	}
	return asked
}

func key(i int) cache.Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	return cache.Key{Source: "s", Image: fmt.Sprint("/", i/8), Kind: cache.Derivative, Sum: cache.DigestOf(b[:])}
}

// What cache.Memory charges for a thing beside its body is charged to otter, too.
const overhead = 256

func memoryRatio(bytes int64, tr trace) float64 {
	m := cache.NewMemory(bytes)
	defer m.Close()
	hits := 0
	for _, i := range tr.asked {
		k := key(i)
		if _, err := m.Get(context.Background(), k); err == nil {
			hits++
			continue
		}
		_ = m.Put(context.Background(), k, &cache.Thing{Body: make([]byte, tr.size(i))}, nil)
	}
	return float64(hits) / float64(len(tr.asked))
}

func otterRatio(bytes int64, tr trace) float64 {
	c := otter.Must(&otter.Options[cache.Key, []byte]{
		MaximumWeight: uint64(bytes),
		Weigher:       func(_ cache.Key, v []byte) uint32 { return uint32(len(v) + overhead) },
	})
	hits := 0
	for _, i := range tr.asked {
		k := key(i)
		if _, ok := c.GetIfPresent(k); ok {
			hits++
			continue
		}
		c.Set(k, make([]byte, tr.size(i)))
	}
	return float64(hits) / float64(len(tr.asked))
}

// The memory tier keeps what is worth keeping about as well as otter, at the same bytes. It is a Zipf trace of real sizes;
// go test -v prints the table.
func TestHitRatioIsNearOtters(t *testing.T) {
	for _, tr := range []trace{
		{"Zipf 1.01", zipf(400_000, 1.01, 100_000), sizes},
		{"Zipf 1.2", zipf(400_000, 1.2, 100_000), sizes},
		{"Zipf 1.01, a quarter scanned", scanned(400_000, 1.01, 100_000), sizes},
	} {
		for _, mib := range []int64{16, 64, 256} {
			ours, otters := memoryRatio(mib<<20, tr), otterRatio(mib<<20, tr)
			t.Logf("%-30s %4d MiB: memory %.4f, otter %.4f, difference %+.4f", tr.name, mib, ours, otters, ours-otters)
			if ours < otters-0.03 {
				t.Errorf("%s at %d MiB: %.4f is more than 3 points below otter's %.4f", tr.name, mib, ours, otters)
			}
		}
	}
}
