package cdn

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/imagecdn/imagecdn/purge"
)

// An item is one value that a CDN is to purge.
type item struct {
	kind  Kind
	value string
}

// A plan is what a flush takes on one CDN.
type plan struct {
	items  []item            // distinct
	of     map[item][]int    // the names that take an item, as indexes
	cannot map[int]string    // names that nothing the CDN can do covers, and why
	names  []string          // what is purged: paths, folders or tags
	seen   map[item]struct{} // those in items
}

// planFor picks, for what is purged, the cheapest that covers it.
//
// A tag covers all that an image goes into. Where the CDN has no tags, a prefix or a URL that covers queries takes the picture in all forms, and not those
// that it is a watermark of; and URLs alone take the forms that Edge.Variants lists. All takes more than is asked for, and
// so is taken only where Edge.Widen allows it.
//
// Names that blocked has failed on the CDN that it says, and so are not purged here.
func planFor(e *Edge, n Namer, features Features, scope purge.Scope, names []string, blocked map[string]string) *plan {
	p := &plan{of: make(map[item][]int), cannot: make(map[int]string), names: names, seen: make(map[item]struct{})}
	for i, name := range names {
		if before := blocked[name]; before != "" {
			p.cannot[i] = fmt.Sprintf("not told, as it failed on %s, which is before this CDN", before)
		}
	}
	if e.WidenAfter > 0 && len(names)-len(p.cannot) > e.WidenAfter {
		p.widen(e, n, features, scope)
		return p
	}
	for i, name := range names {
		if p.cannot[i] != "" {
			continue
		}
		items := itemsFor(e, n, features.Forms, scope, name)
		if items == nil && e.Widen {
			if _, ok := features.Forms[All]; ok {
				items = []item{{kind: All}}
			}
		}
		if items == nil {
			p.cannot[i] = whyNot(features.Forms, scope)
			continue
		}
		for _, it := range items {
			p.add(it, i)
		}
	}
	return p
}

func (p *plan) add(it item, name int) {
	if _, ok := p.seen[it]; !ok {
		p.seen[it] = struct{}{}
		p.items = append(p.items, it)
	}
	p.of[it] = append(p.of[it], name)
}

// widen purges the sources of what is purged, or everything where Edge.Widen allows that.
func (p *plan) widen(e *Edge, n Namer, features Features, scope purge.Scope) {
	for i, name := range p.names {
		if p.cannot[i] != "" {
			continue
		}
		whole := "/*"
		if scope == purge.Original || scope == purge.Prefix {
			source, _, _ := strings.Cut(name[1:], "/")
			whole = "/" + source + "/*"
		}
		items := itemsFor(e, n, features.Forms, purge.All, whole)
		if _, ok := features.Forms[All]; items == nil && ok && e.Widen {
			items = []item{{kind: All}}
		}
		if items == nil {
			items = itemsFor(e, n, features.Forms, scope, name)
		}
		if items == nil {
			p.cannot[i] = whyNot(features.Forms, scope)
			continue
		}
		for _, it := range items {
			p.add(it, i)
		}
	}
}

// itemsFor returns what covers one name without covering much else, or nil where the CDN has no such thing.
func itemsFor(e *Edge, n Namer, forms map[Kind]Form, scope purge.Scope, name string) []item {
	if _, ok := forms[Tag]; ok {
		var items []item
		for _, t := range tagsFor(n, scope, name) {
			items = append(items, item{Tag, t})
		}
		return items
	}
	if len(e.Bases) == 0 || scope == purge.Tag {
		return nil
	}
	path, whole := name, scope != purge.Original
	if scope == purge.All {
		path = strings.TrimSuffix(name, "*")
	}
	byURL, byPrefix := forms[URL], forms[Prefix]
	_, hasURL := forms[URL]
	_, hasPrefix := forms[Prefix]
	switch {
	case whole && hasPrefix:
	case whole:
		return nil
	case hasURL && byURL.Query && (!hasPrefix || perCall(byURL) >= perCall(byPrefix)):
		hasPrefix = false
	case hasPrefix:
	case hasURL && len(e.Variants) > 0:
	default:
		return nil
	}
	var items []item
	escaped := spellings(path)
	for _, base := range e.Bases {
		for _, at := range escaped {
			if hasPrefix {
				items = append(items, item{Prefix, base + at})
				continue
			}
			items = append(items, item{URL, base + at})
			if !byURL.Query {
				for _, v := range e.Variants {
					items = append(items, item{URL, base + at + "?" + v})
				}
			}
		}
	}
	return items
}

// spellings returns how a path may stand in URLs, which caches tell apart: as package net/url has it, as browsers do (the URL standard, and encodeURI),
// as encodeURIComponent does, and with all but what RFC 3986 calls unreserved escaped. For most paths that is one.
//
// A star is escaped in all of them, as several CDNs take it for a wildcard, and so is what no client of HTTP sends.
func spellings(path string) []string {
	all := []string{(&url.URL{Path: path}).EscapedPath()}
	for _, plain := range []string{"!$&'()+,/:;=@[]", "!'()/", "/"} {
		if s := escapedBut(path, plain); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// escapedBut escapes all of a path but what is unreserved (RFC 3986 section 2.3) or plain.
func escapedBut(path, plain string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0, strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// perCall is about how many values go through a form in a call.
func perCall(f Form) int { return max(f.MaxItems, 1) }

// tagsFor returns the tags to purge for a name.
func tagsFor(n Namer, scope purge.Scope, name string) []string {
	switch scope {
	case purge.Tag:
		return []string{n.Origin(name), n.overflow()}
	case purge.All:
		if name == "/*" {
			return []string{n.Everything()}
		}
		return []string{n.Source(strings.TrimSuffix(name[1:], "/*"))}
	}
	source, path, _ := strings.Cut(name[1:], "/")
	if scope == purge.Prefix && path == "" {
		return []string{n.Source(source)}
	}
	if scope == purge.Prefix {
		return []string{n.Folder(source, "/"+path), n.overflow()}
	}
	return []string{n.Image(source, "/"+path)}
}

// whyNot says what a CDN lacks for a purge.
func whyNot(forms map[Kind]Form, scope purge.Scope) string {
	_, all := forms[All]
	_, byURL := forms[URL]
	_, byPrefix := forms[Prefix]
	text := "this CDN purges no tags, and so no " + map[purge.Scope]string{
		purge.Original: "image in all its forms", purge.Prefix: "folders", purge.Tag: "tags of origins", purge.All: "sources",
	}[scope]
	switch {
	case all:
		return text + "; with Widen everything is purged there instead"
	case byPrefix && scope != purge.Tag:
		return text + " without Bases"
	case byURL && scope == purge.Original:
		return text + "; Variants lists the forms to purge"
	}
	return text
}

// checkBase returns a base URL without the slash at its end.
func checkBase(base string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("the base %q is no URL such as %q", base, "https://www.example.com/img")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", fmt.Errorf("the base %q has more than a scheme, a host and a path", base)
	}
	return strings.TrimSuffix(base, "/"), nil
}
