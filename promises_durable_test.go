package imagecdn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// I7: P is durable before it is acknowledged. After kill -9 or a power cut at any instant, a restart enforces every acknowledged
// purge before it serves its first byte.
//
// What a kill leaves is a copy of the directory, taken at every step. The power cuts are in package cache, on file systems
// that lose what was not synced, and the kills of real processes in boltlog.
func TestI7AnAcknowledgedPurgeIsInForceAfterAKillAtAnyInstant(t *testing.T) {
	inStores(t, []string{"tiers"}, func(s *site, p scope) {
		type instant struct{ name, dir string }
		var instants []instant
		watching := false
		copyNow := func(name string) {
			if !watching {
				return
			}
			dir := filepath.Join(s.dir, fmt.Sprintf("kill-%d", len(instants)))
			for _, part := range []string{"cache", "purges.db"} {
				copyTree(s, filepath.Join(s.dir, part), filepath.Join(dir, part))
			}
			instants = append(instants, instant{name, dir})
		}
		s.told = func(call, _ string) error {
			if call == "hidden" || call == "saved generations" {
				copyNow(call)
			}
			return nil
		}
		s.log = func(t *testing.T, dir string) purge.Log {
			log, err := boltlog.Open(filepath.Join(dir, "purges.db"))
			if err != nil {
				t.Fatal(err)
			}
			return &toldLog{log, copyNow}
		}
		s.restart()
		s.has(cat, red)
		urls := []string{catURL, "/photos/a/cat.png", "/photos/a/cat.png?w=20&vh=2"}
		for _, url := range urls {
			s.sees("before", url, red)
		}
		synctest.Wait() // what is written behind is written
		s.has(cat, green)
		watching = true
		copyNow("begun")
		s.do(p, cat, purge.Delete)
		watching = false
		s.stop()

		// Of the writes to the log the first is the intent, and the second, after which the purge is acknowledged, that it was
		// accepted. Between them the cache accepts it. A copy after each step is what there is before the next.
		written := 0
		for _, at := range instants {
			want := green
			switch {
			case at.name == "wrote":
				written++
			case written == 0:
				want = red // nothing was promised, nothing is done
			}
			s.dir, s.told = at.dir, nil
			s.start()
			for _, url := range urls {
				s.sees("killed at "+at.name, url, want)
			}
			s.stop()
		}
		if written < 3 || len(instants) < written+2 {
			s.Errorf("%d writes in %d instants: %v", written, len(instants), instants)
		}
		s.start()
	})
}

// toldLog tells of writes that have been made.
type toldLog struct {
	*boltlog.Log
	tell func(call string)
}

func (l *toldLog) Write(put []purge.LogEntry, drop []string) error {
	err := l.Log.Write(put, drop)
	l.tell("wrote")
	return err
}

