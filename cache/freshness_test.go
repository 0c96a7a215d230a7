package cache

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// header makes a header of lines, as they would be sent.
func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func TestFreshness(t *testing.T) {
	const (
		s     = time.Second
		m     = time.Minute
		day   = 24 * time.Hour
		never = 0
	)
	var (
		arrived = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
		none    = Freshness{Lifetime: year, StaleIfError: day}
		lives   = func(d time.Duration) Freshness { return Freshness{Lifetime: d, StaleIfError: day} }
		strict  = func(d time.Duration) Freshness { return Freshness{Lifetime: d} }
	)
	tests := []struct {
		rule  string
		lines []string
		want  Freshness
	}{
		{"silence is a year", nil, none},
		{"an empty field is silence", []string{"Cache-Control: "}, none},
		{"commas alone are silence", []string{"Cache-Control: ,, ,"}, none},
		{"directives without a lifetime are silence", []string{"Cache-Control: public, no-transform, immutable"}, none},
		{"unknown directives are ignored", []string{"Cache-Control: foo, max-age=60, bar=baz"}, lives(60 * s)},
		{"max-age", []string{"Cache-Control: max-age=60"}, lives(60 * s)},
		{"max-age of zero", []string{"Cache-Control: max-age=0"}, lives(never)},
		{"case does not matter", []string{"Cache-Control: MAX-AGE=60"}, lives(60 * s)},
		{"a semicolon for a comma", []string{"Cache-Control: public; max-age=60"}, lives(60 * s)},
		{"of several the first counts", []string{"Cache-Control: max-age=60", "Cache-Control: max-age=0"}, lives(60 * s)},
		{"a quoted number", []string{`Cache-Control: max-age="60"`}, lives(60 * s)},
		{"white space between directives", []string{"Cache-Control:  public ,\tmax-age=60 "}, lives(60 * s)},
		{"several lines are one field", []string{"Cache-Control: public", "Cache-Control: max-age=60"}, lives(60 * s)},
		{"a lifetime that overflows is the longest", []string{"Cache-Control: max-age=99999999999999999999"}, lives(math.MaxInt32 * s)},
		{"a lifetime of 2^31 seconds is the longest", []string{"Cache-Control: max-age=2147483648"}, lives(math.MaxInt32 * s)},
		{"a negative lifetime is stale", []string{"Cache-Control: max-age=-1"}, lives(never)},
		{"a fraction is stale", []string{"Cache-Control: max-age=1.5"}, lives(never)},
		{"a word is stale", []string{"Cache-Control: max-age=week"}, lives(never)},
		{"max-age without a value is stale", []string{"Cache-Control: max-age"}, lives(never)},
		{"max-age= without a value is stale", []string{"Cache-Control: max-age="}, lives(never)},
		{"an open quote is stale", []string{`Cache-Control: max-age="60`}, lives(never)},

		{"s-maxage goes before max-age", []string{"Cache-Control: max-age=1, s-maxage=60"}, strict(60 * s)},
		{"s-maxage of zero goes before max-age", []string{"Cache-Control: s-maxage=0, max-age=60"}, strict(never)},
		{"s-maxage implies proxy-revalidate", []string{"Cache-Control: s-maxage=60"}, strict(60 * s)},
		{"s-maxage with leave to be stale", []string{"Cache-Control: s-maxage=60, stale-if-error=5"}, Freshness{Lifetime: 60 * s, StaleIfError: 5 * s}},
		{"s-maxage may be stale while it is revalidated", []string{"Cache-Control: s-maxage=60, stale-while-revalidate=5"}, Freshness{Lifetime: 60 * s, StaleWhileRevalidate: 5 * s}},

		{"no-cache must be asked about", []string{"Cache-Control: no-cache, max-age=60"}, strict(never)},
		{"no-cache of a field is about that field", []string{`Cache-Control: no-cache="Set-Cookie", max-age=60`}, strict(60 * s)},
		{"must-revalidate is never stale", []string{"Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=9, stale-if-error=9"}, strict(60 * s)},
		{"proxy-revalidate is never stale", []string{"Cache-Control: max-age=60, proxy-revalidate, stale-if-error=9"}, strict(60 * s)},
		{"stale-while-revalidate", []string{"Cache-Control: max-age=60, stale-while-revalidate=30"}, Freshness{Lifetime: 60 * s, StaleWhileRevalidate: 30 * s, StaleIfError: day}},
		{"stale-if-error", []string{"Cache-Control: max-age=60, stale-if-error=30"}, Freshness{Lifetime: 60 * s, StaleIfError: 30 * s}},
		{"stale-if-error of zero", []string{"Cache-Control: max-age=60, stale-if-error=0"}, strict(60 * s)},

		{"no-store", []string{"Cache-Control: no-store"}, Freshness{NoStore: true, Lifetime: year, StaleIfError: day}},
		{"private", []string{"Cache-Control: private"}, Freshness{NoStore: true, Lifetime: year, StaleIfError: day}},
		{"private with fields", []string{`Cache-Control: private="Set-Cookie", max-age=60`}, Freshness{NoStore: true, Lifetime: 60 * s, StaleIfError: day}},
		{"no-store among garbage", []string{`Cache-Control: max-age=x, NO-STORE`}, Freshness{NoStore: true, StaleIfError: day}},
		{"no-store with a value", []string{`Cache-Control: no-store=1`}, Freshness{NoStore: true, StaleIfError: day}},
		{"no-store behind an unquoted list", []string{`Cache-Control: no-cache=Set-Cookie,no-store`}, Freshness{NoStore: true, Lifetime: year}},
		{"a longer word is no no-store", []string{"Cache-Control: no-storex, max-age=60"}, lives(60 * s)},

		{"CDN-Cache-Control goes first", []string{"CDN-Cache-Control: max-age=60", "Cache-Control: no-store"}, lives(60 * s)},
		{"CDN-Cache-Control forbids", []string{"CDN-Cache-Control: no-store", "Cache-Control: max-age=60"}, Freshness{NoStore: true, Lifetime: year, StaleIfError: day}},
		{"CDN-Cache-Control private", []string{"CDN-Cache-Control: private", "Cache-Control: max-age=60"}, Freshness{NoStore: true, Lifetime: year, StaleIfError: day}},
		{"CDN-Cache-Control no-cache", []string{"CDN-Cache-Control: no-cache", "Cache-Control: max-age=60"}, strict(never)},
		{"CDN-Cache-Control puts Expires aside", []string{"CDN-Cache-Control: public", "Expires: 0"}, none},
		{"an empty CDN-Cache-Control is absent", []string{"CDN-Cache-Control: ", "Cache-Control: max-age=60"}, lives(60 * s)},
		{"a CDN-Cache-Control that cannot be read is absent", []string{"CDN-Cache-Control: max-age=x", "Cache-Control: max-age=60"}, lives(60 * s)},
		{"one that may forbid is obeyed all the same", []string{"CDN-Cache-Control: no-store=x", "Cache-Control: max-age=60"}, Freshness{NoStore: true, Lifetime: year, StaleIfError: day}},

		{"Expires in RFC 1123", []string{"Expires: Wed, 06 May 2026 12:01:00 GMT"}, lives(m)},
		{"Expires in RFC 850", []string{"Expires: Wednesday, 06-May-26 12:01:00 GMT"}, lives(m)},
		{"Expires in asctime", []string{"Expires: Wed May  6 12:01:00 2026"}, lives(m)},
		{"Expires counts from Date", []string{"Date: Wed, 06 May 2026 12:00:00 GMT", "Expires: Wed, 06 May 2026 12:02:00 GMT"}, lives(2 * m)},
		{"Expires in the past", []string{"Expires: Wed, 06 May 2026 11:00:00 GMT"}, lives(never)},
		{"Expires of 0", []string{"Expires: 0"}, lives(never)},
		{"Expires of -1", []string{"Expires: -1"}, lives(never)},
		{"an empty Expires", []string{"Expires: "}, lives(never)},
		{"Expires that cannot be read", []string{"Expires: in a week"}, lives(never)},
		{"Expires in another zone", []string{"Expires: Wed, 06 May 2026 12:01:00 CET"}, lives(never)},
		{"Expires far away", []string{"Expires: Wed, 06 May 9026 12:01:00 GMT"}, lives(forever)},
		{"max-age goes before Expires", []string{"Expires: 0", "Cache-Control: max-age=60"}, lives(60 * s)},
		{"Expires stands beside other directives", []string{"Expires: Wed, 06 May 2026 12:01:00 GMT", "Cache-Control: public"}, lives(m)},
		{"Expires with a Date that cannot be read", []string{"Date: today", "Expires: Wed, 06 May 2026 12:01:00 GMT"}, lives(m)},

		{"Age", []string{"Age: 30", "Cache-Control: max-age=60"}, Freshness{InitialAge: 31 * s, Lifetime: 60 * s, StaleIfError: day}},
		{"Age of several values is any age", []string{"Age: 30, 0", "Cache-Control: max-age=60"}, Freshness{InitialAge: forever, Lifetime: 60 * s, StaleIfError: day}},
		{"so is one in several lines", []string{"Age: 0", "Age: 0", "Cache-Control: max-age=60"}, Freshness{InitialAge: forever, Lifetime: 60 * s, StaleIfError: day}},
		{"a negative Age is any age", []string{"Age: -30", "Cache-Control: max-age=60"}, Freshness{InitialAge: forever, Lifetime: 60 * s, StaleIfError: day}},
		{"Age that cannot be read is any age", []string{"Age: old", "Cache-Control: max-age=60"}, Freshness{InitialAge: forever, Lifetime: 60 * s, StaleIfError: day}},
		{"Age that overflows is the highest", []string{"Age: 99999999999999999999", "Cache-Control: max-age=60"}, Freshness{InitialAge: forever, Lifetime: 60 * s, StaleIfError: day}},
		{"apparent age", []string{"Date: Wed, 06 May 2026 11:59:50 GMT", "Cache-Control: max-age=60"}, Freshness{InitialAge: 10 * s, Lifetime: 60 * s, StaleIfError: day}},
		{"a Date in the future is no age", []string{"Date: Wed, 06 May 2026 13:00:00 GMT", "Cache-Control: max-age=60"}, lives(60 * s)},
		{"the larger of Age and apparent age", []string{"Age: 5", "Date: Wed, 06 May 2026 11:59:50 GMT", "Cache-Control: max-age=60"}, Freshness{InitialAge: 10 * s, Lifetime: 60 * s, StaleIfError: day}},

		{"Vary: * is never known to match", []string{"Vary: *", "Cache-Control: max-age=60, stale-while-revalidate=9"}, strict(never)},
		{"nor is * among others", []string{"Vary: Accept , *", "Cache-Control: max-age=60"}, strict(never)},
		{"nor in a second field", []string{"Vary: Accept", "Vary: *", "Cache-Control: max-age=60"}, strict(never)},
		{"Vary otherwise does not matter", []string{"Vary: Accept", "Cache-Control: max-age=60"}, lives(60 * s)},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			// The answer took a second to come, which counts where there is an Age.
			if got := freshnessOf(200, header(test.lines...), arrived.Add(-s), arrived, defaulted(Lifetime{}), []string{"CDN-Cache-Control"}); got != test.want {
				t.Errorf("%q\n got %+v\nwant %+v", test.lines, got, test.want)
			}
		})
	}
}

