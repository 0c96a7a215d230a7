package svgclean

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// An attack is a document that wants to run or load something.
type attack struct {
	name, outcome string
	doc           string
}

// attacks are those of testdata/attacks.txt. {JS} and {LEAK} are js and leak, with NAME in them replaced.
func attacks(t testing.TB, js, leak string) (all []attack) {
	t.Helper()
	text, err := os.ReadFile("testdata/attacks.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "\n-- ")[1:] {
		head, doc, _ := strings.Cut(part, "\n")
		name, outcome, ok := strings.Cut(head, ": ")
		if !ok {
			t.Fatalf("attacks.txt: %q has no outcome", head)
		}
		r := strings.NewReplacer(
			"[[<", `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><`, ">]]", "></svg>",
			"{JS}", strings.ReplaceAll(js, "NAME", fmt.Sprint(i)), "{LEAK}", strings.ReplaceAll(leak, "NAME", fmt.Sprint(i)))
		// CDATA ends with ]]>, which is no end of a root.
		doc = strings.ReplaceAll(r.Replace(strings.ReplaceAll(doc, "]]>", "\x00")), "\x00", "]]>")
		all = append(all, attack{name, outcome, strings.TrimSuffix(doc, "\n")})
	}
	return all
}

// outcomeOf is the word that attacks.txt has for err.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrUnsupported):
		return "unsupported"
	case errors.Is(err, ErrDamaged):
		return "damaged"
	case errors.Is(err, ErrTooLarge):
		return "large"
	}
	return err.Error()
}

func TestAttacks(t *testing.T) {
	const js, leak = "top.postMessage('NAME','*')", "https://evil.example/leak/NAME"
	all := attacks(t, js, leak)
	if len(all) < 80 {
		t.Fatalf("%d attacks", len(all))
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			out, err := Clean(t.Context(), []byte(a.doc))
			if got := outcomeOf(err); got != a.outcome {
				t.Fatalf("%s (%v), want %s\n%s\n%s", got, err, a.outcome, a.doc, out)
			}
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("error of several lines: %q", err)
				}
				return
			}
			inspect(t, out)
			if bytes.Contains(out, []byte("evil.example")) {
				t.Errorf("it names another host: %s", out)
			}
		})
	}
}

// A tag is what the parser of tests found: it shares nothing with Clean, and knows nothing but the form that Clean writes.
type tag struct {
	name  string
	attrs [][2]string
	text  string // right in it
}

var (
	startTag = regexp.MustCompile(`^<([A-Za-z]+)((?: [A-Za-z][A-Za-z0-9:-]*="[^"<>]*")*)(/?)>`)
	endTag   = regexp.MustCompile(`^</([A-Za-z]+)>`)
	attr     = regexp.MustCompile(` ([A-Za-z][A-Za-z0-9:-]*)="([^"]*)"`)
	escaped  = regexp.MustCompile(`&(?:amp|lt|gt|#34|#13);`)
	unescape = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#13;", "\r")
)

// parse takes apart what Clean has written.
func parse(out string) (tags []*tag, err error) {
	var open []*tag
	for out != "" {
		if m := startTag.FindStringSubmatch(out); m != nil {
			if len(open) == 0 && len(tags) > 0 {
				return nil, errors.New("two roots")
			}
			e := &tag{name: m[1]}
			for _, a := range attr.FindAllStringSubmatch(m[2], -1) {
				if strings.Contains(escaped.ReplaceAllString(a[2], ""), "&") {
					return nil, fmt.Errorf("a bare & in %s", a[2])
				}
				if slices.ContainsFunc(e.attrs, func(b [2]string) bool { return b[0] == a[1] }) {
					return nil, fmt.Errorf("%s twice", a[1])
				}
				e.attrs = append(e.attrs, [2]string{a[1], unescape.Replace(a[2])})
			}
			tags = append(tags, e)
			if m[3] == "" {
				open = append(open, e)
			}
			out = out[len(m[0]):]
			continue
		}
		if len(open) == 0 {
			return nil, fmt.Errorf("outside of the root: %.40q", out)
		}
		last := open[len(open)-1]
		if m := endTag.FindStringSubmatch(out); m != nil {
			if m[1] != last.name {
				return nil, fmt.Errorf("</%s> of %s", m[1], last.name)
			}
			open = open[:len(open)-1]
			out = out[len(m[0]):]
			continue
		}
		n := strings.IndexByte(out, '<')
		if n <= 0 {
			return nil, fmt.Errorf("no tag: %.40q", out)
		}
		if text := out[:n]; strings.ContainsAny(escaped.ReplaceAllString(text, ""), "&>\"\r") {
			return nil, fmt.Errorf("not escaped: %q", text)
		}
		last.text += unescape.Replace(out[:n])
		out = out[n:]
	}
	if len(open) > 0 {
		return nil, errors.New("not closed")
	}
	return tags, nil
}

