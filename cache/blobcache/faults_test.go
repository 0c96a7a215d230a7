package blobcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
)

func key(source, image string, kind cache.Kind, what string) cache.Key {
	return cache.Key{Source: source, Image: image, Kind: kind, Sum: cache.DigestOf([]byte(what))}
}

func thing(body string, inputs ...cache.Input) *cache.Thing {
	return &cache.Thing{Header: http.Header{"Content-Type": {"image/png"}}, Body: []byte(body), Inputs: inputs}
}

var (
	catKey, cat = key("s", "/cat", cache.Derivative, "cat"), thing("the cat")
	dogKey, dog = key("s", "/dog", cache.Original, "dog"), thing("the dog")
	logo        = cache.Input{Source: "marks", Image: "/logo"}
	markedKey   = key("s", "/cat", cache.Composite, "marked")
	marked      = thing("the cat, marked", logo)
	everyKey    = []cache.Key{catKey, dogKey, markedKey}
	everyThing  = []*cache.Thing{cat, dog, marked}
)

func open(t *testing.T, b *blob.Bucket, o *blobcache.Options) *blobcache.Store {
	t.Helper()
	s, err := blobcache.New(context.Background(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// put puts a thing and waits until it is written.
func put(t *testing.T, s *blobcache.Store, k cache.Key, th *cache.Thing) {
	t.Helper()
	if err := s.Put(t.Context(), k, th, nil); err != nil {
		t.Fatal(err)
	}
	settle(s)
}

func settle(s *blobcache.Store) {
	for s.Stats().WaitingThings > 0 {
		time.Sleep(100 * time.Microsecond)
	}
}

func has(t *testing.T, s cache.Store, k cache.Key, want *cache.Thing) bool {
	t.Helper()
	got, err := s.Get(t.Context(), k)
	if errors.Is(err, cache.ErrNotFound) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Body, want.Body) || got.Header.Get("Content-Type") != want.Header.Get("Content-Type") || !slices.Equal(got.Inputs, want.Inputs) {
		t.Fatalf("got %q with %v and %v", got.Body, got.Header, got.Inputs)
	}
	return true
}

// keys lists the bucket.
func keys(t *testing.T, b *blob.Bucket, prefix string) (all []string) {
	t.Helper()
	for it := b.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := it.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
}

// The n-th operation fails, for each n until there are no more: before it is done, or, where it writes, after it. What is got is what was put; and
// where a purge was not an error, nothing of it is left in the bucket.
func TestEveryOperationFails(t *testing.T) {
	for n := int64(0); ; n++ {
		f, b := newFaulty()
		s := open(t, b, nil)
		var calls atomic.Int64
		f.set(func(ctx context.Context, op, key string) error {
			if calls.Add(1)-1 == n {
				return fmt.Errorf("%s %s: %w", op, key, errFault)
			}
			return nil
		}, nil)
		for i, k := range everyKey {
			put(t, s, k, everyThing[i])
			has(t, s, k, everyThing[i])
		}
		_, errLogo := s.Remove(t.Context(), logo.Source, logo.Image)
		logoLeft := slices.ContainsFunc(keys(t, f.under, "things/"), func(k string) bool { return strings.Contains(k, "/c-") || strings.Contains(k, "/r-") })
		_, errCat := s.Remove(t.Context(), "s", "/cat")
		catLeft := slices.ContainsFunc(keys(t, f.under, "things/"), func(k string) bool { return strings.Contains(k, catKey.Sum.String()) })
		has(t, s, dogKey, dog)
		_, errAll := s.RemoveAll(t.Context(), "")
		left := keys(t, f.under, "things/")
		failed := calls.Load() > n
		f.set(nil, nil)
		switch {
		case errLogo == nil && logoLeft:
			t.Errorf("operation %d: the logo was removed, and its composites, or what tells of them, are there", n)
		case errCat == nil && catLeft:
			t.Errorf("operation %d: the cat was removed, and is there", n)
		case errAll == nil && len(left) > 0:
			t.Errorf("operation %d: all was removed, and there is %v", n, left)
		}
		if errAll == nil {
			for i, k := range everyKey {
				if has(t, s, k, everyThing[i]) {
					t.Errorf("operation %d: all was removed, and %v is found", n, k)
				}
			}
		}
		// Once the bucket works again, all does.
		if _, err := s.RemoveAll(t.Context(), ""); err != nil {
			t.Errorf("operation %d: %v", n, err)
		}
		put(t, s, catKey, cat)
		if !has(t, s, catKey, cat) {
			t.Errorf("operation %d: afterwards nothing is kept", n)
		}
		s.Close()
		if !failed {
			if n < 20 {
				t.Errorf("there were %d operations", n)
			}
			return
		}
	}
}

func TestADamagedObjectIsAMiss(t *testing.T) {
	f, b := newFaulty()
	s := open(t, b, nil)
	put(t, s, markedKey, marked)
	size := 0
	f.set(nil, func(key string, data []byte) []byte {
		size = len(data)
		return data
	})
	if !has(t, s, markedKey, marked) {
		t.Fatal("it is not there")
	}
	misses := 0
	try := func(what string, change func(data []byte) []byte) {
		f.set(nil, func(_ string, data []byte) []byte { return change(bytes.Clone(data)) })
		if has(t, s, markedKey, marked) {
			t.Errorf("%s: it was found", what)
		}
		misses++
	}
	for i := range size {
		for _, bits := range []byte{1, 0x80, 0xff} {
			try(fmt.Sprintf("byte %d turned by %x", i, bits), func(data []byte) []byte { data[i] ^= bits; return data })
		}
		try(fmt.Sprintf("cut to %d bytes", i), func(data []byte) []byte { return data[:i] })
	}
	try("a byte more", func(data []byte) []byte { return append(data, 0) })
	if n := s.Stats().Damaged; n != int64(misses) {
		t.Errorf("%d were counted as damaged, of %d", n, misses)
	}

	// Another's object under this key is none of it, whole as it is.
	f.set(nil, nil)
	put(t, s, catKey, cat)
	all := keys(t, f.under, "things/")
	at := func(name string) string {
		i := slices.IndexFunc(all, func(k string) bool { return strings.Contains(k, name) })
		return all[i]
	}
	data, err := f.under.ReadAll(t.Context(), at("/d-"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.under.WriteAll(t.Context(), at("/c-"), data, nil); err != nil {
		t.Fatal(err)
	}
	if has(t, s, markedKey, marked) {
		t.Error("another's object was found")
	}
	// What is made again replaces it.
	put(t, s, markedKey, marked)
	if !has(t, s, markedKey, marked) {
		t.Error("a damaged object was not replaced")
	}
}

// hang waits until the context ends.
func hang(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestADeadBucketCostsABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFaulty()
		s := open(t, b, &blobcache.Options{ReadTimeout: 2 * time.Second, WriteTimeout: 5 * time.Second})
		put(t, s, catKey, cat)
		f.set(hang, nil)
		began := time.Now()
		for range 100 {
			asked := time.Now()
			if has(t, s, catKey, cat) {
				t.Fatal("it was found")
			}
			if d := time.Since(asked); d > 2*time.Second {
				t.Errorf("a miss took %v", d)
			}
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("100 misses one after the other took %v", d)
		}
		if !s.Stats().Broken {
			t.Error("the bucket is not left alone")
		}
		// Once in a while one asks.
		f.counts()
		for range 60 {
			time.Sleep(time.Second)
			has(t, s, catKey, cat)
		}
		if n := f.counts()["read"]; n < 2 || n > 10 {
			t.Errorf("%d asked in a minute or two", n)
		}
		// A purge does not wait for ever, and does not say that it is done.
		asked := time.Now()
		if _, err := s.Remove(t.Context(), "s", "/cat"); err == nil {
			t.Error("a purge of a dead bucket was done")
		}
		if d := time.Since(asked); d > 10*time.Second {
			t.Errorf("the purge took %v", d)
		}
		f.set(nil, nil)
		time.Sleep(2 * time.Minute)
		if !has(t, s, catKey, cat) || s.Stats().Broken {
			t.Error("it does not come back")
		}
		s.Close()
	})
}

func TestCallersThatGoAwaySayNothingOfTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFaulty()
		s := open(t, b, nil)
		put(t, s, catKey, cat)
		f.set(hang, nil)
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := s.Get(ctx, catKey); !errors.Is(err, cache.ErrNotFound) {
				t.Fatal(err)
			}
			cancel()
		}
		if n := s.Stats(); n.Broken || n.Faults != 0 {
			t.Errorf("got %+v", n)
		}
		f.set(nil, nil)
		s.Close()
	})
}

