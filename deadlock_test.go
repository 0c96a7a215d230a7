package imagecdn

import (
	"testing"
	"testing/synctest"

	"github.com/imagecdn/imagecdn/cache"
)

// An original that waits for room.
type grower struct {
	*room
	done   bool
	closed bool
	err    error
}

func (r *grower) grow(t *testing.T, bytes, expect int64) {
	r.done = false
	go func() {
		r.err = r.Resize(t.Context(), bytes, expect)
		r.done = true
	}()
	synctest.Wait()
}

// While there are always renders that wait, originals get what they need, too.
func TestOriginalsUnderLoad(t *testing.T) {
	for _, tt := range []struct {
		name   string
		slots  int
		render int64 // bytes
		waits  func(t *testing.T, g *gate) []*grower
	}{
		{"two that have half of what they need each", 1, 10, func(t *testing.T, g *gate) []*grower {
			a, b := &grower{room: &room{gate: g}}, &grower{room: &room{gate: g}}
			for _, r := range []*grower{a, b} {
				r.grow(t, 0, -1)
				r.grow(t, 12, 12)
			}
			a.grow(t, 20, 20)
			b.grow(t, 20, 20)
			return []*grower{a, b}
		}},
		{"one that needs more than a render gives back", 10, 10, func(t *testing.T, g *gate) []*grower {
			a := &grower{room: &room{gate: g}}
			a.grow(t, 0, 25)
			a.grow(t, 25, 25)
			return []*grower{a}
		}},
		{"one that needs more than there is", 1, 10, func(t *testing.T, g *gate) []*grower {
			a := &grower{room: &room{gate: g}}
			a.grow(t, 0, -1)
			a.grow(t, 200, 200)
			return []*grower{a}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(tt.slots, 1000, 100, nil)
				var renders []*worker
				for range 20 {
					renders = append(renders, ask(t, g, tt.render, false))
				}
				originals := tt.waits(t, g)
				for range 100 {
					renders = append(renders, ask(t, g, tt.render, false))
					if !renders[0].works() {
						t.Fatal("a render whose turn it is does not work")
					}
					renders[0].end()
					renders = renders[1:]
					for _, r := range originals {
						if r.done && !r.closed { // a picture is made of it
							r.Close()
							r.closed = true
							synctest.Wait()
						}
					}
				}
				for i, r := range originals {
					if !r.done || r.err != nil {
						t.Errorf("original %d has %d bytes while renders come and go, %v", i, r.bytes, r.err)
						r.Close()
						synctest.Wait()
					}
				}
				for _, w := range renders {
					if !w.works() {
						t.Fatal("a render does not work in the end")
					}
					w.end()
				}
				if g.taken != 0 || g.working != 0 {
					t.Errorf("%d bytes and %d slots are left taken", g.taken, g.working)
				}
			})
		})
	}
}

// What is made behind gives up where requests wait: one of them may wait for it.
func TestBehindDoesNotWaitBehindRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 1000, 100, nil)
		first := ask(t, g, 100, false)
		if err := g.enterBehind(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer g.leaveBehind()
		err, done := error(nil), false
		go func() {
			_, err = g.admitBehind(t.Context(), 10, false)
			done = true
		}()
		if synctest.Wait(); done {
			t.Fatalf("with nobody waiting it does not wait: %v", err)
		}
		second := ask(t, g, 50, false)
		if !done || err != cache.ErrNoRoom {
			t.Errorf("while a request waits: %t, %v", done, err)
		}
		first.end()
		second.end()
	})
}
