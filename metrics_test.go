package imagecdn_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

// exposed is what /metrics has answered: metrics by name, and samples by how they are written, "name{label="value"}".
type exposed struct {
	types   map[string]string
	samples map[string]float64
}

var (
	metricName  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName   = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	baseName    = regexp.MustCompile(`^(imagecdn|go)_[a-z0-9_]*[a-z0-9]$`)
	sampleValue = regexp.MustCompile(`^(NaN|[+-]Inf|[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)$`)
)

// parseExposition reads Prometheus' text format, version 0.0.4, by the grammar of its documentation, and more strictly: HELP, TYPE and then
// the samples of a metric are together, in that order; no sample and no metric is twice; and histograms are whole.
func parseExposition(text string) (*exposed, error) {
	e := &exposed{make(map[string]string), make(map[string]float64)}
	if !utf8.ValidString(text) || !strings.HasSuffix(text, "\n") {
		return nil, errors.New("not UTF-8, or the last line does not end")
	}
	name, kind, helped := "", "", ""
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		bad := func(why string) error { return fmt.Errorf("line %d: %s: %s", i+1, why, line) }
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			n, help, _ := strings.Cut(rest, " ")
			if !metricName.MatchString(n) || help == "" || strings.Contains(strings.NewReplacer(`\\`, "", `\n`, "").Replace(help), `\`) {
				return nil, bad("HELP")
			}
			if e.types[n] != "" {
				return nil, bad("a metric that was there")
			}
			helped = n
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			n, k, _ := strings.Cut(rest, " ")
			if n != helped || !slices.Contains([]string{"counter", "gauge", "histogram"}, k) {
				return nil, bad("TYPE")
			}
			name, kind, helped = n, k, ""
			e.types[n] = k
			continue
		}
		n, labels, value, err := parseSample(line)
		if err != nil {
			return nil, bad(err.Error())
		}
		base := n
		if kind == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
		}
		if base != name || helped != "" {
			return nil, bad("a sample away from its metric " + name)
		}
		key := n
		if len(labels) > 0 {
			parts := make([]string, len(labels))
			for i, l := range labels {
				parts[i] = l[0] + "=" + strconv.Quote(l[1])
			}
			key += "{" + strings.Join(parts, ",") + "}"
		}
		if _, twice := e.samples[key]; twice {
			return nil, bad("twice")
		}
		e.samples[key] = value
	}
	return e, e.checkHistograms()
}

// parseSample reads NAME{LABEL="VALUE",…} NUMBER.
func parseSample(line string) (name string, labels [][2]string, value float64, err error) {
	end := strings.IndexAny(line, "{ ")
	if end < 0 || !metricName.MatchString(line[:end]) {
		return "", nil, 0, errors.New("no name")
	}
	name, line = line[:end], line[end:]
	if line[0] == '{' {
		line = line[1:]
		for {
			label, rest, ok := strings.Cut(line, `="`)
			if !ok || !labelName.MatchString(label) || strings.HasPrefix(label, "__") {
				return "", nil, 0, errors.New("no label")
			}
			for _, l := range labels {
				if l[0] == label {
					return "", nil, 0, errors.New("a label twice")
				}
			}
			var text strings.Builder
			for {
				if rest == "" {
					return "", nil, 0, errors.New("a label without an end")
				}
				c := rest[0]
				rest = rest[1:]
				if c == '"' {
					break
				}
				if c == '\\' {
					if rest == "" || !strings.Contains(`\"n`, rest[:1]) {
						return "", nil, 0, errors.New("an escape that there is not")
					}
					if c, rest = rest[0], rest[1:]; c == 'n' {
						c = '\n'
					}
				}
				text.WriteByte(c)
			}
			labels = append(labels, [2]string{label, text.String()})
			if rest, ok := strings.CutPrefix(rest, ","); ok {
				line = rest
				continue
			}
			if line, ok = strings.CutPrefix(rest, "}"); !ok {
				return "", nil, 0, errors.New("labels without an end")
			}
			break
		}
	}
	number, ok := strings.CutPrefix(line, " ")
	if !ok || !sampleValue.MatchString(number) {
		return "", nil, 0, errors.New("no number")
	}
	value, err = strconv.ParseFloat(number, 64)
	return name, labels, value, err
}

