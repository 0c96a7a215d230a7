package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/webhook"
)

// A sender signs events, and a receiver believes those alone.
func Example() {
	key := []byte("a key of both, of random bytes")
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			err = webhook.Verify(key, r.Header, body, time.Now(), 5*time.Minute)
		}
		var e purge.Event
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil {
			http.Error(w, "not believed", http.StatusForbidden)
			return
		}
		fmt.Println(e.State)
	}))
	defer receiver.Close()

	hook, err := webhook.New(receiver.URL, key, nil)
	if err != nil {
		log.Fatal(err)
	}
	// This is what the service does that has hook.Send as its ServiceOptions.OnStatus.
	for i, state := range []purge.State{purge.Received, purge.Done} {
		hook.Send(purge.Event{ID: "0198c1d2", Seq: i + 1, State: state})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(hook.Close(ctx))
	// Output:
	// received
	// done
	// <nil>
}
