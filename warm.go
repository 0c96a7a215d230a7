package imagecdn

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/resize"
)

// A warmer makes the pictures that were asked for most of an image anew, once a purge has removed them, before anybody has to
// wait for them. It works on one at a time, and only while nothing else is made: when a request has to wait
// for its picture, it gives up the one that it is at, and the rest of that image's.
type warmer struct {
	h     *Handler
	most  int // pictures of an image
	queue chan Image
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// maxWarming is how many images may wait to be warmed; those beyond are made as they are asked for.
const maxWarming = 1000

func newWarmer(h *Handler, most int) *warmer {
	w := &warmer{h: h, most: most}
	w.ctx, w.stop = context.WithCancel(context.Background())
	if most > 0 {
		w.queue = make(chan Image, maxWarming)
		w.done.Go(w.run)
	}
	return w
}

// close ends all work, and waits for it.
func (w *warmer) close() {
	w.stop()
	w.done.Wait()
}

// warm has the pictures of an image made, some time.
func (w *warmer) warm(i Image) {
	select {
	case w.queue <- i: // nil where nothing is to be warmed: never ready
	default:
	}
}

func (w *warmer) run() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case i := <-w.queue:
			for _, p := range w.h.recent.popular(i, w.most) {
				if !w.make(p) {
					break
				}
			}
		}
	}
}

// make makes one picture, and reports whether there was room for it.
func (w *warmer) make(req *parsed) bool {
	ctx, cancel := context.WithCancel(cache.Behind(w.ctx))
	defer cancel()
	if !w.h.gate.background(cancel) {
		return false
	}
	defer w.h.gate.background(nil)
	plan := req.plan
	if plan == nil {
		negotiated, _ := req.Params.negotiate("", w.h.avif())
		if last := req.key.Load(); last != nil {
			negotiated.Format = last.format // what its clients take
		}
		plan = &negotiated
	}
	var better *resize.Plan
	if req.plan == nil && plan.Format == resize.AVIF {
		next := *plan
		next.Format = resize.WebP // who takes AVIF takes that
		better, plan = plan, &next
	}
	p, err := w.h.name(ctx, req, plan)
	if err == nil {
		err = w.h.get(ctx, p)
	}
	p.done()
	if err == nil && better != nil {
		p.better = better
		w.h.follow(p)
	}
	if p != nil && p.file != nil {
		p.file.Close()
	}
	// An image that fails is nothing to make more pictures of; who asks for it is told why.
	return err == nil
}

// popular returns the URLs of pictures made from an image that were asked for most, of those remembered.
func (r *recent) popular(i Image, most int) []*parsed {
	type counted struct {
		*parsed
		asked uint32
	}
	var found []counted
	r.mu.RLock()
	for _, p := range r.all {
		if p.asIs {
			continue
		}
		if p.Image.Source == i.Source && p.Image.Path == i.Path ||
			slices.ContainsFunc(p.Params.Inputs, func(m Image) bool { return m.Source == i.Source && m.Path == i.Path }) {
			found = append(found, counted{p, p.asked.Load()})
		}
	}
	r.mu.RUnlock()
	slices.SortStableFunc(found, func(a, b counted) int { return cmp.Compare(b.asked, a.asked) })
	found = found[:min(len(found), most)]
	all := make([]*parsed, len(found))
	for i, f := range found {
		all[i] = f.parsed
	}
	return all
}
