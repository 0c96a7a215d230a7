// Package svgclean makes SVG of strangers fit to be served: what it returns draws, and does nothing else.
//
//	clean, err := svgclean.Clean(ctx, body)
//
// A document is parsed, and written anew from lists of what is allowed: elements and attributes that draw, references to elements of the same
// document, raster pictures in data: URLs, and the part of CSS that draws. All else is left out with what is in it: scripts, handlers of events,
// links, foreignObject, references to other documents, style sheets and fonts from elsewhere, processing instructions, comments, metadata,
// other namespaces. Animations are kept unless they change what a link or a handler is.
//
// # Promises
//
// What [Clean] returns is well-formed XML in UTF-8 with an svg element in SVG's namespace, without a declaration, a document type or an
// entity of its own. Cleaning it again changes no byte: Clean looks, and returns an error where that would not hold.
//
// A document with an internal subset of its document type, which may define entities, is refused, as are those beyond the bounds in
// this package. The time and the memory that cleaning takes grow with the document's size alone.
package svgclean

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Version changes with what [Clean] makes of any document, and with what is served with it.
const Version = "1"

// What is wrong with a document. Errors wrap one of these; their texts are for the public.
var (
	ErrUnsupported = errors.New("SVG that is not served")
	ErrDamaged     = errors.New("damaged SVG")
	ErrTooLarge    = errors.New("SVG too large")
)

// Bounds of a document. Maps of countries have some ten thousand elements, and a dozen levels.
const (
	MaxBytes      = 16 << 20
	maxElements   = 250_000
	maxDepth      = 256
	maxAttributes = 256     // of one element
	maxStyle      = 1 << 20 // bytes of all style elements
	maxInline     = 1 << 16 // bytes of one style attribute
)

const (
	svgSpace   = "http://www.w3.org/2000/svg"
	xlinkSpace = "http://www.w3.org/1999/xlink"
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
)

// Memory is about how much memory cleaning a document of so many bytes takes, in bytes.
func Memory(size int) int64 { return 4*int64(size) + 1<<20 }

// Clean returns what may be served of an SVG document. Its error wraps [ErrUnsupported], [ErrDamaged] or [ErrTooLarge], or is that of ctx.
func Clean(ctx context.Context, body []byte) ([]byte, error) {
	once, err := clean(ctx, body)
	if err != nil {
		return nil, err
	}
	// Filters have been passed by documents that become others when they are parsed again. This one has been.
	again, err := clean(ctx, once)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil || !bytes.Equal(once, again):
		return nil, fmt.Errorf("%w: it is another document when it is read again", ErrUnsupported)
	}
	return once, nil
}

// A cleaner writes one document.
type cleaner struct {
	out     bytes.Buffer
	xlink   bool // whether that namespace is needed
	pending bool // a start tag is not closed yet
	open    []opened
	skipped int // depth in what is left out; 0 where nothing is
	started bool
	ended   bool // after the root
	style   strings.Builder
	styled  int               // bytes of style elements
	total   int               // elements, with those that are left out
	count   int               // elements that are kept
	given   map[xml.Name]bool // attributes of this element
	outline outline
}

// opened is an element that is being written.
type opened struct {
	name  string
	index int
	text  bool
}

// declared is where the namespace of xlink goes.
const declared = `<svg xmlns="` + svgSpace + `"`

func clean(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	body = bytes.TrimPrefix(body, bom)
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("%w: it is not in UTF-8", ErrUnsupported)
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) { return asUTF8(label, in, body) }
	c := &cleaner{given: make(map[xml.Name]bool), outline: outline{ids: make(map[string]int)}}
	c.out.Grow(len(body))
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		t, err := d.Token()
		switch {
		case err == io.EOF && c.ended:
			return c.finish()
		case err == io.EOF:
			return nil, fmt.Errorf("%w: no element", ErrDamaged)
		case err != nil:
			return nil, damage(err)
		}
		if err := c.token(t); err != nil {
			return nil, err
		}
	}
}

// asUTF8 accepts encodings that have ASCII's bytes, of documents that have no others.
func asUTF8(label string, in io.Reader, body []byte) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "latin1":
		for _, b := range body {
			if b >= utf8.RuneSelf {
				return nil, errEncoding
			}
		}
		return in, nil
	}
	return nil, errEncoding
}

var errEncoding = fmt.Errorf("%w: it is not in UTF-8", ErrUnsupported)

// damage says what a decoder's error means.
func damage(err error) error {
	var syntax *xml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: line %d: %s", ErrDamaged, syntax.Line, syntax.Msg)
	case strings.Contains(err.Error(), errEncoding.Error()): // which the decoder does not wrap
		return errEncoding
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.TrimPrefix(err.Error(), "xml: "))
}

