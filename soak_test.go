package imagecdn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	urlpkg "net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xwebp "golang.org/x/image/webp"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

var (
	soakOps  = flag.Int("soak.ops", 20_000, "how many operations TestRandomHistories makes")
	soakSeed = flag.Uint64("soak.seed", 0, "the seed of TestRandomHistories; zero takes one from the clock")
)

// soakChunk is how many operations one handler, with its restarts, sees before the next begins with nothing.
const soakChunk = 20_000

// Clients, an origin that changes and fails, purgers, evictions and restarts, all at once and at random. Every
// response must be of a version that the purges before it allow, see [history]. The seed repeats the choices, and
// not how goroutines take turns.
func TestRandomHistories(t *testing.T) {
	ops, seed := *soakOps, *soakSeed
	if testing.Short() {
		ops = min(ops, 3000)
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d operations, -soak.seed=%d", ops, seed)
	var sum soakCounts
	for done := 0; done < ops && !t.Failed(); done += soakChunk {
		if done > 0 && done%(5*soakChunk) == 0 {
			t.Logf("%d operations, and none wrong", done)
		}
		// Each kind of cache gets a share of each chunk. The seed of a chunk makes it the first of another run.
		chunk, again := min(soakChunk, ops-done), seed+uint64(done)
		for i, kind := range soakCaches {
			share := (i+1)*chunk/len(soakCaches) - i*chunk/len(soakCaches)
			w := newSoak(t, kind, again+uint64(i), share)
			w.run()
			wrong, untold := w.history().check()
			for _, what := range slices.Concat(wrong, w.wrong) {
				t.Errorf("-soak.ops=%d -soak.seed=%d, %s: %s", chunk, again, kind, what)
			}
			w.counts.untold = untold
			sum.add(w.counts)
			if t.Failed() {
				break
			}
		}
	}
	t.Log(sum.String())
	if !t.Failed() && ops >= 3000 && (sum.pictures == 0 || sum.notModified == 0 || sum.errors == 0 || sum.hits == 0 || sum.purges == 0 || sum.jobs == 0 || sum.restarts == 0 || sum.untold > sum.responses/10) {
		t.Error("the load did too little")
	}
}

// soakCaches are the kinds of caches that are tried.
var soakCaches = []string{"memory", "disk", "tiered"}

type soakCounts struct {
	ops, responses, pictures, notModified, errors, hits, unkept, untold int
	purges, jobs, cancelled, failed, restarts, exchanges                int
}

func (c *soakCounts) add(o soakCounts) {
	for _, n := range []struct {
		to   *int
		from int
	}{
		{&c.ops, o.ops}, {&c.responses, o.responses}, {&c.pictures, o.pictures}, {&c.notModified, o.notModified}, {&c.errors, o.errors},
		{&c.hits, o.hits}, {&c.unkept, o.unkept}, {&c.untold, o.untold}, {&c.purges, o.purges}, {&c.jobs, o.jobs},
		{&c.cancelled, o.cancelled}, {&c.failed, o.failed}, {&c.restarts, o.restarts}, {&c.exchanges, o.exchanges},
	} {
		*n.to += n.from
	}
}

func (c *soakCounts) String() string {
	return fmt.Sprintf("%d operations: %d responses (%d pictures, %d not modified, %d errors; %d hits, %d not to be kept; %d of which the version could not be told), "+
		"%d exchanges with origins, %d purges (%d jobs at their end, of which %d cancelled and %d failed), %d restarts",
		c.ops, c.responses, c.pictures, c.notModified, c.errors, c.hits, c.unkept, c.untold, c.exchanges, c.purges, c.jobs, c.cancelled, c.failed, c.restarts)
}

// A soak is one handler, with its origins, clients and purgers.
type soak struct {
	t        testing.TB
	cache    string // one of soakCaches
	dir      string
	shielded bool // something between the handler and some origins caches, too
	restarts bool
	warm     int // pictures that are made again after a purge
	lifetime cache.Lifetime
	clock    atomic.Int64
	left     atomic.Int64 // operations
	images   []*soakImage
	byPath   map[string]*soakImage

	handler struct {
		sync.Mutex // guards what follows
		now        *imagecdn.Handler
		api        http.Handler
		log        *boltlog.Log
		changed    chan struct{} // closed when now is another
		closing    bool
	}

	mu        sync.Mutex // guards what follows
	rng       *rand.Rand // that all others are seeded from
	responses []response
	etags     map[string]string // the latest of a URL
	jobs      []soakJob
	wrong     []string
	counts    soakCounts
	exchanges atomic.Int64
}

// A soakJob is a purge that was acknowledged.
type soakJob struct {
	id        string
	mode      purge.Mode
	cancelled bool
	job       *purge.Job
}

// A soakImage is an image at its origin.
type soakImage struct {
	w      *soak
	path   string // as a purge names it
	number int    // in the pixels
	tag    string // that its origin gives it

	// What is between the handler and the origin:
	shield bool // answers with a copy of its own where the request does not say no-cache
	stuck  bool // takes any validator for the present one

	mu       sync.Mutex // guards what follows
	versions []version
	headers  []http.Header // of versions
	copied   int           // the version that the shield has, or less than zero
	claims   []claim
	purged   chan struct{} // closed when the next purge is in force
}

func (w *soak) tick() tick { return tick(w.clock.Add(1)) }

func newSoak(t testing.TB, kind string, seed uint64, ops int) *soak {
	w := &soak{t: t, cache: kind, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0)), byPath: make(map[string]*soakImage), etags: make(map[string]string)}
	w.left.Store(int64(ops))
	w.counts.ops = ops
	w.shielded, w.restarts = true, true
	if kind == "memory" {
		// With its memory such a handler loses that there were purges, and the shield is asked as if there were none.
		w.shielded = w.rng.IntN(2) == 0
		w.restarts = !w.shielded
	}
	// Failures and what is missing are remembered either for long, so that purges have to forget them, or not.
	w.lifetime.Negative = []time.Duration{20 * time.Millisecond, time.Minute}[w.rng.IntN(2)]
	w.warm = 3 * w.rng.IntN(2)
	w.lifetime.Failure = []time.Duration{time.Millisecond, 10 * time.Second}[w.rng.IntN(2)]
	for i, path := range []string{"/a/logo.png", "/a/f/1.png", "/a/f/2.png", "/a/f/g/3.png", "/b/sign.png", "/b/f/1.png", "/b/f/2.png", "/b/3.png", "/c/f/1.png", "/c/2.png"} {
		m := &soakImage{w: w, path: path, number: i, tag: []string{"even", "odd"}[i%2], copied: -1, purged: make(chan struct{}), shield: w.shielded && path[1] == 'b', stuck: path[1] == 'c'}
		m.change(w.rng)
		w.images = append(w.images, m)
		w.byPath[path] = m
	}
	return w
}

