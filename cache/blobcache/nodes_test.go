package blobcache_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gocloud.dev/blob/memblob"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cache/blobcache"
)

func TestKeysInTheBucket(t *testing.T) {
	b := memblob.OpenBucket(nil)
	s := open(t, b, &blobcache.Options{Prefix: "a/b"})
	images := []string{"", "/", "/cat", "/CAT", "/../x", "/a b?c#d", "/caf\xe9", "/\x00", "/" + strings.Repeat("x", 3000), "/__0x2f__"}
	for _, image := range images {
		for _, kind := range []cache.Kind{cache.Original, cache.Derivative} {
			put(t, s, key("s", image, kind, image), thing("of "+image))
		}
	}
	put(t, s, markedKey, marked)
	pattern := regexp.MustCompile(`^a/b/(generations/(all|[0-9a-f]{32})/[0-9]{20}-[0-9a-f]{16}|things/[0-9a-f]/[0-9]{20}-[0-9a-f]{16}/[0-9a-f]{32}-[A-Za-z0-9_-]*/[0-9a-f]{32}(-[A-Za-z0-9_-]*)?/([odc]-[0-9a-f]{64}|r-[0-9a-f]{32}))$`)
	folders := make(map[string]int)
	for _, k := range keys(t, b, "") {
		if !pattern.MatchString(k) || len(k) > 1024 || slices.ContainsFunc(strings.Split(k, "/"), func(part string) bool { return len(part) > 255 }) {
			t.Errorf("%q is not a key of the layout", k)
		}
		folders[k[:strings.LastIndexByte(k, '/')]]++
	}
	// One for each image, of which the cat has one more thing, and for the logo and the generations.
	if len(folders) != len(images)+2 {
		t.Errorf("there are %d folders: %v", len(folders), folders)
	}
}

// What purges cost in requests, as docs/buckets.md has it.
func TestRequestsOfPurges(t *testing.T) {
	f, b := newFaulty()
	s := open(t, b, nil)
	for i := range 10 {
		put(t, s, key("s", "/cat", cache.Derivative, fmt.Sprint(i)), cat)
	}
	put(t, s, dogKey, dog)
	f.counts()
	if r, err := s.Remove(t.Context(), "s", "/cat"); err != nil || r.Derivatives != 10 {
		t.Fatal(r, err)
	}
	if n := f.counts(); n["list"] != 2 || n["delete"] != 10 || n["read"]+n["write"]+n["attributes"] != 0 {
		t.Errorf("a purge of an image with ten things took %v", n)
	}
	if _, err := s.Remove(t.Context(), "s", "/never"); err != nil {
		t.Fatal(err)
	}
	if n := f.counts(); n["list"] != 2 || len(n) != 1 {
		t.Errorf("a purge of nothing took %v", n)
	}
	for i := range 5 {
		put(t, s, key("s", fmt.Sprint("/", i), cache.Composite, "marked"), marked)
	}
	if n := f.counts(); n["write"] != 10 || n["attributes"] != 5 {
		t.Errorf("five composites with an input each took %v", n)
	}
	if r, err := s.Remove(t.Context(), logo.Source, logo.Image); err != nil || r.Composites != 5 {
		t.Fatal(r, err)
	}
	if n := f.counts(); n["list"] != 2 || n["read"] != 10 || n["delete"] > 15 {
		t.Errorf("a purge of their input took %v", n)
	}
	if !has(t, s, dogKey, dog) {
		t.Error("the dog went, too")
	}
}

// A purge of everything hides all of it with one object, however much there is, and frees the rest behind where that takes long.
func TestRemoveAllIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFaulty()
		s := open(t, b, &blobcache.Options{RemoveAllTimeout: 3 * time.Second})
		for i := range 1000 {
			s.Put(t.Context(), key("s", fmt.Sprint("/", i), cache.Derivative, "x"), cat, nil)
		}
		synctest.Wait()
		f.set(func(ctx context.Context, op, _ string) error {
			if op == "delete" { // 16 at once: 1,000 take more than six seconds
				time.Sleep(100 * time.Millisecond)
			}
			return ctx.Err()
		}, nil)
		f.counts()
		began := time.Now()
		r, err := s.RemoveAll(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("it took %v", d)
		}
		if r.Derivatives == 0 || r.Derivatives == 1000 {
			t.Errorf("it freed %d", r.Derivatives)
		}
		if n := f.counts(); n["write"] != 1 {
			t.Errorf("it wrote %d objects", n["write"])
		}
		for i := range 1000 {
			if has(t, s, key("s", fmt.Sprint("/", i), cache.Derivative, "x"), cat) {
				t.Fatal("something is found")
			}
		}
		put(t, s, dogKey, dog)
		time.Sleep(time.Minute)
		if left := keys(t, f.under, "things/"); len(left) != 1 || !has(t, s, dogKey, dog) {
			t.Errorf("a minute later there are %d objects", len(left))
		}
		if g := keys(t, f.under, "generations/"); len(g) != 1 {
			t.Errorf("of generations there are %v", g)
		}
		s.Close()
	})
}