func (c *cleaner) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		return c.start(t)
	case xml.EndElement:
		return c.end()
	case xml.CharData:
		return c.chars(t)
	case xml.Directive:
		switch {
		case c.started || !bytes.HasPrefix(t, []byte("DOCTYPE")):
			return fmt.Errorf("%w: a declaration where none may be", ErrDamaged)
		case bytes.IndexByte(t, '[') >= 0:
			return fmt.Errorf("%w: its document type defines something, such as entities", ErrUnsupported)
		}
	}
	return nil // comments and processing instructions
}

func (c *cleaner) start(t xml.StartElement) error {
	if c.total++; c.total > maxElements {
		return fmt.Errorf("%w: more than %d elements", ErrTooLarge, maxElements)
	}
	switch {
	case c.ended:
		return fmt.Errorf("%w: a second root", ErrDamaged)
	case len(c.open)+c.skipped >= maxDepth:
		return fmt.Errorf("%w: elements more than %d deep", ErrTooLarge, maxDepth)
	case len(t.Attr) > maxAttributes:
		return fmt.Errorf("%w: more than %d attributes", ErrTooLarge, maxAttributes)
	}
	clear(c.given)
	for _, a := range t.Attr { // which the decoder does not look at
		if c.given[a.Name] {
			return fmt.Errorf("%w: an attribute given twice", ErrDamaged)
		}
		c.given[a.Name] = true
	}
	if !c.started && (t.Name.Space != svgSpace || t.Name.Local != "svg") {
		return fmt.Errorf("%w: its root is not svg in the namespace %s", ErrUnsupported, svgSpace)
	}
	e, ok := elements[t.Name.Local]
	if c.skipped > 0 || !ok || t.Name.Space != svgSpace || c.started && c.isLeaf() || e.animates && !mayAnimate(t.Attr) {
		c.skipped++
		return nil
	}

	c.closeTag()
	at := opened{name: t.Name.Local, index: c.count, text: e.text || t.Name.Local == "a" && c.inText()}
	c.count++
	c.outline.ends = append(c.outline.ends, 0)
	c.out.WriteByte('<')
	c.out.WriteString(at.name)
	if !c.started {
		c.started = true
		c.out.WriteString(declared[len("<svg"):])
	}
	for i := range t.Attr {
		c.attribute(e, at.index, &t.Attr[i])
	}
	c.pending = true
	c.open = append(c.open, at)
	return nil
}

func (c *cleaner) isLeaf() bool { return elements[c.open[len(c.open)-1].name].leaf }

// inText reports whether characters are kept here.
func (c *cleaner) inText() bool { return len(c.open) > 0 && c.open[len(c.open)-1].text }

func (c *cleaner) closeTag() {
	if c.pending {
		c.out.WriteByte('>')
		c.pending = false
	}
}

func (c *cleaner) end() error {
	if c.skipped > 0 {
		c.skipped--
		return nil
	}
	e := c.open[len(c.open)-1]
	c.open = c.open[:len(c.open)-1]
	if e.name == "style" {
		if css := cleanSheet(c.style.String()); css != "" {
			c.closeTag()
			escape(&c.out, css)
		}
		c.style.Reset()
	}
	c.outline.ends[e.index] = c.count
	if c.pending {
		c.out.WriteString("/>")
		c.pending = false
	} else {
		c.out.WriteString("</")
		c.out.WriteString(e.name)
		c.out.WriteByte('>')
	}
	c.ended = len(c.open) == 0
	return nil
}

func (c *cleaner) chars(text []byte) error {
	switch {
	case len(c.open) == 0:
		if len(bytes.TrimLeft(text, " \t\r\n")) > 0 {
			return fmt.Errorf("%w: text outside of the root", ErrDamaged)
		}
	case c.skipped > 0 || !c.inText() || len(text) == 0:
	case c.open[len(c.open)-1].name == "style":
		if c.styled += len(text); c.styled > maxStyle {
			return fmt.Errorf("%w: more than %d bytes of style", ErrTooLarge, maxStyle)
		}
		c.style.Write(text)
	default:
		c.closeTag()
		escape(&c.out, string(text))
	}
	return nil
}

// finish returns what has been written.
func (c *cleaner) finish() ([]byte, error) {
	if err := c.outline.check(); err != nil {
		return nil, err
	}
	out := c.out.Bytes()
	if c.xlink {
		with := make([]byte, 0, len(out)+64)
		with = append(with, declared...)
		with = append(with, ` xmlns:xlink="`+xlinkSpace+`"`...)
		out = append(with, out[len(declared):]...)
	}
	return out, nil
}

// mayAnimate reports whether what an animation changes is something that draws.
func mayAnimate(attrs []xml.Attr) bool {
	for _, a := range attrs {
		if a.Name.Space == "" && a.Name.Local == "attributeName" {
			return isAnimatable(a.Value)
		}
	}
	return false
}

func isAnimatable(name string) bool {
	k := attributes[name]
	return k == geometry || k == value
}

