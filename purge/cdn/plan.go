package cdn

import (
	"fmt"
	"net/url"
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
func planFor(e *Edge, n Namer, features Features, scope purge.Scope, names []string) *plan {
	p := &plan{of: make(map[item][]int), cannot: make(map[int]string), names: names, seen: make(map[item]struct{})}
	if e.WidenAfter > 0 && len(names) > e.WidenAfter {
		p.widen(e, n, features, scope)
		return p
	}
	for i, name := range names {
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

// widen purges the sources of what is purged, or everything.
func (p *plan) widen(e *Edge, n Namer, features Features, scope purge.Scope) {
	for i, name := range p.names {
		whole := "/*"
		if scope == purge.Original || scope == purge.Prefix {
			source, _, _ := strings.Cut(name[1:], "/")
			whole = "/" + source + "/*"
		}
		items := itemsFor(e, n, features.Forms, purge.All, whole)
		if _, ok := features.Forms[All]; items == nil && ok {
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
	escaped := (&url.URL{Path: path}).EscapedPath()
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
	for _, base := range e.Bases {
		if hasPrefix {
			items = append(items, item{Prefix, base + escaped})
			continue
		}
		items = append(items, item{URL, base + escaped})
		if !byURL.Query {
			for _, v := range e.Variants {
				items = append(items, item{URL, base + escaped + "?" + v})
			}
		}
	}
	return items
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
