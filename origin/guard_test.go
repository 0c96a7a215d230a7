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
	"strings"
	"sync"
	"syscall"
	"testing"
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

// watched returns an origin that connects to nothing and writes down what it would have connected to, or was
// refused. Names are resolved by answer.
func watched(t *testing.T, base string, answer func(host string) []netip.Addr) (h *HTTP, seen func() []string) {
	t.Helper()
	h, err := NewHTTP(base, &HTTPOptions{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var addresses []string
	guarded := h.dialer.Control
	h.dialer.Control = func(network, address string, conn syscall.RawConn) error {
		mu.Lock()
		addresses = append(addresses, address)
		mu.Unlock()
		if err := guarded(network, address, conn); err != nil {
			return err
		}
		return errWouldDial
	}
	h.dialer.Resolver = &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go serveDNS(server, answer)
			return client, nil
		},
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
	nobody := func(string) []netip.Addr { return nil }
	for _, test := range []struct {
		base string
		seen string // what the dialer is about to connect to; empty if the name does not exist
	}{
		{"http://127.0.0.1/", "127.0.0.1:80"},
		{"http://127.0.0.1:8080/", "127.0.0.1:8080"},
		{"http://[::1]/", "[::1]:80"},
		{"http://[::ffff:127.0.0.1]/", "127.0.0.1:80"},
		{"http://[::ffff:7f00:1]/", "127.0.0.1:80"},
		{"http://[::1%25lo]/", "[::1%lo]:80"},
		{"http://①②⑦.⓪.⓪.①/", "127.0.0.1:80"},
		{"http://2130706433/", ""},
		{"http://0x7f000001/", ""},
		{"http://0177.0.0.1/", ""},
		{"http://127.1/", ""},
		{"http://0/", ""},
		{"http://127.0.0.1./", ""},
	} {
		h, seen := watched(t, test.base, nobody)
		err := fails(t, h, "/cat.jpg")
		if errors.Is(err, errWouldDial) {
			t.Errorf("%s would be dialled at %v", test.base, seen())
		}
		if strings.Contains(err.Error(), "127") {
			t.Errorf("%s: %q tells an address", test.base, err)
		}
		switch {
		case test.seen == "" && len(seen()) != 0:
			t.Errorf("%s: the dialer saw %v, want nothing", test.base, seen())
		case test.seen != "" && !slices.Contains(seen(), test.seen):
			t.Errorf("%s: the dialer saw %v (%v), want %s", test.base, seen(), causeOf(err), test.seen)
		case test.seen != "" && !errors.Is(err, ErrRefused):
			t.Errorf("%s: got %v, want ErrRefused", test.base, err)
		}
	}
}

func TestLocalhostIsRefused(t *testing.T) {
	h, seen := watched(t, "http://localhost/", func(string) []netip.Addr { return nil })
	if err := fails(t, h, "/cat.jpg"); !errors.Is(err, ErrRefused) || len(seen()) == 0 {
		t.Errorf("got %v after the dialer saw %v, want ErrRefused", err, seen())
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
	if err := fails(t, h, "/cat.jpg"); !errors.Is(err, ErrRefused) {
		t.Errorf("rebound to a private address: got %v, want ErrRefused", err)
	}
	if want := []string{"1.1.1.1:80", "127.0.0.1:80"}; !slices.Equal(seen(), want) {
		t.Errorf("the dialer saw %v, want %v", seen(), want)
	}
}

// Of several answers, none that is private is connected to.
func TestMixedAnswers(t *testing.T) {
	h, seen := watched(t, "http://mixed.example/", func(string) []netip.Addr {
		return []netip.Addr{
			netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("1.1.1.1"),
			netip.MustParseAddr("::1"), netip.MustParseAddr("2606:4700:4700::1111"),
		}
	})
	fails(t, h, "/cat.jpg")
	for _, address := range seen() {
		if g := newGuard([]uint16{80}); g.control("tcp4", address, nil) == nil && !strings.Contains(address, "1.1.1.1") &&
			!strings.Contains(address, "2606") {
			t.Errorf("%s would be dialled", address)
		}
	}
	if len(seen()) < 2 {
		t.Errorf("the dialer saw %v, want all answers to be tried", seen())
	}
}

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
			return h.dialer.DialContext(ctx, kind, addr)
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
