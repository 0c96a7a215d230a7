package command

import (
	"flag"
	"slices"

	"github.com/imagecdn/imagecdn/middleware"
)

// corsFlags say which pages may read images, and measure how long they took.
type corsFlags struct{ origins, timing listFlag }

func (c *corsFlags) define(f *flag.FlagSet) {
	f.Var(&c.origins, "cors", "let scripts of pages of this `origin` read images: https://shop.example, https://*.shop.example, or * for all; may be repeated")
	f.Var(&c.timing, "timing-origins", "let pages of this `origin` measure how long images took (Timing-Allow-Origin), or none; may be repeated (default those of -cors)")
}

// middleware is what the flags come to.
func (c *corsFlags) middleware() (*middleware.CORS, error) {
	m := &middleware.CORS{Origins: c.origins, TimingOrigins: c.timing}
	if slices.Contains(c.timing, "none") {
		if len(c.timing) > 1 {
			return nil, usageError("-timing-origins none stands alone")
		}
		m.TimingOrigins = []string{}
	}
	if err := m.Valid(); err != nil {
		return nil, usageError("-cors and -timing-origins take origins: " + err.Error())
	}
	return m, nil
}

// listFlag collects words.
type listFlag []string

func (l *listFlag) String() string { return "" }

func (l *listFlag) Set(v string) error {
	*l = append(*l, v)
	return nil
}
