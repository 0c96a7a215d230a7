package imagecdn

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/purge"
)

// A Dialect reads the URLs of one kind of image CDN. [Native] reads those of this package, [Imgix] and [Cloudimage] those of
// sites that come from there.
type Dialect interface {
	// ParseRequest reads the path and the query of u, as they were sent: u.EscapedPath and u.RawQuery. It looks at nothing else,
	// so that equal ones always mean the same, and may be called by many goroutines at once.
	//
	// The Params that it returns are in their canonical form, as [Params.Canonical] gives it. Every error is a [*ParamError].
	ParseRequest(u *url.URL) (Request, error)
}

// Native is the dialect of this package: /SOURCE/PATH?PARAMETERS, with imgix's parameters. The zero value is ready.
type Native struct {
	// Strict makes an unknown parameter an error. Without it unknown parameters mean nothing, and
	// do not tell two images apart.
	Strict bool

	// Presets are queries by name: preset=NAME in a URL stands for the query. A parameter that is in both has to have one value. Zero
	// means none, and that "preset" is an unknown parameter.
	Presets map[string]string
}

// ParseRequest is [ParseRequest], with Presets.
func (d Native) ParseRequest(u *url.URL) (Request, error) {
	x, err := expand(u.RawQuery, d.Presets)
	if err != nil {
		return Request{}, err
	}
	if x.preset == "" {
		return ParseRequest(u, d.Strict)
	}
	whole := *u
	whole.RawQuery = x.query
	r, err := ParseRequest(&whole, d.Strict)
	r.Preset, r.Beside = x.preset, x.beside
	return r, err
}

// check reports a setting that makes no sense.
func (d Native) check() error {
	return checkPresets("Native.Presets", d.Presets, func(query string) error {
		_, err := parseQuery(query, true, parseImage)
		return err
	})
}

// checkPresets reports the first of presets that has no name, or that parse refuses.
func checkPresets(field string, presets map[string]string, parse func(query string) error) error {
	for name, query := range presets {
		if name == "" || checkVersion(name) != "" {
			return fmt.Errorf("imagecdn: %s: %q is not a name", field, name)
		}
		if err := parse(query); err != nil {
			return fmt.Errorf("imagecdn: %s[%q]: %w", field, name, err)
		}
	}
	return nil
}

// expanded is a query whose preset has been put in its place.
type expanded struct {
	query  string
	preset string // its name; empty without one
	beside string // the first parameter that is there beside it, and is about the picture
}

// expand puts a preset in its place.
func expand(rawQuery string, presets map[string]string) (x expanded, err error) {
	x.query = rawQuery
	if len(presets) == 0 || !strings.Contains(rawQuery, "preset") && !strings.Contains(rawQuery, "%") {
		return x, nil
	}
	var rest []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescaped(name), unescaped(value)
		if name != "preset" {
			rest = append(rest, pair)
			if x.beside == "" && aboutThePicture(name) {
				x.beside = name
			}
			continue
		}
		if _, ok := presets[value]; !ok || x.preset != "" && x.preset != value {
			reason := "there is no such preset here"
			if ok {
				reason = "another preset is there, too"
			}
			return x, &ParamError{Param: name, Value: value, Reason: reason}
		}
		x.preset = value
	}
	if x.preset != "" {
		x.query = strings.Join(append(rest, presets[x.preset]), "&")
	}
	return x, nil
}