var (
	active   = regexp.MustCompile(`(?i)^(script|foreignobject|iframe|embed|object|audio|video|canvas|handler|listener|link|base|meta|img|form|input|html|body|animatecolor|discard|tref|font|metadata)$`)
	dataHref = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/=]+$`)
	urls     = regexp.MustCompile(`(?i)url\s*\(`)
	own      = regexp.MustCompile(`url\(\s*['"]?#`)
)

// inspect fails unless out is of the form that Clean writes, and nothing of it could run or load anything.
func inspect(t testing.TB, out []byte) {
	t.Helper()
	tags, err := parse(string(out))
	if err != nil {
		t.Fatalf("not well-formed: %v\n%s", err, out)
	}
	if len(tags) == 0 || tags[0].name != "svg" || tags[0].attrs[0] != [2]string{"xmlns", svgSpace} {
		t.Errorf("the root is not SVG: %s", out)
	}
	for i, e := range tags {
		if active.MatchString(e.name) {
			t.Errorf("%s is there: %s", e.name, out)
		}
		var animated string
		for _, a := range e.attrs {
			name, v := a[0], a[1]
			switch lower := strings.ToLower(name); {
			case strings.HasPrefix(lower, "on"), lower == "xml:base", lower == "target", lower == "src", lower == "tabindex", lower == "cursor":
				t.Errorf("%s is there: %s", name, out)
			case strings.HasPrefix(lower, "xmlns"):
				if i > 0 || name == "xmlns" && v != svgSpace || name != "xmlns" && (name != "xmlns:xlink" || v != xlinkSpace) {
					t.Errorf("the namespace %s=%q: %s", name, v, out)
				}
			case strings.HasSuffix(lower, "href"):
				if e.name == "a" || !strings.HasPrefix(v, "#") && !dataHref.MatchString(v) {
					t.Errorf("%s of %s is %q: %s", name, e.name, v, out)
				}
			case lower == "attributename":
				animated = v
			}
			if name == "style" || name == "fill" || name == "values" || name == "to" || name == "from" || name == "by" || name == "filter" || name == "mask" {
				inspectCSS(t, v, out)
			}
		}
		if strings.Contains(strings.ToLower(animated), "href") || strings.HasPrefix(strings.ToLower(animated), "on") || animated == "style" {
			t.Errorf("%s is animated: %s", animated, out)
		}
		if e.name == "style" {
			inspectCSS(t, e.text, out)
		}
	}
	again, err := Clean(context.Background(), out)
	if err != nil || !bytes.Equal(again, out) {
		t.Errorf("cleaned again: %v\n%s\n%s", err, out, again)
	}
}

// inspectCSS fails where css could load anything.
func inspectCSS(t testing.TB, css string, out []byte) {
	t.Helper()
	if len(urls.FindAllString(css, -1)) != len(own.FindAllString(css, -1)) {
		t.Errorf("url() of something else: %q: %s", css, out)
	}
	for _, word := range []string{`\`, "@import", "@font-face", "@namespace", "@charset", "expression(", "-moz-binding", "behavior:", "image-set", "image(", "src(", "element(", "attr("} {
		if strings.Contains(strings.ToLower(css), word) {
			t.Errorf("%q in %q: %s", word, css, out)
		}
	}
}

func TestClean(t *testing.T) {
	const start, end = `<svg xmlns="http://www.w3.org/2000/svg">`, `</svg>`
	for _, tt := range []struct{ name, in, want string }{
		{"nothing in it", `<svg xmlns="http://www.w3.org/2000/svg"/>`, `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		{"a byte order mark and a declaration", "\ufeff<?xml version='1.0' encoding='utf-8' standalone='no'?>\n" + start + end, `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		{"Latin-1 that is ASCII", `<?xml version="1.0" encoding="ISO-8859-1"?>` + start + end, `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		{"a document type", `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">` + start + end, `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		{"prefixes go", `<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:l="http://www.w3.org/1999/xlink"><s:g id="a"/><s:use l:href="#a"/></s:svg>`,
			`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><g id="a"/><use xlink:href="#a"/></svg>`},
		{"white space between shapes goes", start + "\n  <g>\n <path d='M0 0\nL1 1'/></g>\n" + end, start + `<g><path d="M0 0 L1 1"/></g>` + end},
		{"white space in text stays", start + "<text> a <tspan>b </tspan>\n</text>" + end, start + "<text> a <tspan>b </tspan>\n</text>" + end},
		{"text is escaped", start + `<text>a &lt; b &amp; "c" &#62; ]]&gt;&#13;</text>` + end, start + "<text>a &lt; b &amp; &#34;c&#34; &gt; ]]&gt;&#13;</text>" + end},
		{"an editor's names go", `<svg xmlns="http://www.w3.org/2000/svg" xmlns:i="http://www.inkscape.org/namespaces/inkscape" i:version="1"><i:namedview/><g i:label="x"/></svg>`, start + `<g/>` + end},
		{"SVG's names in another namespace go", start + `<h:rect xmlns:h="http://www.w3.org/1999/xhtml"/><style xmlns="http://www.w3.org/1999/xhtml">a{fill:red}</style><g xmlns="x"><path/></g>` + end, `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		{"a switch keeps what follows foreignObject", start + `<switch><foreignObject/><text>a</text></switch>` + end, start + `<switch><text>a</text></switch>` + end},
		{"links become groups", start + `<a href="https://example.com/"><rect/></a>` + end, start + `<a><rect/></a>` + end},
		{"a link in text keeps it", start + `<text><a href="https://example.com/">x</a></text>` + end, start + `<text><a>x</a></text>` + end},
		{"a style attribute", start + `<g style="FILL:red; ; stroke : url( '#s' ) ;cursor:pointer;font:12px 'A B',serif;--c:#fff"/>` + end, start + `<g style="fill:red;stroke:url(#s);font:12px 'A B',serif;--c:#fff"/>` + end},
		{"a style sheet", start + `<style><![CDATA[ .a , g > .b:not(.c)[id="x"]{fill:red!important;x:y(1)} /* c */ .c{} ]]></style>` + end, start + `<style>.a , g &gt; .b:not(.c)[id=&#34;x&#34;]{fill:red!important}</style>` + end},
		{"media and keyframes", start + `<style>@media (max-width:9px) and (prefers-color-scheme:dark){a{fill:red}@import "x";}@keyframes k{0%{opacity:0}to{opacity:1}}@supports (a:b){a{fill:red}}</style>` + end,
			start + `<style>@media (max-width:9px) and (prefers-color-scheme:dark){a{fill:red}}@keyframes k{0%{opacity:0}to{opacity:1}}</style>` + end},
		{"a comment keeps selectors apart", start + `<style>.a/* x */.b{fill:red/* y */}</style>` + end, start + `<style>.a/**/.b{fill:red}</style>` + end},
		{"a string with a brace", start + `<style>.a{font-family:"}";fill:red}</style>` + end, start + `<style>.a{font-family:&#34;}&#34;;fill:red}</style>` + end},
		{"an animation", start + `<rect><animate attributeName="x" values="0;10" dur="2s" repeatCount="indefinite"/></rect>` + end, start + `<rect><animate attributeName="x" values="0;10" dur="2s" repeatCount="indefinite"/></rect>` + end},
		{"an animation of its parent by name", start + `<g id="a"><animateTransform href="#a" attributeName="transform" type="rotate" from="0" to="90" dur="1s"/></g>` + end, start + `<g id="a"><animateTransform href="#a" attributeName="transform" type="rotate" from="0" to="90" dur="1s"/></g>` + end},
		{"a picture in lines", start + "<image href='data:image/jpg;base64,/9j/4AAQSkZJRgAB\n AQAAAQABAAD='/>" + end, start + `<image href="data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD="/>` + end},
		{"names of other scripts", start + `<g id="größe"/><use href="#größe"/>` + end, start + `<g id="größe"/><use href="#größe"/>` + end},
		{"xml:space and xml:lang", `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" xml:lang="de" xml:base="x" xml:id="y"/>`, `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" xml:lang="de"/>`},
		{"aria", start + `<g role="img" aria-label="a" aria-x9="b"/>` + end, start + `<g role="img" aria-label="a"/>` + end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Clean(t.Context(), []byte(tt.in))
			if err != nil || string(out) != tt.want {
				t.Fatalf("%v\ngot  %s\nwant %s", err, out, tt.want)
			}
			inspect(t, out)
		})
	}
}

func TestBounds(t *testing.T) {
	root := func(s string) string { return `<svg xmlns="http://www.w3.org/2000/svg">` + s + `</svg>` }
	manyAttributes := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` a%d=""`, i)
		}
		return root("<g" + b.String() + "/>")
	}
	chain := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `<use id="u%d" href="#u%d"/>`, i, i+1)
		}
		return root(b.String())
	}
	for _, tt := range []struct {
		name, doc, want string
	}{
		{"as deep as may be", root(strings.Repeat("<g>", maxDepth-1) + strings.Repeat("</g>", maxDepth-1)), "ok"},
		{"too deep", root(strings.Repeat("<g>", maxDepth) + strings.Repeat("</g>", maxDepth)), "large"},
		{"too deep in what is left out", root(strings.Repeat("<x>", maxDepth) + strings.Repeat("</x>", maxDepth)), "large"},
		{"too many elements", root(strings.Repeat("<g/>", maxElements)), "large"},
		{"too many elements that are left out", root(strings.Repeat("<x/>", maxElements)), "large"},
		{"as many attributes as may be", manyAttributes(maxAttributes), "ok"},
		{"too many attributes", manyAttributes(maxAttributes + 1), "large"},
		{"too many bytes", root("<desc>" + strings.Repeat("x", MaxBytes) + "</desc>"), "large"},
		{"too much style", root("<style>" + strings.Repeat("x", maxStyle+1) + "</style>"), "large"},
		{"too long a chain", chain(maxChain + 10), "large"},
		{"a chain", chain(maxChain - 10), "ok"},
		{"patterns of patterns", root(`<pattern id="a">` + strings.Repeat(`<rect fill="url(#b)"/>`, 1024) + `</pattern><pattern id="b">` + strings.Repeat(`<rect style="fill:url('#c')"/>`, 1024) + `</pattern><pattern id="c"><rect/></pattern><rect fill="url(#a)"/>`), "large"},
		{"latin", `<?xml version="1.0" encoding="ISO-8859-1"?>` + root("<desc>\u00fc</desc>"), "unsupported"},
		{"not UTF-8", root("<desc>\xfc</desc>"), "unsupported"},
		{"nothing", "", "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Clean(t.Context(), []byte(tt.doc))
			if got := outcomeOf(err); got != tt.want {
				t.Errorf("%s (%v), want %s", got, err, tt.want)
			}
			if err == nil {
				inspect(t, out)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Clean(ctx, []byte(root(""))); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever a document is cut off at is damaged.
func TestTruncated(t *testing.T) {
	doc := `<?xml version="1.0"?><!-- c --><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg" id="a"><style>a{fill:red}</style><text>b &amp; <![CDATA[c]]></text><use href="#x"/></svg>`
	if _, err := Clean(t.Context(), []byte(doc)); err != nil {
		t.Fatal(err)
	}
	for i := range len(doc) {
		if out, err := Clean(t.Context(), []byte(doc[:i])); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v: %s", i, err, out)
		}
	}
}

func TestSniff(t *testing.T) {
	wide := func(s string, order binary.AppendByteOrder) string {
		var b []byte
		for _, c := range utf16.Encode([]rune("\ufeff" + s)) {
			b = order.AppendUint16(b, c)
		}
		return string(b)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`))
	z.Close()
	var text bytes.Buffer
	z = gzip.NewWriter(&text)
	z.Write([]byte("hello"))
	z.Close()
	for _, tt := range []struct {
		name, body string
		is         bool
		wrong      string // in the error; empty: none
	}{
		{"plain", `<svg xmlns="http://www.w3.org/2000/svg"/>`, true, ""},
		{"after all that may be before", "\ufeff<?xml version=\"1.0\"?>\n<!-- <html> --><?pi?>\n<svg\n>", true, ""},
		{"a prefix", "<s:svg>", true, ""},
		{"a document type", "<!DOCTYPE  svg [<!ENTITY x 'y'>]>", true, ""},
		{"HTML", "<!DOCTYPE html><svg></svg>", false, ""},
		{"HTML in small letters", "<!doctype html><html><svg></svg>", false, ""},
		{"another XML", "<?xml version='1.0'?><rss></rss>", false, ""},
		{"a longer name", "<svgx></svgx>", false, ""},
		{"text before", "x<svg></svg>", false, ""},
		{"a comment that does not end", "<!-- <svg>", false, ""},
		{"a prolog of 65 KiB", "<!--" + strings.Repeat("x", maxProlog) + "--><svg></svg>", false, ""},
		{"nothing", "", false, ""},
		{"gzip", zipped.String(), false, "gzip"},
		{"gzip of something else", text.String(), false, ""},
		{"gzip cut off", zipped.String()[:12], false, ""},
		{"UTF-16, little end first", wide(`<?xml version="1.0"?><svg/>`, binary.LittleEndian), false, "UTF-8"},
		{"UTF-16, big end first", wide(`<svg/>`, binary.BigEndian), false, "UTF-8"},
		{"PNG", "\x89PNG\r\n\x1a\n\x00\x00<svg >", false, ""},
	} {
		is, err := Sniff([]byte(tt.body))
		if is != tt.is || (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %v, %v", tt.name, is, err)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, a := range attacks(f, "top.x('NAME')", "https://evil.example/NAME") {
		f.Add([]byte(a.doc))
	}
	f.Add([]byte("<svg xmlns='http://www.w3.org/2000/svg'><style>@media a{b{fill:red}}/**/.a/**/.b{x:1.5e3px}@keyframes x{from{d:path(\"M0 0\")}}</style></svg>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		out, err := Clean(t.Context(), doc)
		if err != nil {
			if strings.Contains(err.Error(), "another document") {
				t.Errorf("not stable: %q", doc)
			}
			if outcomeOf(err) == err.Error() {
				t.Errorf("an error of no kind: %v", err)
			}
			return
		}
		inspect(t, out)
	})
}

// FuzzCSS looks for style sheets that become others when they are read again.
func FuzzCSS(f *testing.F) {
	f.Add("a{fill:red}")
	f.Add("@media (a:b){.c>d{e:url('#f')}} /* g */ h[i=\"j\"]{--k:l(1.2e3%)!important}")
	f.Fuzz(func(t *testing.T, css string) {
		once := cleanSheet(css)
		if again := cleanSheet(once); again != once {
			t.Errorf("%q\n%q\n%q", css, once, again)
		}
		inspectCSS(t, once, nil)
		once, _ = cleanStyle(css)
		if again, _ := cleanStyle(once); again != once {
			t.Errorf("%q\n%q\n%q", css, once, again)
		}
		inspectCSS(t, once, nil)
	})
}

func BenchmarkClean(b *testing.B) {
	var doc bytes.Buffer
	doc.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000"><style>.a{fill:#f00}.b{stroke:url(#g)}</style>`)
	for i := range 2000 {
		fmt.Fprintf(&doc, `<path class="a" id="p%d" style="fill:#%06x;stroke-width:2" transform="rotate(%d)" d="M%d 0c1.5-2.25 3.75-4 5.5-6.25s7-8.5 9.25-10L%d 20z"/>`, i, i, i%360, i, i)
	}
	doc.WriteString(`</svg>`)
	b.SetBytes(int64(doc.Len()))
	for b.Loop() {
		if _, err := Clean(b.Context(), doc.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

// What is made of documents is part of keys by Version. Where this fails, raise it, and write the sums anew.
func TestVersion(t *testing.T) {
	const version, want = "1", "9bc4a8dc8ba2f023"
	h := sha256.New()
	names, err := filepath.Glob("testdata/benign/*.svg")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Clean(t.Context(), doc)
		if err != nil {
			t.Fatal(name, err)
		}
		inspect(t, out)
		h.Write(out)
	}
	for _, a := range attacks(t, "js", "https://evil.example/NAME") {
		out, _ := Clean(t.Context(), []byte(a.doc))
		h.Write(out)
	}
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != want || Version != version {
		t.Errorf("version %s: %s, and not %s", Version, got, want)
	}
}
