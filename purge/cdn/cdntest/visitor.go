package cdntest

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A Visitor asks a cache from 127.0.0.9, an address that is neither the caches' nor the purger's.
type Visitor struct {
	Client *http.Client

	t          testing.TB
	base, host string
}

// NewVisitor returns a visitor of the cache at base, under a host's name.
func NewVisitor(t testing.TB, base, host string) *Visitor {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	tr := &http.Transport{DialContext: dialer.DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &Visitor{&http.Client{Transport: tr}, t, base, host}
}

// In is the same visitor in another test.
func (v *Visitor) In(t testing.TB) *Visitor { return &Visitor{v.Client, t, v.base, v.host} }

// Get asks for a path, with pairs of a header's name and value, and returns the answer and its body.
func (v *Visitor) Get(path, accept string, header ...string) (*http.Response, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.base+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Host = v.host
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := v.Client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp, string(b)
}

// Version is the version that an [Origin] gave what the visitor gets, and whether the cache that he asks had it, as its Cache-Status says. Headers
// that are between caches alone are an error of the test.
func (v *Visitor) Version(path, accept string) (version string, hit bool) {
	v.t.Helper()
	resp, body := v.Get(path, accept)
	if resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %s %s", path, resp.Status, body)
	}
	for _, h := range []string{"Xkey", "X-Url", "X-Host", "X-Swr"} {
		if resp.Header.Get(h) != "" {
			v.t.Errorf("%s: a visitor sees %s: %q", path, h, resp.Header.Get(h))
		}
	}
	_, version, _ = strings.Cut(body, ", version ")
	return version, strings.HasSuffix(strings.Join(resp.Header["Cache-Status"], ", "), "; hit")
}
