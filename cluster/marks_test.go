package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// Marks never miss a purge, and while nothing had to be forgotten they say no more than there was.
func TestMarksAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		most := 1000
		if seed%2 == 1 {
			most = 3 // much has to be forgotten
		}
		m := newMarks(most)
		type noted struct {
			seq uint64
			r   purge.Request
		}
		var all []noted
		seq := uint64(0)
		name := func() cache.Name {
			return cache.Name{Source: fmt.Sprint("s", r.IntN(2)), Image: fmt.Sprintf("/d%d/e%d/%d.jpg", r.IntN(2), r.IntN(2), r.IntN(3))}
		}
		for range 40 {
			seq += 1 + r.Uint64N(3)
			n := name()
			q := purge.Request{Scope: purge.Original, Paths: []string{"/" + n.Source + n.Image}}
			switch r.IntN(8) {
			case 0:
				q = purge.Request{Scope: purge.Tag, Tags: []string{fmt.Sprint("t", r.IntN(3))}}
			case 1:
				q = purge.Request{Scope: purge.Prefix, Paths: []string{"/" + n.Source + n.Image[:strings.LastIndex(n.Image, "/")+1]}}
			case 2:
				q = purge.Request{Scope: purge.Prefix, Paths: []string{"/" + n.Source + "/"}}
			case 3:
				q = purge.Request{Scope: purge.All, Source: n.Source}
			case 4:
				if r.IntN(4) == 0 {
					q = purge.Request{Scope: purge.All}
				}
			}
			m.note(seq, q)
			all = append(all, noted{seq, q})
			for range 10 {
				n, at := name(), r.Uint64N(seq+2)
				e := &cache.Entry{Header: http.Header{"Cache-Tag": {fmt.Sprintf("t%d, other", r.IntN(4))}}}
				want := false
				for _, p := range all {
					if p.seq <= at {
						continue
					}
					path := "/" + n.Source + n.Image
					switch p.r.Scope {
					case purge.All:
						want = want || p.r.Source == "" || p.r.Source == n.Source
					case purge.Original:
						want = want || p.r.Paths[0] == path
					case purge.Prefix:
						want = want || strings.HasPrefix(path, p.r.Paths[0])
					case purge.Tag:
						want = want || strings.HasPrefix(e.Header.Get("Cache-Tag"), p.r.Tags[0]+",")
					}
				}
				got := m.covers(n, e, at)
				if want && !got {
					t.Fatalf("seed %d: %v at %d was purged, and that is not known", seed, n, at)
				}
				if got && !want && most > 100 {
					t.Fatalf("seed %d: %v at %d was not purged", seed, n, at)
				}
			}
		}
		if len(m.young) > most || len(m.old) > most {
			t.Fatalf("%d and %d are remembered", len(m.young), len(m.old))
		}
	}
}

func TestMarksReachBack(t *testing.T) {
	m := newMarks(10)
	if m.reachBackTo(5) {
		t.Error("nothing was read, and everything is known")
	}
	m.note(7, paths("/p/1"))
	for at, want := range map[uint64]bool{5: false, 6: true, 7: true} {
		if got := m.reachBackTo(at); got != want {
			t.Errorf("back to %d: %v", at, got)
		}
	}
}

func BenchmarkCovers(b *testing.B) {
	m := newMarks(maxMarks)
	for i := range uint64(100_000) {
		m.note(i+1, paths(fmt.Sprint("/photos/", i, ".jpg")))
	}
	e := &cache.Entry{Header: http.Header{}}
	n := cache.Name{Source: "photos", Image: "/summer/2026/cat.jpg"}
	for b.Loop() {
		if m.covers(n, e, 50_000) {
			b.Fatal("not purged")
		}
	}
}