// history is what happened.
func (w *soak) history() *history {
	h := &history{images: make(map[string]*imageHistory), responses: w.responses}
	for _, m := range w.images {
		m.mu.Lock()
		h.images[m.path] = &imageHistory{m.versions, m.claims}
		m.mu.Unlock()
	}
	return h
}

// fault notes what is wrong whatever the history.
func (w *soak) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// run does all of it, and waits for every job.
func (w *soak) run() {
	before := runtime.NumGoroutine()
	if err := w.open(); err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 24 {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		wg.Go(func() {
			for w.left.Add(-1) >= 0 {
				w.operation(rng)
			}
		})
	}
	stop := make(chan struct{})
	var restarts sync.WaitGroup
	if w.restarts {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		restarts.Go(func() {
			for {
				next := w.left.Load() - 50 - rng.Int64N(500)
				for w.left.Load() > next {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
				}
				w.restart()
				if w.left.Load() <= 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	restarts.Wait()
	w.settle()
	w.counts.exchanges = int(w.exchanges.Load())
	w.close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			w.fault("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}

// open starts the handler on what the last one left.
func (w *soak) open() error {
	o := &imagecdn.Options{
		Lifetime: w.lifetime,
		Logger:   slog.New(slog.DiscardHandler),
		Purge:    &purge.ServiceOptions{Workers: 2, Backoff: time.Millisecond, CloseTimeout: -1, MaxQueued: 100_000},
	}
	o.Warm = w.warm
	// Both hold a part of what is asked for.
	memory := func() cache.Store { return cache.NewMemory(32 << 10) }
	h := &w.handler
	h.Lock()
	defer h.Unlock()
	if w.cache == "memory" {
		o.Cache = memory()
	} else {
		disk, err := cache.OpenDisk(filepath.Join(w.dir, "cache"), &cache.DiskOptions{MaxBytes: 400 << 10})
		if err != nil {
			return err
		}
		o.Cache = disk
		if w.cache == "tiered" {
			o.Cache = cache.Tiered(memory(), disk)
		}
		if h.log, err = boltlog.Open(filepath.Join(w.dir, "purges.db")); err != nil {
			return err
		}
		o.Purge.Log = h.log
	}
	sources := imagecdn.Sources{}
	for _, name := range []string{"a", "b", "c"} {
		sources[name] = imagecdn.Source{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return w.byPath["/"+name+r.URL.Path].answer(r)
		})}
	}
	now, err := imagecdn.New(sources, o)
	if err != nil {
		return err
	}
	h.now, h.api = now, now.Admin(&imagecdn.AdminOptions{Keys: []string{"k"}})
	h.closing, h.changed = false, make(chan struct{})
	return nil
}

// close closes the handler, while requests and purges go on. It returns what to close when there is another.
func (w *soak) close() (changed chan struct{}) {
	h := &w.handler
	h.Lock()
	now, log, changed := h.now, h.log, h.changed
	h.closing = true
	h.Unlock()
	if err := now.Close(); err != nil && !strings.Contains(err.Error(), "closed before all returned") { // a slow disk
		w.fault("Close: %v", err)
	}
	if log != nil {
		if err := log.Close(); err != nil {
			w.fault("Close: %v", err)
		}
	}
	return changed
}

func (w *soak) restart() {
	changed := w.close()
	defer close(changed)
	if err := w.open(); err != nil {
		w.fault("it does not start again: %v", err)
		w.left.Store(0)
		return
	}
	w.mu.Lock()
	w.counts.restarts++
	w.mu.Unlock()
}

// serving is the handler of now. Who is answered 503 because it closes, waits for reopened.
func (w *soak) serving() (h *imagecdn.Handler, api http.Handler, reopened <-chan struct{}) {
	w.handler.Lock()
	defer w.handler.Unlock()
	return w.handler.now, w.handler.api, w.handler.changed
}

func (w *soak) isClosing(h *imagecdn.Handler) bool {
	w.handler.Lock()
	defer w.handler.Unlock()
	return w.handler.closing || w.handler.now != h
}

// operation does one thing, at random.
func (w *soak) operation(rng *rand.Rand) {
	m := w.images[rng.IntN(len(w.images))]
	switch n := rng.IntN(1000); {
	case n < 80:
		m.change(rng)
	case n < 110: // as a publisher does
		m.change(rng)
		w.purge(rng, anyMode(rng), m)
		w.get(rng, m)
	case n < 140:
		some := []*soakImage{m}
		for range rng.IntN(3) {
			some = append(some, w.images[rng.IntN(len(w.images))])
		}
		w.purge(rng, anyMode(rng), some...)
	case n < 146:
		w.purgeMany(rng, purge.All, m.source())
	case n < 150:
		w.purgeMany(rng, purge.All, "")
	case n < 158:
		w.purgeMany(rng, purge.Prefix, []string{"/a/f/", "/a/f/g/", "/b/f/", "/c/f/"}[rng.IntN(4)])
	case n < 164:
		w.purgeMany(rng, purge.Tag, m.tag)
	default:
		w.get(rng, m)
	}
}

func anyMode(rng *rand.Rand) purge.Mode {
	return []purge.Mode{purge.Delete, purge.Delete, purge.Revalidate, purge.Stale}[rng.IntN(4)]
}

func (m *soakImage) source() string { return m.path[1:2] }

// purge purges images.
func (w *soak) purge(rng *rand.Rand, mode purge.Mode, images ...*soakImage) {
	var paths []string
	for _, m := range images {
		paths = append(paths, m.path)
	}
	w.submit(rng, purge.Request{Scope: purge.Original, Paths: paths, Mode: mode}, images)
}

// purgeMany purges a source, or everything where name is empty, a folder or a tag.
func (w *soak) purgeMany(rng *rand.Rand, scope purge.Scope, name string) {
	r := purge.Request{Scope: scope, Mode: anyMode(rng)}
	covers := func(m *soakImage) bool { return name == "" || m.source() == name }
	switch scope {
	case purge.All:
		r.Source = name
	case purge.Prefix:
		r.Paths = []string{name}
		covers = func(m *soakImage) bool { return strings.HasPrefix(m.path, name) }
	case purge.Tag:
		r.Tags = []string{name}
		covers = func(m *soakImage) bool { return m.tag == name }
	}
	w.submit(rng, r, slices.DeleteFunc(slices.Clone(w.images), func(m *soakImage) bool { return !covers(m) }))
}

// submit makes a purge, and mostly waits for what becomes of it.
func (w *soak) submit(rng *rand.Rand, r purge.Request, covered []*soakImage) {
	h, api, reopened := w.serving()
	least := make([]int, len(covered))
	for i, m := range covered {
		m.mu.Lock()
		least[i] = len(m.versions) - 1
		m.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	if rng.IntN(20) == 0 { // the submitter goes away, before or after
		go func(d time.Duration) { time.Sleep(d); cancel() }(time.Duration(rng.IntN(2000)) * time.Microsecond)
	}
	o := &purge.Options{Mode: r.Mode, Source: r.Source, Tenant: []string{"", "x", "y"}[rng.IntN(3)]}
	asked := w.tick()
	var job *purge.Job
	var err error
	switch r.Scope {
	case purge.All:
		job, err = h.PurgeAll(ctx, o)
	case purge.Prefix:
		job, err = h.PurgeFolders(ctx, r.Paths, o)
	case purge.Tag:
		job, err = h.PurgeTags(ctx, r.Tags, o)
	default:
		job, err = h.Purge(ctx, r.Paths, o)
	}
	acked := w.tick()
	if err != nil {
		if ctx.Err() == nil && !w.isClosing(h) {
			w.fault("a purge is refused: %v", err)
		}
		if w.isClosing(h) {
			<-reopened
		}
		return
	}
	what := fmt.Sprintf("%s of %s %s%s%s (%s)", r.Mode, r.Scope, r.Source, strings.Join(r.Paths, ", "), strings.Join(r.Tags, ", "), job.ID())
	for i, m := range covered {
		c := claim{what: what, asked: asked, from: acked, acked: acked, least: least[i], pictures: r.Scope == purge.Tag}
		// Of the modes that ask with a validator, what takes any for the present one makes nothing.
		m.inForce(c, r.Mode == purge.Delete || r.Mode == purge.Revalidate && !m.stuck)
	}
	kept := soakJob{id: job.ID(), mode: r.Mode, job: job}
	if rng.IntN(10) == 0 {
		r := httptest.NewRequest("POST", "/api/v1/purges/"+job.ID()+"/cancel", nil)
		r.Header.Set("Authorization", "Bearer k")
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		kept.cancelled = rec.Code == http.StatusOK
	}
	w.mu.Lock()
	w.counts.purges++
	w.jobs = append(w.jobs, kept)
	w.mu.Unlock()
	if rng.IntN(4) == 0 {
		return // who does not wait knows that it was accepted, and no more
	}
	rec, err := job.Wait(ctx)
	done := w.tick()
	if err != nil || rec.State != purge.Done || r.Mode != purge.Stale || r.Scope != purge.Original {
		return
	}
	for i, m := range covered {
		p := slices.IndexFunc(rec.Paths, func(p purge.PathResult) bool { return p.Path == m.path })
		if out := rec.Paths[p].Outcome; !m.stuck && out != purge.Marked {
			m.inForce(claim{what: what + ": " + string(out), asked: asked, from: done, acked: acked, least: least[i]}, true)
		}
	}
}

// inForce notes what a purge promises, and goes on with answers that waited for it.
func (m *soakImage) inForce(c claim, promises bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if promises {
		m.claims = append(m.claims, c)
	}
	close(m.purged)
	m.purged = make(chan struct{})
}

// settle waits for every job that was acknowledged.
func (w *soak) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, api, _ := w.serving()
	for _, j := range w.jobs {
		rec, err := j.job.Wait(ctx)
		for errors.Is(err, purge.ErrClosed) || !rec.State.Final() {
			// It went on after a restart.
			r := httptest.NewRequest("GET", "/api/v1/purges/"+j.id, nil)
			r.Header.Set("Authorization", "Bearer k")
			got := httptest.NewRecorder()
			api.ServeHTTP(got, r)
			rec, err = purge.Record{}, nil
			if got.Code != http.StatusOK || json.Unmarshal(got.Body.Bytes(), &rec) != nil {
				w.fault("job %s was acknowledged and is lost: %d %s", j.id, got.Code, got.Body)
				return
			}
			if rec.State.Final() {
				break
			}
			if ctx.Err() != nil {
				w.fault("job %s never ends: %+v", j.id, rec)
				return
			}
			time.Sleep(time.Millisecond)
		}
		w.counts.jobs++
		switch {
		case rec.State == purge.Done:
		case rec.State == purge.Expired && j.cancelled:
			w.counts.cancelled++
		case rec.State == purge.Error && j.mode != purge.Delete: // the origin may have failed
			w.counts.failed++
		case rec.State == purge.Error && w.cache == "memory" && strings.Contains(rec.Paths[len(rec.Paths)-1].Reason, "the service closed"):
			w.counts.failed++
		default:
			w.fault("job %s (%s) ended as %s: %+v", j.id, j.mode, rec.State, rec.Paths)
		}
	}
}

// change gives the image another version at its origin.
func (m *soakImage) change(rng *rand.Rand) {
	h := http.Header{}
	if v := []string{
		"max-age=31536000", "max-age=31536000", "max-age=31536000", "max-age=1", "max-age=0", "no-cache", "no-store", "private", "",
		"s-maxage=3600, max-age=0", "max-age=0, stale-while-revalidate=60", "max-age=0, must-revalidate", "max-age=0, stale-if-error=0",
	}[rng.IntN(13)]; v != "" {
		h.Set("Cache-Control", v)
	}
	k := painted
	switch n := rng.IntN(100); {
	case n < 4:
		k = missing
	case n < 6:
		k = gone
	case n < 12:
		k = failing
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := len(m.versions)
	validators := rng.IntN(4)
	if validators&1 != 0 {
		h.Set("Etag", fmt.Sprintf(`"%d"`, v))
	}
	if validators&2 != 0 {
		h.Set("Last-Modified", time.Unix(1e9+int64(v), 0).UTC().Format(http.TimeFormat))
	}
	h.Set("Surrogate-Key", m.tag)
	m.versions = append(m.versions, version{kind: k, began: m.w.tick()})
	m.headers = append(m.headers, h)
}

// changedWithin reports whether the origin may have given different answers meanwhile.
func (m *soakImage) changedWithin(begin, end tick) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stuck || slices.ContainsFunc(m.versions, func(v version) bool { return v.began > begin && v.began < end })
}

// answer is the origin, and what may be between it and the handler.
func (m *soakImage) answer(r *http.Request) (*http.Response, error) {
	m.w.exchanges.Add(1)
	m.mu.Lock()
	v := len(m.versions) - 1
	if m.shield {
		switch {
		case r.Header.Get("Cache-Control") != "no-cache" && m.copied >= 0:
			v = m.copied
		case m.versions[v].kind == painted:
			m.copied = v
		case m.versions[v].kind != failing:
			m.copied = -1
		}
	}
	is, header := m.versions[v].kind, m.headers[v].Clone()
	purged := m.purged
	m.mu.Unlock()

	// What is under way when a purge comes is what purges are hard for.
	slow := func(one int) error {
		if rand.IntN(one) > 0 {
			return nil
		}
		t := time.NewTimer(time.Duration(rand.IntN(15_000)) * time.Microsecond)
		defer t.Stop()
		select {
		case <-purged:
		case <-t.C:
		case <-r.Context().Done():
			return r.Context().Err()
		}
		return nil
	}
	if err := slow(8); err != nil {
		return nil, err
	}
	resp := &http.Response{StatusCode: http.StatusOK, Header: header, Request: r, ContentLength: -1}
	body := m.picture(v)
	rest := hook(func() {})
	switch etag, modified := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since"); {
	case is == missing:
		resp.StatusCode, body = http.StatusNotFound, nil
	case is == gone:
		resp.StatusCode, body = http.StatusGone, nil
	case is == failing:
		switch rand.IntN(3) {
		case 0:
			return nil, errors.New("no route to the origin")
		case 1:
			resp.StatusCode, body = http.StatusInternalServerError, nil
		default:
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:len(body)/2]), cut{}))
			return resp, nil
		}
	case etag+modified == "":
	case m.stuck, etag != "" && etag == header.Get("Etag"), etag == "" && modified == header.Get("Last-Modified"):
		resp.StatusCode, body = http.StatusNotModified, nil
	}
	var late error
	if resp.StatusCode == http.StatusOK {
		rest = func() {
			late = slow(12)
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.versions[v].gave == 0 {
				m.versions[v].gave = m.w.tick()
			}
		}
	}
	half := len(body) / 2
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:half]), rest, failed{&late}, bytes.NewReader(body[half:])))
	return resp, nil
}

