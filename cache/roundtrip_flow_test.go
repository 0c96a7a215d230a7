package cache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// get asks for a line of a script, and reads the answer.
func (s *site) get(line string) (*http.Response, string, error) {
	return s.getIn(s.Context(), line)
}

func (s *site) getIn(ctx context.Context, line string) (*http.Response, string, error) {
	resp, err := s.cache.RoundTrip(request(s.T, line).WithContext(ctx))
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), errors.Join(err, resp.Body.Close())
}

// slowly answers after a second, each time with the number of the request.
func slowly(lines ...string) func(*http.Request) (*http.Response, error) {
	var n atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		i := n.Add(1)
		select {
		case <-time.After(time.Second):
			return reply(200, fmt.Sprint(i), lines...), nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

func TestRequestsThatWaitForOne(t *testing.T) {
	crowd := func(s *site, clients int, line func(i int) string) (bodies map[string]int, took time.Duration, last *http.Response) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		bodies = make(map[string]int)
		began := time.Now()
		for i := range clients {
			wg.Go(func() {
				resp, body, err := s.get(line(i))
				if err != nil {
					s.Errorf("RoundTrip: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				bodies[body]++
				if strings.Contains(resp.Header.Get("Cache-Status"), "collapsed") {
					last = resp
				}
			})
		}
		wg.Wait()
		return bodies, time.Since(began), last
	}
	same := func(line string) func(int) string { return func(int) string { return line } }

	t.Run("what may serve all is asked for once", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			bodies, took, one := crowd(s, 100, same("GET /a"))
			if bodies["1"] != 100 || s.origin.asked() != 1 || took != time.Second {
				s.Errorf("got %v of %d requests in %v", bodies, s.origin.asked(), took)
			}
			if one == nil || one.Header.Get("Cache-Status") != "imagecdn; fwd=uri-miss; collapsed; ttl=60" {
				s.Errorf("got %+v", one)
			}
		})
	})
	t.Run("so is what is stale", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=5"))
			crowd(s, 1, same("GET /a"))
			time.Sleep(5 * time.Second)
			if bodies, _, _ := crowd(s, 100, same("GET /a")); bodies["2"] != 100 || s.origin.asked() != 2 {
				s.Errorf("got %v of %d requests", bodies, s.origin.asked())
			}
		})
	})
	t.Run("each variant is asked for once", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(req *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return reply(200, req.Header.Get("X"), "Cache-Control: max-age=60", "Vary: X"), nil
			})
			bodies, took, _ := crowd(s, 100, func(i int) string { return fmt.Sprintf("GET /a | X: %d", i%4) })
			for i := range 4 {
				if bodies[fmt.Sprint(i)] != 25 {
					s.Errorf("got %v", bodies)
				}
			}
			if s.origin.asked() != 4 || took != 2*time.Second {
				s.Errorf("%d requests in %v", s.origin.asked(), took)
			}
		})
	})
	t.Run("what may not be shared is waited for once, and not again while that is remembered", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: private"))
			if bodies, took, _ := crowd(s, 100, same("GET /a")); len(bodies) != 100 || took != 2*time.Second {
				s.Errorf("%d answers in %v", len(bodies), took)
			}
			if bodies, took, _ := crowd(s, 100, same("GET /a")); len(bodies) != 100 || took != time.Second {
				s.Errorf("%d answers in %v", len(bodies), took)
			}
			time.Sleep(passedFor)
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			if bodies, _, _ := crowd(s, 100, same("GET /a")); bodies["1"] != 100 {
				s.Errorf("got %v", bodies)
			}
		})
	})
	t.Run("who has credentials waits for nobody", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			if bodies, took, _ := crowd(s, 10, same("GET /a | Authorization: x")); len(bodies) != 10 || took != time.Second {
				s.Errorf("%d answers in %v", len(bodies), took)
			}
		})
	})
	t.Run("nor does who wants it validated", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			if bodies, took, _ := crowd(s, 10, same("GET /a | Cache-Control: no-cache")); len(bodies) != 10 || took != time.Second {
				s.Errorf("%d answers in %v", len(bodies), took)
			}
		})
	})
	t.Run("an origin that fails is waited for twice at most", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				return nil, errors.New("ouch")
			})
			began := time.Now()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if _, _, err := s.get("GET /a"); err == nil {
						s.Error("no error")
					}
				})
			}
			wg.Wait()
			if took := time.Since(began); took > 3*time.Second {
				s.Errorf("it took %v", took)
			}
		})
	})
	t.Run("when the first client leaves the next one asks", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			ctx, leave := context.WithTimeout(s.Context(), time.Second/2)
			defer leave()
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, _, err := s.getIn(ctx, "GET /a"); !errors.Is(err, context.DeadlineExceeded) {
					s.Errorf("who left got %v", err)
				}
			})
			synctest.Wait()
			bodies, took, _ := crowd(s, 100, same("GET /a"))
			wg.Wait()
			if bodies["2"] != 100 || s.origin.asked() != 2 || took != 3*time.Second/2 {
				s.Errorf("got %v of %d requests in %v", bodies, s.origin.asked(), took)
			}
		})
	})
	t.Run("and this counts as no wait", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			f := s.cache.find(request(s.T, "GET /a"), "http://h/a")
			held, _ := s.cache.takeTurn(f)
			ctx, leave := context.WithCancel(s.Context())
			leave()
			s.cache.endTurn(ctx, held)
			if next, first := s.cache.takeTurn(f); !held.gaveUp || !first || next == held {
				s.Errorf("gave up: %v; the turn is free: %v", held.gaveUp, first)
			}
		})
	})
	t.Run("one who leaves while waiting harms nobody", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(slowly("Cache-Control: max-age=60"))
			var wg sync.WaitGroup
			wg.Go(func() { crowd(s, 10, same("GET /a")) })
			synctest.Wait()
			ctx, leave := context.WithTimeout(s.Context(), time.Second/2)
			defer leave()
			if _, _, err := s.getIn(ctx, "GET /a"); !errors.Is(err, context.DeadlineExceeded) {
				s.Errorf("who left got %v", err)
			}
			wg.Wait()
			if s.origin.asked() != 1 {
				s.Errorf("%d requests", s.origin.asked())
			}
		})
	})
	t.Run("a panic of the origin's goes to the one who asked", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(*http.Request) (*http.Response, error) { panic("ouch") })
			func() {
				defer func() {
					if recover() == nil {
						s.Error("no panic")
					}
				}()
				_, _, _ = s.get("GET /a")
			}()
			s.origin.answers(always(200, "one"))
			if _, body, err := s.get("GET /a"); body != "one" || err != nil {
				s.Errorf("got %q, %v", body, err)
			}
		})
	})
}

