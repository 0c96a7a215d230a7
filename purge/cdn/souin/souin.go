// Package souin purges Souin, and Caddy with cache-handler, which is Souin, on one server or on several:
//
//	s, err := souin.New([]string{"http://10.0.0.1:2019", "http://10.0.0.2:2019"}, nil)
//
// The addresses are those where its API is: in Caddy that of the admin API. The API is to be switched on; of Caddy, the global options are
//
//	{
//		admin 10.0.0.1:2019 { origins 10.0.0.1:2019 } # reached by nobody but imagecdn
//		order cache before rewrite
//		cache {
//			api { souin }
//			ttl 1h
//			cdn {
//				dynamic
//				strategy hard
//			}
//		}
//	}
//
// # What is asked
//
// Every server is asked, all at once, and each has to answer, also where Souins share a store, which is asked as often then. An error names those that did
// not. Another try asks all of them again, which does no harm.
//
//	tag          PURGE /souin-api/souin          Surrogate-Key: TAG, TAG     204
//	URL, prefix  POST  /souin-api/souin          {"type":"uri-prefix","selectors":["HOST/PATH"],"purge":true}     200
//	all          PURGE /souin-api/souin/flush    204
//
// Tags are read from Surrogate-Key of responses, where they are separated by a comma and a space, unless there is Cache-Groups, which comes first: a
// handler that is behind Souin is not to send that too.
//
// POST takes what draft-nottingham-http-invalidation says, as far as Souin does: uri-prefix is a path in whole segments, and covers all queries
// of it and all that is below it. There is no other way by URL that can be relied on: the draft's uri finds nothing (as its source has it, a key would
// have to go on after its own end), and PURGE of a key, or of an expression, depends on the version and on the scheme that Souin itself sees. So a URL is purged
// with all its queries, and a prefix has to end where a segment does: "/img/pets/" and "/img/pets" are the same, and "/img/pe" is what
// is at that path, and below. The host is that which visitors ask for, with the port where they give one; hosts that end in it are purged as well.
//
// Nothing is soft: Souin drops copies also where the draft's purge is false.
//
// # Limits
//
// Souin has none. A batch is held to 100 selectors, for each of which it goes through all keys, to 250 tags, and to 7,000 bytes of tags.
//
// # Who may purge
//
// Everybody who reaches the API: Souin's own login is no more recommended by its authors. Options.Header adds a header to each call, for what is in front of it.
//
// What this package sends is from Souin's documentation and source (pkg/api/souin.go, pkg/surrogate), and is tested with a stand-in.
package souin

import (
	"bytes"
	"context"
	"encoding/json"
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

	// Header is sent with each call.
	Header http.Header

	// Path is that of the API: the settings api.basepath and api.souin.basepath of Souin, one after the other. Empty means "/souin-api/souin".
	Path string
}

// CDN is Souin on all its servers. It implements [cdn.CDN].
type CDN struct {
	servers *cdn.Servers
	path    string
}

var _ cdn.CDN = (*CDN)(nil)

// New returns the Souin whose API is at servers, base addresses such as "http://10.0.0.1:2019". A nil o means the defaults.
func New(servers []string, o *Options) (*CDN, error) {
	if o == nil {
		o = &Options{}
	}
	c := &CDN{path: o.Path}
	if c.path == "" {
		c.path = "/souin-api/souin"
	}
	if u, err := url.Parse(c.path); err != nil || u.EscapedPath() != c.path || c.path[0] != '/' || strings.HasPrefix(c.path, "//") || strings.HasSuffix(c.path, "/") {
		return nil, fmt.Errorf("souin: Options.Path: %q is no path such as /souin-api/souin", c.path)
	}
	var err error
	c.servers, err = cdn.NewServers("souin", o.Client, o.Header, servers, false)
	if err != nil {
		return nil, err
	}
	return c, nil
}

const maxTags = 7000 // bytes of a header

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	return cdn.Features{
		Forms: map[cdn.Kind]cdn.Form{
			cdn.Tag:    {MaxItems: 250, MaxBytes: maxTags, ItemBytes: 2},
			cdn.URL:    {MaxItems: 100, Query: true},
			cdn.Prefix: {MaxItems: 100},
			cdn.All:    {},
		},
		Tags: []cdn.TagHeader{{Name: "Surrogate-Key", Separator: ", "}},
	}
}

// invalidation is the body of a POST: draft-nottingham-http-invalidation.
type invalidation struct {
	Type      string   `json:"type"`
	Selectors []string `json:"selectors"`
	Purge     bool     `json:"purge"`
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	var call cdn.ServerCall
	switch b.Kind {
	case cdn.Tag:
		for _, tag := range b.Values {
			if tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }) {
				return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q is no tag: it has printable ASCII without space and comma", tag)}
			}
		}
		call.Request = func(base string) (*http.Request, error) {
			r, err := http.NewRequest("PURGE", base+c.path, nil)
			if err == nil {
				r.Header.Set("Surrogate-Key", strings.Join(b.Values, ", "))
			}
			return r, err
		}
	case cdn.URL, cdn.Prefix:
		i := invalidation{Type: "uri-prefix", Purge: true}
		seen := make(map[string]bool)
		for _, value := range b.Values {
			u, err := url.Parse(value)
			if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
				return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q is no absolute URL", value)}
			}
			selector := u.Host + strings.TrimRight(u.EscapedPath(), "/")
			if strings.Contains(selector, "//") {
				return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q: Souin takes no selector with two slashes in a row", value)}
			}
			if !seen[selector] {
				seen[selector] = true
				i.Selectors = append(i.Selectors, selector)
			}
		}
		body, err := json.Marshal(i)
		if err != nil {
			return cdn.Receipt{}, &cdn.Error{Reason: err.Error()}
		}
		call.Request = func(base string) (*http.Request, error) {
			r, err := http.NewRequest(http.MethodPost, base+c.path, bytes.NewReader(body))
			if err == nil {
				r.Header.Set("Content-Type", "application/json")
			}
			return r, err
		}
	case cdn.All:
		call.Request = func(base string) (*http.Request, error) { return http.NewRequest("PURGE", base+c.path+"/flush", nil) }
	default:
		return cdn.Receipt{}, &cdn.Error{Reason: "souin does not purge by " + string(b.Kind)}
	}
	return c.servers.Do(ctx, []cdn.ServerCall{call}, nil)
}
