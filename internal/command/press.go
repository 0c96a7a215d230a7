package command

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/resize"
)

// A press makes pictures of many files: as many at once as it has slots, in as much memory as it has. All pictures of a file are begun
// together, so that they share its decoding.
type press struct {
	renderer resize.Renderer
	pyramids *resize.Pyramids
	budget   *budget
	update   bool

	mu            sync.Mutex // guards what follows
	made, skipped int        // pictures
	failed, left  int        // left: that are neither
	bytes         int64      // of what was made
}

// newPress returns a press with so many slots, and so many bytes of memory; less than 0 means no limit.
func newPress(slots int, memory int64, r resize.Renderer) *press {
	if memory < 0 {
		memory = math.MaxInt64 / 2
	}
	p := &press{renderer: r, pyramids: resize.NewPyramids(&resize.PyramidOptions{Bytes: max(memory/4, 1)})}
	p.budget = &budget{slots: slots, memory: memory, held: p.pyramids}
	p.renderer.Pyramids, p.renderer.Admit = p.pyramids, p.budget.admit
	return p
}

func (p *press) close() { p.pyramids.Close() }

// run makes all pictures, and shows how many there are. What fails is in the pictures.
func (p *press) run(ctx context.Context, tasks []*task, s *screen) {
	for _, t := range tasks {
		p.left += len(t.pictures)
	}
	total, began := p.left, time.Now()
	show := func() {
		if total == 1 {
			return
		}
		p.mu.Lock()
		done := total - p.left
		line := fmt.Sprintf("%s %d of %d pictures", bar(done, total), done, total)
		if p.skipped > 0 {
			line += fmt.Sprintf(", %d were there", p.skipped)
		}
		if p.failed > 0 {
			line += fmt.Sprintf(", %d failed", p.failed)
		}
		line += fmt.Sprintf(", %s (%v)", size(p.bytes), time.Since(began).Round(time.Second))
		p.mu.Unlock()
		s.show(line)
	}
	shown := make(chan struct{})
	working, stop := context.WithCancel(ctx)
	go func() {
		defer close(shown)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-working.Done():
				return
			case <-t.C:
				show()
			}
		}
	}()
	queue := make(chan *task)
	var workers sync.WaitGroup
	for range min(p.budget.slots, len(tasks)) {
		workers.Go(func() {
			for t := range queue {
				p.do(ctx, t)
			}
		})
	}
	for _, t := range tasks {
		select {
		case queue <- t:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	stop()
	<-shown
	show()
	s.end()
}

// do makes the pictures of one file.
func (p *press) do(ctx context.Context, t *task) {
	var wanted []*picture
	for i := range t.pictures {
		if pic := &t.pictures[i]; p.update && upToDate(pic.out, append(pic.variant.marks(), t.in)) {
			p.count(func() { p.skipped++ })
		} else {
			wanted = append(wanted, pic)
		}
	}
	fail := func(pic *picture, err error) {
		if ctx.Err() == nil {
			pic.err = err
			p.count(func() { p.failed++ })
		}
	}
	if len(wanted) == 0 {
		return
	}
	body, done, err := p.read(ctx, t.in)
	if err != nil {
		for _, pic := range wanted {
			fail(pic, err)
		}
		return
	}
	defer done()
	original := resize.Input{Bytes: body}
	if len(wanted) > 1 {
		original.ID = t.in
		defer p.pyramids.Remove(t.in)
	}
	var all sync.WaitGroup
	for _, pic := range wanted {
		all.Go(func() {
			n, err := p.make(ctx, pic, original)
			if err != nil {
				fail(pic, fmt.Errorf("%s: %w", t.in, err))
				return
			}
			p.count(func() { p.made++; p.bytes += n })
		})
	}
	all.Wait()
}

// count counts a picture that is left no more.
func (p *press) count(what func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
	p.left--
}

// read reads a file, once there is memory for it. done gives it back.
func (p *press) read(ctx context.Context, name string) (body []byte, done func(), err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	if done, err = p.budget.wait(ctx, &want{bytes: info.Size()}, &p.budget.files); err != nil {
		return nil, nil, err
	}
	if body, err = os.ReadFile(name); err != nil {
		done()
		return nil, nil, err
	}
	return body, done, nil
}

// make makes one picture, and returns how many bytes it has.
func (p *press) make(ctx context.Context, pic *picture, original resize.Input) (int64, error) {
	inputs := []resize.Input{original}
	if names := pic.variant.marks(); len(names) > 0 {
		root, err := os.OpenRoot(".")
		if err != nil {
			return 0, err
		}
		defer root.Close()
		for _, name := range names {
			body, err := root.ReadFile(name)
			if err != nil {
				return 0, err
			}
			inputs = append(inputs, resize.Input{Bytes: body})
		}
	}
	made, err := p.renderer.RenderInputs(ctx, pic.plan, inputs)
	if err != nil {
		return 0, err
	}
	return int64(len(made.Bytes)), writeWhole(ctx, pic.out, made.Bytes)
}

// upToDate reports whether a file is there, and no older than those that it is made of.
func upToDate(out string, ins []string) bool {
	made, err := os.Stat(out)
	if err != nil {
		return false
	}
	for _, in := range ins {
		if info, err := os.Stat(in); err != nil || info.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}

// writeWhole writes a file, in a folder that it makes, so that it is never there in part: beside it, and renamed to it. What is there and
// no file, such as /dev/stdout, is written to.
func writeWhole(ctx context.Context, name string, body []byte) (err error) {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(name, body, 0o666)
	}
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name, dir = target, filepath.Dir(target) // a link stays one
	}
	// Unlike those of os.CreateTemp, others may read it, as far as the umask lets them.
	temp := filepath.Join(dir, ".imagecdn-"+rand.Text()+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err = cmp.Or(err, f.Close(), ctx.Err()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// A want is memory, and perhaps a slot, that is waited for.
type want struct {
	bytes int64
	slot  bool
	ready chan struct{} // closed when it may go
}

// A budget bounds what is made at once, and the memory that this takes, as the gate of the handler does: in the order in which they ask, those first that have
// begun already, as they hold memory until they end. What does not fit goes when nothing else is made, so there is always one that goes on. Files are read
// while there is room for them beside what is made of others.
type budget struct {
	slots  int
	memory int64 // bytes
	held   *resize.Pyramids

	mu                  sync.Mutex // guards what follows
	working             int        // slots in use
	taken               int64      // bytes
	begun, fresh, files []*want
}

// admit is a [resize.Renderer.Admit].
func (b *budget) admit(ctx context.Context, bytes int64, begun bool) (leave func(), err error) {
	queue := &b.fresh
	if begun {
		queue = &b.begun
	}
	return b.wait(ctx, &want{bytes: bytes, slot: true}, queue)
}

// wait waits in one of b's queues.
func (b *budget) wait(ctx context.Context, w *want, queue *[]*want) (leave func(), err error) {
	w.ready = make(chan struct{})
	b.mu.Lock()
	*queue = append(*queue, w)
	b.next()
	b.mu.Unlock()
	leave = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.taken -= w.bytes
		if w.slot {
			b.working--
		}
		b.next()
	}
	select {
	case <-w.ready:
		return leave, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	for i, other := range *queue {
		if other == w {
			*queue = append((*queue)[:i:i], (*queue)[i+1:]...)
			b.next() // who was behind it may fit
			b.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	b.mu.Unlock()
	leave() // it went in the same moment
	return nil, ctx.Err()
}

// next lets those go who are next and fit. The caller holds b.mu.
func (b *budget) next() {
	for _, queue := range []*[]*want{&b.begun, &b.fresh, &b.files} {
		for len(*queue) > 0 {
			w := (*queue)[0]
			if !b.fits(w) {
				break
			}
			*queue = (*queue)[1:]
			b.taken += w.bytes
			if w.slot {
				b.working++
			}
			close(w.ready)
		}
		if len(*queue) > 0 && queue != &b.files {
			return
		}
	}
}

// fits reports whether w may go now.
func (b *budget) fits(w *want) bool {
	if w.slot && b.working >= b.slots {
		return false
	}
	left := b.memory - b.taken - w.bytes
	if left < b.held.Bytes() {
		b.held.Free(max(left, 0))
	}
	if w.slot {
		return b.working == 0 || left >= b.held.Bytes()
	}
	return b.taken == 0 || left >= b.held.Bytes()
}