// checkHistograms reports a histogram whose buckets do not grow, end with +Inf, or agree with its count.
func (e *exposed) checkHistograms() error {
	le := regexp.MustCompile(`^(.*)_bucket\{(.*,)?le="([^"]*)"\}$`)
	buckets := make(map[string]map[float64]float64)
	for key, v := range e.samples {
		if m := le.FindStringSubmatch(key); m != nil {
			bound, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			series := m[1] + "|" + strings.TrimSuffix(m[2], ",")
			if buckets[series] == nil {
				buckets[series] = make(map[float64]float64)
			}
			buckets[series][bound] = v
		}
	}
	for series, counts := range buckets {
		last := -1.0
		for _, bound := range slices.Sorted(maps.Keys(counts)) {
			if counts[bound] < last {
				return fmt.Errorf("%s: buckets are not cumulative", series)
			}
			last = counts[bound]
		}
		name, labels, _ := strings.Cut(series, "|")
		if labels != "" {
			labels = "{" + labels + "}"
		}
		count, counted := e.samples[name+"_count"+labels]
		_, summed := e.samples[name+"_sum"+labels]
		if inf, ok := counts[math.Inf(1)]; !ok || !counted || !summed || inf != count {
			return fmt.Errorf("%s: +Inf %v, count %v, sum there: %t", series, inf, count, summed)
		}
	}
	return nil
}

// scrape reads /metrics.
func scrape(t testing.TB, h *imagecdn.Handler) *exposed {
	t.Helper()
	e, err := parseExposition(scrapeText(t, h))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func scrapeText(t testing.TB, h *imagecdn.Handler) string {
	t.Helper()
	w := get(h.Admin(&imagecdn.AdminOptions{PublicMetrics: true}), "/metrics")
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Fatalf("%d, %s", w.Code, kind)
	}
	return w.Body.String()
}

// wants compares samples with what they should be.
func (e *exposed) wants(t *testing.T, want map[string]float64) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		got, ok := e.samples[key]
		if !ok {
			t.Errorf("%s is not there", key)
		} else if got != want[key] {
			t.Errorf("%s is %v, want %v", key, got, want[key])
		}
	}
}

// A tagCDN takes tags, and fails as it is told.
type tagCDN struct {
	mu   sync.Mutex // guards errs
	errs []error    // of the next calls
}

func (c *tagCDN) Features() cdn.Features {
	return cdn.Features{Forms: map[cdn.Kind]cdn.Form{cdn.Tag: {MaxItems: 10}}}
}

func (c *tagCDN) Purge(context.Context, cdn.Batch) (cdn.Receipt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	if len(c.errs) == 0 {
		return cdn.Receipt{}, nil
	}
	err := c.errs[0]
	c.errs = c.errs[1:]
	return cdn.Receipt{}, err
}

