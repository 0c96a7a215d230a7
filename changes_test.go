package imagecdn_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/purge"
)

// What a request finds changed at the origin is in the log, once; what a purge finds is that purge's own.
func TestChangesAreInTheLog(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := newOrigin()
			log := new(purge.MemoryLog)
			opts := &imagecdn.Options{IgnoreChanges: ignore, Purge: &purge.ServiceOptions{Log: log}}
			h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, opts)
			if err != nil {
				t.Fatal(err)
			}
			etag := func(n int) http.Header {
				return http.Header{"Cache-Control": {"max-age=1"}, "Etag": {fmt.Sprintf(`"%d"`, n)}}
			}
			ask := func(a answer) {
				o.set("/a b.png", a)
				time.Sleep(2 * time.Second)
				get(h, "/photos/a%20b.png?w=20")
				synctest.Wait()
			}
			ask(answer{header: etag(1), body: paint(t, red, 40, 40)})   // new
			ask(answer{header: etag(1), body: paint(t, red, 40, 40)})   // 304
			ask(answer{header: etag(2), body: paint(t, red, 40, 40)})   // the same bytes
			ask(answer{header: etag(3), body: paint(t, green, 40, 40)}) // changed
			ask(answer{status: http.StatusInternalServerError})         // failed: what it is stays known
			time.Sleep(time.Minute)
			ask(answer{status: http.StatusNotFound}) // gone
			time.Sleep(10 * time.Minute)
			ask(answer{header: etag(5), body: paint(t, blue, 40, 40)}) // back

			o.set("/a b.png", answer{header: etag(6), body: paint(t, green, 40, 40)})
			purged(t, h, purge.Options{Mode: purge.Revalidate}, "/photos/a%20b.png") // a purge finds the change
			synctest.Wait()
			h.Close()

			s, err := purge.Open(t.Context(), nil, &purge.ServiceOptions{Log: log}) // as after a restart
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			records, _, err := s.List("", 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range slices.Backward(records) {
				got = append(got, fmt.Sprint(r.Cause, " ", r.Mode, " ", r.State, " ", r.Paths[0].Outcome, " ", r.Paths[0].Path))
			}
			want := []string{
				"origin followed done changed /photos/a b.png",
				"origin followed done gone /photos/a b.png",
				"code revalidate done changed /photos/a b.png",
			}
			if ignore {
				want = want[2:]
			}
			if !slices.Equal(got, want) {
				t.Errorf("the log has\n%q, want\n%q", got, want)
			}
		})
	}
}
