package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/cache"
)

func newTestTurns(t *testing.T, e *engine, o turnsOptions) *turns {
	t.Helper()
	o.Prefix, o.Logger = "cdn", quiet()
	o.Self = orDefault(o.Self, "a")
	o.Timeout = orDefault(o.Timeout, 5*time.Second) // the machine may be slow
	o.Bound = orDefault(o.Bound, time.Minute)
	turns, err := newTurns(within(t), e.connect(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(turns.Close)
	return turns
}

func picture(n int) cache.Key {
	return cache.Key{Source: "photos", Image: "/cat.jpg", Kind: cache.Derivative, Sum: cache.DigestOf([]byte(fmt.Sprint(n)))}
}

// A turn is what Turn returned, later.
type turn struct {
	end  func()
	mine bool
}

func later(ctx context.Context, t *turns, k cache.Key) <-chan turn {
	c := make(chan turn, 1)
	go func() {
		end, mine := t.Turn(ctx, k)
		c <- turn{end, mine}
	}()
	return c
}

// waits waits until so many wait.
func (t *turns) waits(tt *testing.T, n int64) {
	tt.Helper()
	eventually(tt, fmt.Sprintf("%d wait", n), func() bool { return t.waiting.Load() == n })
}

func TestOneNodeMakesAPictureAndTheOthersWait(t *testing.T) {
	e := startEngine(t)
	nodes := []*turns{newTestTurns(t, e, turnsOptions{Self: "a"}), newTestTurns(t, e, turnsOptions{Self: "b"}), newTestTurns(t, e, turnsOptions{Self: "c"})}
	end, mine := nodes[0].Turn(within(t), picture(1))
	if !mine {
		t.Fatal("nobody else is at it")
	}
	b, c := later(within(t), nodes[1], picture(1)), later(within(t), nodes[2], picture(1))
	nodes[1].waits(t, 1)
	nodes[2].waits(t, 1)
	other, mine := nodes[1].Turn(within(t), picture(2))
	if !mine {
		t.Error("another picture has to wait")
	}
	other()
	select {
	case <-b:
		t.Error("b does not wait")
	case <-c:
		t.Error("c does not wait")
	default:
	}
	end()
	end()
	for _, w := range []<-chan turn{b, c} {
		got := <-w
		if got.mine {
			t.Error("it is made again")
		}
		got.end()
	}
	if s := nodes[1].Stats(); s.Created != 1 || s.Waited != 1 || s.Waiting != 0 || s.Late != 0 {
		t.Errorf("%+v", s)
	}
	end, mine = nodes[2].Turn(within(t), picture(1))
	if !mine {
		t.Error("what has ended cannot begin again")
	}
	end()
}

func TestOfManyAtOnceOneNodeMakesThePicture(t *testing.T) {
	e := startEngine(t)
	var nodes []*turns
	for i := range 3 {
		nodes = append(nodes, newTestTurns(t, e, turnsOptions{Self: fmt.Sprint(i)}))
	}
	var at, made atomic.Int32
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			end, mine := nodes[i%3].Turn(within(t), picture(i%4))
			defer end()
			if !mine {
				return
			}
			made.Add(1)
			at.Add(1)
			defer at.Add(-1)
		})
	}
	all.Wait()
	for _, n := range nodes {
		if s := n.Stats(); s.Late+s.Unasked+s.Expired != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	}
	if made.Load() < 4 {
		t.Errorf("%d were made", made.Load())
	}
}

func TestATurnIsExclusiveWhileItLasts(t *testing.T) {
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{Self: "a"}), newTestTurns(t, e, turnsOptions{Self: "b"})
	var in atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for {
				end, mine := []*turns{a, b}[i%2].Turn(within(t), picture(1))
				if !mine {
					continue
				}
				if in.Add(1) != 1 {
					t.Error("two make it at once")
				}
				in.Add(-1)
				end()
				return
			}
		})
	}
	all.Wait()
}

