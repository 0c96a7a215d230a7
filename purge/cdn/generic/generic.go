// Package generic purges caches and CDNs that have no package of their own, by requests that their operator describes:
//
//	g, err := generic.New(&generic.Options{
//		Forms: map[cdn.Kind]generic.Form{
//			cdn.Tag: {
//				URL:      "https://api.example.net/v1/purge",
//				Header:   map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json"},
//				Body:     `{"tags": {tags}}`,
//				MaxItems: 50,
//			},
//			cdn.URL: {Method: "PURGE", URL: "{url}"},
//		},
//		Tags: []cdn.TagHeader{{Name: "Cache-Tag", Separator: ","}},
//	})
//
// [Options] and all that is in them may be decoded from JSON, where names begin with a small letter: {"forms": {"url": {"method": "PURGE", "url": "{url}"}}}.
//
// # Templates
//
// The URL, the values of headers and the body are texts with placeholders:
//
//	{tag} {tags}            the tag, all tags of the batch         in a form for tags
//	{url} {urls}            the absolute URL                       in a form for URLs
//	{prefix} {prefixes}     the beginning of absolute URLs         in a form for prefixes
//	{host}                  the host of the URL or the prefix, with its port where it has one
//	{path} {paths}          what is after the host, with the query
//	{id}                    the batch's ID, the same for every try of it
//
// With one of the second column, a batch is one request; else it is one request for each value. One of the value's placeholders has to be there,
// unless the form is for all. Other braces stand for themselves.
//
// What is put in is escaped for the place that it is put in. In a URL everything but letters, digits and -._~ is percent-encoded, and several values are
// joined by Separator; but {host} and {path} are as they are in the URL, and so are {url} and {prefix} where the template begins with them. In a header values are as they are,
// joined by Separator; the header Host is where the request is for. In a body it depends on the header Content-Type: in application/json a value is
// the inside of a string, so that quotes are around it in the template ("{url}"), and several values are a list, without ({urls}); in
// application/x-www-form-urlencoded they are as in a URL, and else as in a header.
//
// # Answers
//
// 2xx is good, and so are the form's Statuses, such as 404 where there was nothing to purge. 408, 425, 429 and 5xx other than 501 and 505 may be tried again, and Retry-After is heeded. All else is
// an error that no other try mends, with the beginning of the body as its reason. Whether an answer means that the purge has been carried out is what Options.Complete says.
//
// With Options.Servers, a URL that begins with "/" is asked of each of them, and each has to answer; an error names those that did not.
package generic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the settings of [New]. At least one form is required.
type Options struct {
	// Client makes the calls. Nil means that of [cdn.NewClient].
	Client *http.Client `json:"-"`

	// Servers are base addresses, such as "http://10.0.0.1:8080", each of which has to be told. Forms have URLs that begin with "/" then, and
	// with a scheme or "{url}" else.
	Servers []string

	// Forms are what there is to ask, by what is to be purged: "tag", "url", "prefix" and "all".
	Forms map[cdn.Kind]Form

	// Soft are the requests that mark copies as stale. Of them, the limits have no meaning. Where there is none for a kind, it is dropped.
	Soft map[cdn.Kind]Form

	// Tags are the headers of responses where tags are looked for. Without one, tags find nothing, so that a form for tags needs one.
	Tags []cdn.TagHeader

	// Complete says that the answer comes when the purge has been carried out everywhere, unless it is 202. Zero means that nothing is known of
	// that.
	Complete bool
}

// A Form is a request, and how much may be asked by it.
type Form struct {
	Method string            // empty means POST
	URL    string            // a template
	Header map[string]string // templates, by name
	Body   string            // a template

	Separator string // between several values in the URL or in a header; empty means ","
	Statuses  []int  // good answers beside 2xx

	// The limits, of which cdn.Form says what they are and what zero means.
	MaxItems, MaxBytes, ItemBytes int
	Rates                         []cdn.Rate

	// Query says of a form for URLs that a URL without a query covers those with one.
	Query bool
}

// CDN is what the options describe. It implements [cdn.CDN].
type CDN struct {
	o       Options
	servers *cdn.Servers
	hard    map[cdn.Kind]*form
	soft    map[cdn.Kind]*form
}

var _ cdn.CDN = (*CDN)(nil)

// A form is a Form that was looked through.
type form struct {
	Form
	json, percent bool // how the body is escaped
	all           bool // one request for all values
}

