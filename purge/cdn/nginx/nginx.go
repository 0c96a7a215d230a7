// Package nginx purges nginx with the module ngx_cache_purge, on one server or on several:
//
//	n, err := nginx.New([]string{"http://10.0.0.1", "http://10.0.0.2"}, nil)
//
// The configuration that goes with it is [testdata/nginx.conf], complete. It is what this package is tested with.
//
// # Two modules
//
// FRiCKLE's ngx_cache_purge 2.3 is what Debian and Ubuntu have, as libnginx-mod-http-cache-purge. It drops what is at one key: nothing
// but URLs can be purged. That of github.com/nginx-modules/ngx_cache_purge, to be built with nginx, drops by prefix, where a key ends in "*", and
// all at a location with purge_all. [Options] says which it is, as the modules do not: to the first, "*" is a letter like others, and what it answers to
// a prefix is what the second answers where there is nothing to drop.
//
// # What is asked
//
// Every server is asked, all at once, and each has to answer: nginx passes a purge on to nobody. An error names those that did not. Another try asks
// all of them again, which does no harm. 404 and 412 are nginx's words for "not there", and as good as 200.
//
//	URL       PURGE /-/purge/URL        Host: HOST    Accept: one call for each of Options.Accepts
//	prefix    PURGE /-/purge/PREFIX*    Host: HOST    Accept: …        with Options.Wildcards
//	all       PURGE ALLPATH                                            with Options.AllPath
//
// The location that purges is one of its own, as the other form of the directive, in the location of the images ("PURGE from …"), has the workers of nginx 1.22
// crash with the module that Debian 12 builds. Where that form works, Options.Path is "/".
//
// nginx keeps variants of one URL apart by the key that the configuration makes, and the module drops one key. So each URL is purged
// once for each variant: the configuration has four, by whether AVIF and WebP are accepted. Variants that nginx makes by Vary itself cannot be purged one
// by one (the module drops the first and leaves the others, which are then given again), which is why the configuration ignores Vary; of
// nginx-modules' module, cache_purge_vary_aware drops them all. The query counts: another query is another URL. The spelling counts too: a visitor
// who asks for "%63at.jpg" has made a copy of his own. A prefix is that of the text of a URL.
//
// There are no tags, and nothing is soft.
//
// # Limits
//
// nginx has none. A batch is held to 100 URLs, or 10 prefixes, for each of which the module reads the key of each file of the cache. Where
// cache_purge_background_queue is on, it answers 202 to prefixes and to all, before it has: the receipt is not Complete then, and nothing can be asked about it.
//
// # Who may purge
//
// Those of the directive's list of addresses, and nginx answers 403 to others, which is an error that no retry mends.
//
// # What is not possible
//
// An answer that nginx was getting when it was purged is stored when it has come. So nginx is to be asked after imagecdn, which is what the rings of the planner do:
// what imagecdn answers to requests from before a purge has no-store then.
//
// The commercial proxy_cache_purge of NGINX Plus takes the same calls, "*" with purger=on, and answers 204.
//
// [testdata/nginx.conf]: https://github.com/imagecdn/imagecdn/blob/main/purge/cdn/nginx/testdata/nginx.conf
package nginx

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means that of [cdn.NewClient].
	Client *http.Client

	// Header is sent with each call.
	Header http.Header

	// Accepts are values of Accept, one for each variant that the configuration's key tells apart. Nil means "*/*", "image/webp", "image/avif"
	// and "image/avif,image/webp", which are those of testdata/nginx.conf. Where the key has nothing of Accept, one value is enough.
	Accepts []string

	// Path is that of the location that purges, and is put before the path of URLs. Empty means "/-/purge", as in testdata/nginx.conf. "/" means that nothing
	// is put before it: images are purged where they are asked for.
	Path string

	// Wildcards says that the module takes "*" at the end of a key as any end: that of nginx-modules does, FRiCKLE's, which Debian has,
	// does not. The zero value means that prefixes are not purged.
	Wildcards bool

	// AllPath is the path of a location with purge_all, such as "/-/purge-all". Empty means that there is none, and all is not purged.
	AllPath string
}

