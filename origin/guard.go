package origin

import (
	"errors"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// PublicOnly returns a [net.Dialer.Control] that denies what [NewHTTP] denies by default: every address that is not a public
// one, and every port but these. With no ports, 80 and 443. It is for other clients whose URLs strangers may choose, such as
// that of webhooks, which have a policy of their own. Its errors are an [*Error] of kind [ErrRefused].
//
// A proxy has to be off in such a client (http.Transport.Proxy nil), as it would be the proxy's address that is looked at.
func PublicOnly(ports ...uint16) func(network, address string, conn syscall.RawConn) error {
	if len(ports) == 0 {
		ports = []uint16{80, 443}
	}
	return newGuard(ports).control
}

// A guard decides which addresses may be dialled. It is asked by net.Dialer after names have been resolved and
// right before each connect, so there is no name, spelling or second DNS answer that gets round it. What it
// sees is what is connected to.
type guard struct {
	registry *ssrf.Guardian // the IANA special-purpose registries, networks and ports
}

func newGuard(ports []uint16) *guard {
	return &guard{ssrf.New(ssrf.WithPorts(ports...))}
}

// control is a net.Dialer.Control. Its error is an *Error of kind ErrRefused.
func (g *guard) control(network, address string, conn syscall.RawConn) error {
	err := g.registry.Safe(network, address, conn)
	if err == nil {
		err = embedded(address)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ssrf.ErrProhibitedPort) {
		return refused("the origin's port is not an allowed one", err)
	}
	return refused("the origin's address is not a public one", err)
}

func refused(text string, cause error) *Error {
	return &Error{Text: "origin: refused: " + text, Kind: ErrRefused, Cause: cause}
}

// control asks g and then more, those that are not nil.
func control(g *guard, more func(network, address string, conn syscall.RawConn) error) func(network, address string, conn syscall.RawConn) error {
	return func(network, address string, conn syscall.RawConn) error {
		if g != nil {
			if err := g.control(network, address, conn); err != nil {
				return err
			}
		}
		if more == nil {
			return nil
		}
		if err := more(network, address, conn); err != nil {
			return refused("the origin's address is not an allowed one", err)
		}
		return nil
	}
}

// embedded refuses what the registries cannot: addresses with a zone, which belong to one link, and ISATAP
// (RFC 5214), whose interface identifier 0000:5efe or 0200:5efe under any prefix, public ones too, is
// followed by the IPv4 address that the packet is tunnelled to.
func embedded(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := ap.Addr()
	if ip.Zone() != "" {
		return errors.New("address with a zone: " + address)
	}
	if ip.Is6() {
		if b := ip.As16(); b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
			return errors.New("ISATAP address: " + address)
		}
	}
	return nil
}
