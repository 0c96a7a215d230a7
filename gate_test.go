package imagecdn

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

// A worker asks a gate for leave.
type worker struct {
	leave  func()
	err    error
	cancel context.CancelCauseFunc
}

// ask has a worker ask, and waits until it has leave or is in the queue.
func ask(t *testing.T, g *gate, bytes int64, begun bool) *worker {
	return askFor(t, g, bytes, begun, "", "")
}

// askFor is ask for a client of a source.
func askFor(t *testing.T, g *gate, bytes int64, begun bool, source, client string) *worker {
	w := new(worker)
	ctx, cancel := context.WithCancelCause(&asker{Context: t.Context(), source: source, client: client})
	w.cancel = cancel
	go func() {
		leave, err := g.admit(ctx, bytes, begun)
		w.leave, w.err = leave, err
	}()
	synctest.Wait()
	return w
}

// works reports whether w has leave.
func (w *worker) works() bool {
	synctest.Wait()
	return w.leave != nil
}

func (w *worker) end() {
	w.leave()
	synctest.Wait()
}

func TestDefaultMaxRenderMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, tt := range []struct{ limit, memory, want int64 }{
		{math.MaxInt64, 100, 400},
		{math.MaxInt64, math.MaxInt64 / 2, -1}, // of no limit
		{1 << 40, 1 << 30, 4 << 30},
		{1 << 40, 1 << 39, 1 << 40}, // never more than the runtime may have
	} {
		debug.SetMemoryLimit(tt.limit)
		if got := defaultMaxRenderMemory(tt.memory); got != tt.want {
			t.Errorf("of %d, where the runtime may have %d, one may take %d, want %d", tt.memory, tt.limit, got, tt.want)
		}
	}
}

func TestGate(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(t *testing.T, g *gate) // three slots, 100 bytes
	}{
		{"as many as there are slots", func(t *testing.T, g *gate) {
			a, b, c, d := ask(t, g, 1, false), ask(t, g, 1, false), ask(t, g, 1, false), ask(t, g, 1, false)
			if !a.works() || !b.works() || !c.works() || d.works() {
				t.Error("want three of four")
			}
			b.end()
			if !d.works() {
				t.Error("the fourth waits for nothing")
			}
			a.end()
			c.end()
			d.end()
		}},
		{"as many as there is memory for", func(t *testing.T, g *gate) {
			a, b := ask(t, g, 60, false), ask(t, g, 50, false)
			if !a.works() || b.works() {
				t.Error("want the first alone")
			}
			a.end()
			if !b.works() {
				t.Error("the second waits for nothing")
			}
			b.end()
		}},
		{"one beyond the budget is made alone, in its turn", func(t *testing.T, g *gate) {
			a, b, c := ask(t, g, 10, false), ask(t, g, 1000, false), ask(t, g, 10, false)
			if !a.works() || b.works() || c.works() {
				t.Error("want the first alone, and nobody to pass the second")
			}
			a.end()
			if !b.works() || c.works() {
				t.Error("want the second alone")
			}
			b.end()
			if !c.works() {
				t.Error("the third waits for nothing")
			}
			c.end()
		}},
		{"who has begun goes first", func(t *testing.T, g *gate) {
			a, b, c := ask(t, g, 90, false), ask(t, g, 20, false), ask(t, g, 20, true)
			a.end()
			if !b.works() || !c.works() {
				t.Error("want both")
			}
			b.end()
			c.end()
			a, b, c = ask(t, g, 90, false), ask(t, g, 60, false), ask(t, g, 60, true)
			a.end()
			if b.works() || !c.works() {
				t.Error("want the one that has begun")
			}
			c.end()
			b.end()
		}},
		{"sources take turns, and clients of a source", func(t *testing.T, g *gate) {
			first := ask(t, g, 100, false)
			all := make(map[string]*worker)
			for _, who := range []string{"s a 1", "s a 2", "s a 3", "s b 4", "t a 5", "t a 6"} {
				part := strings.Fields(who)
				all[who] = askFor(t, g, 100, false, part[0], part[1])
			}
			first.end()
			for _, who := range []string{"s a 1", "t a 5", "s b 4", "t a 6", "s a 2", "s a 3"} {
				for other, w := range all {
					if w.works() != (other == who) {
						t.Fatalf("it is the turn of %s, and %s works: %t", who, other, w.works())
					}
				}
				all[who].end()
				delete(all, who)
			}
		}},
		{"who goes away lets others by", func(t *testing.T, g *gate) {
			a, b, c := ask(t, g, 50, false), ask(t, g, 90, false), ask(t, g, 40, false)
			why := errors.New("gone")
			b.cancel(why)
			if !c.works() || b.works() || b.err != why {
				t.Errorf("the third works: %t; the second: %v", c.works(), b.err)
			}
			a.end()
			c.end()
		}},
		{"a slot that is lent goes to who needs it", func(t *testing.T, g *gate) {
			if err := g.enterBehind(t.Context()); err != nil {
				t.Fatal(err)
			}
			leave, err := g.admitBehind(t.Context(), 500, false)
			if err != nil {
				t.Fatal(err)
			}
			a, b, c, d := ask(t, g, 1, false), ask(t, g, 1, false), ask(t, g, 1, false), ask(t, g, 1, false)
			if !a.works() || b.works() {
				t.Error("want the first, as there is no memory")
			}
			leave()
			if !b.works() || !c.works() || d.works() {
				t.Error("want three of four")
			}
			g.leaveBehind()
			if d.works() {
				t.Error("a slot was given back twice")
			}
			a.end()
			b.end()
			c.end()
			d.end()
		}},
		{"what is kept decoded makes way", func(t *testing.T, g *gate) {
			data, err := samples.FS().Open("rocket.jpg")
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			info, err := data.Stat()
			if err != nil {
				t.Fatal(err)
			}
			body := make([]byte, info.Size())
			if _, err := data.Read(body); err != nil {
				t.Fatal(err)
			}
			r := resize.Renderer{Pyramids: g.held}
			if _, err := r.RenderInputs(t.Context(), resize.Plan{Width: 50}, []resize.Input{{ID: "rocket", Bytes: body}}); err != nil {
				t.Fatal(err)
			}
			kept := g.held.Bytes()
			if kept == 0 {
				t.Fatal("nothing is kept")
			}
			g.memory = kept + 100
			a := ask(t, g, 100, false)
			if g.held.Bytes() != kept {
				t.Error("it went although there was room")
			}
			b := ask(t, g, 50, false)
			if !b.works() || g.held.Bytes() != 0 {
				t.Errorf("%d bytes are kept, and the second waits: %t", g.held.Bytes(), !b.works())
			}
			a.end()
			b.end()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held := resize.NewPyramids(nil)
				defer held.Close()
				g := newGate(3, 10, 100, held)
				tt.f(t, g)
				synctest.Wait()
				if g.working != 0 || g.taken != 0 || g.lent != 0 || g.begun.waiting+g.fresh.waiting+g.behind.waiting != 0 || g.larder.bytes != 0 || len(g.reading) != 0 {
					t.Errorf("left: %d working, %d lent, %d bytes, %d %d %d waiting", g.working, g.lent, g.taken, g.begun.waiting, g.fresh.waiting, g.behind.waiting)
				}
			})
		})
	}
}
