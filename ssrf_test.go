package imagecdn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	urlpkg "net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/origin"
)

// A dialCounter counts what is about to be connected to after all checks, and connects to nothing but those allowed.
type dialCounter struct {
	mu     sync.Mutex // guards dialled
	dialed []string

	allowed string // an address and port
}

func (c *dialCounter) control(_, address string, _ syscall.RawConn) error {
	if address == c.allowed {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialed = append(c.dialed, address)
	return errors.New("test: would dial")
}

// names is a resolver of these names: what it is given for a name is its answer, addresses with spaces between. Of
// answers with a ";" between, each is given once, and the last for ever. Every other name is at publicAddress.
func names(answers map[string]string) *net.Resolver {
	var mu sync.Mutex
	asked := make(map[string]int) // by name and type
	resolve := func(name string, kind uint16) (addrs []netip.Addr) {
		mu.Lock()
		defer mu.Unlock()
		all, ok := answers[name]
		if !ok {
			all = publicAddress
		}
		list := strings.Split(all, ";")
		key := fmt.Sprint(name, kind)
		n := min(asked[key], len(list)-1)
		asked[key]++
		for a := range strings.FieldsSeq(list[n]) {
			if addr := netip.MustParseAddr(a); addr.Is4() == (kind == typeA) {
				addrs = append(addrs, addr)
			}
		}
		return addrs
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerNames(server, resolve)
		return client, nil
	}}
}

const (
	publicAddress = "1.1.1.1"

	typeA, typeAAAA = 1, 28 // RFC 1035, RFC 3596
)

// answerNames answers queries as they go over TCP (RFC 1035 section 4.2.2).
func answerNames(conn net.Conn, resolve func(name string, kind uint16) []netip.Addr) {
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
		addrs := resolve(strings.ToLower(strings.Join(labels, ".")), kind)
		msg := append([]byte{}, query[:2]...)
		msg = append(msg, 0x81, 0x80, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0)
		msg = append(msg, question...)
		for _, addr := range addrs {
			msg = append(msg, 0xc0, 12)                             // the name in the question
			msg = append(msg, question[len(question)-4:]...)        // its type and class
			msg = append(msg, 0, 0, 0, 0, 0, byte(addr.BitLen()/8)) // lives 0 seconds
			msg = append(msg, addr.AsSlice()...)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
			return
		}
	}
}

// forbiddenHosts are hosts, as URLs spell them, that no source may be at and no redirect may lead to. The names are those of
// forbiddenNames.
var forbiddenHosts = []string{
	// Loopback, in every spelling that some parser takes.
	"127.0.0.1", "127.255.255.254", "localhost", "LocalHost", "localhost.", "images.localhost", "127.0.0.1.", "127.0.0.1..",
	"2130706433", "0x7f000001", "0X7F.0.0.1", "017700000001", "0177.0.0.1", "0177.0.0.01", "127.1", "127.0.1", "0", "0.0.0.0", "00", "127.0.0.0x1",
	"[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]",
	"①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "①②⑦。⓪。⓪。①", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
	"%31%32%37.0.0.1", "%6cocalhost",

	// With a zone.
	"[::1%25lo]", "[fe80::1%25eth0]", "[2606:4700:4700::1111%25eth0]", "[::ffff:127.0.0.1%25lo]",

	// Private, link-local, shared, reserved, for benchmarks and documentation, multicast, broadcast.
	"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "169.254.170.2", "0.1.2.3", "100.64.0.1", "100.100.100.200",
	"192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]", "[5f00::1]", "[4000::1]",

	// IPv4 within IPv6: NAT64, 6to4, Teredo, ISATAP.
	"[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
	"[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[2001:470:1:1:0:5efe:7f00:1]", "[2001:470:1:1:200:5efe:a00:1]",

	// Names.
	"loopback.test", "private.test", "metadata.test", "mapped.test", "nat64.test", "six.test", "LOOPBACK.test", "loopback.test.",
	"mixed.test", "mixed6.test", "mixedfamilies.test",

	// Ports.
	"1.1.1.1:22", "1.1.1.1:6379", "1.1.1.1:8080", "public.test:11211", "[2606:4700:4700::1111]:25",
}

var forbiddenNames = map[string]string{
	"loopback.test":      "127.0.0.1",
	"private.test":       "10.1.2.3",
	"metadata.test":      "169.254.169.254",
	"mapped.test":        "::ffff:127.0.0.1",
	"nat64.test":         "64:ff9b::7f00:1",
	"six.test":           "::1",
	"mixed.test":         "1.1.1.1 1.0.0.1 127.0.0.1",
	"mixed6.test":        "2606:4700:4700::1111 fd00::1",
	"mixedfamilies.test": "1.1.1.1 ::1",
}