func TestLifetimePolicies(t *testing.T) {
	const s = time.Second
	arrived := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		rule   string
		policy Lifetime
		status int
		lines  []string
		want   time.Duration // left, at arrival
		stored bool
	}{
		{"Respect: as the origin says", Lifetime{}, 200, []string{"Cache-Control: max-age=60"}, 60 * s, true},
		{"Default: where the origin says nothing", Lifetime{Default: 5 * s}, 200, nil, 5 * s, true},
		{"Default: not where it says something", Lifetime{Default: 5 * s}, 200, []string{"Cache-Control: max-age=60"}, 60 * s, true},
		{"Minimum raises what is shorter", Lifetime{Policy: Minimum, Value: 100 * s}, 200, []string{"Cache-Control: max-age=60"}, 100 * s, true},
		{"Minimum leaves what is longer", Lifetime{Policy: Minimum, Value: 10 * s}, 200, []string{"Cache-Control: max-age=60"}, 60 * s, true},
		{"Minimum counts from arrival", Lifetime{Policy: Minimum, Value: 100 * s}, 200, []string{"Age: 500", "Cache-Control: max-age=60"}, 100 * s, true},
		{"Minimum raises no-cache", Lifetime{Policy: Minimum, Value: 10 * s}, 200, []string{"Cache-Control: no-cache"}, 10 * s, true},
		{"Minimum obeys no-store", Lifetime{Policy: Minimum, Value: 10 * s}, 200, []string{"Cache-Control: no-store, max-age=60"}, 60 * s, false},
		{"Override shortens", Lifetime{Policy: Override, Value: 10 * s}, 200, []string{"Cache-Control: max-age=60"}, 10 * s, true},
		{"Override lengthens", Lifetime{Policy: Override, Value: 100 * s}, 200, []string{"Cache-Control: max-age=60"}, 100 * s, true},
		{"Override counts from arrival", Lifetime{Policy: Override, Value: 10 * s}, 200, []string{"Age: 500"}, 10 * s, true},
		{"Override obeys private", Lifetime{Policy: Override, Value: 10 * s}, 200, []string{"Cache-Control: private"}, 10 * s, false},
		{"Override of the longest does not overflow", Lifetime{Policy: Override, Value: math.MaxInt64}, 200, []string{"Age: 99999999999"}, forever, true},
		{"the longest default does not overflow", Lifetime{Default: math.MaxInt64}, 200, nil, forever, true},

		{"404: five minutes", Lifetime{}, 404, nil, 5 * time.Minute, true},
		{"404: no more than that", Lifetime{}, 404, []string{"Cache-Control: max-age=86400"}, 5 * time.Minute, true},
		{"404: less where the origin says so", Lifetime{}, 404, []string{"Cache-Control: max-age=7"}, 7 * s, true},
		{"404: Negative", Lifetime{Negative: 9 * s}, 404, nil, 9 * s, true},
		{"404: no policy makes it longer", Lifetime{Policy: Override, Value: time.Hour}, 404, nil, 5 * time.Minute, true},
		{"410: as 404", Lifetime{}, 410, nil, 5 * time.Minute, true},
		{"404: no-store", Lifetime{}, 404, []string{"Cache-Control: no-store"}, 5 * time.Minute, false},
		{"502: ten seconds", Lifetime{}, 502, nil, 10 * s, true},
		{"502: Failure", Lifetime{Failure: 3 * s}, 502, nil, 3 * s, true},
		{"502: never more than Negative", Lifetime{Failure: time.Hour, Negative: 2 * s}, 502, nil, 2 * s, true},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			f := freshnessOf(test.status, header(test.lines...), arrived, arrived, defaulted(test.policy), []string{"CDN-Cache-Control"})
			if got := f.Lifetime - f.InitialAge; got != test.want || f.NoStore == test.stored {
				t.Errorf("got %v, NoStore %v; want %v, stored %v", got, f.NoStore, test.want, test.stored)
			}
			if test.status != 200 && (f.StaleIfError != 0 || f.StaleWhileRevalidate != 0) {
				t.Errorf("a failure may be used when it is stale: %+v", f)
			}
		})
	}
}

