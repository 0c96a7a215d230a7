package imagecdn_test

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
)

// A site is a handler in a bubble, with what lies around it.
type site struct {
	*testing.T
	*imagecdn.Handler
	store  string                                    // one of everyStore
	dir    string                                    // of the cache and of the log
	origin *fakeOrigin                               // of the source photos
	other  *fakeOrigin                               // of the source other
	told   func(call, image string) error            // of each call of the store that a purge makes; nil: nobody
	log    func(*testing.T, string) purge.Log        // nil: jobs live in memory
	limits purge.ServiceOptions                      // of the service
	around func(http.RoundTripper) http.RoundTripper // of photos; nil: the origin itself
	stop   func()
}

var everyStore = []string{"memory", "disk", "tiers"}

// A scope is a way to purge an image that is in /photos/a/ and has the tag cats.
type scope struct {
	name  string
	purge func(s *site, image string, o *purge.Options) (*purge.Job, error)
}

var scopes = []scope{
	{"image", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		return s.Purge(context.Background(), []string{"/photos" + image}, o)
	}},
	{"list", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		return s.Purge(context.Background(), []string{"/photos/b/none.png", "/photos" + image, "/other/none.png"}, o)
	}},
	{"source", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		p := *o
		p.Source = "photos"
		return s.PurgeAll(context.Background(), &p)
	}},
	{"folder", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		return s.PurgeFolders(context.Background(), []string{"/photos/a/"}, o)
	}},
	{"tag", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		return s.PurgeTags(context.Background(), []string{"cats"}, o)
	}},
	{"everything", func(s *site, image string, o *purge.Options) (*purge.Job, error) {
		return s.PurgeAll(context.Background(), o)
	}},
}

// everywhere runs f for every store and scope.
func everywhere(t *testing.T, f func(s *site, p scope)) { inStores(t, everyStore, f) }

func inStores(t *testing.T, stores []string, f func(s *site, p scope)) {
	for _, store := range stores {
		for _, p := range scopes {
			t.Run(store+"/"+p.name, func(t *testing.T) {
				t.Parallel()
				onSite(t, store, func(s *site) { f(s, p) })
			})
		}
	}
}

// onSite runs f in a bubble with a handler that is open.
func onSite(t *testing.T, store string, f func(s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{T: t, store: store, dir: t.TempDir(), origin: newOrigin(), other: newOrigin()}
		s.start()
		defer func() { s.stop() }()
		f(s)
	})
}

// start opens the handler in the site's directory, with what is there.
func (s *site) start() {
	s.Helper()
	o := &imagecdn.Options{Purge: &s.limits}
	disk := func() cache.Store {
		d, err := cache.OpenDisk(filepath.Join(s.dir, "cache"), nil)
		if err != nil {
			s.Fatal(err)
		}
		return &toldDisk{d, s.tell}
	}
	memory := func() cache.Store { return &toldMemory{cache.NewMemory(8 << 20), s.tell} }
	switch s.store {
	case "memory":
		o.Cache = memory()
	case "disk":
		o.Cache = disk()
	case "tiers":
		o.Cache = cache.Tiered(cache.NewMemory(8<<20), disk())
	}
	closeLog := func() error { return nil }
	if s.log != nil {
		log := s.log(s.T, s.dir)
		s.limits.Log = log
		if l, ok := log.(interface{ Close() error }); ok {
			closeLog = l.Close
		}
	}
	photos := http.RoundTripper(s.origin)
	if s.around != nil {
		photos = s.around(photos)
	}
	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: photos}, "other": {Transport: s.other}}, o)
	if err != nil {
		s.Fatal(err)
	}
	s.Handler = h
	s.stop = func() {
		if err := errors.Join(h.Close(), closeLog()); err != nil {
			s.Error(err)
		}
	}
}

func (s *site) restart() {
	s.Helper()
	s.stop()
	s.start()
}

func (s *site) tell(call, image string) error {
	if s.told == nil {
		return nil
	}
	return s.told(call, image)
}

// toldDisk and toldMemory are stores that tell of the calls that purges make, before they make them.
type toldDisk struct {
	*cache.Disk
	tell func(call, image string) error
}