// A fill that a purge overtakes answers who waited for it already, and nobody else.
func TestAPurgeDuringARoundTrip(t *testing.T) {
	purges := map[string]func(s *site){
		"of the URL": func(s *site) { _ = s.cache.Purge("http://h/a", Delete) },
		"of all":     func(s *site) { _ = s.table.PurgeAll("", Delete) },
		"by a POST":  func(s *site) { _, _, _ = s.get("POST /a") },
		"by group":   func(s *site) { _, _, _ = s.get("POST /other") },
	}
	stale := func(h string) bool { return strings.Contains(h, "no-store") }
	for kind := range storesOfSites {
		for how, purge := range purges {
			t.Run(kind+", "+how, func(t *testing.T) {
				onSiteWith(t, kind, nil, func(s *site) {
					n := 0
					s.origin.answers(func(req *http.Request) (*http.Response, error) {
						if req.Method == http.MethodPost {
							return reply(200, "", `Cache-Group-Invalidation: "g"`), nil
						}
						n++
						body := fmt.Sprint(n)
						time.Sleep(time.Second)
						return reply(200, body, "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=60", "Vary: X", `Cache-Groups: "g"`), nil
					})
					var wg sync.WaitGroup
					wg.Go(func() {
						resp, body, err := s.get("GET /a")
						if body != "1" || err != nil {
							s.Errorf("who waited got %q, %v", body, err)
							return
						}
						if h := resp.Header; how != "by group" && (!stale(h.Get("Cache-Control")) || h.Get("CDN-Cache-Control") != "") {
							s.Errorf("others may keep it: %v", h)
						}
					})
					synctest.Wait()
					purge(s)
					began := time.Now()
					if _, body, err := s.get("GET /a"); body != "2" || err != nil {
						s.Errorf("who came after the purge got %q, %v", body, err)
					}
					if took := time.Since(began); took != time.Second && how != "by group" {
						s.Errorf("who came after the purge waited for who came before: %v", took)
					}
					wg.Wait()
					if _, body, err := s.get("GET /a"); body != "2" || err != nil {
						s.Errorf("then got %q, %v", body, err)
					}
					s.restart()
					if _, body, _ := s.get("GET /a"); body == "1" {
						s.Error("the restart brought back what was purged")
					}
				})
			})
		}
	}
}