// No spelling of a place that is not public is connected to, whether a source is at it or a redirect leads to it. Each is
// answered 403 with one line that tells nothing of it.
func TestSSRF(t *testing.T) {
	var location string
	img := paint(t, red, 8, 8)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if location == "" {
			w.Write(img)
			return
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}))
	defer outside.Close()
	_, port, _ := net.SplitHostPort(outside.Listener.Addr().String())

	refuses := func(t *testing.T, how, host string, count *dialCounter, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s, want 403", how, host, w.Code, w.Body)
		}
		body := w.Body.String()
		if strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n") || strings.ContainsAny(body, "[]%") || strings.Contains(body, "127") ||
			strings.Contains(body, "test") {
			t.Errorf("%s %s: %q is not one line that tells nothing", how, host, body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s %s: %v", how, host, w.Header())
		}
		if len(count.dialed) != 0 {
			t.Errorf("%s %s: %v would be dialled", how, host, count.dialed)
		}
	}
	source := func(base string, count *dialCounter, answers map[string]string, private bool) (*imagecdn.Handler, error) {
		s := imagecdn.Origin(base)
		s.HTTP = &origin.HTTPOptions{Control: count.control, Resolver: names(answers), Retries: -1, AllowPrivate: private}
		return imagecdn.New(imagecdn.Sources{"shop": s}, nil)
	}

	for _, host := range forbiddenHosts {
		// A source there.
		count := new(dialCounter)
		if h, err := source("http://"+host+"/", count, forbiddenNames, false); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("a source at %s: %q has more than one line", host, err)
			}
		} else if isPort := strings.Contains(strings.TrimPrefix(host, "["), ":") && !strings.HasSuffix(host, "]"); !isPort { // a source's own port is one to go to
			refuses(t, "a source at", host, count, get(h, "/shop/cat.jpg?w=20"))
			h.Close()
		} else {
			h.Close()
		}

		// A redirect there, of an origin that may be private itself.
		for _, scheme := range []string{"http", "https"} {
			location = scheme + "://" + host + "/latest/meta-data/"
			count := &dialCounter{allowed: outside.Listener.Addr().String()}
			answers := map[string]string{"origin.test": "127.0.0.1"}
			for name, list := range forbiddenNames {
				answers[name] = list
			}
			h, err := source("http://origin.test:"+port+"/", count, answers, true)
			if err != nil {
				t.Fatal(err)
			}
			refuses(t, "a redirect to "+scheme, host, count, get(h, "/shop/cat.jpg?w=20"))
			h.Close()
		}
	}

	// Redirects that are refused for another reason than their host.
	for _, to := range []string{
		"file:///etc/passwd", "gopher://public.test/", "ftp://public.test/x", "data:image/png;base64,AAAA", "javascript:alert(1)", "HTTP+unix://x/",
		"http://ann@public.test/", "http://ann:secret@public.test/", "http://@public.test/", "http://public.test@127.0.0.1/", "http://127.0.0.1#@public.test/",
		"http://127.0.0.1\\@public.test/", "http:///etc/passwd", "http://", "//127.0.0.1/", "//[::1]/", "http://public.test:0/", "http://public.test:65616/",
		"http://public.test:-1/", "http://public.test:80a/", "http://pub\tlic.test/", "http://a%00b/", "http://[::1", "http://[1.1.1.1]/", "://x", "http://%zz/",
	} {
		location = to
		count := &dialCounter{allowed: outside.Listener.Addr().String()}
		h, err := source("http://origin.test:"+port+"/", count, map[string]string{"origin.test": "127.0.0.1"}, true)
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, "a redirect to", to, count, get(h, "/shop/cat.jpg?w=20"))
		h.Close()
	}

	// Without the redirect it is a picture: what is refused above is refused for where it leads.
	location = ""
	h, err := source("http://origin.test:"+port+"/", &dialCounter{allowed: outside.Listener.Addr().String()}, map[string]string{"origin.test": "127.0.0.1"}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	mustGet(t, h, "/shop/cat.jpg?w=20")
}