// unescaped decodes part of a query, and leaves what cannot be decoded as it is.
func unescaped(s string) string {
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

// aboutThePicture reports whether a parameter of that name is any of this package's but those that are about the URL.
func aboutThePicture(name string) bool {
	id, known := paramIndex[name]
	if !known {
		id, known = paramIndex[strings.TrimSuffix(name, "64")]
	}
	return known && !requestNames[params[id].name]
}

// requestNames are the parameters that change nothing of a picture.
var requestNames = map[string]bool{"vh": true, "expires": true, "dl": true}

// maxQueryBytes bounds the query of an original, which is kept with its name.
const maxQueryBytes = 1024

// An originURL is where dialects look for originals that URLs name by URLs of their own.
type originURL struct {
	hosts map[string]string // host -> SOURCE or SOURCE/FOLDER
}

// cutScheme cuts "https://" off an absolute URL, also where something on the way has made one slash of the two.
func cutScheme(s string) (rest string, ok bool) {
	scheme, rest, ok := strings.Cut(s, ":/")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// encodedScheme reports whether s begins with the scheme of a URL that is percent-encoded as a whole.
func encodedScheme(s string) bool {
	scheme, _, ok := strings.Cut(s, "%")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) &&
		strings.EqualFold(s[len(scheme):min(len(s), len(scheme)+3)], "%3a")
}

// normalHost is a host as it is compared: in small letters, without the default port or the dot of the root.
func normalHost(host string) string {
	host = strings.ToLower(host)
	for _, port := range []string{":80", ":443"} {
		host = strings.TrimSuffix(host, port)
	}
	return strings.TrimSuffix(host, ".")
}

// image reads host/path, whose path is percent-encoded, and the query that the origin is to be asked with.
func (o originURL) image(rest, query string) (Image, *ParamError) {
	host, path, _ := strings.Cut(rest, "/")
	source, ok := o.hosts[normalHost(host)]
	if !ok {
		return Image{}, &ParamError{Reason: "the host " + printable(host) + " is none of those that images come from here", Status: http.StatusForbidden}
	}
	return imageIn(source, path, query)
}

// imageIn is the image at an escaped path in SOURCE or SOURCE/FOLDER.
func imageIn(folder, escaped, query string) (Image, *ParamError) {
	source, path, fault := splitPath("/" + purge.EscapePath(strings.Trim(folder, "/")) + "/" + escaped)
	if fault != nil {
		return Image{}, &ParamError{Reason: fault.Reason}
	}
	query, problem := originQuery(query)
	if problem != "" {
		return Image{}, &ParamError{Reason: problem}
	}
	return Image{Source: source, Path: path, Query: query}, nil
}

// originQuery brings a query into the form that is sent: printed ASCII, and no longer than it may be.
func originQuery(query string) (string, string) {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(query))
	for i := range len(query) {
		c := query[i]
		if c <= ' ' || c > '~' || strings.IndexByte("\"#<>\\^`{|}", c) >= 0 {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	if len(b) > maxQueryBytes {
		return "", fmt.Sprintf("has a query of more than %d bytes", maxQueryBytes)
	}
	return string(b), ""
}

// splitURL reads a URL that was percent-encoded as a whole, and is decoded: with a scheme or without, and with a query of its own.
func splitURL(s string) (rest, query string, hasScheme bool) {
	s, _, _ = strings.Cut(s, "#")
	s, query, _ = strings.Cut(s, "?")
	if rest, hasScheme = cutScheme(s); hasScheme {
		return rest, query, true
	}
	return s, query, false
}

// checkFolders reports a setting of a dialect that names no source.
func checkFolders(field string, folders map[string]string) error {
	for name, folder := range folders {
		if _, err := imageIn(folder, "x", ""); err != nil || folder == "" {
			return fmt.Errorf("imagecdn: %s[%q]: %q is neither a source nor SOURCE/FOLDER", field, name, folder)
		}
	}
	return nil
}

// checkHosts is checkFolders for hosts.
func checkHosts(field string, hosts map[string]string) error {
	for host := range hosts {
		if host == "" || host != normalHost(host) || strings.ContainsAny(host, "/@?#*% ") {
			return fmt.Errorf("imagecdn: %s: %q is not a host as it is compared: small letters, and no scheme, path, user or default port", field, host)
		}
	}
	return checkFolders(field, hosts)
}

// checkDialect reports a setting of d that makes no sense, for a handler of these sources.
func checkDialect(d Dialect, sources Sources) error {
	if c, ok := d.(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			return err
		}
	}
	if f, ok := d.(interface{ folders() []string }); ok {
		for _, folder := range f.folders() {
			name, _, _ := strings.Cut(strings.TrimPrefix(folder, "/"), "/")
			if _, ok := sources[name]; folder != "" && !ok {
				return fmt.Errorf("imagecdn: Options.Dialect: there is no source %q", name)
			}
		}
	}
	return nil
}

// pathError is a fault of a path as an error of the whole of it.
func pathError(escaped string, e *ParamError) error {
	return &ParamError{Param: "path", Value: escaped, Reason: e.Reason, Status: e.Status}
}
