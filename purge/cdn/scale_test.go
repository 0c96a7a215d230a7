package cdn_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/akamai"
	"github.com/imagecdn/imagecdn/purge/cdn/bunny"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudflare"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudfront"
	"github.com/imagecdn/imagecdn/purge/cdn/fastly"
	"github.com/imagecdn/imagecdn/purge/cdn/keycdn"
)

// nothing is a target that has nothing.
type nothing struct{}

func (nothing) Accept(context.Context, purge.Request) error { return nil }
func (nothing) PurgePath(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}
func (nothing) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// far is a handler as far away as an API: each request takes 80 ms.
type far struct{ http.Handler }

func (f far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(40 * time.Millisecond)
	f.Handler.ServeHTTP(w, r)
	time.Sleep(40 * time.Millisecond)
}

// standIn is what the stand-ins have in common.
type standIn interface {
	http.Handler
	Calls() []cdntest.Call
	Faults() []string
	Purged(kind string) []string
}

// One job of 10,000 images for six CDNs, by a clock that leaps: no limit of any is broken, nothing is refused, each image is purged once everywhere, and
// no rate is left unused for long. With -v it prints the table of docs/cdns.md.
func TestTenThousandPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cf := &cdntest.Cloudflare{Zone: "023e105f4ecef8ad9ca31a8372d0c353", Token: "token", Plan: "free"}
		fa := &cdntest.Fastly{Service: "SU1Z0isxPaozGVKXdv0eY", Token: "token"}
		aws := &cdntest.CloudFront{Distribution: "E1A2B3C4D5E6F7", Tags: true, Takes: time.Minute,
			Keys: map[string]cdntest.CloudFrontKey{"AKIDEXAMPLE": {Secret: "secret"}}}
		ak := &cdntest.Akamai{Host: "akab-x.luna.akamaiapis.net", ClientToken: "ct", ClientSecret: "cs", AccessToken: "at"}
		bu := &cdntest.Bunny{Zone: "1234", Key: "key"}
		ke := &cdntest.KeyCDN{Zone: "5678", Key: "key"}
		must := func(c cdn.CDN, err error) cdn.CDN {
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		standIns := []struct {
			name   string
			server standIn
			cdn    cdn.CDN
			atMost time.Duration
		}{
			{"Cloudflare, Free", cf, must(cloudflare.New(cf.Zone, cf.Token, &cloudflare.Options{Client: cdntest.Client(far{cf})})), 20 * time.Minute},
			{"Fastly", fa, must(fastly.New(fa.Service, fa.Token, &fastly.Options{Client: cdntest.Client(far{fa})})), time.Hour},
			{"CloudFront", aws, must(cloudfront.New(aws.Distribution, cloudfront.Static(cloudfront.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}),
				&cloudfront.Options{TagHeader: "X-Tags", Client: cdntest.Client(far{aws})})), 20 * time.Minute},
			{"Akamai", ak, must(akamai.New(akamai.Credentials{Host: ak.Host, ClientToken: "ct", ClientSecret: "cs", AccessToken: "at"},
				&akamai.Options{Client: cdntest.Client(far{ak})})), 20 * time.Minute},
			{"Bunny", bu, must(bunny.New(bu.Zone, bu.Key, &bunny.Options{Client: cdntest.Client(far{bu})})), 7 * time.Hour},
			{"KeyCDN", ke, must(keycdn.New(ke.Zone, ke.Key, &keycdn.Options{Client: cdntest.Client(far{ke})})), 2 * time.Hour},
		}
		var ring cdn.Ring
		for _, s := range standIns {
			ring = append(ring, cdn.Edge{Name: s.name, CDN: s.cdn})
		}
		edges, err := cdn.New([]cdn.Ring{ring}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(map[string]time.Duration)
		began := time.Now()
		watched := watch{edges, func(r purge.CDNResult) {
			if r.State.Final() {
				ended[r.Name] = time.Since(began)
			}
		}}
		s := purge.NewService(nothing{}, &purge.ServiceOptions{CDNs: watched, MaxPaths: 10_000, MaxBytes: 1 << 30})
		defer s.Close()
		var r purge.Request
		for i := range 10_000 {
			r.Paths = append(r.Paths, fmt.Sprintf("/photos/%d/%d.jpg", i%100, i))
		}
		job, err := s.Submit(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := job.Wait(t.Context())
		if err != nil || rec.State != purge.Done {
			t.Fatalf("%s, %v, %v", rec.State, rec.Err(), err)
		}
		t.Log("| CDN | calls | of them to ask | images a call | minutes |")
		for i, s := range standIns {
			if faults := s.server.Faults(); len(faults) > 0 {
				t.Errorf("%s: %d faults, the first: %s", s.name, len(faults), faults[0])
			}
			asks, calls := 0, s.server.Calls()
			for _, c := range calls {
				if c.Status/100 != 2 {
					t.Errorf("%s: %s %s was answered %d", s.name, c.Method, c.Path, c.Status)
				}
				if c.Kind == "" {
					asks++
				}
			}
			purged := s.server.Purged("tag")
			once := make(map[string]bool)
			for _, v := range purged {
				once[v] = true
			}
			if len(purged) != 10_000 || len(once) != 10_000 {
				t.Errorf("%s: purged %d tags, %d of them distinct", s.name, len(purged), len(once))
			}
			for _, p := range r.Paths {
				if tag := edges.Namer().Image("photos", p[len("/photos"):]); !once[tag] {
					t.Fatalf("%s: %s is not purged", s.name, p)
				}
			}
			if took := ended[s.name]; took > s.atMost {
				t.Errorf("%s took %v", s.name, took)
			}
			c := rec.CDNs[i]
			if c.State != purge.Done || c.Purged != 10_000 || c.Outcome == "" || s.name == "CloudFront" && c.Outcome != purge.Confirmed {
				t.Errorf("%s: %+v", s.name, c)
			}
			t.Logf("| %s | %d | %d | %.0f | %.1f |", s.name, len(calls), asks, 10_000/float64(len(calls)-asks), ended[s.name].Minutes())
		}
	})
}