// A name that answers with a public address first and a private one later is judged by what would be connected to.
func TestSSRFByRebinding(t *testing.T) {
	for _, answers := range []string{
		"1.1.1.1;127.0.0.1",
		"1.1.1.1;1.1.1.1;127.0.0.1",
		"1.1.1.1;1.1.1.1 127.0.0.1;10.0.0.1",
	} {
		count := new(dialCounter)
		s := imagecdn.Origin("http://rebound.test/")
		s.HTTP = &origin.HTTPOptions{Control: count.control, Resolver: names(map[string]string{"rebound.test": answers}), Retries: -1}
		h, err := imagecdn.New(imagecdn.Sources{"shop": s}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			w := get(h, fmt.Sprintf("/shop/%d.jpg", i))
			if w.Code != http.StatusForbidden {
				t.Errorf("%s: request %d: %d %s", answers, i, w.Code, w.Body)
			}
		}
		h.Close()
		for _, address := range count.dialed {
			if address != "1.1.1.1:80" {
				t.Errorf("%s: %s would be dialled", answers, address)
			}
		}
	}
}

// What a client writes into a URL of an image is a path of the source, or refused. It never chooses a host.
func TestSSRFByPathAndParameters(t *testing.T) {
	count := new(dialCounter)
	var asked []string
	s := imagecdn.Source{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host+r.URL.Path)
		return nil, errors.New("test: no image")
	})}
	guarded := imagecdn.Origin("http://public.test/")
	guarded.HTTP = &origin.HTTPOptions{Control: count.control, Resolver: names(nil), Retries: -1}
	native := withSources(t, imagecdn.Sources{"photos": s, "shop": guarded}, nil)
	hosts := map[string]string{"public.test": "shop"}
	imgix := withSources(t, imagecdn.Sources{"shop": guarded}, &imagecdn.Options{Dialect: imagecdn.Imgix{Hosts: hosts}})
	cloudimage := withSources(t, imagecdn.Sources{"shop": guarded}, &imagecdn.Options{Dialect: imagecdn.Cloudimage{Hosts: hosts}})
	check := func(t *testing.T, h *imagecdn.Handler, url string) {
		t.Helper()
		asked, count.dialed = nil, nil
		w := get(h, url)
		if w.Code/100 != 4 || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s: %d %s", url, w.Code, w.Body)
		}
		if len(asked)+len(count.dialed) != 0 {
			t.Errorf("%s: %v was asked for, %v dialled", url, asked, count.dialed)
		}
	}
	for _, host := range append([]string{"other.test"}, forbiddenHosts...) {
		escaped := urlpkg.QueryEscape("http://" + host + "/x.png")
		for _, url := range []string{
			"/photos/cat.png?mark=" + escaped,
			"/photos/cat.png?w=20&blend=" + escaped,
			"/photos/cat.png?w=20&mask=" + escaped,
			"/photos/cat.png?w=20&mark=x.png&mark-base=" + escaped,
			"/http://" + host + "/x.png",
			"//" + host + "/x.png",
			"/" + urlpkg.PathEscape("http://"+host+"/x.png"),
		} {
			check(t, native, url)
		}
		// The dialects whose URLs may have hosts: those that are listed name a source, and no other is looked up.
		for _, url := range []string{
			"/" + urlpkg.PathEscape("http://"+host+"/x.png"),
			"/https://" + host + "/x.png",
			"/" + host + "/x.png",
			"/http://public.test@" + host + "/x.png",
		} {
			check(t, imgix, url)
			check(t, cloudimage, url)
		}
		check(t, imgix, "/"+urlpkg.PathEscape("http://public.test/x.png")+"?mark="+escaped)
		check(t, cloudimage, "/public.test/x.png?wat=1&wat_url="+escaped)
	}
}

func withSources(t *testing.T, sources imagecdn.Sources, o *imagecdn.Options) *imagecdn.Handler {
	t.Helper()
	h, err := imagecdn.New(sources, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What an origin sends compressed, though it was told not to, is refused: a few bytes could grow without end.
func TestCompressedOriginsAreRefused(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd", "deflate", "identity, gzip", "x-unheard-of"} {
		var accepted []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			accepted = r.Header["Accept-Encoding"]
			w.Header().Set("Content-Encoding", coding)
			w.Write(paint(t, red, 8, 8))
		}))
		s := imagecdn.Origin(server.URL)
		s.HTTP = &origin.HTTPOptions{AllowPrivate: true, Retries: -1}
		h, err := imagecdn.New(imagecdn.Sources{"shop": s}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := get(h, "/shop/cat.png?w=20")
		if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "Content-Encoding") || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%s: %d %s", coding, w.Code, w.Body)
		}
		if len(accepted) != 1 || accepted[0] != "identity" {
			t.Errorf("%s: Accept-Encoding was %q", coding, accepted)
		}
		h.Close()
		server.Close()
	}
}
