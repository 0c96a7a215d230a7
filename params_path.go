package imagecdn

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseRequest reads an image URL: /SOURCE/PATH?PARAMETERS. The path is that of u as it was sent,
// decoded once; a host is not looked at. Strict is as in [ParseParams].
//
// Every error is a [*ParamError]; one about the path has the Param "path".
func ParseRequest(u *url.URL, strict bool) (Request, error) {
	escaped := u.EscapedPath()
	source, path, err := splitPath(escaped)
	if err != nil {
		return Request{}, &ParamError{Param: "path", Value: escaped, Reason: err.Error()}
	}
	p, vh, err := ParseParams(u.RawQuery, strict)
	if err != nil {
		return Request{}, err
	}
	return Request{Image: Image{Source: source, Path: path, Version: vh}, Params: p}, nil
}

// maxPathBytes bounds an escaped path. Origins and CDNs refuse URLs of 2 to 8 KB, and a path is
// kept with every name.
const maxPathBytes = 2048

var (
	errPathLong      = errors.New("longer than 2048 bytes")
	errPathRelative  = errors.New("no leading slash: a path is /SOURCE/PATH, such as /photos/cat.jpg")
	errPathShort     = errors.New("no image: a path is /SOURCE/PATH, such as /photos/cat.jpg")
	errPathQuery     = errors.New("a path ends before ? and #")
	errPathEmpty     = errors.New("an empty segment: two slashes in a row")
	errPathTrailing  = errors.New("a slash at the end")
	errPathDots      = errors.New("a . or .. segment")
	errPathSlash     = errors.New("an encoded slash")
	errPathBackslash = errors.New("a backslash")
	errPathEscape    = errors.New("a percent sign that is not followed by two hexadecimal digits")
	errPathControl   = errors.New("a control character")
	errPathUTF8      = errors.New("not UTF-8")
)

// splitPath reads the path of an image as it stands in a URL: the first segment is the source, the
// rest the path in it, with its slash. It is decoded exactly once. Whatever could name one image in
// two ways, or lead out of its source, is refused rather than cleaned: a path that has been cleaned
// is not the one that was signed, cached downstream, or purged.
func splitPath(escaped string) (source, path string, err error) {
	if len(escaped) > maxPathBytes {
		return "", "", errPathLong
	}
	if escaped == "" || escaped[0] != '/' {
		return "", "", errPathRelative
	}
	decoded := escaped
	if strings.IndexByte(escaped, '%') >= 0 {
		if decoded, err = decodePath(escaped); err != nil {
			return "", "", err
		}
	} else if strings.ContainsAny(escaped, "?#") {
		return "", "", errPathQuery
	}
	ascii := true
	for i := range len(decoded) {
		switch c := decoded[i]; {
		case c < 0x20 || c == 0x7f:
			return "", "", errPathControl
		case c == '\\':
			return "", "", errPathBackslash
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii {
		if !utf8.ValidString(decoded) {
			return "", "", errPathUTF8
		}
		if strings.ContainsFunc(decoded, unicode.IsControl) {
			return "", "", errPathControl
		}
	}
	for rest, more := decoded[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch {
		case segment == "" && more:
			return "", "", errPathEmpty
		case segment == "" && len(decoded) > 1:
			return "", "", errPathTrailing
		case segment == ".", segment == "..":
			return "", "", errPathDots
		}
	}
	end := strings.IndexByte(decoded[1:], '/')
	if end < 0 {
		return "", "", errPathShort
	}
	return decoded[1 : 1+end], decoded[1+end:], nil
}

// decodePath undoes percent-encoding once, and refuses an encoded slash: to the origin it is part
// of a name, here it would separate two.
func decodePath(escaped string) (string, error) {
	b := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		switch c {
		case '?', '#':
			return "", errPathQuery
		case '%':
			if i+2 >= len(escaped) {
				return "", errPathEscape
			}
			hi, ok1 := hexDigit(escaped[i+1])
			lo, ok2 := hexDigit(escaped[i+2])
			if !ok1 || !ok2 {
				return "", errPathEscape
			}
			i += 2
			if c = hi<<4 | lo; c == '/' {
				return "", errPathSlash
			}
		}
		b = append(b, c)
	}
	return string(b), nil
}

// hexDigit returns the value of a hexadecimal digit.
func hexDigit(c byte) (v byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