// New returns what o describes. An error says which form is wrong, without its texts, which may have keys in them.
func New(o *Options) (*CDN, error) {
	if o == nil || len(o.Forms) == 0 {
		return nil, errors.New("generic: Options.Forms is empty: nothing could be purged")
	}
	c := &CDN{o: *o, hard: make(map[cdn.Kind]*form), soft: make(map[cdn.Kind]*form)}
	c.o.Tags = slices.Clone(o.Tags)
	for _, set := range []struct {
		name string
		from map[cdn.Kind]Form
		to   map[cdn.Kind]*form
	}{{"Forms", o.Forms, c.hard}, {"Soft", o.Soft, c.soft}} {
		for _, kind := range slices.Sorted(maps.Keys(set.from)) {
			f, err := look(kind, set.from[kind], len(o.Servers) > 0)
			if err != nil {
				return nil, fmt.Errorf("generic: Options.%s, %q: %w", set.name, kind, err)
			}
			set.to[kind] = f
			if _, ok := o.Forms[kind]; !ok {
				return nil, fmt.Errorf("generic: Options.Soft has a form for %q, and Options.Forms has none", kind)
			}
		}
	}
	if _, ok := c.hard[cdn.Tag]; ok && len(o.Tags) == 0 {
		return nil, errors.New("generic: there is a form for tags, and Options.Tags says no header where they are found")
	}
	c.servers = cdn.Anywhere(o.Client, nil)
	if len(o.Servers) > 0 {
		var err error
		if c.servers, err = cdn.NewServers("generic", o.Client, nil, o.Servers, true); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// placeholders are the names by kind: of one value, and of all.
var placeholders = map[cdn.Kind]struct{ one, all []string }{
	cdn.Tag:    {[]string{"tag"}, []string{"tags"}},
	cdn.URL:    {[]string{"url", "host", "path"}, []string{"urls", "paths"}},
	cdn.Prefix: {[]string{"prefix", "host", "path"}, []string{"prefixes", "paths"}},
	cdn.All:    {},
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func look(kind cdn.Kind, in Form, servers bool) (*form, error) {
	names, ok := placeholders[kind]
	if !ok {
		return nil, errors.New("there is no such kind: tag, url, prefix or all")
	}
	f := &form{Form: in}
	f.Header, f.Statuses, f.Rates = maps.Clone(in.Header), slices.Clone(in.Statuses), slices.Clone(in.Rates)
	if f.Method == "" {
		f.Method = http.MethodPost
	}
	if f.Separator == "" {
		f.Separator = ","
	}
	if !token.MatchString(f.Method) {
		return nil, errors.New("the method is no word")
	}
	if f.MaxItems < 0 || f.MaxBytes < 0 || f.ItemBytes < 0 {
		return nil, errors.New("a limit is below zero")
	}
	switch {
	case servers && !strings.HasPrefix(f.URL, "/"):
		return nil, errors.New(`the URL begins with "/", as there are Servers`)
	case !servers && !strings.HasPrefix(f.URL, "http://") && !strings.HasPrefix(f.URL, "https://") && !strings.HasPrefix(f.URL, "{url}") && !strings.HasPrefix(f.URL, "{prefix}"):
		return nil, errors.New(`the URL begins with "http://", "https://" or "{url}", or with "/" where there are Servers`)
	}
	texts := []string{f.URL, f.Body}
	for name, value := range f.Header {
		if !token.MatchString(name) {
			return nil, errors.New("the name of a header is no word")
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("the header %s has the end of a line in it", name)
		}
		if http.CanonicalHeaderKey(name) == "Content-Type" {
			switch t, _, _ := mime.ParseMediaType(value); {
			case t == "application/json" || strings.HasSuffix(t, "+json"):
				f.json = true
			case t == "application/x-www-form-urlencoded":
				f.percent = true
			}
		}
		texts = append(texts, value)
	}
	var one, all bool
	for _, text := range texts {
		for _, p := range placeholder.FindAllString(text, -1) {
			switch name := strings.Trim(p, "{}"); {
			case name == "id":
			case slices.Contains(names.one, name):
				one = true
			case slices.Contains(names.all, name):
				all = true
			default:
				return nil, fmt.Errorf("there is no placeholder %s here", p)
			}
		}
	}
	if one && all {
		return nil, errors.New("placeholders of one value and of all are mixed")
	}
	if !one && !all && kind != cdn.All {
		return nil, errors.New("there is no placeholder of what is to be purged")
	}
	f.all = all || kind == cdn.All
	if f.json && f.Body != "" {
		b := placeholder.ReplaceAllStringFunc(f.Body, func(p string) string {
			if slices.Contains(names.all, strings.Trim(p, "{}")) {
				return `["x"]`
			}
			return "x"
		})
		if !json.Valid([]byte(b)) {
			return nil, errors.New(`the body is no JSON: quotes are around one value, "{url}", and none around several, {urls}`)
		}
	}
	return f, nil
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	f := cdn.Features{Forms: make(map[cdn.Kind]cdn.Form), Soft: len(c.soft) > 0, Tags: slices.Clone(c.o.Tags)}
	for kind, of := range c.hard {
		f.Forms[kind] = cdn.Form{
			MaxItems: of.MaxItems, MaxBytes: of.MaxBytes, ItemBytes: of.ItemBytes, Rates: slices.Clone(of.Rates), Query: of.Query,
			Hard: c.soft[kind] == nil,
		}
	}
	return f
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	f := c.hard[b.Kind]
	if soft := c.soft[b.Kind]; b.Soft && soft != nil {
		f = soft
	}
	if f == nil {
		return cdn.Receipt{}, &cdn.Error{Reason: "there is no form for " + string(b.Kind)}
	}
	var urls []*url.URL
	for _, value := range b.Values {
		if strings.ContainsAny(value, "\r\n\x00") {
			return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q has the end of a line in it", value)}
		}
		if b.Kind == cdn.Tag {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			return cdn.Receipt{}, &cdn.Error{Reason: fmt.Sprintf("%q is no absolute URL", value)}
		}
		urls = append(urls, u)
	}
	var calls []cdn.ServerCall
	if f.all {
		calls = append(calls, f.call(b, b.Values, urls))
	} else {
		for i := range b.Values {
			var u []*url.URL
			if urls != nil {
				u = urls[i : i+1]
			}
			calls = append(calls, f.call(b, b.Values[i:i+1], u))
		}
	}
	r, err := c.servers.Do(ctx, calls, nil, f.Statuses...)
	r.Complete = r.Complete && c.o.Complete
	return r, err
}

// call is the request for some values of a batch.
func (f *form) call(b cdn.Batch, values []string, urls []*url.URL) cdn.ServerCall {
	call := cdn.ServerCall{Values: values}
	call.Request = func(base string) (*http.Request, error) {
		// In the URL's beginning a value stands for itself.
		target := f.URL
		before := ""
		for _, p := range []string{"{url}", "{prefix}"} {
			if rest, ok := strings.CutPrefix(target, p); ok {
				before, target = values[0], rest
			}
		}
		target = base + before + fill(target, b, values, urls, place{percent, f.joined(percent), same})
		inBody := place{same, f.joined(same), same}
		switch {
		case f.json:
			inBody = place{inString, list, inString}
		case f.percent:
			inBody = place{percent, f.joined(percent), percent}
		}
		body := fill(f.Body, b, values, urls, inBody)
		r, err := http.NewRequest(f.Method, target, strings.NewReader(body))
		if err != nil {
			return nil, errors.New("the template makes no URL")
		}
		for name, value := range f.Header {
			value = fill(value, b, values, urls, place{same, f.joined(same), same})
			if http.CanonicalHeaderKey(name) == "Host" {
				r.Host = value
			} else {
				r.Header.Set(name, value)
			}
		}
		return r, nil
	}
	return call
}

// A place says how values are escaped where they are put in: one, several, and a host or a path.
type place struct {
	one  func(string) string
	all  func([]string) string
	part func(string) string
}

// fill puts values into a template.
func fill(template string, b cdn.Batch, values []string, urls []*url.URL, in place) string {
	return placeholder.ReplaceAllStringFunc(template, func(p string) string {
		switch p {
		case "{id}":
			return in.one(b.ID)
		case "{tag}", "{url}", "{prefix}":
			return in.one(values[0])
		case "{tags}", "{urls}", "{prefixes}":
			return in.all(values)
		case "{host}":
			return in.part(urls[0].Host)
		case "{path}":
			return in.part(urls[0].RequestURI())
		}
		paths := make([]string, len(urls)) // {paths}: there are no others
		for i, u := range urls {
			paths[i] = u.RequestURI()
		}
		return in.all(paths)
	})
}

// joined joins several values and escapes what comes of it.
func (f *form) joined(escape func(string) string) func([]string) string {
	return func(all []string) string { return escape(strings.Join(all, f.Separator)) }
}

// list is a list of strings of JSON.
func list(all []string) string {
	b, _ := json.Marshal(all)
	return string(b)
}

func same(s string) string { return s }

// percent encodes all but what RFC 3986 has unreserved.
func percent(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// inString is the inside of a string of JSON.
func inString(s string) string {
	b, _ := json.Marshal(s)
	return string(b[1 : len(b)-1])
}