// The counters say what a list of requests has brought about.
func TestMetricsTellTheTruth(t *testing.T) {
	dir := t.TempDir()
	disk, err := cache.OpenDisk(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	fast := cache.NewMemory(0)
	o := newOrigin()
	cat := paint(t, red, 64, 48)
	o.set("/cat.png", answer{header: cacheFor("max-age=3600"), body: cat})
	o.set("/stale.png", answer{header: cacheFor("max-age=0"), body: cat})
	o.set("/cut.png", answer{header: cacheFor("max-age=3600"), body: cat[:len(cat)/2]})
	o.set("/broken.png", answer{status: 500})
	o.set("/far.png", answer{err: errors.New("no route")})
	refuse := false
	calls := 0
	var callsMu sync.Mutex
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: &tagCDN{errs: []error{&cdn.Error{Status: 429, Temporary: true}}}}}}, &cdn.Options{
		OnCall: func(cdn.CallInfo) { callsMu.Lock(); defer callsMu.Unlock(); calls++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, o, &imagecdn.Options{
		Cache: cache.Tiered(fast, disk), Strict: true, CDNs: edges, BrowserMaxAge: time.Hour, IgnoreChanges: true,
		Admit: func(*http.Request) error {
			if refuse {
				return errors.New("slow down")
			}
			return nil
		},
	})
	before := scrape(t, h)
	before.wants(t, map[string]float64{
		`imagecdn_requests_total{outcome="hit"}`: 0, `imagecdn_cdn_calls_total{cdn="edge",kind="tag",result="ok"}`: 0,
		`imagecdn_purges_ended_total{state="error"}`: 0, `imagecdn_render_duration_seconds_count{format="webp"}`: 0,
	})

	first := mustGet(t, h, "/photos/cat.png?w=32") // a miss: fetched and rendered
	size := float64(first.Body.Len())              //
	for range 3 {                                  //
		mustGet(t, h, "/photos/cat.png?w=32") // hits in memory
	} //
	get(h, "/photos/cat.png?w=32", "If-None-Match", "*")            // 304
	mustGet(t, h, "/photos/cat.png?w=16&fm=jpg")                    // a miss: rendered alone
	mustGet(t, h, "/photos/stale.png")                              // a miss: fetched
	mustGet(t, h, "/photos/stale.png")                              // revalidated
	refuse = true                                                   //
	get(h, "/photos/cat.png?w=17")                                  // 429
	refuse = false                                                  //
	for _, path := range []string{"none", "cut", "broken", "far"} { //
		get(h, "/photos/"+path+".png?w=20") // 404, 422, 502, 502
	} //
	get(h, "/photos/cat.png?w=x")                                        // 400
	get(h, "/nowhere/cat.png")                                           // 403
	httpDo(h, http.MethodPost, "/photos/cat.png")                        // 405
	waitFor(t, func() bool { return h.Stats().Cache.WaitingBytes == 0 }) //
	forget(t, fast)                                                      // what is in memory
	mustGet(t, h, "/photos/cat.png?w=32&q=75&dpr=1")                     // another URL of the same picture: a hit on disk

	job, err := h.Purge(t.Context(), []string{"/photos/cat.png", "/photos/never.png"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := job.Wait(t.Context())
	if err != nil || rec.State != purge.Done {
		t.Fatal(rec.State, rec.Err(), err)
	}
	if _, err := h.Purge(t.Context(), []string{"cat.png"}, nil); err == nil {
		t.Fatal("a path without its source was taken")
	}
	if _, err := h.Purge(t.Context(), []string{"/nowhere/cat.png"}, nil); err == nil {
		t.Fatal("a path of no source was taken")
	}
	if job, err = h.PurgeAll(t.Context(), nil); err != nil {
		t.Fatal(err)
	} else if rec, err := job.Wait(t.Context()); err != nil || rec.State != purge.Done {
		t.Fatal(rec.State, rec.Err(), err)
	}

	e := scrape(t, h)
	e.wants(t, map[string]float64{
		`imagecdn_requests_in_flight`:                                           0,
		`imagecdn_requests_total{outcome="hit"}`:                                4,
		`imagecdn_requests_total{outcome="revalidated"}`:                        1,
		`imagecdn_requests_total{outcome="miss"}`:                               3,
		`imagecdn_requests_total{outcome="not_modified"}`:                       1,
		`imagecdn_requests_total{outcome="refused"}`:                            5,
		`imagecdn_requests_total{outcome="overloaded"}`:                         1,
		`imagecdn_requests_total{outcome="failed"}`:                             2,
		`imagecdn_response_bytes_total{outcome="hit"}`:                          4 * size,
		`imagecdn_hits_total{tier="memory"}`:                                    3,
		`imagecdn_hits_total{tier="disk"}`:                                      1,
		`imagecdn_error_responses_total{status="400"}`:                          1,
		`imagecdn_error_responses_total{status="403"}`:                          1,
		`imagecdn_error_responses_total{status="404"}`:                          1,
		`imagecdn_error_responses_total{status="405"}`:                          1,
		`imagecdn_error_responses_total{status="422"}`:                          1,
		`imagecdn_error_responses_total{status="429"}`:                          1,
		`imagecdn_error_responses_total{status="502"}`:                          2,
		`imagecdn_error_responses_total{status="other"}`:                        0,
		`imagecdn_render_duration_seconds_count{format="png"}`:                  1,
		`imagecdn_render_duration_seconds_count{format="jpg"}`:                  1,
		`imagecdn_render_read_pixels_total{format="png"}`:                       64 * 48,
		`imagecdn_render_written_pixels_total{format="png"}`:                    32 * 24,
		`imagecdn_render_written_pixels_total{format="jpg"}`:                    16 * 12,
		`imagecdn_render_read_bytes_total{format="jpg"}`:                        float64(len(cat)),
		`imagecdn_render_written_bytes_total{format="png"}`:                     size,
		`imagecdn_render_failures_total`:                                        1,
		`imagecdn_store_duration_seconds_count`:                                 2,
		`imagecdn_origin_requests_total{source="photos",result="ok"}`:           3, // cat, stale, cut
		`imagecdn_origin_requests_total{source="photos",result="not_modified"}`: 1,
		`imagecdn_origin_requests_total{source="photos",result="refused"}`:      1,
		`imagecdn_origin_requests_total{source="photos",result="failed"}`:       1,
		`imagecdn_origin_requests_total{source="photos",result="no_answer"}`:    1,
		`imagecdn_origin_duration_seconds_count`:                                7,
		`imagecdn_originals_total`:                                              3,
		`imagecdn_purges_accepted_total{scope="original"}`:                      1,
		`imagecdn_purges_accepted_total{scope="all"}`:                           1,
		`imagecdn_purges_refused_total{code="invalid_path"}`:                    2,
		`imagecdn_purges_ended_total{state="done"}`:                             2,
		`imagecdn_purges_active{state="received"}`:                              0,
		`imagecdn_purges_active{state="flushing_cdn"}`:                          0,
		`imagecdn_purge_step_duration_seconds_count{step="received"}`:           2,
		`imagecdn_purge_step_duration_seconds_count{step="flushing_cdn"}`:       2,
		`imagecdn_purge_log_jobs`:                                               2,
		`imagecdn_cdn_calls_total{cdn="edge",kind="tag",result="limited"}`:      1,
		`imagecdn_cdn_calls_total{cdn="edge",kind="tag",result="ok"}`:           2,
		`imagecdn_cdn_calls_total{cdn="edge",kind="tag",result="refused"}`:      0,
		`imagecdn_cdn_values_total{cdn="edge",kind="tag"}`:                      3,
		`imagecdn_cdn_call_duration_seconds_count{cdn="edge",kind="tag"}`:       3,
		`imagecdn_cdn_values_waiting{cdn="edge"}`:                               0,
		`imagecdn_cdn_failing_seconds{cdn="edge"}`:                              0,
		`imagecdn_cache_faults_total{tier="disk"}`:                              0,
	})
	if sum := e.samples[`imagecdn_cdn_call_duration_seconds_sum{cdn="edge",kind="tag"}`]; sum < 0.06 {
		t.Errorf("three calls of 20 ms took %v s", sum)
	}
	if calls != 3 {
		t.Errorf("Options.OnCall of the user was told of %d calls, want 3", calls)
	}
	paths := h.Stats().Purges.Paths
	if paths[purge.Removed] != 2 || paths[purge.Absent] != 1 || paths[purge.Failed] != 0 {
		t.Errorf("paths: %v", paths)
	}
	var removed imagecdn.Stats
	removed.Purges = h.Stats().Purges
	if removed.Purges.Originals < 2 || removed.Purges.Derivatives < 2 || removed.Purges.Bytes < int64(size) {
		t.Errorf("removed: %d originals, %d derivatives, %d bytes", removed.Purges.Originals, removed.Purges.Derivatives, removed.Purges.Bytes)
	}
	for name, kind := range e.types {
		if !baseName.MatchString(name) {
			t.Errorf("%s: a name that does not say whose it is", name)
		}
		if kind == "counter" != strings.HasSuffix(name, "_total") && name != "go_gc_cycles_total_gc_cycles_total" {
			t.Errorf("%s is a %s: _total is for counters, and all of them", name, kind)
		}
		if kind == "histogram" && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s is a histogram of what?", name)
		}
	}
	for key, v := range before.samples { // nothing of a counter is taken back
		name, _, _ := strings.Cut(key, "{")
		if before.types[name] == "counter" && e.samples[key] < v {
			t.Errorf("%s went from %v to %v", key, v, e.samples[key])
		}
	}
}

func httpDo(h http.Handler, method, url string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, url, nil))
	return w.Code
}

