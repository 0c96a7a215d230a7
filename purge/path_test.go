package purge

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParsePath(t *testing.T) {
	for _, tt := range []struct{ in, source, image string }{
		{"/sample.li/flat1.jpg", "sample.li", "/flat1.jpg"},
		{"/photos/2026/05/cat.jpg", "photos", "/2026/05/cat.jpg"},
		{"/photos/a%20b.jpg", "photos", "/a b.jpg"},
		{"/photos/a b.jpg", "photos", "/a b.jpg"},
		{"/photos/a+b.jpg", "photos", "/a+b.jpg"},
		{"/photos/%C3%A9t%c3%a9.jpg", "photos", "/été.jpg"},
		{"/photos/été.jpg", "photos", "/été.jpg"},
		{"/photos/what%3F%23.jpg", "photos", "/what?#.jpg"},
		{"/photos/100%25.jpg", "photos", "/100%.jpg"},
		{"/photos/%252e%252e/x", "photos", "/%2e%2e/x"}, // decoded once
		{"/p%68otos/cat.jpg", "photos", "/cat.jpg"},
		{"/photos/...", "photos", "/..."},
		{"/photos/.hidden", "photos", "/.hidden"},
		{"/photos/http:x", "photos", "/http:x"},
		{"/p/" + strings.Repeat("a", MaxPath-3), "p", "/" + strings.Repeat("a", MaxPath-3)},
		{"/p/" + strings.Repeat("%61", MaxPath-3), "p", "/" + strings.Repeat("a", MaxPath-3)},
	} {
		source, image, err := ParsePath(tt.in)
		if source != tt.source || image != tt.image || err != nil {
			t.Errorf("ParsePath(%.40q) = %.40q, %.40q, %v; want %.40q, %.40q", tt.in, source, image, err, tt.source, tt.image)
		}
		if clean, err := CleanPath(tt.in); clean != "/"+tt.source+tt.image || err != nil {
			t.Errorf("CleanPath(%.40q) = %.40q, %v", tt.in, clean, err)
		}
	}
}