func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := newFaulty()
		o := &blobcache.Options{Refresh: time.Minute}
		one, two := open(t, b, o), open(t, b, o)
		put(t, one, catKey, cat)
		if !has(t, two, catKey, cat) {
			t.Error("what one put, two has not")
		}
		if _, err := two.Remove(t.Context(), "s", "/cat"); err != nil || has(t, one, catKey, cat) {
			t.Error("what two removed, one has", err)
		}
		put(t, one, catKey, cat)
		put(t, one, dogKey, dog)
		if _, err := two.RemoveAll(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		// One learns of it in a minute; what it puts until then is not found by two, and is freed.
		put(t, one, catKey, cat)
		time.Sleep(time.Minute + time.Second)
		if has(t, one, catKey, cat) || has(t, two, catKey, cat) || has(t, one, dogKey, dog) {
			t.Error("something is found after all of the source was removed")
		}
		put(t, one, catKey, cat)
		if !has(t, two, catKey, cat) {
			t.Error("they do not see one another any more")
		}

		// A node that does not know yet that another has removed all removes what was put since.
		if _, err := two.RemoveAll(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		put(t, two, catKey, cat)
		if _, err := one.Remove(t.Context(), "s", "/cat"); err != nil || has(t, two, catKey, cat) {
			t.Error("one removed what it knew of alone", err)
		}

		// All at once come to one end.
		var nodes []*blobcache.Store
		for range 5 {
			nodes = append(nodes, open(t, b, o))
		}
		var wg sync.WaitGroup
		for i, n := range nodes {
			wg.Go(func() {
				if _, err := n.RemoveAll(context.Background(), []string{"", "s"}[i%2]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute + time.Second)
		put(t, nodes[0], dogKey, dog)
		for i, n := range append(nodes, one, two) {
			if !has(t, n, dogKey, dog) {
				t.Errorf("node %d is of another generation", i)
			}
		}
		for _, n := range append(nodes, one, two) {
			n.Close()
		}
	})
}

// A composite is not left without its reference, which another node's purge of its input would not find it by: neither where that purge ends
// while the composite is written, nor where the composite comes while the purge is at it.
func TestCompositesAndPurgesOfOtherNodes(t *testing.T) {
	f, b := newFaulty()
	s := open(t, b, nil)
	remove := func(part string) (key string, data []byte) {
		for _, k := range keys(t, f.under, "things/") {
			if strings.Contains(k, part) {
				key = k
				data, _ = f.under.ReadAll(context.Background(), k)
				f.under.Delete(context.Background(), k)
			}
		}
		return key, data
	}
	f.set(func(_ context.Context, op, key string) error {
		if op == "written" && strings.Contains(key, "/c-") {
			remove("/r-")
		}
		return nil
	}, nil)
	put(t, s, markedKey, marked)
	if left := keys(t, f.under, "things/"); len(left) != 0 || has(t, s, markedKey, marked) {
		t.Errorf("a composite whose reference was removed while it was written is there: %v", left)
	}

	f.set(nil, nil)
	put(t, s, markedKey, marked)
	object, data := remove("/c-")
	came := false
	f.set(func(_ context.Context, op, key string) error {
		if op == "delete" && strings.Contains(key, "/r-") && !came {
			came = true
			return f.under.WriteAll(context.Background(), object, data, nil)
		}
		return nil
	}, nil)
	if r, err := s.Remove(t.Context(), logo.Source, logo.Image); err != nil || r.Composites != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if left := keys(t, f.under, "things/"); !came || len(left) != 0 {
		t.Errorf("a composite that came while its input was removed is there: %v", left)
	}
}

// A bucket may take a write whose writer has given up.
func TestAWriteThatIsTakenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFaulty()
		s := open(t, b, nil)
		var gone atomic.Bool
		var object string
		f.set(func(_ context.Context, op, key string) error {
			if op == "write" && strings.Contains(key, "/d-") {
				gone.Store(true)
				object = key
				return errFault
			}
			return nil
		}, nil)
		if err := s.Put(t.Context(), catKey, cat, func() bool { return !gone.Load() }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f.under.WriteAll(t.Context(), object, []byte("late"), nil)
		time.Sleep(3 * time.Minute)
		if left := keys(t, f.under, "things/"); len(left) != 0 {
			t.Errorf("there is %v", left)
		}
		s.Close()
	})
}

