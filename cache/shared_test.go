package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeShared is a cluster that a test speaks for.
type fakeShared struct {
	currency atomic.Int32
	position atomic.Uint64

	mu        sync.Mutex // guards what follows
	lookup    func(Name) *Entry
	looked    int
	committed []uint64 // positions
	names     []Name
}

func (s *fakeShared) Currency() Currency { return Currency(s.currency.Load()) }
func (s *fakeShared) Position() uint64   { return s.position.Load() }

func (s *fakeShared) Lookup(_ context.Context, n Name) *Entry {
	s.mu.Lock()
	s.looked++
	lookup := s.lookup
	s.mu.Unlock()
	if lookup == nil {
		return nil
	}
	return lookup(n)
}

func (s *fakeShared) Commit(n Name, _ *Entry, position uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names, s.committed = append(s.names, n), append(s.committed, position)
}

func (s *fakeShared) told() (names []Name, at []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names, s.committed
}

// heard is an entry that another node has had from the origin some time ago.
func heard(body string, ago, lifetime time.Duration) *Entry {
	at := time.Now().Add(-ago)
	return &Entry{
		Status: http.StatusOK, Header: http.Header{"Etag": {`"` + body + `"`}}, Digest: DigestOf([]byte(body)), Size: int64(len(body)),
		RequestTime: at, ResponseTime: at, Freshness: Freshness{Lifetime: lifetime},
	}
}

// sharedSite is a transport on a table that is shared, and the requests that its origin got.
func sharedSite(t *testing.T, store Store, answer func(n int, r *http.Request) (*http.Response, error)) (*Transport, *fakeShared, *atomic.Int32) {
	t.Helper()
	shared, asked := new(fakeShared), new(atomic.Int32)
	table := NewTable(store, &TableOptions{Shared: shared})
	tr := NewTransport(store, roundTripper(func(r *http.Request) (*http.Response, error) { return answer(int(asked.Add(1)), r) }), &TransportOptions{Source: "s", Table: table})
	t.Cleanup(func() { tr.Close(); store.Close() })
	return tr, shared, asked
}

// says answers with a body, which an hour of freshness and a validator go with.
func says(body string, fields ...string) (*http.Response, error) {
	h := http.Header{"Cache-Control": {"max-age=3600"}, "Etag": {`"` + body + `"`}}
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return answer(&http.Request{Method: http.MethodGet}, http.StatusOK, h, []byte(body), int64(len(body))), nil
}

func TestAMissAsksTheClusterFirst(t *testing.T) {
	held := func(lifetime time.Duration) func(t *Table) {
		return func(t *Table) {
			e := heard("held", time.Minute, lifetime)
			t.Commit(t.Lease(Name{Source: "s", Image: "/cat"}), e)
		}
	}
	marked := func(t *Table) {
		held(time.Hour)(t)
		if err := t.Purge("s", "/cat", Revalidate); err != nil {
			panic(err)
		}
	}
	for _, tt := range []struct {
		rule   string
		before func(*Table) // nil: nothing is held
		has    *Entry       // in the cluster
		want   string
		asked  int32
		how    How
	}{
		{"what is fresh there is a hit", nil, heard("learned", time.Second, time.Hour), "learned", 0, Hit},
		{"what is not there is asked for", nil, nil, "origin", 1, Filled},
		{"what is stale there is asked for", nil, heard("learned", time.Minute, time.Second), "origin", 1, Filled},
		{"what may not be stored is asked for", nil, &Entry{Status: 200, ResponseTime: time.Now(), Freshness: Freshness{NoStore: true, Lifetime: time.Hour}}, "origin", 1, Filled},
		{"what varies is asked for", nil, &Entry{Status: 200, Variant: "v", ResponseTime: time.Now(), Freshness: Freshness{Lifetime: time.Hour}}, "origin", 1, Filled},
		{"what is stale here is replaced", held(time.Second), heard("learned", time.Second, time.Hour), "learned", 0, Hit},
		{"what is marked here is replaced", marked, heard("learned", time.Second, time.Hour), "learned", 0, Hit},
		{"what is older there is not used", held(time.Second), heard("learned", time.Hour, 2*time.Hour), "origin", 1, Filled},
		{"what is fresh here needs nobody", held(time.Hour), heard("learned", time.Second, time.Hour), "held", 0, Hit},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			tr, shared, asked := sharedSite(t, NewMemory(1<<20), func(int, *http.Request) (*http.Response, error) { return says("origin") })
			if tt.before != nil {
				tt.before(tr.table)
			}
			shared.lookup = func(Name) *Entry { return tt.has }
			told, _ := shared.told()
			res, err := tr.Fetch(t.Context(), "/cat", "")
			if err != nil {
				t.Fatal(err)
			}
			if res.Entry.Digest != DigestOf([]byte(tt.want)) || asked.Load() != tt.asked || res.How != tt.how {
				t.Errorf("%v, how %d, %d requests", res.Entry.Header, res.How, asked.Load())
			}
			if again, _ := tr.Fetch(t.Context(), "/cat", ""); again.Entry.Digest != res.Entry.Digest || asked.Load() != tt.asked || again.How != Hit {
				t.Errorf("the next request: %v, how %d, %d requests", again.Entry.Header, again.How, asked.Load())
			}
			if now, _ := shared.told(); len(now)-len(told) != int(tt.asked) {
				t.Errorf("the cluster was told of %v", now)
			}
			if _, err := tr.Refresh(t.Context(), "/cat", ""); err != nil || asked.Load() != tt.asked+1 {
				t.Errorf("a refresh: %v, %d requests", err, asked.Load())
			}
		})
	}
}

