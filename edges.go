package imagecdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

// withCDNMaxAge is how long browsers keep what a CDN in front keeps for longer, where Options.BrowserMaxAge does not say: the CDN is purged, and
// browsers cannot be.
const withCDNMaxAge = 5 * time.Minute

// A tagger puts tags on answers, by which the CDNs in front are told to forget them.
type tagger struct {
	namer   cdn.Namer
	headers []cdn.TagHeader
}

// newTagger returns nil where nobody reads tags.
func newTagger(o *Options) (*tagger, error) {
	t := &tagger{}
	if o.CDNs != nil {
		if err := o.CDNs.CheckTags(); err != nil {
			return nil, fmt.Errorf("imagecdn: Options.CDNs: %w", err)
		}
		t.namer = o.CDNs.Namer()
		t.headers = o.CDNs.TagHeaders()
	}
	for _, h := range o.Tags {
		h.Name = http.CanonicalHeaderKey(h.Name)
		i := slices.IndexFunc(t.headers, func(g cdn.TagHeader) bool { return http.CanonicalHeaderKey(g.Name) == h.Name })
		switch {
		case h.Name == "":
			return nil, errors.New("imagecdn: Options.Tags has a header without a name")
		case i < 0:
			t.headers = append(t.headers, h)
		case t.headers[i].Separator != h.Separator || t.headers[i].Quoted != h.Quoted:
			return nil, fmt.Errorf("imagecdn: Options.Tags has %s with the separator %q, and another reads it with %q", h.Name, h.Separator, t.headers[i].Separator)
		}
	}
	for i := range t.headers {
		t.headers[i].Name = http.CanonicalHeaderKey(t.headers[i].Name)
	}
	if len(t.headers) == 0 {
		return nil, nil
	}
	return t, nil
}

// known returns the inputs of an answer that is an error, as far as it got to know them. p may be nil.
func (p *picture) known(err error) []input {
	if p != nil {
		return p.inputs
	}
	if e, ok := errors.AsType[*entryError](err); ok {
		return []input{e.in}
	}
	return nil
}

// tagged is what the headers of an answer say, and the entry of the original that they were worked out for.
type tagged struct {
	entry  *cache.Entry
	values [][]string // by header
}

// set puts tags on the answer to req. inputs are those that are known, in any order; an answer that is an error may know none but the one that
// it is about. A nil req is a URL that has no meaning, and so is about no image.
func (t *tagger) set(header http.Header, req *parsed, inputs []input) {
	if t == nil {
		return
	}
	if req == nil {
		for _, h := range t.headers {
			header[h.Name] = []string{h.Value(t.namer.Tags(nil))}
		}
		return
	}
	var entry *cache.Entry
	if len(inputs) == 1 && inputs[0].now != nil && len(req.Params.Inputs) == 0 {
		entry = inputs[0].now.Entry
		if last := req.tagged.Load(); last != nil && last.entry == entry {
			last.set(header, t.headers)
			return
		}
	}
	images := make([]cdn.Image, 0, 1+len(req.Params.Inputs))
	add := func(img Image) {
		image := cdn.Image{Source: img.Source, Path: img.Path}
		for _, in := range inputs {
			if in.image == img && in.now != nil && in.now.Entry != nil {
				image.Tags = cache.TagsOf(in.now.Entry.Header)
			}
		}
		images = append(images, image)
	}
	add(req.Image)
	for _, img := range req.Params.Inputs {
		add(img)
	}
	tags := t.namer.Tags(images)
	made := &tagged{entry: entry}
	for _, h := range t.headers {
		made.values = append(made.values, []string{h.Value(tags)})
	}
	if entry != nil {
		req.tagged.Store(made)
	}
	made.set(header, t.headers)
}

func (t *tagged) set(header http.Header, headers []cdn.TagHeader) {
	for i, h := range headers {
		header[h.Name] = t.values[i][:1:1]
	}
}

// Probe implements [purge.Prober].
func (t *target) Probe(ctx context.Context, path string) (status int, etag string, err error) {
	if _, _, err := t.find(path); err != nil {
		return 0, "", err
	}
	req, err := t.h.recent.parse(&url.URL{Path: path}, t.h.opts.Dialect, t.h.avif())
	if err != nil {
		return paramStatus(err), "", nil
	}
	plan := req.plan
	if plan == nil {
		plan = req.own
	}
	p, err := t.h.name(ctx, req, plan)
	if err == nil {
		defer p.done()
		if p.key.Kind != cache.Original {
			err = t.h.get(ctx, p)
		}
	}
	if entry, ok := errors.AsType[*entryError](err); ok {
		return entry.in.now.Entry.Status, "", nil
	}
	if e, ok := errors.AsType[*httpError](err); ok && e.lifetime > 0 { // what may be kept
		return e.status, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	return http.StatusOK, p.etag(), nil
}