func TestRefusedPath(t *testing.T) {
	const flat, example = "/sample.li/flat1.jpg", exampleForm
	for _, tt := range []struct{ in, reason, want string }{
		{"/sample.li/flat1.jpg?w=500", "has a query", flat},
		{"doc.cloudimg.io/sample.li/flat1.jpg", "has a host, and no leading slash", flat},
		{"doc.cloudimg.io/sample.li/flat1.jpg?w=500", "has a host, and no leading slash, and has a query", flat},
		{"https://doc.cloudimg.io/sample.li/flat1.jpg", "has a scheme and a host", flat},
		{"https://doc.cloudimg.io/sample.li/flat1.jpg?w=500#top", "has a scheme and a host, and has a query, and has a fragment", flat},
		{"//doc.cloudimg.io/sample.li/flat1.jpg", "begins with two slashes, as if a host followed", flat},
		{"localhost:8080/sample.li/flat1.jpg", "has a host, and no leading slash", flat},
		{"//sample.li/flat1.jpg", "begins with two slashes, as if a host followed", flat},
		{"sample.li/flat1.jpg", "has no leading slash", flat},
		{"photos/2026/cat.jpg", "has no leading slash", "/photos/2026/cat.jpg"},
		{"/photos/cat.jpg#top", "has a fragment", "/photos/cat.jpg"},
		{"/photos/a%20b.jpg?", "has a query", "/photos/a%20b.jpg"},
		{"https://example.com", "has a scheme and a host", example},
		{"https://example.com/../x?w=1", "has a scheme and a host, and has a query", example},
		{"", "is empty", example},
		{"?w=500", "has no leading slash, and has a query", example},
		{"/", "has an empty segment", example},
		{"/photos", "has one segment, where a source and an image belong", example},
		{"/photos/", "ends in a slash", example},
		{"/photos/cat.jpg/", "ends in a slash", example},
		{"/photos//cat.jpg", "has an empty segment", example},
		{"/photos/../secret", `has the segment ".."`, example},
		{"/photos/%2e%2E/secret", `has the segment ".."`, example},
		{"/photos/./cat.jpg", `has the segment "."`, example},
		{"/photos/.%2e", `has the segment ".."`, example},
		{"/../cat.jpg", `has the segment ".."`, example},
		{"/photos/a%2fb.jpg", `has an encoded slash, "%2f"`, example},
		{"/photos/a%2Fb.jpg", `has an encoded slash, "%2F"`, example},
		{`/photos/a\b.jpg`, "has a backslash", example},
		{"/photos/a%5cb.jpg", "has a backslash", example},
		{"/photos/a%00b.jpg", "has the control character U+0000", example},
		{"/photos/a\nb.jpg", "has the control character U+000A", example},
		{"/photos/a%7Fb.jpg", "has the control character U+007F", example},
		{"/photos/a%C2%85b.jpg", "has the control character U+0085", example},
		{"/photos/a\xffb.jpg", "is not UTF-8", example},
		{"/photos/a%FFb.jpg", "is not UTF-8", example},
		{"/photos/50%.jpg", `has a "%" without two hexadecimal digits (the sign itself is written "%25")`, example},
		{"/photos/a%2", `has a "%" without two hexadecimal digits (the sign itself is written "%25")`, example},
		{"/p/" + strings.Repeat("a", MaxPath-2), "has more than 2048 bytes", example},
		{"/p/" + strings.Repeat("%61", MaxPath), "has more than 2048 bytes", example},
	} {
		_, _, err := ParsePath(tt.in)
		var e *PathError
		if !errors.As(err, &e) || *e != (PathError{tt.in, tt.reason, tt.want}) {
			t.Errorf("ParsePath(%.60q): %#v; want reason %q and the form %q", tt.in, err, tt.reason, tt.want)
			continue
		}
		if got := ErrorCode(fmt.Errorf("wrapped: %w", err)); got != "invalid_path" {
			t.Errorf("the code is %q", got)
		}
		if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the message is no line of text: %q", err)
		}
	}

	_, err := CleanPath("doc.cloudimg.io/sample.li/flat1.jpg?w=500")
	const want = `path "doc.cloudimg.io/sample.li/flat1.jpg?w=500" has a host, and no leading slash, and has a query; the right form is "/sample.li/flat1.jpg"`
	if err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestParsePathAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ParsePath("/photos/2026/05/cat.jpg") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{
		"/sample.li/flat1.jpg", "/sample.li/flat1.jpg?w=500", "doc.cloudimg.io/sample.li/flat1.jpg",
		"https://doc.cloudimg.io/sample.li/flat1.jpg?w=500", "//doc.cloudimg.io/sample.li/flat1.jpg",
		"/photos/a%20b%25%3F%23.jpg", "/photos/%2e%2e/x", "/photos/%252e/x", "/a//b/./../c/", "/p/\xff%ff\\%00",
		"/p/été%C3%A9", "?://", "a:b/c/d", "://x/y/z", "#",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		source, image, err := ParsePath(in)
		clean, cleanErr := CleanPath(in)
		if (err == nil) != (cleanErr == nil) {
			t.Fatalf("ParsePath says %v, CleanPath %v", err, cleanErr)
		}
		if err != nil {
			var e *PathError
			if !errors.As(err, &e) || e.Path != in || e.Reason == "" {
				t.Fatalf("%#v", err)
			}
			if again, err := CleanPath(e.Want); err != nil {
				t.Fatalf("the form it shows, %q, is refused: %v", e.Want, err)
			} else if again == "" {
				t.Fatal("empty")
			}
			return
		}
		if clean != "/"+source+image || strings.Contains(source, "/") || source == "" || image[0] != '/' {
			t.Fatalf("%q and %q do not make %q", source, image, clean)
		}
		if len(clean) > MaxPath || !utf8.ValidString(clean) || strings.ContainsAny(clean, "\x00\\\n\x7f") {
			t.Fatalf("accepted %q", clean)
		}
		if path.Clean(clean) != clean {
			t.Fatalf("%q is not the shortest way to write %q", clean, path.Clean(clean))
		}
		for _, s := range strings.Split(clean[1:], "/") {
			if s == "" || s == "." || s == ".." {
				t.Fatalf("%q has the segment %q", clean, s)
			}
		}
		if again, err := CleanPath(EscapePath(clean)); again != clean || err != nil {
			t.Fatalf("escaped %q comes back as %q, %v", clean, again, err)
		}
	})
}

func TestCleanFolder(t *testing.T) {
	for _, tt := range []struct{ folder, want string }{
		{"/photos/2026", "/photos/2026/"},
		{"/photos/2026/", "/photos/2026/"},
		{"/photos/2026/a%20b/", "/photos/2026/a b/"},
	} {
		if got, err := CleanFolder(tt.folder); got != tt.want || err != nil {
			t.Errorf("%q is %q, %v; want %q", tt.folder, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ folder, want string }{
		{"", `path "" is empty; the right form is "/source/folder/"`},
		{"/", `path "/" is empty; the right form is "/source/folder/"`},
		{"//", `path "//" has an empty segment; the right form is "/source/folder/"`},
		{"/photos/", `path "/photos/" is a whole source, which is purged with scope "all" and source "photos"`},
		{"/photos/a/*", `path "/photos/a/*" ends in a wildcard, where a folder needs none; the right form is "/photos/a/"`},
		{"/photos/a//", `path "/photos/a//" ends in a slash; the right form is "/source/folder/"`},
		{"/photos/../a/", `path "/photos/../a/" has the segment ".."; the right form is "/source/folder/"`},
		{"cdn.example.com/photos/a/b/", `path "cdn.example.com/photos/a/b/" has a host, and no leading slash; the right form is "/photos/a/b/"`},
		{"/photos/a?w=1", `path "/photos/a?w=1" has a query; the right form is "/photos/a/"`},
	} {
		if got, err := CleanFolder(tt.folder); err == nil || err.Error() != tt.want {
			t.Errorf("%q is %q:\ngot  %v\nwant %s", tt.folder, got, err, tt.want)
		}
	}
}