func TestATurnOutlivesItsExpiryWhileItsNodeDoes(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{Self: "a", Expiry: 2 * time.Second}), newTestTurns(t, e, turnsOptions{Self: "b", Expiry: 2 * time.Second})
	end, _ := a.Turn(within(t), picture(1))
	w := later(within(t), b, picture(1))
	select {
	case got := <-w:
		t.Errorf("it is b's: %v", got.mine)
		return
	case <-time.After(5 * time.Second):
	}
	end()
	if got := <-w; got.mine {
		t.Error("it is made again")
	}
}

func TestATurnOfANodeThatIsGoneExpires(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{Self: "a", Expiry: 2 * time.Second}), newTestTurns(t, e, turnsOptions{Self: "b", Expiry: 2 * time.Second})
	if _, mine := a.Turn(within(t), picture(1)); !mine {
		t.Fatal("it is not a's")
	}
	w := later(within(t), b, picture(1))
	b.waits(t, 1)
	a.conn.Close() // nobody says goodbye
	got := <-w
	if !got.mine {
		t.Error("nobody makes it")
	}
	got.end()
	if s := b.Stats(); s.Expired != 1 || s.Created != 1 || s.Late != 0 {
		t.Errorf("%+v", s)
	}
}

func TestANodeThatIsClosedGivesUpItsTurns(t *testing.T) {
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{Self: "a"}), newTestTurns(t, e, turnsOptions{Self: "b"})
	end, _ := a.Turn(within(t), picture(1))
	w := later(within(t), b, picture(1))
	b.waits(t, 1)
	a.Close()
	<-w
	end()
}

func TestAWaitIsBounded(t *testing.T) {
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{}), newTestTurns(t, e, turnsOptions{Bound: 300 * time.Millisecond})
	end, _ := a.Turn(within(t), picture(1))
	defer end()
	if got := <-later(within(t), b, picture(1)); !got.mine {
		t.Error("nobody makes it")
	}
	ctx, cancel := context.WithCancel(within(t))
	c := newTestTurns(t, e, turnsOptions{})
	w := later(ctx, c, picture(1))
	c.waits(t, 1)
	cancel()
	if got := <-w; !got.mine {
		t.Error("it is made, says who knows nothing")
	}
	if b.Stats().Late != 1 || c.Stats().Late != 1 {
		t.Errorf("%+v, %+v", b.Stats(), c.Stats())
	}
}

func TestTooManyDoNotWait(t *testing.T) {
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{}), newTestTurns(t, e, turnsOptions{})
	end, _ := a.Turn(within(t), picture(1))
	defer end()
	b.waiting.Store(maxTurnWaiters)
	if got := <-later(within(t), b, picture(1)); !got.mine || b.waiting.Load() != maxTurnWaiters {
		t.Errorf("mine %v, %d wait", got.mine, b.waiting.Load())
	}
}

func TestTurnsOfADeadEngineAreEverybodys(t *testing.T) {
	t.Parallel()
	e := startEngine(t)
	a, b := newTestTurns(t, e, turnsOptions{Timeout: 500 * time.Millisecond}), newTestTurns(t, e, turnsOptions{})
	end, mine := a.Turn(within(t), picture(1))
	if !mine {
		t.Fatal("it is not a's")
	}
	w := later(within(t), b, picture(1))
	b.waits(t, 1)
	began := time.Now()
	e.stop()
	if got := <-w; !got.mine {
		t.Error("nobody makes it")
	}
	for n := range 100 {
		end, mine := a.Turn(within(t), picture(n))
		if !mine {
			t.Fatal("nobody makes it")
		}
		end()
	}
	end()
	if d := time.Since(began); d > 20*time.Second { // 100 timeouts are more than twice that
		t.Errorf("that took %v", d)
	}
	e.start() // what was in memory is gone
	created := a.Stats().Created
	eventually(t, "turns are to be had again", func() bool {
		end, mine := a.Turn(within(t), picture(1))
		end()
		return mine && a.Stats().Created > created
	})
}