// attribute writes a, if it may be kept.
func (c *cleaner) attribute(e element, index int, a *xml.Attr) {
	v := strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' ' // as XML has it, and the decoder does not
		}
		return r
	}, a.Value)
	name := a.Name.Local
	switch a.Name.Space {
	case "":
		switch {
		case name == "href":
			var ok bool
			if v, ok = c.reference(e.link, index, v); !ok {
				return
			}
		case strings.HasPrefix(name, "aria-"):
			if strings.Trim(name[len("aria-"):], "abcdefghijklmnopqrstuvwxyz") != "" {
				return
			}
		default:
			var ok bool
			if v, ok = c.check(name, index, v); !ok {
				return
			}
		}
	case xlinkSpace:
		var ok bool
		if v, ok = c.reference(e.link, index, v); !ok || name != "href" {
			return
		}
		name, c.xlink = "xlink:href", true
	case xmlSpace:
		switch {
		case name == "space" && (v == "preserve" || v == "default"):
		case name == "lang" && len(v) <= 64 && strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "":
		default:
			return
		}
		name = "xml:" + name
	default:
		return
	}
	c.out.WriteByte(' ')
	c.out.WriteString(name)
	c.out.WriteString(`="`)
	escape(&c.out, v)
	c.out.WriteByte('"')
}

// check returns what may be kept of the value of an attribute that has no namespace.
func (c *cleaner) check(name string, index int, v string) (string, bool) {
	switch attributes[name] {
	case plain, geometry:
		if name == "id" {
			if _, known := c.outline.ids[v]; !known {
				c.outline.ids[v] = index
			}
		}
		return v, true
	case value, timed:
		refs, ok := checkValue(v)
		if ok {
			c.refer(index, refs)
		}
		return v, ok
	case styles:
		if len(v) > maxInline {
			return "", false
		}
		css, refs := cleanStyle(v)
		c.refer(index, refs)
		return css, css != ""
	case animation:
		return v, isAnimatable(v)
	}
	return "", false
}

func (c *cleaner) refer(index int, refs []string) {
	for _, id := range refs {
		c.outline.refs = append(c.outline.refs, reference{from: index, id: id})
	}
}

// reference returns the value of an href in its one form, if it may be kept.
func (c *cleaner) reference(l link, index int, v string) (string, bool) {
	v = strings.Trim(v, " ")
	if l == target {
		return v, isFragment(v)
	}
	if (l == fragment || l == rasterOrPart) && isFragment(v) {
		c.refer(index, []string{v[1:]})
		return v, true
	}
	if l == raster || l == rasterOrPart {
		return dataURL(v)
	}
	return "", false
}

// dataURL returns a data: URL of a raster picture in its one form. What it holds must look like what it says it is: SVG in a picture would
// be another document.
func dataURL(v string) (string, bool) {
	if len(v) < len("data:") || !strings.EqualFold(v[:len("data:")], "data:") {
		return "", false
	}
	head, body, ok := strings.Cut(v[len("data:"):], ",")
	if !ok {
		return "", false
	}
	mediaType, base64Ok := strings.CutSuffix(strings.ToLower(strings.ReplaceAll(head, " ", "")), ";base64")
	mediaType, _, _ = strings.Cut(mediaType, ";")
	if mediaType == "image/jpg" {
		mediaType = "image/jpeg"
	}
	body = strings.ReplaceAll(body, " ", "")
	if !base64Ok || strings.Trim(body, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != "" || len(body) < 16 {
		return "", false
	}
	start, err := base64.StdEncoding.DecodeString(body[:16])
	if err != nil || len(start) < 12 {
		return "", false
	}
	magic := string(start)
	switch mediaType {
	case "image/png":
		ok = strings.HasPrefix(magic, "\x89PNG\r\n\x1a\n")
	case "image/jpeg":
		ok = strings.HasPrefix(magic, "\xff\xd8\xff")
	case "image/gif":
		ok = strings.HasPrefix(magic, "GIF8")
	case "image/webp":
		ok = strings.HasPrefix(magic, "RIFF") && magic[8:12] == "WEBP"
	case "image/avif":
		ok = magic[4:8] == "ftyp"
	default:
		return "", false
	}
	return "data:" + mediaType + ";base64," + body, ok
}

// escape writes characters so that they are the same in a text and in an attribute, whoever parses them: XML, or HTML that a document was pasted into.
func escape(b *bytes.Buffer, s string) {
	last := 0
	for i := 0; i < len(s); i++ {
		var as string
		switch s[i] {
		case '&':
			as = "&amp;"
		case '<':
			as = "&lt;"
		case '>':
			as = "&gt;"
		case '"':
			as = "&#34;"
		case '\r':
			as = "&#13;"
		default:
			continue
		}
		b.WriteString(s[last:i])
		b.WriteString(as)
		last = i + 1
	}
	b.WriteString(s[last:])
}
