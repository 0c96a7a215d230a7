package middleware

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/imagecdn/imagecdn/internal/client"
)

// Forwarded finds out who sent a request through proxies that are known, by X-Forwarded-For:
//
//	proxies := &middleware.Forwarded{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
//	renders := &middleware.Rate{Client: proxies.Client}
//
// The zero value trusts nobody, and takes the address that a request came from.
type Forwarded struct {
	// Trusted are the addresses of the proxies. Each must append the address that it was asked from to X-Forwarded-For.
	Trusted []netip.Prefix
}

// Client names the client of a request: the last address on the way here that is not of a trusted proxy, without its port,
// and of IPv6 the first 64 bits. What the client itself has written into X-Forwarded-For stands before that, and is not looked at.
func (f *Forwarded) Client(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return client.Of(r)
	}
	last := from.Addr()
	fields := r.Header["X-Forwarded-For"]
	for i := len(fields) - 1; i >= 0; i-- {
		list := fields[i]
		for more := true; more; {
			if !f.trusts(last) {
				return client.Name(last)
			}
			var entry string
			comma := strings.LastIndexByte(list, ',')
			entry, more = list[comma+1:], comma >= 0
			list = list[:max(comma, 0)]
			next, ok := parseHop(strings.TrimSpace(entry))
			if !ok {
				return client.Name(last) // nobody who is trusted writes that
			}
			last = next
		}
	}
	return client.Name(last)
}

func (f *Forwarded) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range f.Trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseHop reads an address, which some proxies write with a port.
func parseHop(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr, true
	}
	at, err := netip.ParseAddrPort(s)
	return at.Addr(), err == nil
}