func (d *toldDisk) Hide(source, image string, namesOnly bool) error {
	if err := d.tell("hide", image); err != nil {
		return err
	}
	return errors.Join(d.Disk.Hide(source, image, namesOnly), d.tell("hidden", image))
}

func (d *toldDisk) SaveGenerations(g *cache.Generations) error {
	if err := d.tell("save generations", ""); err != nil {
		return err
	}
	return errors.Join(d.Disk.SaveGenerations(g), d.tell("saved generations", ""))
}

func (d *toldDisk) Remove(ctx context.Context, source, image string) (cache.Removed, error) {
	if err := d.tell("remove", image); err != nil {
		return cache.Removed{}, err
	}
	return d.Disk.Remove(ctx, source, image)
}

func (d *toldDisk) RemoveAll(ctx context.Context, source string) (cache.Removed, error) {
	if err := d.tell("remove all", ""); err != nil {
		return cache.Removed{}, err
	}
	return d.Disk.RemoveAll(ctx, source)
}

type toldMemory struct {
	*cache.Memory
	tell func(call, image string) error
}

func (m *toldMemory) Remove(ctx context.Context, source, image string) (cache.Removed, error) {
	if err := m.tell("remove", image); err != nil {
		return cache.Removed{}, err
	}
	return m.Memory.Remove(ctx, source, image)
}

func (m *toldMemory) RemoveAll(ctx context.Context, source string) (cache.Removed, error) {
	if err := m.tell("remove all", ""); err != nil {
		return cache.Removed{}, err
	}
	return m.Memory.RemoveAll(ctx, source)
}

const (
	cat    = "/a/cat.png"
	catURL = "/photos/a/cat.png?w=20"
)

// has sets what photos has under a path: a picture of one colour, which is its ETag as well, for an hour.
func (s *site) has(path string, c color.NRGBA) { s.hasFor(path, c, "max-age=3600") }

func (s *site) hasFor(path string, c color.NRGBA, control string) {
	s.origin.set(path, answer{header: catHeader(c, control), body: paint(s, c, 40, 40)})
}

func catHeader(c color.NRGBA, control string) http.Header {
	return http.Header{
		"Cache-Control": {control}, "Etag": {fmt.Sprintf("%q", fmt.Sprint(c))}, "Surrogate-Key": {"cats pets"},
		"Last-Modified": {"Tue, 15 Nov 1994 12:45:26 GMT"},
	}
}

// fails makes the origin fail from now on.
func (s *site) fails(path string) { s.origin.set(path, answer{err: errors.New("no route")}) }

// hang has the next request for an image wait before its answer's header, or in the middle of its body, until release is called.
func (s *site) hang(path, where string) (release func()) {
	goOn := make(chan bool)
	hung := false
	s.origin.mu.Lock()
	defer s.origin.mu.Unlock()
	s.origin.block = func(r *http.Request, at string) {
		s.origin.mu.Lock()
		first := at == where && r.URL.Path == path && !hung
		hung = hung || first
		s.origin.mu.Unlock()
		if first {
			<-goOn
		}
	}
	return sync.OnceFunc(func() { close(goOn) })
}

// behind makes a request that others need not wait for.
func (s *site) behind(url string, header ...string) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() { answer <- get(s, url, header...) }()
	return answer
}

// do purges an image in a way, and waits until that is done.
func (s *site) do(p scope, image string, mode purge.Mode) purge.Record {
	s.Helper()
	rec, err := s.accept(p, image, mode).Wait(s.Context())
	if err != nil || rec.State != purge.Done {
		s.Fatalf("%v, %+v", err, rec)
	}
	return rec
}

func (s *site) accept(p scope, image string, mode purge.Mode) *purge.Job {
	s.Helper()
	job, err := p.purge(s, image, &purge.Options{Mode: mode})
	if err != nil {
		s.Fatal(err)
	}
	return job
}

// sees checks that a URL gives a picture of that colour.
func (s *site) sees(when, url string, want color.NRGBA, header ...string) http.Header {
	s.Helper()
	w := get(s, url, header...)
	if w.Code != http.StatusOK {
		s.Errorf("%s: %s: %d %s", when, url, w.Code, w.Body)
	} else if c := colorOf(s, w.Body.Bytes()); c != want {
		s.Errorf("%s: %s: %v, want %v", when, url, c, want)
	}
	return w.Header()
}
