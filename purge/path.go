package purge

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// MaxPath is the longest path that [ParsePath] accepts, in bytes after decoding.
const MaxPath = 2048

// exampleForm is the right form where none can be made from what was given.
const (
	exampleForm   = "/source/image.jpg"
	exampleFolder = "/source/folder/"
)

// A PathError says why a path was refused.
type PathError struct {
	Path   string // as it was given
	Reason string // what is wrong with it, as a predicate: "has a query"
	Want   string // the right form: the path as probably meant, or else an example; may be empty
}

func (e *PathError) Error() string {
	s := fmt.Sprintf("path %q %s", clip(e.Path), e.Reason)
	if e.Want != "" {
		s += fmt.Sprintf("; the right form is %q", e.Want)
	}
	return s
}

// Code returns "invalid_path".
func (e *PathError) Code() string { return "invalid_path" }

// CleanPath returns the one clean form of p, "/source/path": decoded, so that
// "/photos/a%20b.jpg" and "/photos/a b.jpg" are the same image. It is
// [ParsePath] with its results joined. A clean path is not encoded: to parse it
// again, pass it through [EscapePath] first.
func CleanPath(p string) (string, error) {
	clean, fault := decodePath(p)
	if fault != "" {
		return "", refuse(p, fault)
	}
	return clean, nil
}

// CleanFolder returns the one clean form of a folder, "/source/folder/", which stands for all images below it, at
// any depth. It is refused where it could be no [CleanPath] of an image, but that it may end in a slash, and
// where it is a whole source. "/photos/a" and "/photos/a/" are the same: never "/photos/ab", nor an image "/photos/a".
func CleanFolder(p string) (string, error) {
	within := strings.TrimSuffix(p, "/")
	clean, fault := decodePath(within)
	switch {
	case fault == "":
		if strings.HasSuffix(clean, "/*") {
			return "", &PathError{Path: p, Reason: "ends in a wildcard, where a folder needs none", Want: EscapePath(strings.TrimSuffix(clean, "*"))}
		}
		return clean + "/", nil
	case len(within) > 1 && within[0] == '/' && strings.Count(within, "/") == 1 && sourceFault(within[1:]) == "":
		return "", &PathError{Path: p, Reason: fmt.Sprintf(`is a whole source, which is purged with scope "all" and source %q`, within[1:])}
	}
	err := refuse(within, fault)
	err.Path = p
	if err.Want = strings.TrimSuffix(err.Want, "/") + "/"; err.Want == exampleForm+"/" {
		err.Want = exampleFolder
	}
	return "", err
}

// ParsePath takes the path of an image, as it stands in a URL and in a purge,
// apart: source is the name of the source, and image the path within it, with a
// leading slash. Both are decoded.
//
//	/photos/2026/a%20b.jpg  ▶  "photos", "/2026/a b.jpg"
//
// A path begins with a slash, has no host, no query and no fragment, and has two
// segments or more. Percent-encoding is decoded exactly once. Refused, with a
// *[PathError] that names the fault and shows the right form, are: anything
// before the first slash; "?" and "#" (an image that has them in its name is
// written with %3F and %23); "%" without two hexadecimal digits; an encoded
// slash; a backslash and control characters, encoded or not; what is not UTF-8;
// empty segments, a slash at the end, and the segments "." and "..", encoded or
// not; and more than [MaxPath] bytes. The results thus never lead out of a
// directory that they are joined to.
func ParsePath(p string) (source, image string, err error) {
	clean, fault := decodePath(p)
	if fault != "" {
		return "", "", refuse(p, fault)
	}
	end := 1 + strings.IndexByte(clean[1:], '/')
	return clean[1:end], clean[end:], nil
}