// A purge while the cluster is asked ends the lease: what comes is not used.
func TestAPurgeEndsALookup(t *testing.T) {
	tr, shared, asked := sharedSite(t, NewMemory(1<<20), func(int, *http.Request) (*http.Response, error) { return says("origin") })
	shared.lookup = func(Name) *Entry {
		if err := tr.Purge("/cat", Delete); err != nil {
			t.Error(err)
		}
		return heard("learned", time.Second, time.Hour)
	}
	res, err := tr.Fetch(t.Context(), "/cat", "")
	if err != nil || res.Entry.Digest != DigestOf([]byte("origin")) || asked.Load() != 1 {
		t.Errorf("%v, %v, %d requests", res, err, asked.Load())
	}
	if res.Alive() || tr.Known("/cat", "") != nil {
		t.Error("what was asked for before the purge is kept")
	}
	if names, _ := shared.told(); len(names) != 0 {
		t.Errorf("the cluster was told of %v", names)
	}
}

// The position that goes with a name is of before the origin was asked.
func TestCommitsHaveThePositionOfTheirLease(t *testing.T) {
	var tr *Transport
	var shared *fakeShared
	tr, shared, _ = sharedSite(t, NewMemory(1<<20), func(_ int, r *http.Request) (*http.Response, error) {
		shared.position.Store(8) // a purge of something else
		switch r.URL.Path {
		case "/none":
			return answer(&http.Request{Method: http.MethodGet}, http.StatusNotFound, http.Header{}, nil, 0), nil
		case "/broken":
			return nil, errors.New("no route")
		case "/secret":
			return says("secret", "Cache-Control", "no-store")
		}
		return says("origin")
	})
	for image, want := range map[string]string{"/cat": "[/cat] [7]", "/none": "[/none] [7]", "/broken": "[] []", "/secret": "[] []"} {
		shared.position.Store(7)
		shared.names, shared.committed = nil, nil
		if _, err := tr.Fetch(t.Context(), image, ""); err != nil {
			t.Fatal(err)
		}
		names, at := shared.told()
		images := []string{}
		for _, n := range names {
			images = append(images, n.Image)
		}
		if got := fmt.Sprint(images, " ", at); got != want {
			t.Errorf("%s: told %s, want %s", image, got, want)
		}
	}
}

func TestLearn(t *testing.T) {
	yes := func() bool { return true }
	for _, tt := range []struct {
		rule  string
		held  *Entry
		told  *Entry
		valid func(*Table) bool
		want  string // digest of
	}{
		{"an older one is replaced", heard("held", time.Minute, time.Hour), heard("told", time.Second, time.Hour), nil, "told"},
		{"a newer one stays", heard("held", time.Second, time.Hour), heard("told", time.Minute, time.Hour), nil, "held"},
		{"what is not held is not learned", nil, heard("told", time.Second, time.Hour), nil, ""},
		{"what a purge covers is not learned", heard("held", time.Minute, time.Hour), heard("told", time.Second, time.Hour), func(*Table) bool { return false }, "held"},
		{"a purge that comes later wins", heard("held", time.Minute, time.Hour), heard("told", time.Second, time.Hour), func(t *Table) bool {
			return t.Purge("s", "/cat", Delete) == nil
		}, ""},
	} {
		for _, kind := range []string{"memory", "disk"} {
			t.Run(tt.rule+"/"+kind, func(t *testing.T) {
				n := Name{Source: "s", Image: "/cat"}
				dir := t.TempDir()
				reopen := func() Store {
					if kind == "memory" {
						return NewMemory(1 << 20)
					}
					d, err := OpenDisk(dir, nil)
					if err != nil {
						t.Fatal(err)
					}
					return d
				}
				store, shared := reopen(), new(fakeShared)
				table := NewTable(store, &TableOptions{Shared: shared})
				if tt.held != nil {
					held := *tt.held
					table.Commit(table.Lease(n), &held)
				}
				valid := yes
				if tt.valid != nil {
					valid = func() bool { return tt.valid(table) }
				}
				names, _ := shared.told()
				told := *tt.told
				if got := table.Learn(n, &told, valid); got != (tt.want == "told") {
					t.Errorf("learned: %v", got)
				}
				if now, _ := shared.told(); len(now) != len(names) {
					t.Error("what was learned is told again")
				}
				check := func(table *Table) {
					t.Helper()
					_, e := table.Open(n)
					switch {
					case tt.want == "" && e != nil, tt.want != "" && (e == nil || e.Digest != DigestOf([]byte(tt.want))):
						t.Errorf("holds %v, want %q", e, tt.want)
					}
				}
				check(table)
				if kind == "disk" {
					store.Close()
					store = reopen()
					check(NewTable(store, nil))
				}
				store.Close()
			})
		}
	}
}

