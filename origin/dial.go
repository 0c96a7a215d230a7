package origin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// attemptDelay is how long a connection attempt is waited for before the next address is tried beside it (RFC 8305 section 8).
	attemptDelay = 250 * time.Millisecond

	// maxAddresses is how many addresses of one name are tried. All are judged.
	maxAddresses = 8
)

// dial connects to a host and port of a URL, as http.Transport asks for it.
//
// A host that may be at any address is left to net.Dialer. Else this is the order:
//
//	1  the host's spelling is judged: see spelling
//	2  its name is resolved, once
//	3  every address is judged: one that is not public refuses them all, as it shows a name that is being rebound, or is not
//	   meant for outsiders
//	4  those addresses are connected to, none of another answer, and judged again by the dialer's Control right before
func (h *HTTP) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, refused("the origin's address is none", err)
	}
	if private, _ := ctx.Value(anyAddress{}).(bool); private {
		return h.dialer(nil).DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.DialTimeout)
	defer cancel()
	if err := spelling(host); err != nil {
		return nil, refused("the origin's address is not a public one", err)
	}
	addrs, err := h.opts.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	targets := make([]string, len(addrs))
	for i, addr := range addrs {
		addr = addr.Unmap()
		targets[i] = net.JoinHostPort(addr.String(), port)
		if err := h.guard.control(family(addr), targets[i], nil); err != nil {
			return nil, err
		}
	}
	return race(ctx, targets[:min(len(targets), maxAddresses)], func(ctx context.Context, target string) (net.Conn, error) {
		return h.dialer(h.guard).DialContext(ctx, network, target)
	})
}

func family(addr netip.Addr) string {
	if addr.Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// race connects to the first target that answers. Each is begun when the one before it has failed, or has not
// answered in attemptDelay.
func race(ctx context.Context, targets []string, dial func(ctx context.Context, target string) (net.Conn, error)) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan attempt)
	running := 0
	defer func() {
		cancel()
		if running == 0 {
			return
		}
		go func() { // closes what connects in the moment of being cancelled
			for ; running > 0; running-- {
				if late := <-ended; late.conn != nil {
					late.conn.Close()
				}
			}
		}()
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	first := error(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("the name has no addresses")})
	failed := false
	for running > 0 || len(targets) > 0 {
		var due <-chan time.Time
		if len(targets) > 0 {
			due = next.C
		}
		select {
		case <-due:
			target := targets[0]
			targets = targets[1:]
			running++
			go func() {
				conn, err := dial(ctx, target)
				ended <- attempt{conn, err}
			}()
			next.Reset(attemptDelay)
		case a := <-ended:
			running--
			if a.err == nil {
				return a.conn, nil
			}
			if !failed {
				first, failed = a.err, true // the address that the system likes best
			}
			next.Reset(0)
		}
	}
	return nil, first
}

// spelling refuses hosts that some resolvers take for an address and others for a name, so that what is judged could be other than
// what was meant: "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.". And addresses with a zone, and
// the names of this machine, whatever a resolver says (RFC 6761 section 6.3).
func spelling(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("an address with a zone, which the resolver may leave out: " + strconv.Quote(host))
		}
		return nil // for the guard to judge
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case last == "":
		return errors.New("a name with an empty label: " + strconv.Quote(host))
	case last == "localhost":
		return errors.New("a name of this machine: " + strconv.Quote(host))
	case strings.Trim(last, "0123456789") == "", strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "":
		return errors.New("a number as a name: " + strconv.Quote(host))
	case strings.ContainsAny(name, ":%"):
		return errors.New("an address that is none: " + strconv.Quote(host))
	}
	return nil
}

// anyAddress is the key of whether the request that a connection is made for goes to a host that may be anywhere. It is decided
// by the URL's host alone, so that requests which share a connection have it in common. (The dialer has that host in
// Punycode, where it is in another alphabet.)
type anyAddress struct{}

// mayBePrivate reports whether AllowPrivate is for this host of a URL: the base's own, or one that RedirectHosts names.
func (h *HTTP) mayBePrivate(host string) bool {
	return h.opts.AllowPrivate && (strings.EqualFold(host, h.base.Hostname()) || h.listed(host))
}

// dialer returns a dialer whose every connect g is asked about, and then HTTPOptions.Control.
func (h *HTTP) dialer(g *guard) *net.Dialer {
	return &net.Dialer{Timeout: h.opts.DialTimeout, Resolver: h.opts.Resolver, Control: control(g, h.opts.Control)}
}
