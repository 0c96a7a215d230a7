package purge_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A shelf is the least Target: images in memory, each with what was made from it.
type shelf struct {
	mu      sync.Mutex
	images  map[string][]string // path ▶ derivatives
	deleted map[string][]string // out of reach, and not yet reclaimed
}

func (s *shelf) Accept(ctx context.Context, r purge.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, derivatives := range s.images {
		if covers(r, path) {
			s.deleted[path] = derivatives
			delete(s.images, path)
		}
	}
	return nil
}

func covers(r purge.Request, path string) bool {
	if r.Scope == purge.All {
		return r.Source == "" || strings.HasPrefix(path, "/"+r.Source+"/")
	}
	for _, p := range r.Paths {
		if p == path {
			return true
		}
	}
	return false
}

func (s *shelf) PurgePath(ctx context.Context, path string, mode purge.Mode) (res purge.PathResult, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if derivatives, ok := s.deleted[path]; ok {
		res.Originals, res.Derivatives = 1, len(derivatives)
		delete(s.deleted, path)
	}
	return res, nil
}

func (s *shelf) PurgeAll(ctx context.Context, source string, mode purge.Mode) (res purge.PathResult, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, derivatives := range s.deleted {
		if source == "" || strings.HasPrefix(path, "/"+source+"/") {
			res.Originals++
			res.Derivatives += len(derivatives)
			delete(s.deleted, path)
		}
	}
	return res, nil
}

func Example() {
	target := &shelf{
		images:  map[string][]string{"/photos/cat.jpg": {"w=200", "w=400", "w=800"}},
		deleted: map[string][]string{},
	}
	svc := purge.NewService(target, nil)
	defer svc.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// The wrong form is refused, and the right one shown.
	_, err := svc.Submit(ctx, purge.Request{Paths: []string{"img.example.com/photos/cat.jpg?w=200"}}, nil)
	fmt.Println(err)

	job, err := svc.Submit(ctx, purge.Request{Paths: []string{"/photos/cat.jpg", "/photos/dog.jpg"}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	rec, err := job.Wait(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rec.State)
	for _, p := range rec.Paths {
		fmt.Println(p.Path, p.Outcome, p.Derivatives)
	}

	// Output:
	// path "img.example.com/photos/cat.jpg?w=200" has a host, and no leading slash, and has a query; the right form is "/photos/cat.jpg"
	// done
	// /photos/cat.jpg removed 3
	// /photos/dog.jpg absent 0
}