// CDN is nginx on all its servers. It implements [cdn.CDN].
type CDN struct {
	servers *cdn.Servers
	o       Options
}

var _ cdn.CDN = (*CDN)(nil)

// New returns the nginx at servers, base addresses such as "http://10.0.0.1:80". A nil o means the defaults.
func New(servers []string, o *Options) (*CDN, error) {
	c := &CDN{}
	if o != nil {
		c.o = *o
	}
	if c.o.Accepts == nil {
		c.o.Accepts = []string{"*/*", "image/webp", "image/avif", "image/avif,image/webp"}
	} else {
		c.o.Accepts = append([]string(nil), c.o.Accepts...)
	}
	if len(c.o.Accepts) == 0 {
		return nil, errors.New("nginx: Options.Accepts is empty: nothing would be purged")
	}
	if c.o.Path == "" {
		c.o.Path = "/-/purge"
	}
	if !isPath(c.o.Path) {
		return nil, fmt.Errorf("nginx: Options.Path: %q is no path such as /-/purge", c.o.Path)
	}
	c.o.Path = strings.TrimSuffix(c.o.Path, "/")
	if p := c.o.AllPath; p != "" && !isPath(p) {
		return nil, fmt.Errorf("nginx: Options.AllPath: %q is no path such as /-/purge-all", p)
	}
	var err error
	c.servers, err = cdn.NewServers("nginx", c.o.Client, c.o.Header, servers, false)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func isPath(p string) bool {
	u, err := url.Parse(p)
	return err == nil && strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && u.EscapedPath() == p
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	f := cdn.Features{Forms: map[cdn.Kind]cdn.Form{cdn.URL: {MaxItems: 100}}}
	if c.o.Wildcards {
		f.Forms[cdn.Prefix] = cdn.Form{MaxItems: 10}
	}
	if c.o.AllPath != "" {
		f.Forms[cdn.All] = cdn.Form{}
	}
	return f
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	var calls []cdn.ServerCall
	absent := []int{http.StatusNotFound, http.StatusPreconditionFailed}
	switch {
	case b.Kind == cdn.URL, b.Kind == cdn.Prefix && c.o.Wildcards:
		for _, value := range b.Values {
			u, err := url.Parse(value)
			if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
				return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q is no absolute URL", value)}
			}
			uri := u.RequestURI()
			switch {
			case b.Kind == cdn.Prefix:
				uri += "*"
			case c.o.Wildcards && strings.HasSuffix(uri, "*"):
				return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q: a URL with * at its end is a prefix to nginx", value)}
			}
			for _, accept := range c.o.Accepts {
				calls = append(calls, cdn.ServerCall{Values: []string{value}, Request: func(base string) (*http.Request, error) {
					r, err := http.NewRequest("PURGE", base+c.o.Path+uri, nil)
					if err == nil {
						r.Host = u.Host
						r.Header.Set("Accept", accept)
					}
					return r, err
				}})
			}
		}
	case b.Kind == cdn.All && c.o.AllPath != "":
		absent = nil // that there is no such location
		calls = append(calls, cdn.ServerCall{Request: func(base string) (*http.Request, error) {
			return http.NewRequest("PURGE", base+c.o.AllPath, nil)
		}})
	default:
		return cdn.Receipt{}, &cdn.Error{Reason: "this nginx does not purge by " + string(b.Kind)}
	}
	return c.servers.Do(ctx, calls, words, absent...)
}

var title = regexp.MustCompile(`(?is)<title>(?:\d+ )?([^<]*)</title>`)

// words finds the title of nginx's pages of errors.
func words(body []byte) string {
	if m := title.FindSubmatch(body); m != nil {
		return html.UnescapeString(string(m[1]))
	}
	return string(body)
}