// waitFor waits for what others are about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not happen")
}

// forget empties a memory.
func forget(t *testing.T, m *cache.Memory) {
	t.Helper()
	if _, err := m.RemoveAll(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}

// Ten thousand images, URLs, and refusals add no series, and no bytes but digits.
func TestMetricsAreBounded(t *testing.T) {
	o := newOrigin()
	body := paint(t, red, 4, 4)
	h := open(t, o, &imagecdn.Options{Cache: cache.NewMemory(1 << 20)})
	series := func() int { return len(scrape(t, h).samples) }
	mustNot := get(h, "/photos/first.png?w=x")
	if mustNot.Code != 400 {
		t.Fatal(mustNot.Code)
	}
	_, _ = h.Purge(t.Context(), []string{"bad"}, nil)
	before := series()
	for i := range 10_000 {
		path := fmt.Sprintf("/%d.png", i)
		o.set(path, answer{header: cacheFor("max-age=60"), body: body})
		if i%2 == 0 {
			mustGet(t, h, "/photos"+path)
		} else {
			get(h, fmt.Sprintf("/source%d/%d.png?x%d=%d", i, i, i, i))
		}
		if i%1000 == 0 {
			_, _ = h.Purge(t.Context(), []string{path}, &purge.Options{Tenant: path})
			httpDo(h, fmt.Sprintf("METHOD%d", i), path)
		}
	}
	if after := series(); after != before {
		t.Errorf("%d series before and %d after", before, after)
	}
	if n := len(scrapeText(t, h)); n > 100<<10 {
		t.Errorf("%d bytes", n)
	}
	s := h.Stats()
	if s.Cache.Memory.Evicted == 0 {
		t.Error("nothing was evicted of a memory that is too small")
	}
}

// With a key, unless the operator has opened it.
func TestMetricsTakeAKey(t *testing.T) {
	h := open(t, newOrigin(), nil)
	for _, tt := range []struct {
		o      *imagecdn.AdminOptions
		header []string
		status int
	}{
		{nil, nil, 401},
		{&imagecdn.AdminOptions{Keys: []string{"k"}}, nil, 401},
		{&imagecdn.AdminOptions{Keys: []string{"k"}}, []string{"Authorization", "Bearer other"}, 401},
		{&imagecdn.AdminOptions{Keys: []string{"k"}}, []string{"Authorization", "Bearer k"}, 200},
		{&imagecdn.AdminOptions{Keys: []string{"k"}, PublicMetrics: true}, nil, 200},
		{&imagecdn.AdminOptions{PublicMetrics: true}, nil, 200},
	} {
		if w := get(h.Admin(tt.o), "/metrics", tt.header...); w.Code != tt.status {
			t.Errorf("%+v with %v: %d, want %d", tt.o, tt.header, w.Code, tt.status)
		}
	}
	if w := get(h.Admin(&imagecdn.AdminOptions{PublicMetrics: true}), "/api/v1/purges"); w.Code != 401 {
		t.Errorf("the API is open as well: %d", w.Code)
	}
}

// Names of CDNs are the operator's, and may have what labels have to escape.
func TestMetricsEscapeLabels(t *testing.T) {
	name := "a \"b\"\\\nc\xff"
	edges, err := cdn.New([]cdn.Ring{{{Name: name, CDN: &tagCDN{}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, newOrigin(), &imagecdn.Options{CDNs: edges})
	key := `imagecdn_cdn_values_waiting{cdn=` + strconv.Quote("a \"b\"\\\nc\uFFFD") + `}`
	if _, ok := scrape(t, h).samples[key]; !ok {
		t.Errorf("%s is not there", key)
	}
}

// The parser that the tests above believe refuses what the format does not allow.
func TestParserOfExpositions(t *testing.T) {
	head := "# HELP a_total Help.\n# TYPE a_total counter\n"
	histogram := "# HELP h_seconds Help.\n# TYPE h_seconds histogram\n"
	for _, text := range []string{
		"", "a_total 1\n", head + "a_total 1", head + "a_total 1\na_total 2\n", head + "a_total{b=\"c} 1\n", head + "a_total{b=\"\\t\"} 1\n",
		head + "a_total{b=\"c\",b=\"d\"} 1\n", head + "a_total{} 1\n", head + "a_total  1\n", head + "a_total one\n", head + "b_total 1\n",
		head + "a_total 1 \n", head + "a_total 0x10\n", head + head, "# TYPE a_total counter\n", "# HELP a_total \n", head + "1a 1\n", head + "a_total{b=\"\xff\"} 1\n",
		histogram + "h_seconds_bucket{le=\"1\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n",
		histogram + "h_seconds_bucket{le=\"1\"} 2\nh_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n",
		histogram + "h_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 2\n",
	} {
		if _, err := parseExposition(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	for _, text := range []string{
		head, head + "a_total 1\n", head + "a_total{b=\"c\\\"\\\\\\n\",d=\"\"} 1.5e+06\n",
		histogram + "h_seconds_bucket{le=\"1\"} 1\nh_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n",
	} {
		if _, err := parseExposition(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A queue that is full shows.
func TestMetricsOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.set("/0.png", answer{header: cacheFor("max-age=3600"), body: paint(t, red, 64, 48)})
		o.set("/1.png", answer{header: cacheFor("max-age=3600"), body: paint(t, blue, 64, 48)}) // they share no decoding
		h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: o}}, &imagecdn.Options{Renders: 1, MaxQueued: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		release := imagecdn.HoldGate(h)
		var ended sync.WaitGroup
		for i := range 2 {
			ended.Go(func() { mustGet(t, h, fmt.Sprintf("/photos/%d.png?w=20", i)) })
		}
		synctest.Wait()
		time.Sleep(3 * time.Second)
		scrape(t, h).wants(t, map[string]float64{
			"imagecdn_requests_in_flight": 2, "imagecdn_renders_waiting": 2, "imagecdn_renders_waiting_max": 2,
			"imagecdn_renders_working": 1, "imagecdn_renders_working_max": 1,
		})
		release()
		ended.Wait()
		e := scrape(t, h)
		e.wants(t, map[string]float64{"imagecdn_requests_in_flight": 0, "imagecdn_renders_waiting": 0, "imagecdn_renders_working": 0})
		if sum := e.samples["imagecdn_render_wait_seconds_sum"]; sum < 5.9 {
			t.Errorf("two that waited for 3 s, waited for %v s", sum)
		}
		// What they waited for is no work.
		if sum := e.samples[`imagecdn_render_duration_seconds_sum{format="png"}`]; sum > 0.5 {
			t.Errorf("two pictures took %v s", sum)
		}
	})
}
