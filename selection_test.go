package imagecdn_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// A purge of folders, or of tags, is one of every image in them and of no other: in memory and on disk, over restarts, and
// also where nothing has changed at the origin.
func TestPurgesOfFoldersAndTags(t *testing.T) {
	images := map[string]string{ // and their tags
		"/shoes/1.png": "red sale", "/shoes/kids/2.png": "sale", "/shoes.png": "red", "/shoesale/3.png": "", "/hats/4.png": "sale",
	}
	for _, p := range []struct {
		name   string
		purge  func(*imagecdn.Handler, context.Context) (*purge.Job, error)
		covers []string
	}{
		{"a folder", func(h *imagecdn.Handler, ctx context.Context) (*purge.Job, error) {
			return h.PurgeFolders(ctx, []string{"/shop/shoes/"}, nil)
		}, []string{"/shoes/1.png", "/shoes/kids/2.png"}},
		{"tags", func(h *imagecdn.Handler, ctx context.Context) (*purge.Job, error) {
			return h.PurgeTags(ctx, []string{"red", "none"}, nil)
		}, []string{"/shoes/1.png", "/shoes.png"}},
	} {
		for _, store := range []string{"memory", "disk", "tiers"} {
			for _, between := range []string{"purge", "acceptance and restart"} {
				if store == "memory" && between != "purge" {
					continue
				}
				t.Run(p.name+"/"+store+"/"+between, func(t *testing.T) {
					dir, o := t.TempDir(), newOrigin()
					for path, tags := range images {
						o.set(path, answer{header: http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"1"`}, "Surrogate-Key": {tags}}, body: paint(t, red, 20, 20)})
					}
					open := func() (*imagecdn.Handler, func()) {
						opts := new(imagecdn.Options)
						closeLog := func() {}
						if store != "memory" {
							disk, err := cache.OpenDisk(filepath.Join(dir, "cache"), nil)
							if err != nil {
								t.Fatal(err)
							}
							log, err := boltlog.Open(filepath.Join(dir, "purges.db"))
							if err != nil {
								t.Fatal(err)
							}
							opts.Cache, opts.Purge = disk, &purge.ServiceOptions{Log: log}
							closeLog = func() { log.Close() }
							if store == "tiers" {
								opts.Cache = cache.Tiered(cache.NewMemory(0), disk)
							}
						}
						h, err := imagecdn.New(imagecdn.Sources{"shop": {Transport: o}}, opts)
						if err != nil {
							t.Fatal(err)
						}
						return h, func() { h.Close(); closeLog() }
					}
					h, done := open()
					for path := range images {
						mustGet(t, h, "/shop"+path+"?w=10")
						mustGet(t, h, "/shop"+path+"?w=11&vh=2")
					}
					if between != "purge" {
						done()
						h, done = open()
					}
					job, err := p.purge(h, t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if between != "purge" {
						// The name that is asked for first falls before the work behind the purge is done.
						mustGet(t, h, "/shop"+p.covers[0]+"?w=10")
						done()
						h, done = open()
					} else if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done || rec.Paths[0].Derivatives != 4 || rec.Paths[0].Outcome != purge.Removed {
						t.Errorf("%v: %+v", err, rec)
					}
					defer func() { done() }()

					asked, made := o.count(), imagecdn.Renders(h)
					for path := range images {
						mustGet(t, h, "/shop"+path+"?w=10")
						mustGet(t, h, "/shop"+path+"?w=11&vh=2")
					}
					requests, renders := o.count()-asked, int(imagecdn.Renders(h)-made)
					want := 2 * len(p.covers)
					if between != "purge" {
						// What was fetched before the restart may be gone with what was hidden behind it, and is fetched again.
						if requests < want-1 || requests > want || renders < want-2 || renders > want {
							t.Errorf("%d requests, %d renders; want %d", requests, renders, want-1)
						}
					} else if requests != want || renders != want {
						t.Errorf("%d requests, %d renders; want %d", requests, renders, want)
					}
				})
			}
		}
	}
}
