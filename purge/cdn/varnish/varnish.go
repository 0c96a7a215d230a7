// Package varnish purges Varnish Cache, on one server or on several:
//
//	v, err := varnish.New([]string{"http://10.0.0.1:6081", "http://10.0.0.2:6081"}, nil)
//
// The VCL that it speaks with is [testdata/imagecdn.vcl], complete, for Varnish Cache 7.1 or later with vmod xkey, which is in the package
// varnish-modules: it says who may purge, keeps one copy for each answer of Accept, honours stale-while-revalidate and stale-if-error, and hides
// tags from visitors. It is what this package is tested with.
//
// # What is asked
//
// Every server is asked, all at once, and each has to answer: Varnish passes a purge on to nobody. An error names those that did not. Another
// try asks all of them again, which does no harm.
//
//	tag       PURGE /      xkey-purge: TAG TAG       (xkey-softpurge where soft)
//	URL       PURGE URL    Host: HOST                (x-soft: 1 where soft)
//	prefix    BAN /        x-ban: obj.http.x-host == HOST && obj.http.x-url ~ ^(PREFIX|PREFIX)
//	all       BAN /        x-ban: obj.status != 0
//
// A tag covers all variants of all URLs that were answered with it. A URL covers its variants by Vary, and the query counts: another query is another
// URL. A host is compared in lower case and without a port, which is how the VCL has it, and the scheme is not looked at.
// Bans are never soft. They are exact for what is in the cache as they come, cost a comparison
// for each object, which Varnish makes behind (the ban lurker) or on the next hit, and are not forgotten at a restart of the cache, which is
// then empty.
//
// With Options.Bans, tags are bans too: obj.http.xkey ~ (TAG|TAG). That is for Varnish without vmod xkey, and for so many
// objects that xkey is too slow, of which its authors warn (vmod_xkey(3)).
//
// # Limits
//
// Varnish has none, but for the length of a header, which is that of the parameter http_req_hdr_len: 8 KiB. A batch is held to 250 values, and
// tags to 7,000 bytes. Prefixes that take more, with what is escaped in them, are several bans.
//
// # Who may purge
//
// The VCL's list of addresses, and it answers 403 to others, which is an error that no retry mends. Options.Header adds a header to each call, for a VCL
// that asks for a key.
//
// # What is not possible
//
// There is no way to wait for a fetch that is under way: one that has its header already is dropped by a purge, one that has not is not, and
// stores what it gets. So Varnish is to be asked after imagecdn, which is what the rings of the planner do: what imagecdn answers to requests from before
// a purge has no-store then.
//
// [testdata/imagecdn.vcl]: https://github.com/imagecdn/imagecdn/blob/main/purge/cdn/varnish/testdata/imagecdn.vcl
package varnish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means that of [cdn.NewClient].
	Client *http.Client

	// Header is sent with each call, such as a key that the VCL asks for.
	Header http.Header

	// Bans has tags found by bans on the header of objects, for Varnish without vmod xkey. Nothing is soft then but URLs.
	Bans bool

	// TagHeader is the header of responses where the tags are. Empty means "xkey", which is where vmod xkey looks.
	TagHeader string

	// PurgeHeader, SoftHeader, SoftURLHeader and BanHeader are those of calls: the first two have tags for xkey.purge and xkey.softpurge, the third
	// makes that of a URL soft, and the last has the text of a ban. Empty means "xkey-purge", "xkey-softpurge", "x-soft" and "x-ban".
	PurgeHeader, SoftHeader, SoftURLHeader, BanHeader string

	// URLHeader and HostHeader are the headers that the VCL gives objects for bans. Empty means "x-url" and "x-host".
	URLHeader, HostHeader string
}

// CDN is Varnish on all its servers. It implements [cdn.CDN].
type CDN struct {
	servers *cdn.Servers
	o       Options
}

var _ cdn.CDN = (*CDN)(nil)

// New returns the Varnish at servers, base addresses such as "http://10.0.0.1:6081". A nil o means the defaults.
func New(servers []string, o *Options) (*CDN, error) {
	c := &CDN{}
	if o != nil {
		c.o = *o
	}
	var err error
	if c.servers, err = cdn.NewServers("varnish", c.o.Client, c.o.Header, servers, false); err != nil {
		return nil, err
	}
	for _, h := range []struct {
		field *string
		zero  string
	}{
		{&c.o.TagHeader, "xkey"},
		{&c.o.PurgeHeader, "xkey-purge"}, {&c.o.SoftHeader, "xkey-softpurge"}, {&c.o.SoftURLHeader, "x-soft"}, {&c.o.BanHeader, "x-ban"},
		{&c.o.URLHeader, "x-url"}, {&c.o.HostHeader, "x-host"},
	} {
		if *h.field == "" {
			*h.field = h.zero
		}
		if strings.Trim(*h.field, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return nil, fmt.Errorf("varnish: %q is no name of a header", *h.field)
		}
	}
	return c, nil
}

