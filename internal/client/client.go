// Package client tells clients apart by the address that their requests come from.
package client

import (
	"net/http"
	"net/netip"
)

// Of names the client that a request comes from: its address without the port. Of IPv6 it is the first 64 bits, as whoever has
// one such address has all of them. Where there is no address, as over a Unix socket, all clients have one name.
func Of(r *http.Request) string {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return Name(addr.Addr())
}

// Name is the name of the client at an address.
func Name(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		network, _ := addr.Prefix(64)
		return network.String()
	}
	return addr.String()
}
