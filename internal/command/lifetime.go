package command

import (
	"flag"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// lifetimeFlags say how long images live, of all sources. As in Options, 0 means the default.
type lifetimeFlags struct {
	least, always                     time.Duration
	unsaid, negative, stale, browsers time.Duration
}

func (l *lifetimeFlags) define(f *flag.FlagSet) {
	f.DurationVar(&l.least, "min-lifetime", 0, "least `time` that images live, such as 24h, whatever their origins say; 0 means as they say")
	f.DurationVar(&l.always, "lifetime", 0, "`time` that all images live, such as 720h, in place of what their origins say; 0 means as they say")
	f.DurationVar(&l.unsaid, "default-lifetime", 0, "`time` that images live of which their origin says nothing; 0 means 365 days")
	f.DurationVar(&l.negative, "negative-lifetime", 0, "most `time` that a 404, or a picture that cannot be made, is remembered; 0 means 5 minutes")
	f.DurationVar(&l.stale, "stale-if-error", 0, "`time` beyond its lifetime that an image is served while its origin fails, where that does not say; 0 means a day, less than 0 none")
	f.DurationVar(&l.browsers, "browser-max-age", 0, "most `time` that browsers may keep images, which no purge reaches; 0 means as long as shared caches, and with -cdns 5 minutes")
}

// set sets what the flags are about.
func (l *lifetimeFlags) set(o *imagecdn.Options) error {
	for name, d := range map[string]time.Duration{
		"-min-lifetime": l.least, "-lifetime": l.always, "-default-lifetime": l.unsaid, "-negative-lifetime": l.negative, "-browser-max-age": l.browsers,
	} {
		if d < 0 {
			return usageError(name + " takes a time of at least 0")
		}
	}
	lifetime := cache.Lifetime{Default: l.unsaid, Negative: l.negative, StaleIfError: l.stale}
	switch {
	case l.least > 0 && l.always > 0:
		return usageError("-min-lifetime and -lifetime contradict each other: the first keeps what origins say of more, the second nothing")
	case l.least > 0:
		lifetime.Policy, lifetime.Value = cache.Minimum, l.least
	case l.always > 0:
		lifetime.Policy, lifetime.Value = cache.Override, l.always
	}
	o.Lifetime, o.BrowserMaxAge = lifetime, l.browsers
	return nil
}