// A name that only the Keeper holds is held.
func TestLearnOfANameOnDisk(t *testing.T) {
	dir, n := t.TempDir(), Name{Source: "s", Image: "/cat"}
	for i, body := range []string{"held", "told"} {
		d, err := OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		table := NewTable(d, nil)
		if i == 0 {
			table.Commit(table.Lease(n), heard(body, time.Minute, time.Hour))
		} else if !table.Learn(n, heard(body, time.Second, time.Hour), func() bool { return true }) {
			t.Error("not learned")
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCutOff(t *testing.T) {
	store := NewMemory(1 << 20)
	tr, shared, asked := sharedSite(t, store, func(n int, r *http.Request) (*http.Response, error) {
		if r.Header.Get("If-None-Match") != "" {
			t.Error("a conditional request")
		}
		if n > 1 && r.Header.Get("Cache-Control") != "no-cache" {
			t.Error("a request that a copy may answer")
		}
		if r.URL.Path == "/broken" {
			return nil, errors.New("no route")
		}
		return says(fmt.Sprint("origin ", n))
	})
	if _, err := tr.Fetch(t.Context(), "/cat", ""); err != nil {
		t.Fatal(err)
	}
	known := tr.Known("/cat", "")
	shared.currency.Store(int32(CutOff))
	shared.lookup = func(Name) *Entry { t.Error("the cluster was asked"); return nil }
	told, _ := shared.told()
	for i, fetch := range []func(context.Context, string, string) (*Result, error){tr.Fetch, tr.Fetch, tr.Refresh} {
		res, err := fetch(t.Context(), "/cat", "")
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprint("origin ", i+2)
		if res.How != FilledUnkept || !res.CutOff || res.Keepable() || res.Entry.Digest != DigestOf([]byte(body)) || asked.Load() != int32(i+2) {
			t.Errorf("%+v, %d requests", res, asked.Load())
		}
		if b, now, err := tr.Body(t.Context(), res); string(b) != body || now != res || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if _, err := store.Get(t.Context(), Key{"s", "/cat", Original, res.Entry.Digest}); err == nil {
			t.Error("its bytes are kept")
		}
	}
	res, err := tr.Fetch(t.Context(), "/cat", "")
	if err != nil {
		t.Fatal(err)
	}
	res.Done() // whoever needs the bytes again asks again, alone
	if b, now, err := tr.Body(t.Context(), res); string(b) != "origin 6" || now.Keepable() || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if res, err := tr.Fetch(t.Context(), "/broken", ""); err != nil || res.Entry.Status != http.StatusBadGateway || res.Keepable() || tr.Known("/broken", "") != nil {
		t.Errorf("%+v, %v", res, err)
	}
	if now, _ := shared.told(); len(now) != len(told) || tr.Known("/cat", "") != known {
		t.Error("something of it is kept")
	}

	shared.currency.Store(int32(CutOffServing))
	if res, err := tr.Fetch(t.Context(), "/cat", ""); err != nil || res.How != Hit || !res.CutOff || res.Entry != known {
		t.Errorf("%+v, %v", res, err)
	}
	shared.currency.Store(int32(Current))
	if res, err := tr.Fetch(t.Context(), "/cat", ""); err != nil || res.How != Hit || res.CutOff || res.Entry != known {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestCutOffRoundTrip(t *testing.T) {
	tr, shared, asked := sharedSite(t, NewMemory(1<<20), func(int, *http.Request) (*http.Response, error) {
		return says("origin", "CDN-Cache-Control", "max-age=3600")
	})
	for _, tt := range []struct {
		is              Currency
		asked           int32
		status, control string
	}{
		{Current, 1, "imagecdn; fwd=uri-miss; fwd-status=200; stored; ttl=", "max-age=3600"},
		{Current, 1, "imagecdn; hit; ttl=", "max-age=3600"},
		{CutOff, 2, "imagecdn; fwd=bypass; fwd-status=200; detail=cut-off", "no-store"},
		{CutOff, 3, "imagecdn; fwd=bypass; fwd-status=200; detail=cut-off", "no-store"},
		{CutOffServing, 3, "imagecdn; hit; ttl=", "max-age=3600"},
	} {
		shared.currency.Store(int32(tt.is))
		req, err := http.NewRequest(http.MethodGet, "http://origin/cat", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		status := resp.Header.Get("Cache-Status")
		if !strings.HasPrefix(status, tt.status) || asked.Load() != tt.asked || resp.Header.Get("Cache-Control") != tt.control {
			t.Errorf("%d: %q, %q, %d requests", tt.is, status, resp.Header.Get("Cache-Control"), asked.Load())
		}
		if strings.HasSuffix(status, "; detail=cut-off") != (tt.is != Current) {
			t.Errorf("%d: %q", tt.is, status)
		}
		if tt.is == CutOff && (resp.Header.Get("CDN-Cache-Control") != "" || req.Header.Get("Cache-Control") != "") {
			t.Errorf("%v, and the request has %v", resp.Header, req.Header)
		}
	}
}

func TestPositionsAreKept(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Disk, *Table) {
		d, err := OpenDisk(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d, NewTable(Tiered(NewMemory(1<<20), d), nil)
	}
	d, table := open()
	if p := table.Position(); p != (Position{}) {
		t.Errorf("a new table has %v", p)
	}
	want := Position{Log: "one", Seq: 7, Time: 1}
	for _, step := range []struct {
		save, want Position
	}{
		{want, want},
		{Position{Log: "one", Seq: 6, Time: 2}, want}, // does not go back
		{Position{Log: "two", Seq: 1}, Position{Log: "two", Seq: 1}},
		{Position{Log: "two", Seq: 5}, Position{Log: "two", Seq: 5}},
	} {
		if err := table.SavePosition(step.save); err != nil || table.Position() != step.want {
			t.Errorf("%v: %v, %v", step.save, err, table.Position())
		}
	}
	want = Position{Log: "two", Seq: 5}
	for _, purge := range []func() error{
		func() error { return table.PurgeAll("", Delete) },
		func() error { return table.PurgeAll("s", Stale) },
		func() error { return table.PurgeSelection(Selection{Tags: []string{"cat"}}, Delete) },
		func() error { return table.Purge("s", "/cat", Delete) },
	} {
		if err := purge(); err != nil || table.Position() != want {
			t.Errorf("a purge leaves %v, %v", table.Position(), err)
		}
	}
	d.Close()
	d, table = open()
	if table.Position() != want || table.gens.Load().Seq != 3 {
		t.Errorf("after a restart: %v, %d", table.Position(), table.gens.Load().Seq)
	}
	d.Close()

	memory := NewTable(NewMemory(1<<20), nil)
	if err := memory.SavePosition(want); err != nil || memory.Position() != want {
		t.Errorf("in memory: %v, %v", memory.Position(), err)
	}

	// A file without a position, as it was before there were any, and a damaged one.
	file := filepath.Join(dir, "generations")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var fields struct {
		Format      int                        `json:"format"`
		Epoch       string                     `json:"epoch"`
		Generations map[string]json.RawMessage `json:"generations"`
	}
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields.Generations, "position")
	old, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s\n%s\n", old, DigestOf(old)), 0o600); err != nil {
		t.Fatal(err)
	}
	d, table = open()
	if table.Position() != (Position{}) || table.gens.Load().Seq != 3 {
		t.Errorf("an old file has %v, %d", table.Position(), table.gens.Load().Seq)
	}
	d.Close()
	if err := os.WriteFile(file, data[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	d, table = open()
	if table.Position() != (Position{}) {
		t.Errorf("a damaged file has %v", table.Position())
	}
	d.Close()
}

// A position that could not be kept is not the table's.
func TestPositionsThatCannotBeKept(t *testing.T) {
	d, err := OpenDisk(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	table := NewTable(d, nil)
	d.Close()
	if err := table.SavePosition(Position{Log: "one", Seq: 1}); err == nil || table.Position() != (Position{}) {
		t.Errorf("%v, %v", err, table.Position())
	}
}
