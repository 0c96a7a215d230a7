package command

import (
	"errors"
	"flag"
	"net/netip"
	"strings"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/middleware"
)

// rateFlags say who is who, and how many pictures each client has made.
type rateFlags struct {
	perSecond float64
	burst     int
	proxies   proxyFlags
}

func (r *rateFlags) define(f *flag.FlagSet) {
	f.Float64Var(&r.perSecond, "rate", 0, "most `pictures` a second that each client has fetched or made, once it has had -rate-burst of them; hits do not count; 0 means no limit")
	f.IntVar(&r.burst, "rate-burst", 100, "most `pictures` that a client has fetched or made at once, with -rate")
	f.Var(&r.proxies, "trusted-proxy", "addresses of proxies, such as `10.0.0.0/8`, whose X-Forwarded-For says who the client is; may be repeated")
}

// set sets what the flags are about.
func (r *rateFlags) set(o *imagecdn.Options) {
	if len(r.proxies) > 0 {
		o.Client = (&middleware.Forwarded{Trusted: r.proxies}).Client
	}
	if r.perSecond > 0 {
		o.Admit = (&middleware.Rate{PerSecond: r.perSecond, Burst: r.burst, Client: o.Client}).Check
	}
}

// proxyFlags collects -trusted-proxy.
type proxyFlags []netip.Prefix

func (p *proxyFlags) String() string { return "" }

func (p *proxyFlags) Set(v string) error {
	if addr, err := netip.ParseAddr(v); err == nil {
		*p = append(*p, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	prefix, err := netip.ParsePrefix(strings.TrimSpace(v))
	if err != nil {
		return errors.New("give an address or a range such as 10.0.0.0/8")
	}
	*p = append(*p, prefix)
	return nil
}