// watch are CDNs whose reports somebody sees.
type watch struct {
	*cdn.Edges
	see func(purge.CDNResult)
}

func (w watch) Flush(ctx context.Context, f purge.Flush, report func(purge.CDNResult)) {
	w.Edges.Flush(ctx, f, func(r purge.CDNResult) {
		w.see(r)
		report(r)
	})
}

// A CDN is down for an hour: the job ends with the reason, what is here is purged long before, and Retry finishes it.
func TestACDNThatIsDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cf := &cdntest.Cloudflare{Zone: "023e105f4ecef8ad9ca31a8372d0c353", Token: "token", Plan: "pro"}
		fa := &cdntest.Fastly{Service: "SU1Z0isxPaozGVKXdv0eY", Token: "token"}
		up, err := fastly.New(fa.Service, fa.Token, &fastly.Options{Client: cdntest.Client(far{fa})})
		if err != nil {
			t.Fatal(err)
		}
		down, err := cloudflare.New(cf.Zone, cf.Token, &cloudflare.Options{Plan: cloudflare.Pro, Client: cdntest.Client(far{cf})})
		if err != nil {
			t.Fatal(err)
		}
		edges, err := cdn.New([]cdn.Ring{{{Name: "up", CDN: up}, {Name: "down", CDN: down}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := purge.NewService(nothing{}, &purge.ServiceOptions{CDNs: edges})
		defer s.Close()
		cf.Fail(1_000_000, http.StatusBadGateway, nil, "<html>")
		time.AfterFunc(time.Hour, cf.Heal)
		began := time.Now()
		job, err := s.Submit(t.Context(), purge.Request{Paths: []string{"/photos/cat.jpg", "/photos/dog.jpg"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := job.Record(); r.State != purge.FlushingCDN || r.Paths[1].State != purge.Done {
			t.Errorf("at once: %+v", r)
		}
		time.Sleep(time.Minute)
		if r := job.Record(); r.CDNs[0].State != purge.Done || r.CDNs[1].Reason == "" {
			t.Errorf("after a minute: %+v", r)
		}
		rec, err := job.Wait(t.Context())
		if err != nil || rec.State != purge.ErrorCDNNode || rec.CDNs[1].State != purge.Error || len(rec.CDNs[1].Failed[0].Paths) != 2 {
			t.Errorf("%+v, %v", rec, err)
		}
		calls := len(cf.Calls())
		t.Logf("given up after %v and %d calls: %v", time.Since(began).Round(time.Second), calls, rec.Err())
		if calls > 40 {
			t.Errorf("%d calls to a CDN that is down", calls)
		}
		if _, err := s.Retry(t.Context(), job.ID()); err != nil { // too early
			t.Fatal(err)
		}
		if rec, _ := job.Wait(t.Context()); rec.State != purge.ErrorCDNNode {
			t.Errorf("too early: %s", rec.State)
		}
		time.Sleep(time.Until(began.Add(time.Hour + time.Minute)))
		if _, err := s.Retry(t.Context(), job.ID()); err != nil {
			t.Fatal(err)
		}
		if rec, err = job.Wait(t.Context()); err != nil || rec.State != purge.Done || rec.Attempt != 3 || rec.CDNs[1].Outcome != purge.Accepted {
			t.Errorf("%+v, %v", rec, err)
		}
		if got := fa.Purged("tag"); len(got) != 2 {
			t.Errorf("the CDN that was up was told %v", got)
		}
	})
}