func TestAnOlderAnswerDoesNotReplaceANewer(t *testing.T) {
	for _, late := range []int{200, 304} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			onSite(t, nil, func(s *site) {
				s.origin.answers(always(200, "one", "Cache-Control: max-age=60", `ETag: "1"`))
				_, _, _ = s.get("GET /a")
				s.origin.answers(func(*http.Request) (*http.Response, error) {
					time.Sleep(time.Minute)
					return reply(late, "", "Cache-Control: max-age=600", `ETag: "1"`), nil
				})
				var wg sync.WaitGroup
				wg.Go(func() { _, _, _ = s.get("GET /a | Cache-Control: no-cache") })
				synctest.Wait()
				time.Sleep(time.Second)
				s.origin.answers(always(200, "two", "Cache-Control: max-age=600"))
				_, _, _ = s.get("GET /a | Cache-Control: no-cache")
				wg.Wait()
				if _, body, err := s.get("GET /a"); body != "two" || err != nil {
					s.Errorf("got %q, %v", body, err)
				}
			})
		})
	}
}

// lines is a body that comes as it is asked for, and counts what was read and whether it was closed.
type lines struct {
	read   atomic.Int64
	closed atomic.Bool
	ctx    context.Context
	end    int64
}

func (l *lines) Read(b []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	left := l.end - l.read.Load()
	if left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), 100, int(left))
	for i := range n {
		b[i] = 'x'
	}
	l.read.Add(int64(n))
	return n, nil
}

func (l *lines) Close() error { l.closed.Store(true); return nil }

func endless(end int64, body **lines, fields ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		*body = &lines{ctx: req.Context(), end: end}
		return &http.Response{StatusCode: 200, Header: header(fields...), Body: *body, ContentLength: -1}, nil
	}
}

func TestWhatIsNotStoredStreams(t *testing.T) {
	const far = 1 << 40
	t.Run("nothing is read ahead of what cannot be stored", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			var body *lines
			s.origin.answers(endless(far, &body, "Cache-Control: no-cache", "Content-Type: text/event-stream"))
			resp, err := s.cache.RoundTrip(request(s.T, "GET /a"))
			if err != nil || body.read.Load() != 0 {
				s.Fatalf("%v, %d bytes read", err, body.read.Load())
			}
			if n, err := resp.Body.Read(make([]byte, 10)); n != 10 || err != nil {
				s.Errorf("read %d, %v", n, err)
			}
			if resp.Body.Close(); !body.closed.Load() || body.ctx.Err() == nil {
				s.Error("the origin's exchange goes on")
			}
		})
	})
	t.Run("no more than MaxBytes are read ahead, and all arrive", func(t *testing.T) {
		onSite(t, &TransportOptions{MaxBytes: 1000}, func(s *site) {
			var body *lines
			s.origin.answers(endless(5000, &body, "Cache-Control: max-age=60"))
			resp, err := s.cache.RoundTrip(request(s.T, "GET /a"))
			if err != nil || body.read.Load() > 1100 {
				s.Fatalf("%v, %d bytes read", err, body.read.Load())
			}
			if all, err := io.ReadAll(resp.Body); len(all) != 5000 || strings.Trim(string(all), "x") != "" || err != nil {
				s.Errorf("got %d bytes, %v", len(all), err)
			}
			resp.Body.Close()
			if !body.closed.Load() {
				s.Error("the origin's body is open")
			}
		})
	})
	t.Run("Close of the transport ends it, and what comes after", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			var body *lines
			s.origin.answers(endless(far, &body))
			resp, err := s.cache.RoundTrip(request(s.T, "GET /a"))
			if err != nil {
				s.Fatal(err)
			}
			if err := s.cache.Close(); err != nil {
				s.Fatal(err)
			}
			synctest.Wait()
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				s.Error("it goes on")
			}
			resp.Body.Close()
			sent := &lines{ctx: s.Context()}
			req := request(s.T, "POST /a")
			req.Body = sent
			if _, err := s.cache.RoundTrip(req); err == nil || !sent.closed.Load() {
				s.Errorf("RoundTrip: %v; the request's body closed: %v", err, sent.closed.Load())
			}
			if _, _, err := s.get("GET /b"); !errors.Is(err, errTransportClosed) {
				s.Errorf("GET: %v", err)
			}
		})
	})
	t.Run("trailers pass", func(t *testing.T) {
		onSite(t, nil, func(s *site) {
			s.origin.answers(func(*http.Request) (*http.Response, error) {
				resp := reply(200, "one", "Cache-Control: max-age=60")
				resp.ContentLength, resp.Trailer = -1, http.Header{"X-Sum": {"1"}}
				return resp, nil
			})
			for range 2 {
				resp, body, err := s.get("GET /a")
				if body != "one" || err != nil || resp.Trailer.Get("X-Sum") != "1" || resp.ContentLength != -1 || resp.Header.Get("Content-Length") != "" {
					s.Errorf("got %+v, %q, %v", resp, body, err)
				}
			}
			if s.origin.asked() != 2 {
				s.Errorf("%d requests", s.origin.asked())
			}
		})
	})
}

