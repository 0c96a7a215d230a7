package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The load test in small, in one process, and without its clock: hits never fail, renders are answered 200 or 429, slow
// origins keep nobody from being served, and after Close nothing runs any more.
func TestOverload(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	if testing.Short() {
		t.Skip("takes seconds of both processors")
	}
	photo, err := photograph()
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(newOrigin(photo))
	defer web.Close()
	h, err := newHandler(settings{memory: 64 << 20, budget: 64 << 20, queue: 8, renders: 1}, web.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	if err := warmUp(t.Context(), server.URL); err != nil {
		t.Fatal(err)
	}

	patient, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan *tally, 3)
	go func() { ended <- askSlowOrigins(patient, server.URL, 16, time.Hour) }()
	const d = 2 * time.Second
	go func() { ended <- askForHits(t.Context(), server.URL, 50, d) }()
	cold := askForRenders(t.Context(), server.URL, 150, d)
	hits := <-ended
	leave()
	<-ended
	if n := hits.asked(); n == 0 || hits.Statuses["200"] != n {
		t.Errorf("hits: %s", hits.statuses())
	}
	if n := cold.asked(); cold.Statuses["200"] == 0 || cold.Statuses["429"] == 0 || cold.Statuses["200"]+cold.Statuses["429"] != n {
		t.Errorf("renders: %s", cold.statuses())
	}
	if status, err := ask(t.Context(), http.DefaultClient, coldURL(server.URL), "late"); status != http.StatusOK {
		t.Errorf("a render once it is over: %d %v", status, err)
	}
	http.DefaultClient.CloseIdleConnections()
	server.Close()
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
