package origin

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The addresses are given to the guard as net.Dialer gives them; nothing is dialled.
func TestGuard(t *testing.T) {
	g := newGuard([]uint16{80, 443, 8443})
	for _, test := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "1.1.1.1:443", true},
		{"tcp4", "1.1.1.1:80", true},
		{"tcp4", "1.1.1.1:8443", true},
		{"tcp4", "172.32.0.1:443", true},
		{"tcp4", "100.128.0.1:443", true},
		{"tcp6", "[2606:4700:4700::1111]:443", true},
		{"tcp6", "[2001:470:1:1:5efe::1]:443", true}, // not where ISATAP has it

		// Ports and networks.
		{"tcp4", "1.1.1.1:22", false},
		{"tcp4", "1.1.1.1:6379", false},
		{"tcp4", "1.1.1.1:0", false},
		{"udp4", "1.1.1.1:443", false},
		{"unix", "/run/docker.sock", false},

		// What every filter knows.
		{"tcp4", "127.0.0.1:80", false},
		{"tcp4", "127.255.255.254:80", false},
		{"tcp4", "10.0.0.1:80", false},
		{"tcp4", "172.16.0.1:80", false},
		{"tcp4", "172.31.255.255:80", false},
		{"tcp4", "192.168.1.1:80", false},
		{"tcp4", "169.254.169.254:80", false},
		{"tcp4", "0.0.0.0:80", false},
		{"tcp4", "224.0.0.1:80", false},
		{"tcp4", "255.255.255.255:80", false},
		{"tcp6", "[::1]:80", false},
		{"tcp6", "[::]:80", false},
		{"tcp6", "[fe80::1]:80", false},
		{"tcp6", "[fc00::1]:80", false},
		{"tcp6", "[fd00:ec2::254]:80", false},
		{"tcp6", "[ff02::1]:80", false},
		{"tcp6", "[::ffff:127.0.0.1]:80", false},
		{"tcp6", "[::ffff:7f00:1]:80", false},
		{"tcp6", "[::ffff:1.1.1.1]:80", false}, // net.Dialer never writes a public one so

		// What net.IP's methods let through.
		{"tcp4", "0.1.2.3:80", false},
		{"tcp4", "100.64.0.1:80", false},
		{"tcp4", "100.127.255.255:80", false},
		{"tcp4", "192.0.0.1:80", false},
		{"tcp4", "192.0.2.1:80", false},
		{"tcp4", "198.18.0.1:80", false},
		{"tcp4", "198.51.100.1:80", false},
		{"tcp4", "203.0.113.1:80", false},
		{"tcp4", "240.0.0.1:80", false},
		{"tcp4", "192.88.99.1:80", false},
		{"tcp6", "[::127.0.0.1]:80", false},
		{"tcp6", "[64:ff9b::7f00:1]:80", false},
		{"tcp6", "[64:ff9b:1::7f00:1]:80", false},
		{"tcp6", "[2002:7f00:1::]:80", false},
		{"tcp6", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:80", false},
		{"tcp6", "[fec0::1]:80", false},
		{"tcp6", "[5f00::1]:80", false},
		{"tcp6", "[3fff::1]:80", false},
		{"tcp6", "[100::1]:80", false},
		{"tcp6", "[2001:db8::1]:80", false},

		// ISATAP, on a public prefix, with either universal bit.
		{"tcp6", "[2001:470:1:1:0:5efe:7f00:1]:80", false},
		{"tcp6", "[2001:470:1:1:200:5efe:7f00:1]:80", false},
		{"tcp6", "[2001:470:1:1:0:5efe:a00:1]:443", false},

		// What is no address and port: denied, not passed.
		{"tcp6", "[::1%lo]:80", false},
		{"tcp6", "[2606:4700:4700::1111%eth0]:443", false},
		{"tcp4", "localhost:80", false},
		{"tcp4", "2130706433:80", false},
		{"tcp4", "0177.0.0.1:80", false},
		{"tcp4", "127.1:80", false},
		{"tcp4", "1.1.1.1", false},
		{"tcp4", "", false},
	} {
		err := g.control(test.network, test.address, nil)
		if (err == nil) != test.want {
			t.Errorf("%s %s: got %v, want allowed %v", test.network, test.address, err, test.want)
		}
		if err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s %s: %v is not ErrRefused", test.network, test.address, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "0123456789") {
			t.Errorf("%s %s: %q tells an address", test.network, test.address, err)
		}
	}
}

var errWouldDial = errors.New("test: would dial")

