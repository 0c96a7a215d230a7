package svgclean

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// maxProlog bounds what is looked at to find the first element, in bytes: licences in comments are long.
const maxProlog = 64 << 10

// Sniff reports whether body is an SVG document, by what it starts with: a byte order mark, an XML declaration, comments and a
// document type are passed over. An error says that it is one in an encoding that [Clean] does not read: it wraps [ErrUnsupported].
func Sniff(body []byte) (bool, error) {
	switch {
	case isSVG(body):
		return true, nil
	case bytes.HasPrefix(body, []byte("\x1f\x8b\x08")) && isSVG(unzipped(body)):
		return false, fmt.Errorf("%w: it is compressed with gzip (.svgz)", ErrUnsupported)
	case isWide(body):
		return false, fmt.Errorf("%w: it is not in UTF-8", ErrUnsupported)
	}
	return false, nil
}

// isSVG reports whether the first element of a document has the name svg, whatever its namespace: [Clean] looks at that.
func isSVG(b []byte) bool {
	b = bytes.TrimPrefix(b[:min(len(b), maxProlog)], bom)
	for {
		b = bytes.TrimLeft(b, " \t\r\n")
		end := ""
		switch {
		case bytes.HasPrefix(b, []byte("<?")):
			end = "?>"
		case bytes.HasPrefix(b, []byte("<!--")):
			b, end = b[4:], "-->"
		case bytes.HasPrefix(b, []byte("<!DOCTYPE")):
			return name(bytes.TrimLeft(b[len("<!DOCTYPE"):], " \t\r\n")) == "svg"
		case bytes.HasPrefix(b, []byte("<")):
			return name(b[1:]) == "svg"
		default:
			return false
		}
		_, rest, ok := bytes.Cut(b, []byte(end))
		if !ok {
			return false
		}
		b = rest
	}
}

var bom = []byte("\xef\xbb\xbf")

// name is the name that b starts with, without its prefix.
func name(b []byte) string {
	i := bytes.IndexAny(b, " \t\r\n/>[")
	if i < 0 {
		return ""
	}
	if colon := bytes.IndexByte(b[:i], ':'); colon >= 0 {
		return string(b[colon+1 : i])
	}
	return string(b[:i])
}

// unzipped is the start of what b holds.
func unzipped(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	start, _ := io.ReadAll(io.LimitReader(r, 4096)) // an error comes after what there is
	return start
}

// isWide reports whether b is SVG in UTF-16 or UTF-32.
func isWide(b []byte) bool {
	b = b[:min(len(b), 4096)]
	return bytes.IndexByte(b, 0) >= 0 && isSVG(bytes.TrimLeft(bytes.ReplaceAll(b, []byte{0}, nil), "\xfe\xff"))
}
