//go:build unix

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/internal/s3test"
	"github.com/imagecdn/imagecdn/purge"
)

// Three nodes have an image, and two of them are about to get another of the same folder and tag, of which the origin holds the answer back, when the
// third is told to purge both. Once the job is done no node shows what was before: not of the image that it had, and not of the one that comes late.
func TestThreeNodesPurgeRace(t *testing.T) {
	t.Run("each with its own cache", func(t *testing.T) { purgeRace(t, "") })
	t.Run("on one bucket", func(t *testing.T) { purgeRace(t, s3test.Bucket(t)) })
}

func purgeRace(t *testing.T, bucket string) {
	f := startFleet(t, setup{nodes: 3, bucket: bucket, images: 24})
	r := random(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+time.Duration(*rounds)*time.Second)
	defer cancel()
	kinds := make(map[string]int)
	late, untold := 0, 0
	for round := 0; round < *rounds && !t.Failed(); round++ {
		q, images := f.someRequest(r)
		owner := f.nodes[r.IntN(len(f.nodes))]
		others := slices.DeleteFunc(slices.Clone(f.nodes), func(n *node) bool { return n == owner })
		had := images[r.IntN(len(images))]
		width := func() int { return 4 + r.IntN(4) } // as many pictures of each image
		w := width()
		all(f.nodes, func(n *node) {
			if _, err := f.look(ctx, n, had, w); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		})

		// The other image is of no node's, so that its fetches are under way when the purge comes.
		other := images[r.IntN(len(images))]
		type answer struct {
			r   *response
			err error
		}
		answers := make(chan answer, len(others))
		inFlight := 0
		if other != had {
			// What is purged for this is of this image alone.
			s, err := f.purge(ctx, owner, purge.Request{Scope: purge.Original, Mode: purge.Delete, Paths: []string{imagePath(other)}}, []int{other})
			if err != nil {
				t.Fatal(err)
			}
			f.follow(ctx, s, time.Millisecond, func() *node { return owner })
			h := f.origin.hold(other)
			for _, n := range others {
				inFlight++
				go func() {
					r, err := f.look(ctx, n, other, w)
					answers <- answer{r, err}
				}()
			}
			eventually(t, 10*time.Second, "a fetch is under way", func() bool { return h.held.Load() > 0 })
			for end := time.Now().Add(200 * time.Millisecond); h.held.Load() < int64(len(others)) && time.Now().Before(end); {
				time.Sleep(time.Millisecond) // the second is not owed: who waits for a node that fetches already is right as well
			}
			late += int(h.held.Load())
		}

		s, err := f.purge(ctx, owner, q, images)
		if err != nil {
			t.Fatal(err)
		}
		if !f.follow(ctx, s, time.Millisecond, func() *node { return owner }) {
			t.Fatalf("job %s is never done", s.id)
		}
		widths := []int{width(), width()}
		see := func() {
			all(f.nodes, func(n *node) {
				for i, image := range []int{had, other} {
					if servesOnce(q) {
						continue
					}
					if _, err := f.look(ctx, n, image, widths[i]); err != nil {
						t.Errorf("%s: %v", n.name, err)
					}
				}
			})
		}
		see() // while the old answers are still on their way
		f.origin.letGo(other)
		for range inFlight {
			if a := <-answers; a.err != nil {
				t.Errorf("a request of before the purge: %v", a.err)
			}
		}
		see()
		if servesOnce(q) { // it has been served once now
			for _, n := range f.nodes {
				for _, image := range []int{had, other} {
					eventually(t, 10*time.Second, fmt.Sprintf("%s shows %s as it is, after a purge that lets it be served once more\n    %s", n.name, imagePath(image), f.w.story(image)), func() bool {
						r, err := f.look(ctx, n, image, w)
						return err == nil && r.version >= s.least[image]
					})
				}
			}
			for n, v := range s.least {
				if n == had || n == other {
					f.w.done(n, v)
				}
			}
		}
		kinds[string(q.Scope)+" "+string(q.Mode)]++
		f.truth(ctx, s)
		if len(s.rec.Nodes) == 0 {
			untold++
		}
	}
	t.Logf("%d rounds, %v; %d answers came late; %d exchanges with the origin", *rounds, kinds, late, f.origin.exchanges.Load())
	if late == 0 {
		t.Error("no answer came late: nothing was tried")
	}
}

// truth checks what the log has of a job that every node was there for: it is done, and has what became of it on each of the others, and each node says so.
func (f *fleet) truth(ctx context.Context, s *submitted) {
	f.t.Helper()
	for _, n := range f.nodes {
		var rec record
		eventually(f.t, 10*time.Second, fmt.Sprintf("%s has the end of job %s of %s", n.name, s.id, s.owner.name), func() bool {
			var err error
			rec, err = n.job(ctx, s.id)
			return err == nil && rec.State.Final()
		})
		if rec.State != purge.Done {
			f.t.Errorf("job %s of %s ended, as %s has it, as %+v", s.id, s.owner.name, n.name, rec)
			continue
		}
		outcomes := make(map[string]purge.NodeOutcome)
		for _, one := range rec.Nodes {
			outcomes[one.Name] = one.Outcome
			if one.State != purge.Done {
				f.t.Errorf("job %s is done, and is not on %s: %+v", s.id, one.Name, one)
			}
		}
		for _, other := range f.nodes {
			if other != s.owner && outcomes[other.name] != purge.Flushed {
				f.t.Errorf("job %s of %s is done, as %s has it, and has of %s %q: %+v", s.id, s.owner.name, n.name, other.name, outcomes[other.name], rec.Nodes)
			}
		}
	}
}