// watched returns an origin that connects to nothing and writes down what it would have connected to. Names are resolved by answer.
func watched(t *testing.T, base string, answer func(host string) []netip.Addr) (h *HTTP, seen func() []string) {
	t.Helper()
	var mu sync.Mutex
	var addresses []string
	h, err := NewHTTP(base, &HTTPOptions{
		Retries: -1,
		Control: func(network, address string, conn syscall.RawConn) error {
			mu.Lock()
			defer mu.Unlock()
			addresses = append(addresses, address)
			return errWouldDial
		},
		Resolver: &net.Resolver{
			PreferGo: true,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go serveDNS(server, answer)
				return client, nil
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(addresses)
		return slices.Clone(addresses)
	}
}

// serveDNS answers queries as they go over TCP (RFC 1035 section 4.2.2).
func serveDNS(conn net.Conn, answer func(host string) []netip.Addr) {
	defer conn.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil || len(query) < 12 {
			return
		}
		var labels []string
		i := 12
		for query[i] != 0 {
			n := int(query[i])
			labels = append(labels, string(query[i+1:i+1+n]))
			i += 1 + n
		}
		question := query[12 : i+5] // name, type, class
		kind := binary.BigEndian.Uint16(query[i+1:])

		var records []byte
		count := 0
		addrs := answer(strings.Join(labels, "."))
		for _, addr := range addrs {
			if addr.Is4() != (kind == 1) || addr.Is6() != (kind == 28) {
				continue
			}
			records = append(records, 0xc0, 12)                             // the name in the question
			records = append(records, question[len(question)-4:]...)        // its type and class
			records = append(records, 0, 0, 0, 0, 0, byte(addr.BitLen()/8)) // lives 0 seconds
			records = append(records, addr.AsSlice()...)
			count++
		}
		flags := uint16(0x8180)
		if len(addrs) == 0 {
			flags |= 3 // no such name
		}
		msg := append([]byte{}, query[:2]...)
		msg = binary.BigEndian.AppendUint16(msg, flags)
		msg = append(msg, 0, 1, 0, byte(count), 0, 0, 0, 0)
		msg = append(append(msg, question...), records...)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
			return
		}
	}
}

func TestSpellingsOfPrivateHostsAreRefused(t *testing.T) {
	for _, base := range []string{
		"http://127.0.0.1/",
		"http://127.0.0.1:8080/",
		"http://[::1]/",
		"http://[::ffff:127.0.0.1]/",
		"http://[::ffff:7f00:1]/",
		"http://[::1%25lo]/",
		"http://[fe80::1%25eth0]/",
		"http://[2606:4700:4700::1111%25eth0]/",
		"http://①②⑦.⓪.⓪.①/",
		"http://１２７.0.0.1/",
		"http://2130706433/",
		"http://0x7f000001/",
		"http://0X7F.1/",
		"http://0177.0.0.1/",
		"http://127.1/",
		"http://127.0.0.1./",
		"http://127.0.0.1../",
		"http://0/",
		"http://256.256.256.256/",
		"http://localhost/",
		"http://LOCALHOST./",
		"http://shop.localhost/",
		"http://169.254.169.254/latest/meta-data/",
		"http://[fd00:ec2::254]/",
		"http://[64:ff9b::7f00:1]/",
		"http://[2002:7f00:1::]/",
	} {
		// The resolver knows every name, so that what is refused is not only so for want of an answer.
		h, seen := watched(t, base, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("1.1.1.1")} })
		err := fails(t, h, "/cat.jpg")
		if !errors.Is(err, ErrRefused) || len(seen()) != 0 {
			t.Errorf("%s: got %v (%v) after dialling %v, want ErrRefused and nothing dialled", base, err, causeOf(err), seen())
		}
		if strings.ContainsAny(err.Error(), "0123456789\n") {
			t.Errorf("%s: %q tells an address, or has more than a line", base, err)
		}
	}
}

// A name whose second answer is another is judged by the second answer.
func TestRebindingIsRefused(t *testing.T) {
	var mu sync.Mutex
	addr := netip.MustParseAddr("1.1.1.1")
	h, seen := watched(t, "http://rebind.example/", func(string) []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		return []netip.Addr{addr}
	})
	if err := fails(t, h, "/cat.jpg"); !errors.Is(err, errWouldDial) {
		t.Fatalf("a public address: got %v (%v), want it to be dialled", err, causeOf(err))
	}
	mu.Lock()
	addr = netip.MustParseAddr("127.0.0.1")
	mu.Unlock()
	if err := fails(t, h, "/cat.jpg"); !errors.Is(err, ErrRefused) || errors.Is(err, errWouldDial) {
		t.Errorf("rebound to a private address: got %v, want ErrRefused", err)
	}
	if want := []string{"1.1.1.1:80"}; !slices.Equal(seen(), want) {
		t.Errorf("%v were dialled, want %v", seen(), want)
	}
}