// copyTree copies a file, or a directory with all that is in it.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dest := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return os.MkdirAll(dest, 0o755)
		}
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(dest, data, 0o644)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// I8: Generations are counters, never clocks, and never go back. A missing or damaged generation file means: everything is
// purged.
func TestI8GenerationsAreCountersAndWithoutThemEverythingIsPurged(t *testing.T) {
	damages := []struct {
		name string
		do   func(data []byte) []byte // nil: no file
	}{
		{"removed", func([]byte) []byte { return nil }},
		{"emptied", func([]byte) []byte { return []byte{} }},
		{"half of it", func(b []byte) []byte { return b[:len(b)/2] }},
		{"without its last byte", func(b []byte) []byte { return b[:len(b)-1] }},
		{"a bit has flipped", func(b []byte) []byte { b[len(b)/3] ^= 1; return b }},
		{"zeroes", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"with a counter set back", func(b []byte) []byte { return bytes.Replace(b, []byte(`"seq":1`), []byte(`"seq":0`), 1) }},
	}
	for _, damage := range damages {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			onSite(t, "tiers", func(s *site) {
				s.do(scopes[5], cat, purge.Delete) // so that there is a generation to forget
				for image, o := range map[string]*fakeOrigin{cat: s.origin, "/logo.png": s.other} {
					o.set(image, answer{header: catHeader(red, "max-age=3600"), body: paint(s, red, 40, 40)})
				}
				urls := []string{catURL, "/photos/a/cat.png?w=20&vh=2", "/other/logo.png?w=20"}
				for _, url := range urls {
					s.sees("before", url, red)
				}
				synctest.Wait()
				s.stop()
				file := filepath.Join(s.dir, "cache", "generations")
				data, err := os.ReadFile(file)
				if err != nil {
					s.Fatal(err)
				}
				was := slices.Clone(data)
				if data = damage.do(data); data == nil {
					err = os.Remove(file)
				} else {
					err = os.WriteFile(file, data, 0o644)
				}
				if err != nil || bytes.Equal(was, data) {
					s.Fatalf("%v: not damaged: %q", err, data)
				}
				s.has(cat, green)
				s.other.set("/logo.png", answer{header: catHeader(green, "max-age=3600"), body: paint(s, green, 40, 40)})
				s.start()
				for _, url := range urls {
					s.sees("after", url, green)
				}
				asked := s.origin.count() + s.other.count()
				synctest.Wait()
				s.restart()
				for _, url := range urls {
					s.sees("after another restart", url, green)
				}
				if n := s.origin.count() + s.other.count() - asked; n != 0 {
					s.Errorf("the file is whole again, and %d requests were made of the origin after another restart", n)
				}
			})
		})
	}

	t.Run("they only grow", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "cache", "generations")
		r := rand.New(rand.NewPCG(8, 8))
		var last cache.Generations
		grown := func(s *site, when string, purges int) {
			s.Helper()
			g := imagecdn.GenerationsOf(s.Handler)
			if g.Seq < last.Seq+uint64(purges) || g.All.Delete < last.All.Delete || g.All.Revalidate < last.All.Revalidate ||
				max(g.All.Delete, g.All.Revalidate, g.All.Stale) > g.Seq {
				s.Errorf("%s: from %+v to %+v", when, last, g)
			}
			last = *g
		}
		for life := range 12 {
			// In each bubble it is the first of January 2000 again: the clock goes back by years.
			synctest.Test(t, func(t *testing.T) {
				s := &site{T: t, store: "disk", dir: dir, origin: newOrigin(), other: newOrigin()}
				s.start()
				defer func() { s.stop() }()
				grown(s, "after a restart", 0)
				if data, err := os.ReadFile(file); err != nil || bytes.Contains(data, []byte("2000-")) {
					t.Errorf("%v, %s", err, data)
				}
				s.has(cat, red)
				mustGet(s, s, catURL)
				time.Sleep(time.Duration(20-life) * 365 * 24 * time.Hour)
				s.has(cat, green)
				s.do(scopes[2+r.IntN(4)], cat, purge.Delete)
				grown(s, "after a purge", 1)
				s.sees("after a purge in an earlier year than the last", catURL, green)
			})
			switch life % 4 {
			case 1:
				// What begins anew begins above all that the names of folders tell of, where nothing of before can be found.
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				last = cache.Generations{Seq: last.Deleted("photos") + 1, All: last.All}
			case 2:
				data, _ := os.ReadFile(file)
				var g struct{ Generations cache.Generations }
				if err := json.Unmarshal(bytes.SplitN(data, []byte("\n"), 2)[0], &g); err != nil || g.Generations.Seq != last.Seq {
					t.Errorf("%v: %+v in the file, %d in memory", err, g, last.Seq)
				}
			}
		}
	})
}

// I9: Inside out: origin cache, then derivatives here, then other nodes, then CDN shield, then CDN edge; each ring after the one
// before it answered.
//
// No CDN is called yet: its ring is the state flushing_cdn, through which each job passes.
func TestI9ThePurgeGoesFromTheInsideOut(t *testing.T) {
	for _, mode := range []purge.Mode{purge.Delete, purge.Revalidate, purge.Stale} {
		for _, store := range everyStore {
			t.Run(string(mode)+"/"+store, func(t *testing.T) {
				onSite(t, store, func(s *site) {
					s.has(cat, red)
					s.sees("before", catURL, red)
					synctest.Wait()
					s.has(cat, green)
					var mu sync.Mutex // guards rings
					var rings []string
					reached := func(ring string) {
						mu.Lock()
						defer mu.Unlock()
						rings = append(rings, ring)
					}
					free := make(chan bool)
					s.told = func(call, _ string) error {
						if call == "remove" {
							<-free
							reached("derivatives")
						}
						return nil
					}
					origin := s.hang(cat, "header")
					job, err := s.Purge(s.Context(), []string{"/photos" + cat}, &purge.Options{Mode: mode, OnStatus: func(e purge.Event) {
						if e.State == purge.FlushingCDN || e.State == purge.Done {
							reached(string(e.State))
						}
					}})
					if err != nil {
						s.Fatal(err)
					}
					// However long a ring takes to answer, none after it is reached.
					time.Sleep(10 * time.Second)
					if len(rings) != 0 {
						s.Errorf("before the origin has answered: %v", rings)
					}
					origin()
					synctest.Wait()
					if len(rings) != 0 {
						s.Errorf("before the derivatives are gone: %v", rings)
					}
					if mode != purge.Delete {
						if e := s.origin.last().Header.Get("Cache-Control"); e != "no-cache" {
							s.Errorf("the origin's own cache may answer: %q", e)
						}
						s.sees("before the derivatives are gone", catURL, green) // the new original is in place before they go
					}
					close(free)
					rec, err := job.Wait(s.Context())
					synctest.Wait()
					if want := []string{"derivatives", "flushing_cdn", "done"}; err != nil || !slices.Equal(rings, want) {
						s.Errorf("%v: %v, want %v: %+v", err, rings, want, rec)
					}
				})
			})
		}
	}
}

var errRefused = errors.New("the store refuses")

