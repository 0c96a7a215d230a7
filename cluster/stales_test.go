package cluster

import (
	"fmt"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
	"github.com/imagecdn/imagecdn/purge"
)

// What a node has only marked, and was not asked to compare, it asks the origin about before it serves it again after it was cut off: the job may have
// been done without it.
func TestWhatIsMarkedWhenANodeIsCutOff(t *testing.T) {
	s := faulty.StartServer(t, t.TempDir(), -1)
	link := faulty.NewLink(t, s.Addr().String())
	var a, b fakeNode
	ca := start(t, s.ClientURL(), "a", &a, Options{})
	cb := start(t, link.URL(), "b", &b, Options{})
	ready(t, ca, cb)
	purged := func(path string) {
		t.Helper()
		if err := ca.Accept(t.Context(), purge.Request{Scope: purge.Original, Mode: purge.Stale, Paths: []string{path}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/p/asked", "/p/marked"} {
		purged(path)
		eventually(t, "b has marked "+path, func() bool { return b.has("stale original " + path) })
	}
	ca.Flush(t.Context(), purge.NodeFlush{ID: "1", Scope: purge.Original, Mode: purge.Stale, Paths: []string{"/p/asked"}}, func(purge.NodeResult) {})
	link.Cut()
	eventually(t, "b is cut off", func() bool { return cb.Currency() != cache.Current })
	purged("/p/missed")
	link.Mend()
	eventually(t, "b is current", func() bool { return cb.Currency() == cache.Current })
	for what, want := range map[string]bool{
		"revalidate original /p/asked": false, "revalidate original /p/marked": true, "revalidate original /p/missed": true, "stale original /p/missed": false,
	} {
		if b.has(what) != want {
			t.Errorf("b has carried out %q: %t", what, !want)
		}
	}
	purged("/p/again")
	eventually(t, "what comes then is marked only", func() bool { return b.has("stale original /p/again") })
}

func TestStales(t *testing.T) {
	stale := func(paths ...string) purge.Request {
		return purge.Request{Scope: purge.Original, Mode: purge.Stale, Paths: paths}
	}
	never := func(string) bool { return false }
	flush := func(paths ...string) purge.NodeFlush {
		return purge.NodeFlush{Scope: purge.Original, Mode: purge.Stale, Paths: paths}
	}
	var s stales
	left := func() (n int) {
		for _, r := range s.take() {
			if r.Mode != purge.Revalidate || r.Scope != purge.Original || len(r.Paths) > 64 {
				t.Errorf("%+v", r)
			}
			n += len(r.Paths)
		}
		return n
	}
	for _, r := range []purge.Request{{Scope: purge.All, Mode: purge.Stale}, {Scope: purge.Original, Mode: purge.Delete, Paths: []string{"/a"}}} {
		if got := s.note(1, r, false); got.Mode != r.Mode || left() > 0 {
			t.Errorf("%+v became %+v", r, got)
		}
	}
	if got := s.note(1, stale("/a"), false); got.Mode != purge.Revalidate || left() > 0 {
		t.Errorf("of a node that is not current: %+v", got)
	}
	s.note(2, stale("/a", "/b", "/c", "/d"), true)
	s.note(4, stale("/b"), true)
	s.compared(flush("/a", "/b"), 3, never)
	s.compared(flush("/c"), 3, func(p string) bool { return !s.areMany() }) // the stream is read on meanwhile
	s.compared(purge.NodeFlush{Scope: purge.Original, Mode: purge.Delete, Paths: []string{"/d"}}, 3, never)
	if n := left(); n != 3 {
		t.Errorf("%d are left, want those that are marked later, or all the same, or were not compared", n)
	}
	for i := range maxStales {
		if s.areMany() {
			t.Fatalf("%d are many", i)
		}
		s.note(5, stale(fmt.Sprint("/", i)), true)
	}
	if got := s.note(6, stale("/more"), true); got.Mode != purge.Revalidate || !s.areMany() || left() != maxStales || s.areMany() {
		t.Errorf("beyond the most there may be: %+v", got)
	}
}