// What was judged is what is connected to: a name is resolved once for each connection, however its answers change.
func TestNameIsResolvedOnce(t *testing.T) {
	var mu sync.Mutex
	answers := 0
	h, seen := watched(t, "http://rebind.example/", func(string) []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		if answers++; answers <= 2 { // one query for each family
			return []netip.Addr{netip.MustParseAddr("1.1.1.1")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	fails(t, h, "/cat.jpg")
	if want := []string{"1.1.1.1:80"}; !slices.Equal(seen(), want) || answers != 2 {
		t.Errorf("%v were dialled after %d queries, want %v after 2", seen(), answers, want)
	}
}

// One private address among a name's answers refuses them all.
func TestMixedAnswers(t *testing.T) {
	for _, test := range []struct {
		answers string
		want    int // addresses dialled
	}{
		{"1.1.1.1 10.0.0.1", 0},
		{"10.0.0.1 1.1.1.1", 0},
		{"1.1.1.1 ::1", 0},
		{"2606:4700:4700::1111 127.0.0.1", 0},
		{"1.1.1.1 2606:4700:4700::1111 169.254.169.254", 0},
		{"1.1.1.1 2606:4700:4700::1111", 2},
		{"1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 1.1.1.10", maxAddresses},
		{"1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 10.0.0.1", 0},
	} {
		h, seen := watched(t, "http://mixed.example/", func(string) (addrs []netip.Addr) {
			for addr := range strings.FieldsSeq(test.answers) {
				addrs = append(addrs, netip.MustParseAddr(addr))
			}
			return addrs
		})
		err := fails(t, h, "/cat.jpg")
		if len(seen()) != test.want || test.want == 0 && Status(err) != 403 {
			t.Errorf("%s: got %v after dialling %v, want %d addresses dialled", test.answers, err, seen(), test.want)
		}
	}
}

func TestRace(t *testing.T) {
	type outcome struct {
		after time.Duration
		err   string // empty for a connection
	}
	for _, test := range []struct {
		name     string
		outcomes []outcome
		want     string // the target that wins, or the error
		took     time.Duration
	}{
		{"the first", []outcome{{time.Second / 10, ""}, {0, ""}}, "0", time.Second / 10},
		{"a failure lets the next begin", []outcome{{time.Second / 10, "no"}, {time.Second / 10, ""}}, "1", time.Second / 5},
		{"a slow one has the next beside it", []outcome{{time.Second, ""}, {time.Second / 10, ""}}, "1", attemptDelay + time.Second/10},
		{"a slow one may win", []outcome{{time.Second / 2, ""}, {time.Second, ""}}, "0", time.Second / 2},
		{"the first error of all", []outcome{{time.Second, "slow"}, {0, "no"}}, "no", time.Second},
		{"no address", nil, "no addresses", 0},
		{"the end of the time", []outcome{{time.Hour, ""}}, "deadline", 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				targets := make([]string, len(test.outcomes))
				for i := range targets {
					targets[i] = strconv.Itoa(i)
				}
				var mu sync.Mutex
				open := make(map[string]bool)
				start := time.Now()
				conn, err := race(ctx, targets, func(ctx context.Context, target string) (net.Conn, error) {
					i, _ := strconv.Atoi(target)
					select {
					case <-time.After(test.outcomes[i].after):
					case <-ctx.Done():
						if target != "0" || test.outcomes[i].after > time.Minute {
							return nil, ctx.Err()
						}
						// It connects all the same.
					}
					if e := test.outcomes[i].err; e != "" {
						return nil, errors.New(e)
					}
					mu.Lock()
					defer mu.Unlock()
					open[target] = true
					return closer(func() { mu.Lock(); defer mu.Unlock(); delete(open, target) }), nil
				})
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case conn == nil && !strings.Contains(err.Error(), test.want):
					t.Errorf("got %v, want %s", err, test.want)
				case conn != nil && (len(open) != 1 || !open[test.want]):
					t.Errorf("connections to %v are open, want one to %s", open, test.want)
				}
			})
		})
	}
}

// closer is a connection that can only be closed.
type closerConn struct {
	net.Conn
	close func()
}

func closer(f func()) net.Conn    { return closerConn{nil, f} }
func (c closerConn) Close() error { c.close(); return nil }