// I10: Each step is at-least-once and idempotent; retries back off with jitter and survive a restart.
func TestI10StepsAreTriedAgainAndDoNoHarmTwice(t *testing.T) {
	t.Run("retries back off with jitter", func(t *testing.T) {
		inStores(t, []string{"memory", "disk"}, func(s *site, p scope) {
			s.limits = purge.ServiceOptions{Tries: 12}
			s.restart()
			var before []time.Duration
			for range 2 {
				s.has(cat, red)
				s.sees("before", catURL, red)
				synctest.Wait()
				var tries []time.Time
				s.told = func(call, image string) error {
					if !strings.HasPrefix(call, "remove") || call == "remove" && image != cat {
						return nil
					}
					if tries = append(tries, time.Now()); len(tries) < 12 {
						return errRefused
					}
					return nil
				}
				rec := s.do(p, cat, purge.Delete)
				if got := rec.Paths[min(1, len(rec.Paths)-1)]; got.Outcome != purge.Removed && s.store != "memory" {
					s.Errorf("%+v", rec.Paths)
				}
				if len(tries) != 12 {
					s.Fatalf("%d tries", len(tries))
				}
				var waits []time.Duration
				for i := range tries[1:] {
					waits = append(waits, tries[i+1].Sub(tries[i]))
					if most := min(200*time.Millisecond<<i, 30*time.Second); waits[i] < most/2 || waits[i] > most {
						s.Errorf("wait %d is %v, want %v, cut short by up to a half", i, waits[i], most)
					}
				}
				if slices.Equal(waits, before) {
					s.Errorf("both times it waited %v: no jitter", waits)
				}
				before = waits
			}
		})
	})

	t.Run("they survive a restart", func(t *testing.T) {
		inStores(t, []string{"tiers"}, func(s *site, p scope) {
			log := new(purge.MemoryLog)
			s.log = func(*testing.T, string) purge.Log { return log }
			ended := make(chan purge.Event, 10)
			s.limits = purge.ServiceOptions{CloseTimeout: -1, Tries: 100, OnStatus: func(e purge.Event) {
				if e.State.Final() {
					ended <- e
				}
			}}
			s.restart()
			s.has(cat, red)
			s.sees("before", catURL, red)
			synctest.Wait()
			s.has(cat, green)
			tries := 0
			s.told = func(call, image string) error {
				if strings.HasPrefix(call, "remove") && (image == "" || image == cat) {
					tries++
					return errRefused
				}
				return nil
			}
			job := s.accept(p, cat, purge.Delete)
			time.Sleep(time.Minute)
			s.stop()
			if _, err := job.Wait(s.Context()); !errors.Is(err, purge.ErrClosed) || tries < 2 {
				s.Errorf("%v after %d tries", err, tries)
			}
			s.told = nil
			s.start()
			if e := <-ended; e.ID != job.ID() || e.State != purge.Done || e.Attempt != 1 {
				s.Errorf("%v", e)
			}
			s.sees("after", catURL, green)
		})
	})

	// Each write to the log is lost in turn, with all that come after it, and the steps since then are done again.
	t.Run("twice does no harm", func(t *testing.T) {
		inStores(t, []string{"disk"}, func(s *site, p scope) {
			for kept := 1; ; kept++ {
				log := &forgetfulLog{MemoryLog: new(purge.MemoryLog), keeps: kept}
				s.log = func(*testing.T, string) purge.Log { return log }
				s.restart()
				s.has(cat, red)
				s.sees("before", catURL, red)
				s.do(p, cat, purge.Delete)
				s.has(cat, green)
				s.sees("after", catURL, green)
				synctest.Wait()
				s.stop()
				lost := log.writes - log.keeps
				ended := make(chan purge.Event, 10)
				log.keeps = 1000
				s.limits.OnStatus = func(e purge.Event) {
					if e.State.Final() {
						ended <- e
					}
				}
				s.start()
				s.limits.OnStatus = nil
				if lost <= 0 {
					break
				}
				if e := <-ended; e.State != purge.Done {
					s.Errorf("with %d writes lost: %v", lost, e)
				}
				requests := s.origin.count()
				s.sees("after all of it again", catURL, green)
				// Once it was accepted for good, what was fetched since is not purged by going on.
				if n := s.origin.count() - requests; n != 0 && kept > 1 {
					s.Errorf("with %d writes lost: %d requests to the origin", lost, n)
				}
				s.do(p, cat, purge.Delete)
				if rec := s.do(p, cat, purge.Delete); slices.ContainsFunc(rec.Paths, func(r purge.PathResult) bool { return r.Outcome != purge.Absent }) {
					s.Errorf("the same once more: %+v", rec.Paths)
				}
			}
		})
	})
}

// A forgetfulLog keeps so many writes, and takes the rest without keeping them.
type forgetfulLog struct {
	*purge.MemoryLog
	writes, keeps int
}

func (l *forgetfulLog) Write(put []purge.LogEntry, drop []string) error {
	if l.writes++; l.writes > l.keeps {
		return nil
	}
	return l.MemoryLog.Write(put, drop)
}
