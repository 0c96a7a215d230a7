package cdn

import (
	"strings"
	"testing"
)

func TestBaseURL(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"", "https://api.example.com/v4"},
		{"http://127.0.0.1:8080/", "http://127.0.0.1:8080"},
		{"https://x.example/a/b//", "https://x.example/a/b"},
		{"api.example.com", ""},
		{"ftp://x.example/", ""},
		{"https://", ""},
		{"https://user:secret@x.example/", ""},
		{"https://x.example/?a", ""},
		{"https://x.example/?", ""},
		{"https://x.example/#a", ""},
		{"https://x.example/%zz", ""},
	} {
		got, err := BaseURL("name", c.value, "https://api.example.com/v4")
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("BaseURL(%q) = %q, %v; want %q", c.value, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("BaseURL(%q): the error repeats a password: %v", c.value, err)
		}
	}
}

func TestSplitURL(t *testing.T) {
	for _, c := range []struct{ value, host, path string }{
		{"https://www.example.com/img/a.jpg", "www.example.com", "/img/a.jpg"},
		{"https://www.example.com", "www.example.com", "/"},
		{"http://www.example.com:8080/", "www.example.com:8080", "/"},
		{"https://www.example.com?w=1", "www.example.com", "/?w=1"},
		{"https://www.example.com/a%2Fb%20c.jpg?w=1&h=%2F", "www.example.com", "/a%2Fb%20c.jpg?w=1&h=%2F"},
		{"https://www.example.com//a//b", "www.example.com", "//a//b"},
		{"https://[2001:db8::1]:8080/a", "[2001:db8::1]:8080", "/a"},
		{"https://www.example.com/ü.jpg", "www.example.com", "/ü.jpg"},
		{"/img/a.jpg", "", ""},
		{"www.example.com/img/a.jpg", "", ""},
		{"//www.example.com/a", "", ""},
		{"https:///a", "", ""},
		{"https:a", "", ""},
		{"https://u:p@www.example.com/a", "", ""},
		{"https://www.example.com/a#b", "", ""},
		{"https://www.example.com/a b", "", ""},
		{"https://www.example.com/a\nb", "", ""},
		{"ftp://www.example.com/a", "", ""},
		{"", "", ""},
	} {
		host, path, err := SplitURL(c.value)
		if host != c.host || path != c.path || (err == nil) != (c.host != "") {
			t.Errorf("SplitURL(%q) = %q, %q, %v; want %q, %q", c.value, host, path, err, c.host, c.path)
		}
	}
}

func TestCheck(t *testing.T) {
	f := Features{Soft: true, Forms: map[Kind]Form{
		Tag: {MaxItems: 3, MaxBytes: 20, ItemBytes: 2},
		URL: {},
		All: {Hard: true},
	}}
	for _, c := range []struct {
		b    Batch
		want string // a part of the error; empty: none
	}{
		{Batch{Kind: Tag, Values: []string{"a", "b", "c"}, Soft: true}, ""},
		{Batch{Kind: Tag, Values: []string{"a", "b", "c", "d"}}, "4 values"},
		{Batch{Kind: Tag, Values: []string{strings.Repeat("a", 18)}}, ""},
		{Batch{Kind: Tag, Values: []string{strings.Repeat("a", 19)}}, "21 bytes"},
		{Batch{Kind: Tag, Values: []string{strings.Repeat("a", 9), strings.Repeat("a", 8)}}, "21 bytes"},
		{Batch{Kind: Tag}, "at least one"},
		{Batch{Kind: URL, Values: []string{"a"}}, ""},
		{Batch{Kind: URL, Values: []string{"a", "b"}}, "2 values"},
		{Batch{Kind: Prefix, Values: []string{"a"}}, "no purge by prefix"},
		{Batch{Kind: All}, ""},
		{Batch{Kind: All, Soft: true}, "no soft purge by all"},
		{Batch{Kind: All, Values: []string{"a"}}, "has no values"},
	} {
		err := f.Check(c.b)
		if c.want == "" && err == nil {
			continue
		}
		if e, ok := err.(*Error); !ok || c.want == "" || e.Temporary || !strings.Contains(e.Reason, c.want) {
			t.Errorf("Check(%+v) = %v; want %q", c.b, err, c.want)
		}
	}
	f.Soft = false
	if f.Check(Batch{Kind: Tag, Values: []string{"a"}, Soft: true}) == nil {
		t.Error("a soft purge passes where there is none")
	}
}

func TestHide(t *testing.T) {
	err := Hide(&Error{Status: 403, Reason: "the key s3cret is unknown"}, "s3cret")
	if got := err.Error(); got != "403: the key … is unknown" {
		t.Error(got)
	}
}

func TestCheckSetting(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"a key", ""},
		{"", "x: key is missing"},
		{"secret\n", "x: key has white space around it, or a line's end in it"},
		{" secret", "x: key has white space around it, or a line's end in it"},
		{"sec\r\nret", "x: key has white space around it, or a line's end in it"},
	} {
		got := ""
		if err := CheckSetting("x", "zone", "1", "key", c.value); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}