// maxHeader bounds the value of a header: http_req_hdr_len is 8 KiB, with the name.
const maxHeader = 7000

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag:    {MaxItems: 250, MaxBytes: maxHeader, ItemBytes: 1, Hard: c.o.Bans},
			cdn.URL:    {MaxItems: 250},
			cdn.Prefix: {MaxItems: 250, Hard: true},
			cdn.All:    {Hard: true},
		},
		Soft: true,
		Tags: []cdn.TagHeader{{Name: c.o.TagHeader, Separator: " "}},
	}
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	calls, err := c.calls(b)
	if err != nil {
		return cdn.Receipt{}, &cdn.Error{Reason: err.Error()}
	}
	return c.servers.Do(ctx, calls, nil)
}

// calls are what each server is asked for a batch.
func (c *CDN) calls(b cdn.Batch) ([]cdn.ServerCall, error) {
	switch b.Kind {
	case cdn.Tag:
		for _, tag := range b.Values {
			if tag == "" || strings.Trim(tag, visible) != "" || strings.Contains(tag, ",") {
				return nil, fmt.Errorf("%q is no tag for xkey: it has printable ASCII without space and comma", tag)
			}
		}
		switch {
		case c.o.Bans:
			// No space is in the text, as it would end the argument.
			return c.bans("obj.http."+c.o.TagHeader+` ~ (^|[\x20,])(`, b.Values, b.Values, `)([\x20,]|$)`)
		case b.Soft:
			return []cdn.ServerCall{header("PURGE", c.o.SoftHeader, strings.Join(b.Values, " "), nil)}, nil
		}
		return []cdn.ServerCall{header("PURGE", c.o.PurgeHeader, strings.Join(b.Values, " "), nil)}, nil
	case cdn.URL:
		var calls []cdn.ServerCall
		for _, value := range b.Values {
			u, err := parse(value)
			if err != nil {
				return nil, err
			}
			calls = append(calls, cdn.ServerCall{Values: []string{value}, Request: func(base string) (*http.Request, error) {
				r, err := http.NewRequest("PURGE", base+u.RequestURI(), nil)
				if err == nil {
					r.Host = u.Host
					if b.Soft {
						r.Header.Set(c.o.SoftURLHeader, "1")
					}
				}
				return r, err
			}})
		}
		return calls, nil
	case cdn.Prefix:
		var hosts []string
		paths, values := make(map[string][]string), make(map[string][]string)
		for _, value := range b.Values {
			u, err := parse(value)
			if err != nil {
				return nil, err
			}
			h := hostname(u)
			if paths[h] == nil {
				hosts = append(hosts, h)
			}
			paths[h] = append(paths[h], u.RequestURI())
			values[h] = append(values[h], value)
		}
		var calls []cdn.ServerCall
		for _, h := range hosts {
			of, err := c.bans("obj.http."+c.o.HostHeader+" == "+h+" && obj.http."+c.o.URLHeader+" ~ ^(", paths[h], values[h], ")")
			if err != nil {
				return nil, err
			}
			calls = append(calls, of...)
		}
		return calls, nil
	case cdn.All:
		return []cdn.ServerCall{header("BAN", c.o.BanHeader, "obj.status != 0", nil)}, nil
	}
	return nil, errors.New("varnish does not purge by " + string(b.Kind))
}

// visible is ASCII that is seen.
const visible = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// bans are as few bans as fit into headers, of texts between before and after, which are for values.
func (c *CDN) bans(before string, texts, values []string, after string) (calls []cdn.ServerCall, err error) {
	var of []string // values of the ban that is being made
	text := before
	for i := range texts {
		quoted := quote(texts[i])
		if len(before)+len(quoted)+len(after) > maxHeader {
			return nil, fmt.Errorf("%q is too long for a header", values[i])
		}
		if len(of) > 0 && len(text)+len("|")+len(quoted)+len(after) > maxHeader {
			calls = append(calls, header("BAN", c.o.BanHeader, text+after, of))
			text, of = before, nil
		}
		if len(of) > 0 {
			text += "|"
		}
		text += quoted
		of = append(of, values[i])
	}
	return append(calls, header("BAN", c.o.BanHeader, text+after, of)), nil
}

func header(method, name, value string, values []string) cdn.ServerCall {
	return cdn.ServerCall{Values: values, Request: func(base string) (*http.Request, error) {
		r, err := http.NewRequest(method, base+"/", nil)
		if err == nil {
			r.Header.Set(name, value)
		}
		return r, err
	}}
}

func parse(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no absolute URL", value)
	}
	return u, nil
}

// hostname is a URL's host as the VCL has it: in lower case, without a port and the root's dot.
func hostname(u *url.URL) string {
	h := strings.ToLower(u.Host)
	return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(h, u.Port()), ":"), ".")
}

// quote makes of s a regular expression of PCRE that matches it and nothing else, without what ends a word in the text of a ban: spaces and quotes.
func quote(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-_=%~:,@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}
