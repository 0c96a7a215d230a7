package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func fromAddress(remote string, forwarded ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/cat.jpg", nil)
	r.RemoteAddr = remote
	for _, f := range forwarded {
		r.Header.Add("X-Forwarded-For", f)
	}
	return r
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Rate{PerSecond: 0.5, Burst: 3}
		a, again, b := fromAddress("192.0.2.1:1"), fromAddress("192.0.2.1:2"), fromAddress("192.0.2.2:1")
		for i := range 3 {
			if err := l.Check(a); err != nil {
				t.Fatalf("%d of a burst of 3: %v", i, err)
			}
		}
		err := l.Check(again)
		fast, _ := errors.AsType[*TooFast](err)
		if !errors.Is(err, ErrRate) || fast == nil || fast.RetryAfter() != 2*time.Second || err.Error() != "too many requests: try again in 2 s" {
			t.Errorf("got %v", err)
		}
		if err := l.Check(b); err != nil {
			t.Errorf("another client: %v", err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := l.Check(a); err.(*TooFast).RetryAfter() != 1500*time.Millisecond {
			t.Errorf("what is refused is counted: %v", err)
		}
		time.Sleep(1500 * time.Millisecond)
		if l.Check(a) != nil || l.Check(a) == nil {
			t.Error("want one more after two seconds")
		}
		time.Sleep(time.Hour)
		for range 3 {
			if err := l.Check(a); err != nil {
				t.Error(err)
			}
		}
		if l.Check(a) == nil {
			t.Error("more than the burst has gathered")
		}
	})
}

func TestRateDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			l    *Rate
			want int // requests in ten seconds
		}{{&Rate{}, 200}, {&Rate{PerSecond: -1}, 100}, {&Rate{PerSecond: -1, Burst: 7}, 7}, {&Rate{PerSecond: 1, Burst: 1}, 10}} {
			r, got := fromAddress("192.0.2.1:1"), 0
			for range 10_000 {
				if test.l.Check(r) == nil {
					got++
				}
				time.Sleep(time.Millisecond)
			}
			if got < test.want-1 || got > test.want+1 {
				t.Errorf("%v: %d requests, want %d", test.l.PerSecond, got, test.want)
			}
		}
	})
}

func TestRateForgetsWhoWasSeenLongestAgo(t *testing.T) {
	l := &Rate{PerSecond: -1, Burst: 1, MaxClients: 3, Client: func(r *http.Request) string { return r.Header.Get("User") }}
	for i, step := range []struct {
		user string
		ok   bool
	}{
		{"a", true}, {"b", true}, {"c", true}, {"a", false},
		{"d", true}, // b is forgotten
		{"a", false}, {"c", false}, {"b", true}, {strings.Repeat("long", 1000), true}, {strings.Repeat("long", 1000), false},
	} {
		r := fromAddress("192.0.2.1:1")
		r.Header.Set("User", step.user)
		if err := l.Check(r); (err == nil) != step.ok {
			t.Errorf("%d: %.9s: %v", i, step.user, err)
		}
		if len(l.clients) > 3 || len(l.clients) != l.recent.Len() {
			t.Fatalf("%d clients, %d in order", len(l.clients), l.recent.Len())
		}
	}
	for name := range l.clients {
		if len(name) > 64 {
			t.Errorf("a name of %d bytes is kept", len(name))
		}
	}
}

func TestRateHandler(t *testing.T) {
	h := (&Rate{PerSecond: 0.01, Burst: 1}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	for _, want := range []int{200, 429} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, fromAddress("192.0.2.1:1"))
		if w.Code != want {
			t.Errorf("got %d, want %d", w.Code, want)
		}
		if want == 429 && (w.Header().Get("Retry-After") != "100" || w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Body.String(), "too many requests")) {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
}

func TestForwarded(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		name      string
		remote    string
		forwarded []string
		want      string
	}{
		{"nobody in between", "192.0.2.1:9", nil, "192.0.2.1"},
		{"a stranger's word is not taken", "192.0.2.1:9", []string{"198.51.100.1"}, "192.0.2.1"},
		{"a proxy", "10.0.0.1:9", []string{"192.0.2.1"}, "192.0.2.1"},
		{"with a port", "10.0.0.1:9", []string{"192.0.2.1:80"}, "192.0.2.1"},
		{"two proxies", "10.0.0.1:9", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{"two fields", "10.0.0.1:9", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1"},
		{"what the client made up", "10.0.0.1:9", []string{"203.0.113.1, 192.0.2.1"}, "192.0.2.1"},
		{"what the client made up, as a proxy", "10.0.0.1:9", []string{"10.0.0.9, 192.0.2.1"}, "192.0.2.1"},
		{"no address", "10.0.0.1:9", []string{"unknown"}, "10.0.0.1"},
		{"an empty field", "10.0.0.1:9", []string{""}, "10.0.0.1"},
		{"proxies alone", "10.0.0.1:9", []string{"10.0.0.2"}, "10.0.0.2"},
		{"a proxy that says nothing", "10.0.0.1:9", nil, "10.0.0.1"},
		{"IPv6", "[fd00::1]:9", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"IPv6 with a port", "[fd00::1]:9", []string{"[2001:db8:1:2:3::4]:80"}, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:9", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"a Unix socket", "@", []string{"192.0.2.1"}, ""},
	} {
		f := &Forwarded{Trusted: trusted}
		if got := f.Client(fromAddress(test.remote, test.forwarded...)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if got := new(Forwarded).Client(fromAddress("10.0.0.1:9", "192.0.2.1")); got != "10.0.0.1" {
		t.Errorf("the zero value trusts: %q", got)
	}
}

func BenchmarkRate(b *testing.B) {
	l := new(Rate)
	requests := make([]*http.Request, 1000)
	for i := range requests {
		requests[i] = fromAddress(fmt.Sprintf("192.0.2.%d:%d", i%256, i))
	}
	for i := 0; b.Loop(); i++ {
		_ = l.Check(requests[i%1000])
	}
}