func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFaulty()
		s := open(t, b, &blobcache.Options{MaxWaiting: 100_000, MaxWaitingThings: 50, MaxBytes: 20_000, Writers: 3, CloseTimeout: 4 * time.Second})
		release := make(chan struct{})
		var writing, most atomic.Int64
		f.set(func(ctx context.Context, op, _ string) error {
			if op != "write" {
				return nil
			}
			most.Store(max(most.Load(), writing.Add(1)))
			defer writing.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		}, nil)
		for i := range 200 { // small ones: their number bounds them
			s.Put(t.Context(), key("s", fmt.Sprint("/", i), cache.Derivative, "x"), thing("x"), nil)
		}
		synctest.Wait()
		if n := s.Stats(); n.WaitingThings > 50+3 || n.Dropped < 200-53 || n.Dropped+int64(n.WaitingThings) != 200 {
			t.Errorf("got %+v", n)
		}
		close(release)
		synctest.Wait()
		if n := s.Stats(); n.Waiting != 0 || n.WaitingThings != 0 || n.Written+n.Dropped != 200 {
			t.Errorf("afterwards: %+v", n)
		}
		if most.Load() != 3 {
			t.Errorf("%d wrote at once", most.Load())
		}

		f.set(func(ctx context.Context, op, key string) error {
			if op == "write" {
				return hang(ctx, op, key)
			}
			return nil
		}, nil)
		before := s.Stats().Dropped
		for i := range 20 { // large ones: their bytes do
			s.Put(t.Context(), key("t", fmt.Sprint("/", i), cache.Derivative, "x"), thing(strings.Repeat("x", 15_000)), nil)
		}
		s.Put(t.Context(), key("t", "/huge", cache.Derivative, "x"), thing(strings.Repeat("x", 20_000)), nil)
		if n := s.Stats(); n.Waiting > 100_000 || n.Waiting < 80_000 || n.Dropped-before != 21-int64(n.WaitingThings) {
			t.Errorf("of large ones: %+v", n)
		}
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 4*time.Second {
			t.Errorf("Close took %v", d)
		}
		if n := s.Stats(); n.Waiting != 0 || n.Written+n.Dropped != 221 {
			t.Errorf("after Close: %+v", n)
		}
	})
}