// cut is where a body ends too soon.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// failed is a reader of nothing, that fails with what there is to fail with.
type failed struct{ err *error }

func (f failed) Read([]byte) (int, error) {
	if *f.err != nil {
		return 0, *f.err
	}
	return 0, io.EOF
}

var paintings sync.Map // of color.NRGBA, by paint

// picture is the image with its number and its version in the colour of all pixels, and the whole version behind the end.
func (m *soakImage) picture(v int) []byte {
	c := color.NRGBA{uint8(m.number * 17), uint8(v >> 4 % 16 * 17), uint8(v % 16 * 17), 255}
	p, ok := paintings.Load(c)
	if !ok {
		p, _ = paintings.LoadOrStore(c, paint(m.w.t, c, 16, 16))
	}
	return binary.BigEndian.AppendUint64(slices.Clone(p.([]byte)), uint64(v))
}

// codeOf reads a colour.
func codeOf(c color.Color) (number, code int, ok bool) {
	p := color.NRGBAModel.Convert(c).(color.NRGBA)
	sixteenth := func(v uint8) int {
		n := (int(v) + 8) / 17
		if d := int(v) - n*17; d < -7 || d > 7 {
			ok = false
		}
		return n
	}
	ok = true
	number, code = sixteenth(p.R), sixteenth(p.G)<<4|sixteenth(p.B)
	return number, code, ok && p.A == 255
}

