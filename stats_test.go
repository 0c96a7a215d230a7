package imagecdn

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn/cache"
)

// What is a hit on disk is at no time told as one in memory, as that could not be taken back.
func TestHitsOnDiskAreNotInMemory(t *testing.T) {
	h, err := New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p := &picture{tier: cache.OnDisk, inputs: []input{{now: &cache.Result{How: cache.Hit}}}}
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for range 1_000_000 {
				h.stats.sent(p, 1)
			}
		})
	}
	done := make(chan struct{})
	go func() { busy.Wait(); close(done) }()
	for more := true; more; {
		select {
		case <-done:
			more = false
		default:
		}
		for range 1000 { // as Stats does, and nothing else, as it is only now and then that it comes in between
			all := h.stats.answers[outcomeHit].requests.Load()
			h.stats.memoryHits(all - h.stats.more.diskHits.Load())
		}
	}
	if s := h.Stats(); s.MemoryHits != 0 || s.DiskHits != 4_000_000 || s.Requests[outcomeHit].Requests != 4_000_000 {
		t.Errorf("%d in memory, %d on disk, %d in all", s.MemoryHits, s.DiskHits, s.Requests[outcomeHit].Requests)
	}
}

// Bytes are those of bodies that are sent: a HEAD has none.
func TestRefusedHeadsSendNothing(t *testing.T) {
	h, err := New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	bytes := 0
	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodHead} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/nowhere/cat.jpg", nil))
		if w.Code != http.StatusForbidden {
			t.Fatal(w.Code)
		}
		bytes += w.Body.Len()
	}
	if r := h.Stats().Requests[outcomeRefused]; bytes == 0 || r.Requests != 3 || r.Bytes != int64(bytes) {
		t.Errorf("%+v, where %d bytes were sent", r, bytes)
	}
}