// A purge while a thing is being written: it is not found from then on, and not in the bucket afterwards. Whether the writer learns of it by its
// own Remove, or, as where another node has removed it, by valid.
func TestAPurgeWhileAThingIsWritten(t *testing.T) {
	for _, how := range []string{"Remove", "Remove of an input", "RemoveAll", "RemoveAll of an input's source", "valid"} {
		for _, when := range []string{"write", "written"} {
			t.Run(how+" at "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, b := newFaulty()
					s := open(t, b, nil)
					release, reached := make(chan struct{}), make(chan struct{}, 1)
					f.set(func(_ context.Context, op, key string) error { // an upload that no longer listens
						if op == when && strings.Contains(key, "/c-") {
							select {
							case reached <- struct{}{}:
							default: // that is known
							}
							<-release
						}
						return nil
					}, nil)
					var gone atomic.Bool
					if err := s.Put(t.Context(), markedKey, marked, func() bool { return !gone.Load() }); err != nil {
						t.Fatal(err)
					}
					<-reached
					reached <- struct{}{} // full from now on
					if !has(t, s, markedKey, marked) {
						t.Error("it is not found before it is written")
					}
					gone.Store(true)
					done := make(chan error, 1)
					go func() {
						var err error
						switch how {
						case "Remove":
							_, err = s.Remove(context.Background(), "s", "/cat")
						case "Remove of an input":
							_, err = s.Remove(context.Background(), logo.Source, logo.Image)
						case "RemoveAll":
							_, err = s.RemoveAll(context.Background(), "")
						case "RemoveAll of an input's source":
							_, err = s.RemoveAll(context.Background(), logo.Source)
						}
						done <- err
					}()
					synctest.Wait()
					if how != "valid" && has(t, s, markedKey, marked) {
						t.Error("it is found while it is removed")
					}
					// It may be put again meanwhile.
					if how != "valid" {
						s.Put(context.Background(), markedKey, marked, nil)
					}
					close(release)
					if err := <-done; err != nil {
						t.Error(err)
					}
					synctest.Wait()
					left := slices.DeleteFunc(keys(t, f.under, "things/"), func(k string) bool { return !strings.Contains(k, "/c-") })
					if how == "valid" && len(left) != 0 {
						t.Errorf("there is %v", left)
					}
					if how != "valid" { // what was put again may have gone as well; what is put now is there, and goes by its references
						put(t, s, markedKey, marked)
						if !has(t, s, markedKey, marked) {
							t.Error("it cannot be put again")
						}
						if _, err := s.Remove(t.Context(), logo.Source, logo.Image); err != nil || has(t, s, markedKey, marked) {
							t.Error("a purge of its input left it", err)
						}
					}
					if left := keys(t, f.under, "things/"); len(left) != 0 {
						t.Errorf("at the end there is %v", left)
					}
					s.Close()
				})
			})
		}
	}
}

func TestOpenOfWhatCannotBe(t *testing.T) {
	f, b := newFaulty()
	f.set(func(context.Context, string, string) error { return errFault }, nil)
	s, err := blobcache.New(t.Context(), b, nil)
	if err != nil {
		t.Fatalf("a bucket that cannot be reached now: %v", err)
	}
	if has(t, s, catKey, cat) {
		t.Error("it has something")
	}
	s.Close()

	if _, err := blobcache.Open(t.Context(), "nosuch://bucket", nil); err == nil {
		t.Error("a scheme that no driver has is no error")
	}
	if _, err := blobcache.Open(t.Context(), "file:///nonexistent-directory-of-a-test", nil); err == nil {
		t.Error("a directory that does not exist is no error")
	}
	for _, o := range []blobcache.Options{{Prefix: "/a"}, {MaxBytes: -1}, {Writers: -1}, {ReadTimeout: -1}} {
		if _, err := blobcache.New(t.Context(), b, &o); err == nil || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