// get asks for a picture, in one of many forms.
func (w *soak) get(rng *rand.Rand, m *soakImage) {
	query := urlpkg.Values{}
	var mark *soakImage
	vh := ""
	if rng.IntN(5) == 0 {
		vh = []string{"x", "y"}[rng.IntN(2)]
		query.Set("vh", vh)
	}
	switch n := rng.IntN(100); {
	case n < 15: // as it is
		query = urlpkg.Values{}
		if vh != "" {
			query.Set("vh", vh)
		}
	case n < 40:
		mark = w.images[[]int{0, 4}[rng.IntN(2)]]
		if mark == m {
			mark = nil
			query.Set("w", "16")
			break
		}
		query.Set("w", "16")
		query.Set("fm", "png")
		query.Set("mark", mark.path)
		query.Set("mark-align", "top,left")
		query.Set("mark-pad", "0")
		query.Set("mark-w", "8")
	default:
		query.Set("w", []string{"4", "8", "12"}[rng.IntN(3)])
		query.Set("fm", []string{"png", "png", "jpg", "webp"}[rng.IntN(4)])
	}
	url := m.path
	if len(query) > 0 {
		url += "?" + query.Encode()
	}
	r := httptest.NewRequest(http.MethodGet, url, nil)
	ifNoneMatch := ""
	if rng.IntN(3) == 0 {
		w.mu.Lock()
		ifNoneMatch = w.etags[url]
		w.mu.Unlock()
		if ifNoneMatch != "" {
			r.Header.Set("If-None-Match", ifNoneMatch)
		}
	}
	if rng.IntN(12) == 0 {
		r.Method = http.MethodHead
	}
	if rng.IntN(8) == 0 { // it is for origins that this server asks, not for who asks it
		r.Header.Set("Cache-Control", []string{"no-cache", "no-store", "max-age=0", "only-if-cached", "max-stale"}[rng.IntN(5)])
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	leaves := rng.IntN(25) == 0
	if leaves {
		defer time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel).Stop()
	}
	rec := httptest.NewRecorder()
	h, _, reopened := w.serving()
	seen := response{begin: w.tick(), what: r.Method + " " + url, saw: []sighting{{m.path, vh, -1}}}
	if mark != nil {
		seen.saw = append(seen.saw, sighting{mark.path, "", -1})
	}
	h.ServeHTTP(rec, r.WithContext(ctx))
	seen.end = w.tick()
	if rec.Code == http.StatusServiceUnavailable {
		left := strings.Contains(rec.Body.String(), "the request ended")
		switch {
		case !left && w.isClosing(h):
			<-reopened
		case leaves && (left || r.Method == http.MethodHead):
		default:
			w.fault("%s: %d %s", seen.what, rec.Code, rec.Body)
		}
		return
	}
	seen.status, seen.etag, seen.cacheControl = rec.Code, rec.Header().Get("Etag"), rec.Header().Get("Cache-Control")
	seen.cacheStatus = rec.Header().Get("Cache-Status")
	switch {
	case rec.Code == http.StatusOK && r.Method == http.MethodGet:
		seen.body = cache.DigestOf(rec.Body.Bytes()).String()
		seen.note = w.look(rec, seen.saw)
	case rec.Code == http.StatusOK, rec.Code == http.StatusNotModified:
		if rec.Body.Len() > 0 {
			seen.note = "a body where none belongs"
		}
		if rec.Code == http.StatusNotModified && seen.etag != ifNoneMatch {
			seen.note = fmt.Sprintf("304 with %s to a request with If-None-Match %q", seen.etag, ifNoneMatch)
		}
	case rec.Code == http.StatusBadGateway && (r.Method == http.MethodHead || strings.Contains(rec.Body.String(), "changes faster")):
		if r.Method != http.MethodHead && !m.changedWithin(seen.begin, seen.end) && (mark == nil || !mark.changedWithin(seen.begin, seen.end)) {
			w.fault("%s: %s", seen.what, rec.Body)
		}
		return
	case r.Method == http.MethodGet && strings.Count(rec.Body.String(), "\n") != 1:
		seen.note = fmt.Sprintf("status %d and %q", rec.Code, rec.Body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.responses = append(w.responses, seen)
	w.counts.responses++
	switch {
	case rec.Code == http.StatusOK:
		w.counts.pictures++
		w.etags[url] = seen.etag
	case rec.Code == http.StatusNotModified:
		w.counts.notModified++
	default:
		w.counts.errors++
	}
	if strings.Contains(seen.cacheStatus, "; hit") {
		w.counts.hits++
	}
	if seen.cacheControl == "no-store" {
		w.counts.unkept++
	}
}

// look reads the versions in a picture's pixels, and says what else is wrong with it.
func (w *soak) look(rec *httptest.ResponseRecorder, saw []sighting) string {
	decode, colorAt := png.Decode, image.Image.At
	switch rec.Header().Get("Content-Type") {
	case "image/jpeg":
		decode = jpeg.Decode
	case "image/webp":
		decode, colorAt = xwebp.Decode, studioColorAt
	}
	body := rec.Body.Bytes()
	picture, err := decode(bytes.NewReader(body))
	if err != nil {
		return fmt.Sprintf("not a whole picture: %v", err)
	}
	b := picture.Bounds()
	places := [][2]int{{b.Dx() - 2, b.Dy() - 2}, {3, 3}}
	for i := range saw {
		x, y := places[i][0], places[i][1]
		number, code, ok := codeOf(colorAt(picture, b.Min.X+x, b.Min.Y+y))
		if !ok || w.images[number%len(w.images)] != w.byPath[saw[i].image] {
			return fmt.Sprintf("image %d of version %d at %d,%d: %v", number, code, x, y, picture.At(x, y))
		}
		saw[i].code = code
	}
	return ""
}

// studioColorAt is the colour in a lossy WebP, whose luma runs from 16 to 235 where image/color takes it to run from 0 to 255.
func studioColorAt(m image.Image, x, y int) color.Color {
	p, ok := m.(*image.YCbCr)
	if !ok {
		return m.At(x, y)
	}
	c := p.YCbCrAt(x, y)
	luma, cb, cr := 1.164*(float64(c.Y)-16), float64(c.Cb)-128, float64(c.Cr)-128
	level := func(v float64) uint8 { return uint8(min(max(v+0.5, 0), 255)) }
	return color.NRGBA{level(luma + 1.596*cr), level(luma - 0.392*cb - 0.813*cr), level(luma + 2.017*cb), 255}
}

// Every version can be read from its pixels, whatever becomes of them.
func TestVersionsAreReadFromPixels(t *testing.T) {
	w := newSoak(t, "memory", 1, 0)
	o := newOrigin()
	h := open(t, o, nil)
	for v := 0; v < codes; v += 5 {
		m, mark := w.images[v%len(w.images)], w.images[4]
		o.set("/1.png", answer{header: cacheFor("no-store"), body: m.picture(v)})
		o.set("/2.png", answer{header: cacheFor("no-store"), body: mark.picture(255 - v)})
		for _, query := range []string{"", "?w=4&fm=png", "?w=8&fm=jpg", "?w=12&fm=jpg", "?w=4&fm=webp", "?w=12&fm=webp",
			"?w=16&fm=png&mark=/photos/2.png&mark-align=top,left&mark-pad=0&mark-w=8"} {
			saw := []sighting{{m.path, "", -1}, {mark.path, "", -1}}
			if !strings.Contains(query, "mark") {
				saw = saw[:1]
			}
			if note := w.look(mustGet(t, h, "/photos/1.png"+query), saw); note != "" || saw[0].code != v || len(saw) == 2 && saw[1].code != 255-v {
				t.Fatalf("%s of version %d: %s, %v", query, v, note, saw)
			}
		}
	}
}