func TestLostBytesOfARoundTrip(t *testing.T) {
	onSite(t, nil, func(s *site) {
		s.origin.answers(always(200, "one", "Cache-Control: max-age=60", `ETag: "1"`))
		lose := func() { _, _ = s.store.Remove(s.Context(), "s", "http://h/a") }
		_, _, _ = s.get("GET /a")
		lose()
		if resp, body, err := s.get("GET /a"); body != "one" || err != nil || !strings.HasPrefix(resp.Header.Get("Cache-Status"), "imagecdn; fwd=miss") {
			s.Errorf("got %q, %v", body, err)
		}
		time.Sleep(time.Minute)
		lose()
		if _, body, err := s.get("GET /a"); body != "one" || err != nil || s.origin.last().Get("If-None-Match") != "" {
			s.Errorf("got %q, %v", body, err)
		}
	})
}

func TestGroupsAreBounded(t *testing.T) {
	onSite(t, nil, func(s *site) {
		grouped := func(path, groups string) {
			s.run("GET " + path + "\norigin: 200 one | Cache-Control: max-age=600 | Cache-Groups: " + groups)
		}
		grouped("/a", `"a"`)
		grouped("/many", strings.Repeat(`"x", `, maxGroups)+`"y"`)
		grouped("/long", `"`+strings.Repeat("x", maxGroupLength+1)+`"`)
		s.run("GET /a\nis: 200 one\nGET /many\norigin: 200 two\nGET /long\norigin: 200 two")
		for i := range maxInvalidated + 1 {
			s.cache.groups.invalidate("http://h", header(fmt.Sprintf(`Cache-Group-Invalidation: "%d"`, i)))
		}
		if n := len(s.cache.groups.last); n > maxInvalidated {
			s.Errorf("%d groups are kept", n)
		}
		s.run("GET /a\norigin: 200 two | Cache-Control: max-age=600 | Cache-Groups: \"a\"\nGET /a\nis: 200 two")
		s.run("POST /b\norigin: 200 | Cache-Group-Invalidation: " + strings.Repeat(`"x", `, maxGroups) + `"y"` + "\nGET /a\norigin: 200 three")
	})
}

// It is what it is for: a reverse proxy, over the network.
func TestUnderAReverseProxy(t *testing.T) {
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/upgrade":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			rw.Flush()
			if line, err := rw.ReadString('\n'); err == nil {
				fmt.Fprint(rw, line)
				rw.Flush()
			}
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "one")
			http.NewResponseController(w).Flush()
			w.Header().Set("X-Sum", "1")
		default:
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"1"`)
			fmt.Fprint(w, "0123456789")
		}
	}))
	defer origin.Close()
	u, _ := url.Parse(origin.URL)
	store := NewMemory(1 << 20)
	defer store.Close()
	cache := NewTransport(store, origin.Client().Transport, nil)
	defer cache.Close()
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: cache,
	})
	defer front.Close()

	get := func(path string, fields ...string) (resp *http.Response, body string, hints int) {
		t.Helper()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && h.Get("Link") != "" {
					hints++
				}
				return nil
			},
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header(fields...)
		resp, err = front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		all, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp, string(all), hints
	}

	if resp, body, hints := get("/a"); body != "0123456789" || hints != 1 || resp.Header.Get("Cache-Status") != "imagecdn; fwd=uri-miss; fwd-status=200; stored; ttl=60" {
		t.Errorf("first: %v, %q, %d early hints", resp.Header, body, hints)
	}
	if resp, body, hints := get("/a"); body != "0123456789" || hints != 0 || resp.Header.Get("Age") == "" {
		t.Errorf("second: %v, %q, %d early hints", resp.Header, body, hints)
	}
	if resp, body, _ := get("/a", "Range: bytes=1-3"); resp.StatusCode != http.StatusPartialContent || body != "123" {
		t.Errorf("a range: %d %q", resp.StatusCode, body)
	}
	if resp, body, _ := get("/a", `If-None-Match: "1"`); resp.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("a condition: %d %q", resp.StatusCode, body)
	}
	resp, err := front.Client().Head(front.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.ContentLength != 10 {
		t.Errorf("HEAD: %d bytes", resp.ContentLength)
	}
	if asked.Load() != 1 {
		t.Errorf("the origin was asked %d times", asked.Load())
	}
	if resp, body, _ := get("/trailer"); body != "one" || resp.Trailer.Get("X-Sum") != "1" {
		t.Errorf("trailers: %q, %v", body, resp.Trailer)
	}

	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/upgrade", nil)
	req.Header = header("Connection: Upgrade", "Upgrade: echo")
	resp, err = front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	tunnel, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %d", resp.StatusCode)
	}
	fmt.Fprintln(tunnel, "hello")
	if line, err := bufio.NewReader(tunnel).ReadString('\n'); line != "hello\n" || err != nil {
		t.Errorf("through the tunnel: %q, %v", line, err)
	}
}
