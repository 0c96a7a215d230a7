package imagecdn

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Imgix is the dialect of a whole host that was at imgix: the path of a URL is that of an image, in one source, and nothing of it
// names the source.
//
//	imagecdn.Imgix{Source: "shop"}                        // /users/1.png?w=400 is /users/1.png of the source "shop"
//	imagecdn.Imgix{Hosts: map[string]string{              // imgix's Web Proxy:
//		"img.example.com": "shop",                    // /https%3A%2F%2Fimg.example.com%2Fusers%2F1.png?w=400
//	}}
//
// The parameters are those of [Native], as they are imgix's. What mark, blend and mask name is a path in the same source, or a URL
// of a host in Hosts. Signatures are the matter of middleware.ImgixSignature. docs/imgix.md has the rest.
type Imgix struct {
	// Source is the name of the source that paths are in, or SOURCE/FOLDER. Zero means that every path is an absolute URL.
	Source string

	// Hosts are the sources of absolute URLs, in paths and parameters, by host: "img.example.com", with its port where that is not the
	// default one. Each is the name of a source whose URL is the root of the host, or SOURCE/FOLDER. A host that is not listed is a 403. Zero
	// means none.
	Hosts map[string]string

	// Defaults is a query whose parameters are those of URLs that have not got them: imgix calls them default parameters. Zero means
	// none.
	Defaults string

	// Presets are queries by name: see Native.Presets. Zero means none.
	Presets map[string]string

	// Strict makes an unknown parameter an error, but for ixlib and ixid, which imgix's libraries add. Without it unknown parameters
	// mean nothing.
	Strict bool
}

// ParseRequest implements [Dialect].
func (d Imgix) ParseRequest(u *url.URL) (Request, error) {
	escaped := u.EscapedPath()
	image, fault := d.original(strings.TrimPrefix(escaped, "/"))
	if fault != nil {
		return Request{}, pathError(escaped, fault)
	}
	x, err := expand(u.RawQuery, d.Presets)
	if err != nil {
		return Request{}, err
	}
	r, err := d.parse(x.query, image)
	if err != nil {
		return Request{}, err
	}
	r.Preset, r.Beside = x.preset, x.beside
	version := r.Image.Version
	r.Image = image
	r.Image.Version = version
	return r, nil
}

// original reads the path of a URL, less its first slash.
func (d Imgix) original(escaped string) (Image, *ParamError) {
	o := originURL{d.Hosts}
	if rest, ok := cutScheme(escaped); ok {
		return o.image(rest, "")
	}
	if encodedScheme(escaped) {
		decoded, err := url.PathUnescape(escaped)
		if err != nil {
			return Image{}, &ParamError{Reason: "has a percent sign that is not followed by two hexadecimal digits"}
		}
		if rest, query, ok := splitURL(decoded); ok {
			return o.image(rest, query)
		}
	}
	if d.Source == "" {
		return Image{}, &ParamError{Reason: "is no absolute URL, percent-encoded, which all images here have"}
	}
	return imageIn(d.Source, escaped, "")
}

// parse reads a query, with Defaults.
func (d Imgix) parse(query string, base Image) (Request, error) {
	if d.Strict {
		query = withoutParams(query, "ixlib", "ixid")
	}
	if d.Defaults != "" {
		query = d.withDefaults(query)
	}
	refused := false
	r, err := parseQuery(query, d.Strict, func(value string) (Image, string) {
		image, problem, forbidden := d.other(value, base)
		refused = refused || forbidden
		return image, problem
	})
	if e, ok := err.(*ParamError); ok && refused {
		e.Status = http.StatusForbidden
	}
	return r, err
}

// other reads what mark, blend and mask name.
func (d Imgix) other(value string, base Image) (_ Image, problem string, forbidden bool) {
	var image Image
	var fault *ParamError
	switch rest, query, absolute := splitURL(value); {
	case query != "":
		return Image{}, "parameters of its own are not supported yet", false
	case absolute:
		image, fault = originURL{d.Hosts}.image(rest, "")
	default:
		folder := d.Source
		if folder == "" {
			folder = base.Source // of the web proxy: a path on the same host
		}
		image, fault = imageIn(folder, strings.TrimPrefix(rest, "/"), "")
	}
	if fault == nil {
		return image, "", false
	}
	reason := fault.Reason
	if fault.Status == 0 {
		reason = "the path " + reason
	}
	return Image{}, reason, fault.Status != 0
}

// withDefaults adds the default parameters that a query has not got, by any of their names.
func (d Imgix) withDefaults(query string) string {
	var given []int
	for pair := range strings.SplitSeq(query, "&") {
		if id, ok := paramOf(pair); ok {
			given = append(given, id)
		}
	}
	for pair := range strings.SplitSeq(d.Defaults, "&") {
		if id, ok := paramOf(pair); !ok || !slices.Contains(given, id) {
			query += "&" + pair
		}
	}
	return query
}

// paramOf finds the parameter of one pair of a query.
func paramOf(pair string) (id int, ok bool) {
	name, _, _ := strings.Cut(pair, "=")
	name = unescaped(name)
	if id, ok = paramIndex[name]; !ok {
		id, ok = paramIndex[strings.TrimSuffix(name, "64")]
	}
	return id, ok
}

// withoutParams leaves parameters out of a query.
func withoutParams(query string, names ...string) string {
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(names, unescaped(name))
	})
	return strings.Join(kept, "&")
}

func (d Imgix) folders() []string { return slices.AppendSeq([]string{d.Source}, maps.Values(d.Hosts)) }

func (d Imgix) check() error {
	if d.Source == "" && len(d.Hosts) == 0 {
		return fmt.Errorf("imagecdn: neither Imgix.Source nor Imgix.Hosts is set")
	}
	if d.Source != "" {
		if err := checkFolders("Imgix", map[string]string{"Source": d.Source}); err != nil {
			return err
		}
	}
	if err := checkHosts("Imgix.Hosts", d.Hosts); err != nil {
		return err
	}
	plain := Imgix{Source: d.Source, Hosts: d.Hosts, Strict: true}
	parse := func(query string) error { _, err := plain.parse(query, Image{Source: "x"}); return err }
	if err := parse(d.Defaults); err != nil {
		return fmt.Errorf("imagecdn: Imgix.Defaults: %w", err)
	}
	return checkPresets("Imgix.Presets", d.Presets, parse)
}