// Where the generations are gone, by a rule or by hand, everything counts as purged.
func TestGenerationsThatAreGone(t *testing.T) {
	f, b := newFaulty()
	s := open(t, b, nil)
	put(t, s, catKey, cat)
	for _, k := range keys(t, f.under, "generations/") {
		if err := f.under.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	next := open(t, b, nil)
	if has(t, next, catKey, cat) {
		t.Error("it is found")
	}
	put(t, next, catKey, cat)
	if !has(t, next, catKey, cat) {
		t.Error("nothing is kept")
	}
}

func TestWhatWaitsIsWrittenByClose(t *testing.T) {
	_, b := newFaulty()
	s := open(t, b, nil)
	for i := range 100 {
		s.Put(t.Context(), key("s", fmt.Sprint("/", i), cache.Derivative, "x"), cat, nil)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats(); n.Written != 100 {
		t.Errorf("got %+v", n)
	}
	again := open(t, b, nil)
	for i := range 100 {
		if !has(t, again, key("s", fmt.Sprint("/", i), cache.Derivative, "x"), cat) {
			t.Fatalf("/%d is not there", i)
		}
	}
}

func TestListAndCount(t *testing.T) {
	f, b := newFaulty()
	s := open(t, b, nil)
	long := "/" + strings.Repeat("long", 100)
	want := []string{"marks /logo", "s /cat", "s /dog", "s " + long, "t /caf\xe9"}
	put(t, s, catKey, cat)
	put(t, s, markedKey, marked)
	put(t, s, dogKey, dog)
	put(t, s, key("s", long, cache.Original, "x"), cat)
	put(t, s, key("t", "/caf\xe9", cache.Original, "x"), cat)
	list := func(source string) (all []string) {
		err := s.List(t.Context(), source, func(source, image string, names []cache.ListedName) error {
			if len(names) != 0 {
				t.Error("it has names")
			}
			all = append(all, source+" "+image)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(all)
		return all
	}
	if got := list(""); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := list("t"); !slices.Equal(got, want[4:]) {
		t.Errorf("of t: got %q, want %q", got, want[4:])
	}
	stop := errors.New("stop")
	if err := s.List(t.Context(), "", func(string, string, []cache.ListedName) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}

	count := func(want int) {
		t.Helper()
		if n, err := s.Count(t.Context(), "s", "/cat"); n != want || err != nil {
			t.Errorf("got %d, %v, want %d", n, err, want)
		}
	}
	f.counts()
	count(2)
	count(2)
	put(t, s, key("s", "/cat", cache.Derivative, "another"), cat)
	count(3)
	if n := f.counts(); n["list"] != 1 {
		t.Errorf("three counts took %v", n)
	}
	s.Remove(t.Context(), "s", "/cat")
	count(0)
	f.set(func(context.Context, string, string) error { return errFault }, nil)
	if n, err := s.Count(t.Context(), "s", "/dog"); n != 0 || err != nil {
		t.Errorf("of a bucket that fails: %d, %v", n, err)
	}
}

// What only the bucket has comes into the faster tiers with the first request, and is there for the next node's life.
func TestWhatTheBucketHasIsPromoted(t *testing.T) {
	f, b := newFaulty()
	put(t, open(t, b, nil), catKey, cat)
	dir := t.TempDir()
	disk, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	memory := cache.NewMemory(0)
	tiers := cache.Tiered(cache.Tiered(memory, disk), open(t, b, nil))
	found, err := tiers.(cache.Finder).Find(t.Context(), catKey)
	if err != nil || string(found.Thing.Body) != "the cat" {
		t.Fatal(found, err)
	}
	if !has(t, memory, catKey, cat) {
		t.Error("it is not in memory")
	}
	f.counts()
	if !has(t, tiers, catKey, cat) || f.counts()["read"] != 0 {
		t.Error("the bucket was asked again")
	}
	// A large file is sent from the disk, also where that is below a bucket.
	large := thing(strings.Repeat("x", 2<<20))
	if err := disk.Put(t.Context(), dogKey, large, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := tiers.(cache.Finder).Find(t.Context(), dogKey); err != nil || found.File == nil || found.Tier != cache.OnDisk {
		t.Errorf("got %+v, %v", found, err)
	} else {
		found.File.Close()
	}
	if err := tiers.Close(); err != nil {
		t.Fatal(err)
	}
	if disk, err = cache.OpenDisk(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if !has(t, disk, catKey, cat) {
		t.Error("it is not on the disk")
	}
}

// Who uses this package pays for no driver.
func TestNoDriverIsImported(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("the go command is not there to list imports: ", err)
	}
	for _, never := range []string{"github.com/aws/", "github.com/Azure/", "cloud.google.com/go/storage", "gocloud.dev/blob/s3blob", "gocloud.dev/blob/memblob"} {
		if strings.Contains(string(out), never) {
			t.Errorf("it depends on %s", never)
		}
	}
}