func TestWhatAnEntryIsGoodFor(t *testing.T) {
	const s = time.Second
	f := Freshness{InitialAge: 2 * s, Lifetime: 10 * s, StaleWhileRevalidate: 5 * s, StaleIfError: 20 * s}
	strict := Freshness{Lifetime: 10 * s}
	tests := []struct {
		rule    string
		f       Freshness
		status  int
		purged  expiry
		after   time.Duration
		want    state
		onError bool
	}{
		{"fresh at once", f, 200, notExpired, 0, fresh, true},
		{"fresh until the last moment", f, 200, notExpired, 8*s - 1, fresh, true},
		{"stale at its lifetime", f, 200, notExpired, 8 * s, staleUsable, true},
		{"stale at the end of the grace", f, 200, notExpired, 13*s - 1, staleUsable, true},
		{"past the grace", f, 200, notExpired, 13 * s, mustRevalidate, true},
		{"past the grace for errors", f, 200, notExpired, 28 * s, mustRevalidate, false},
		{"no grace", strict, 200, notExpired, 10 * s, mustRevalidate, false},
		{"the grace for revalidation covers errors", Freshness{Lifetime: s, StaleWhileRevalidate: 9 * s}, 200, notExpired, 5 * s, staleUsable, true},
		{"a clock that goes back makes nothing older", f, 200, notExpired, -time.Hour, fresh, true},
		{"purged with Revalidate: ask", f, 200, mustAsk, 0, mustRevalidate, false},
		{"purged with Stale: serve", f, 200, mayServe, 0, staleUsable, true},
		{"purged with Stale, in its grace: serve", f, 200, mayServe, 10 * s, staleUsable, true},
		{"purged with Stale: no longer than before", f, 200, mayServe, 13 * s, mustRevalidate, true},
		{"purged with Stale: no-cache stays so", Freshness{}, 200, mayServe, 0, mustRevalidate, false},
		{"purged with Stale: a 404 is asked about", f, 404, mayServe, 0, mustRevalidate, false},
		{"a 404 is fresh", f, 404, notExpired, 0, fresh, false},
	}
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) {
			e := &Entry{Status: test.status, ResponseTime: now, Freshness: test.f, stale: test.purged}
			if got := e.state(now.Add(test.after)); got != test.want {
				t.Errorf("state %v, want %v", got, test.want)
			}
			if got := e.usableOnError(now.Add(test.after)); got != test.onError {
				t.Errorf("usable on error %v, want %v", got, test.onError)
			}
		})
	}
}

func FuzzFreshness(f *testing.F) {
	f.Add("max-age=60, s-maxage=1", "Wed, 06 May 2026 12:01:00 GMT", "3")
	f.Add(`no-cache="a,b", max-age="6`, "0", "99999999999999999999")
	f.Add("=,=;\x00", "-1", "-")
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, cc, expires, age string) {
		h := http.Header{"Cache-Control": {cc}, "Expires": {expires}, "Age": {age}, "Cdn-Cache-Control": {expires, cc}}
		for _, l := range []Lifetime{{}, {Policy: Minimum, Value: math.MaxInt64}, {Policy: Override, Value: time.Second}} {
			got := freshnessOf(200, h, now, now, defaulted(l), []string{"CDN-Cache-Control"})
			if got.InitialAge < 0 || got.Lifetime < 0 || got.StaleIfError < 0 || got.StaleWhileRevalidate < 0 || got.Lifetime > 2*forever {
				t.Errorf("%v: %+v", h, got)
			}
		}
	})
}

func defaulted(l Lifetime) *Lifetime {
	l = l.withDefaults()
	return &l
}