// EscapePath returns a clean path with each segment percent-encoded, as it stands in a
// URL. It undoes CleanPath: the clean form of EscapePath(clean) is clean.
func EscapePath(clean string) string {
	segments := strings.Split(clean, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}

// refuse makes the error for p. The right form that it shows is p without what
// surrounds a path in a URL, if that is a path.
func refuse(p, fault string) *PathError {
	_, want := urlFaults(p)
	if _, f := decodePath(want); f != "" || len(want) > MaxPath {
		want = exampleForm
	}
	return &PathError{Path: p, Reason: fault, Want: want}
}

// decodePath returns the clean form of p, or what is wrong with p. Every request
// for an image comes through here, so a path without "%" costs no allocation.
func decodePath(p string) (clean, fault string) {
	switch {
	case p == "":
		return "", "is empty"
	case len(p) > 3*MaxPath: // longer than MaxPath however it is encoded
		return "", fmt.Sprintf("has more than %d bytes", MaxPath)
	}
	if p[0] != '/' || strings.HasPrefix(p, "//") || strings.IndexByte(p, '?') >= 0 || strings.IndexByte(p, '#') >= 0 {
		fault, _ = urlFaults(p)
		return "", fault
	}

	clean = p
	if strings.IndexByte(p, '%') >= 0 {
		if clean, fault = unescape(p); fault != "" {
			return "", fault
		}
	}
	if len(clean) > MaxPath {
		return "", fmt.Sprintf("has more than %d bytes", MaxPath)
	}

	segments := 0
	for rest := clean; rest != ""; segments++ {
		var s string
		s, rest = rest[1:], ""
		if i := strings.IndexByte(s, '/'); i >= 0 {
			s, rest = s[:i], s[i:]
		}
		if s == "" && rest == "" && segments > 0 {
			return "", "ends in a slash"
		}
		if fault := segmentFault(s); fault != "" {
			return "", fault
		}
	}
	if segments < 2 {
		return "", "has one segment, where a source and an image belong"
	}
	return clean, ""
}

// segmentFault says what is wrong with one decoded segment, or nothing.
func segmentFault(s string) string {
	switch s {
	case "":
		return "has an empty segment"
	case ".", "..":
		return fmt.Sprintf("has the segment %q", s)
	}
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = 0x20 <= s[i] && s[i] < 0x7f && s[i] != '\\'
	}
	if plain {
		return ""
	}
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	for _, r := range s {
		if r == '\\' {
			return "has a backslash"
		}
		if isControl(r) {
			return fmt.Sprintf("has the control character %U", r)
		}
	}
	return ""
}

// sourceFault says why s cannot be the name of a source, or nothing.
func sourceFault(s string) string {
	switch {
	case strings.Contains(s, "/"):
		return "has a slash"
	case len(s) > MaxPath:
		return fmt.Sprintf("has more than %d bytes", MaxPath)
	}
	return segmentFault(s)
}

// isControl reports whether r is in Unicode's category Cc.
func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }

// unescape decodes the percent-encoding of p, once.
func unescape(p string) (decoded, fault string) {
	b := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' {
			if i+2 >= len(p) || hexValue(p[i+1]) < 0 || hexValue(p[i+2]) < 0 {
				return "", `has a "%" without two hexadecimal digits (the sign itself is written "%25")`
			}
			c = byte(hexValue(p[i+1])<<4 | hexValue(p[i+2]))
			if c == '/' {
				return "", fmt.Sprintf("has an encoded slash, %q", p[i:i+3])
			}
			i += 2
		}
		b = append(b, c)
	}
	return string(b), ""
}

// hexValue returns the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return int(c - 'A' + 10)
	}
	return -1
}

// urlFaults says which parts of a URL p has around, or in place of, a path, and
// returns p without them.
func urlFaults(p string) (fault, path string) {
	var faults []string
	path, tail := p, ""
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		path, tail = p[:i], p[i:]
	}

	before, after, scheme := strings.Cut(path, "://")
	switch {
	case scheme && before != "" && !strings.Contains(before, "/"):
		faults = append(faults, "has a scheme and a host")
		_, path, _ = strings.Cut(after, "/")
		path = "/" + path
	case strings.HasPrefix(path, "//"):
		faults = append(faults, "begins with two slashes, as if a host followed")
		path = path[1:]
		if _, within, _ := strings.Cut(path[1:], "/"); strings.Contains(within, "/") {
			path = "/" + within
		}
	case strings.HasPrefix(path, "/"):
	case path == "":
		faults = append(faults, "has no leading slash")
	default:
		first, within, _ := strings.Cut(path, "/")
		if strings.ContainsAny(first, ".:") && strings.Contains(within, "/") {
			faults = append(faults, "has a host, and no leading slash")
			path = "/" + within
		} else {
			faults = append(faults, "has no leading slash")
			path = "/" + path
		}
	}

	if strings.HasPrefix(tail, "?") {
		faults = append(faults, "has a query")
	}
	if strings.Contains(tail, "#") {
		faults = append(faults, "has a fragment")
	}
	return strings.Join(faults, ", and "), path
}

// clip shortens s for a message.
func clip(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
