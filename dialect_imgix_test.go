package imagecdn

import (
	"net/url"
	"strings"
	"testing"
)

var testImgix = Imgix{
	Source: "shop/photos", Hosts: map[string]string{"avatars.com": "avatars", "assets.imgix.net": "brand/assets"},
	Defaults: "auto=format&q=60&mark-alpha=40", Presets: map[string]string{"thumb": "w=100&h=100&fit=crop"},
}

func TestImgix(t *testing.T) {
	for _, tt := range []struct{ name, target, image, params string }{
		{"a path", "/users/1.png?w=400&h=300", "shop:/photos/users/1.png", "w=400&h=300&q=60&auto=format"},
		{"the web proxy", "/http%3A%2F%2Favatars.com%2Fjohn-smith.png?h=300", "avatars:/john-smith.png", "h=300&q=60&auto=format"},
		{"the web proxy, of a path with a space", "/https%3A%2F%2Favatars.com%2Fa%2520b.png", "avatars:/a b.png", "q=60&auto=format"},
		{"the web proxy, with a query", "/https%3a%2f%2favatars.com%2fa.png%3Fv%3D2%26x%3D1", "avatars:/a.png?v=2&x=1", "q=60&auto=format"},
		{"an absolute URL that is not encoded", "/https://avatars.com/a.png", "avatars:/a.png", "q=60&auto=format"},
		{"and one that has lost a slash", "/https:/avatars.com/a.png", "avatars:/a.png", "q=60&auto=format"},
		{"unpic", "/a.jpg?w=400&h=300&fit=min&auto=format", "shop:/photos/a.jpg", "w=400&h=300&fit=min&q=60&auto=format"},
		{"unpic with a format", "/a.jpg?fm=webp&w=400&h=300&q=80&fit=min", "shop:/photos/a.jpg", "w=400&h=300&fit=min&fm=webp&q=80&auto=format"},
		{"nuxt", "/test.png?w=200&h=200&fit=fill&fm=jpeg", "shop:/photos/test.png", "w=200&h=200&fit=fill&fm=jpg&q=60&auto=format"},
		{"react-imgix", "/a.jpg?auto=format&crop=faces&fit=crop&w=200&h=100&dpr=1&q=75", "shop:/photos/a.jpg", "w=200&h=100&fit=crop&crop=faces&auto=format"},
		{"a name with what URLs escape", "/st%C3%B6ked%20a%2Bb.png?txt64=SSBjYW7CtHQ", "shop:/photos/stöked a+b.png", "txt=I%20can%C2%B4t&q=60&auto=format"},
		{"a default by another name", "/a.jpg?malph=90&mark=x.png", "shop:/photos/a.jpg", "mark=/shop/photos/x.png&mark-alpha=90&q=60&auto=format"},
		{"a mark in the same source", "/a.jpg?mark=%2Fbrand%2Flogo.png", "shop:/photos/a.jpg", "mark=/shop/photos/brand/logo.png&mark-alpha=40&q=60&auto=format"},
		{"a mark of another host", "/a.jpg?mark64=aHR0cHM6Ly9hc3NldHMuaW1naXgubmV0L2xvZ28ucG5n", "shop:/photos/a.jpg", "mark=/brand/assets/logo.png&mark-alpha=40&q=60&auto=format"},
		{"a mark in a folder of another host", "/a.jpg?mark=logo.png&mark-base=https%3A%2F%2Fassets.imgix.net%2Fx", "shop:/photos/a.jpg", "mark=/brand/assets/x/logo.png&mark-alpha=40&q=60&auto=format"},
		{"a preset", "/a.jpg?preset=thumb", "shop:/photos/a.jpg", "w=100&h=100&fit=crop&q=60&auto=format"},
		{"unknown parameters", "/a.jpg?ixlib=js-3.8.0&ixid=x&s=abc", "shop:/photos/a.jpg", "q=60&auto=format"},
	} {
		r, err := parseTarget(t, testImgix, tt.target)
		if err != nil || named(r.Image) != tt.image || r.Params.String() != tt.params {
			t.Errorf("%s: %s is %s %q, %v, want %s %q", tt.name, tt.target, named(r.Image), r.Params, err, tt.image, tt.params)
		}
	}

	proxy := Imgix{Hosts: testImgix.Hosts, Strict: true}
	r, err := parseTarget(t, proxy, "/http%3A%2F%2Favatars.com%2Fa.png?mark=%2Flogo.png&ixlib=js-3.8.0")
	if err != nil || r.Params.String() != "mark=/avatars/logo.png" {
		t.Errorf("a path in a web proxy is one of the same host: %s, %v", r.Params, err)
	}
}

func TestImgixRefuses(t *testing.T) {
	proxy := Imgix{Hosts: testImgix.Hosts, Strict: true}
	for _, tt := range []struct {
		dialect Dialect
		target  string
		status  int
		want    string
	}{
		{testImgix, "/https%3A%2F%2Fevil.example%2Fa.png", 403, "path /https%3A%2F%2Fevil.example%2Fa.png: the host evil.example is none of those"},
		{testImgix, "/a.png?mark=https%3A%2F%2Fevil.example%2Fa.png", 403, "mark=https://evil.example/a.png: the host evil.example is none of those"},
		{testImgix, "/a.png?mark=..%2F..%2Fa.png", 400, `the segment ".."`},
		{testImgix, "/a.png?blend=https%3A%2F%2Favatars.com%2Fa.png%3Fw%3D9", 400, "parameters of its own are not supported yet"},
		{testImgix, "/../a.png", 400, `the segment ".."`},
		{testImgix, "/", 400, "ends in a slash"},
		{testImgix, "/a.png?w=abc", 400, "w=abc: not a number"},
		{testImgix, "/a.png?preset=other", 400, "preset=other: there is no such preset here"},
		{testImgix, "/a.png?preset=thumb&w=900", 400, "given twice"},
		{proxy, "/a.png", 400, "is no absolute URL"},
		{proxy, "/http%3A%2F%2Favatars.com%2Fa.png?utm=1", 400, "unknown parameter"},
	} {
		_, err := parseTarget(t, tt.dialect, tt.target)
		if err == nil || paramStatus(err) != tt.status || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v (%d), want %d and %q", tt.target, err, paramStatus(err), tt.status, tt.want)
		}
	}
}

func FuzzImgix(f *testing.F) {
	for _, tt := range canonicalTests {
		f.Add("/a.jpg?" + tt.query)
	}
	for _, target := range []string{"/http%3A%2F%2Favatars.com%2Fa.png%3Fv%3D2", "/a?mark=https%3A%2F%2Favatars.com%2Fa.png", "/https:/x", "/a?preset=thumb"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if u, err := url.ParseRequestURI(target); err == nil {
			checkDialects(t, testImgix, u)
		}
	})
}