func TestLoopbackServerGetsNothing(t *testing.T) {
	hits := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer srv.Close()
	h, err := NewHTTP(srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = fails(t, h, "/cat.jpg")
	if !errors.Is(err, ErrRefused) || Status(err) != 403 {
		t.Errorf("got %v, want ErrRefused", err)
	}
	if strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(causeOf(err).Error(), "127.0.0.1") {
		t.Errorf("got text %q and cause %q, want the address in the cause alone", err, causeOf(err))
	}
	if hits != 0 {
		t.Errorf("the server was asked %d times", hits)
	}

	h, err = NewHTTP(srv.URL, &HTTPOptions{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	get(t, h, "/cat.jpg")
	if hits != 1 {
		t.Errorf("with AllowPrivate the server was asked %d times, want once", hits)
	}
}

func TestRedirectToLoopbackIsRefused(t *testing.T) {
	hits := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer srv.Close()
	for _, location := range []string{
		srv.URL + "/secret",
		"http://127.0.0.1/latest/meta-data",
		"http://[::1]/",
		"http://①②⑦.⓪.⓪.①/",
	} {
		h, err := NewHTTP("http://img.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		network := newPipes(t, map[string]http.Handler{
			"img.example:80": http.RedirectHandler(location, http.StatusFound),
		})
		h.transport.DialContext = func(ctx context.Context, kind, addr string) (net.Conn, error) {
			if addr == "img.example:80" {
				return network.dial(ctx, kind, addr)
			}
			return h.dial(ctx, kind, addr)
		}
		if err := fails(t, h, "/cat.jpg"); !errors.Is(err, ErrRefused) {
			t.Errorf("redirect to %s: got %v (%v), want ErrRefused", location, err, causeOf(err))
		}
		h.Close()
	}
	if hits != 0 {
		t.Errorf("the server was asked %d times", hits)
	}
}

// AllowPrivate opens the base's own host, and what RedirectHosts names, and no door to their neighbours.
func TestAllowPrivateIsForNamedHosts(t *testing.T) {
	neighbour := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the neighbour was asked for %s", r.RequestURI)
	}))
	defer neighbour.Close()
	var location string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cat.jpg" {
			io.WriteString(w, r.Host+r.URL.Path)
			return
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	_, next, _ := net.SplitHostPort(neighbour.Listener.Addr().String())
	for _, test := range []struct {
		location string
		hosts    []string
		want     string // the body; empty for a refusal
	}{
		{"/moved.jpg", nil, "img.example:PORT/moved.jpg"},
		{"http://IMG.example:PORT/moved.jpg", nil, "IMG.example:PORT/moved.jpg"},
		{"http://127.0.0.1:PORT/moved.jpg", nil, ""},
		{"http://other.example:PORT/moved.jpg", nil, ""},
		{"http://sub.img.example:PORT/moved.jpg", nil, ""},
		{"http://localhost:PORT/moved.jpg", nil, ""},
		{"http://img.example:NEXT/moved.jpg", nil, ""},
		{"http://img.example/moved.jpg", []string{"other.example"}, ""}, // where nobody listens
		{"http://other.example:PORT/moved.jpg", []string{"other.example"}, "other.example:PORT/moved.jpg"},
		{"http://a.other.example:PORT/moved.jpg", []string{"*.other.example"}, "a.other.example:PORT/moved.jpg"},
		{"http://127.0.0.1:PORT/moved.jpg", []string{"other.example"}, ""},
	} {
		location = strings.NewReplacer("PORT", port, "NEXT", next).Replace(test.location)
		h, err := NewHTTP("http://img.example:"+port, &HTTPOptions{
			AllowPrivate: true, RedirectHosts: test.hosts, Retries: -1,
			Resolver: &net.Resolver{
				PreferGo: true,
				Dial: func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go serveDNS(server, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
					return client, nil
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if test.want == "" {
			fails(t, h, "/cat.jpg")
		} else if _, body := get(t, h, "/cat.jpg"); body != strings.ReplaceAll(test.want, "PORT", port) {
			t.Errorf("%s: got %q, want %q", test.location, body, test.want)
		}
		h.Close()
	}
}

func TestPublicOnly(t *testing.T) {
	for _, test := range []struct {
		ports   []uint16
		address string
		want    bool
	}{
		{nil, "1.1.1.1:443", true},
		{nil, "1.1.1.1:80", true},
		{nil, "1.1.1.1:8443", false},
		{[]uint16{8443}, "1.1.1.1:8443", true},
		{[]uint16{8443}, "1.1.1.1:443", false},
		{nil, "10.0.0.1:443", false},
	} {
		if err := PublicOnly(test.ports...)("tcp4", test.address, nil); (err == nil) != test.want || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s with ports %v: got %v, want allowed %v", test.address, test.ports, err, test.want)
		}
	}
}

// A proxy would be what the guard sees in place of the origin.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	h, seen := watched(t, "http://img.example/", func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("1.1.1.1")} })
	fails(t, h, "/cat.jpg")
	if want := []string{"1.1.1.1:80"}; !slices.Equal(seen(), want) || h.transport.Proxy != nil {
		t.Errorf("%v were dialled, want %v", seen(), want)
	}
}
