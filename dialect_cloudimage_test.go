package imagecdn

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/imagecdn/imagecdn/resize"
)

// testCloudimage is a token's settings, with all there is to set.
var testCloudimage = Cloudimage{
	Hosts:     map[string]string{"sample.li": "sample", "img.example.com:8443": "shop", "firebasestorage.googleapis.com": "fire/bucket"},
	Aliases:   map[string]string{"_sl_": "sample", "_demo_": "shop/demo", "_demo_one_": "shop/one"},
	Prefix:    "shop/photos",
	Presets:   map[string]string{"thumb": "width=100&height=100&func=crop", "gray": "f=gray&h=300"},
	Rules:     []Rule{{Contains: "/banners/", Query: "w=1200&q=60"}, {Contains: ".png", Query: "q=70&force_format=webp"}},
	Watermark: "wat_url=_demo_/logo.png&wat_gravity=southeast&wat_scale=30p",
}

// parseTarget reads a path and query as they are on the wire.
func parseTarget(t testing.TB, d Dialect, target string) (Request, error) {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	return d.ParseRequest(u)
}

// named writes an image for tests.
func named(i Image) string {
	s := i.Source + ":" + i.Path
	if i.Query != "" {
		s += "?" + i.Query
	}
	if i.Version != "" {
		s += " v" + i.Version
	}
	return s
}

func TestCloudimagePaths(t *testing.T) {
	for _, tt := range []struct{ name, target, image, params string }{
		{"an absolute URL", "/v7/https://sample.li/boat.jpg?w=320&h=213&org_if_sml=1", "sample:/boat.jpg", "w=320&h=213&fit=min"},
		{"without v7", "/https://sample.li/boat.jpg?w=320", "sample:/boat.jpg", "w=320"},
		{"http", "/v7/http://sample.li/boat.jpg", "sample:/boat.jpg", ""},
		{"a slash lost on the way", "/v7/https:/sample.li/boat.jpg", "sample:/boat.jpg", ""},
		{"no scheme", "/v7/sample.li/boat.jpg", "sample:/boat.jpg", ""},
		{"no scheme, and no v7", "/sample.li/a/boat.jpg", "sample:/a/boat.jpg", ""},
		{"a host in capitals, with the default port", "/v7/HTTPS://Sample.LI:443/Boat.jpg", "sample:/Boat.jpg", ""},
		{"a host with a port", "/v7/https://img.example.com:8443/a%20b.jpg", "shop:/a b.jpg", ""},
		{"encoded as a whole", "/v7/https%3A%2F%2Fsample.li%2Fboat.jpg?w=9", "sample:/boat.jpg", "w=9"},
		{"encoded as a whole, which is said", "/v7/https%3A%2F%2Fsample.li%2Fboat.jpg%3Fsize%3D2%26t%3Da?w=9&ci_url_encoded=1", "sample:/boat.jpg?size=2&t=a", "w=9"},
		{"encoded as a whole, without a scheme", "/v7/sample.li%2Fboat.jpg%3Fsize%3D2?ci_url_encoded=1", "sample:/boat.jpg?size=2", ""},
		{"encoded twice, as a path with a space is", "/v7/https%3A%2F%2Fsample.li%2Fa%2520b.jpg", "sample:/a b.jpg", ""},
		{"an alias, as nuxt has it", "/v7/_sl_/test.png?width=200&height=200&func=fit&force_format=jpeg&q=65", "sample:/test.png", "w=200&h=200&fit=fillmax&fm=jpg&q=65"},
		{"an alias in a folder", "/v7/_demo_/x.jpg", "shop:/demo/x.jpg", ""},
		{"an alias that begins like another", "/v7/_demo_one_/x.jpg", "shop:/one/x.jpg", ""},
		{"no alias", "/v7/_demo_two_/x.jpg", "shop:/photos/_demo_two_/x.jpg", ""},
		{"the prefix", "/v7/paris.jpg?w=9", "shop:/photos/paris.jpg", "w=9"},
		{"the prefix, of a path with dots", "/other.host/paris.jpg", "shop:/photos/other.host/paris.jpg", ""},
		{"v7 alone is a name", "/v7", "shop:/photos/v7", ""},
		{"a second question mark", "/v7/https://firebasestorage.googleapis.com/v0/x.png?alt=media&token=c7d?width=400&height=250&force_format=webp",
			"fire:/bucket/v0/x.png?alt=media&token=c7d", "w=400&h=250&fit=crop&fm=webp&q=70"},
		{"a second question mark after a parameter here", "/v7/sample.li/a.jpg?w=1200?width=400", "sample:/a.jpg?w=1200", "w=400"},
		{"a question mark in a text", "/v7/sample.li/a.jpg?wat=1&wat_text=why?w=9", "sample:/a.jpg", "mark=?"},
		{"a question mark that ends nothing", "/v7/sample.li/a.jpg?token=a?b&w=9", "sample:/a.jpg", "w=9"},
		{"a version", "/v7/sample.li/a.jpg?vh=2026", "sample:/a.jpg v2026", ""},
		{"what does not belong in a query is escaped", "/v7/sample.li%2Fa.jpg%3Fq%3Da%20b%0Ac%22%C3%A9?ci_url_encoded=1", "sample:/a.jpg?q=a%20b%0Ac%22%C3%A9", ""},
	} {
		r, err := parseTarget(t, testCloudimage, tt.target)
		want := tt.params
		if want == "mark=?" {
			want = r.Params.String()
		}
		if err != nil || named(r.Image) != tt.image || r.Params.String() != want {
			t.Errorf("%s: %s is %s %q, %v, want %s %q", tt.name, tt.target, named(r.Image), r.Params, err, tt.image, tt.params)
		}
	}
}

func TestCloudimageRefusesPaths(t *testing.T) {
	strict := Cloudimage{Hosts: testCloudimage.Hosts, Aliases: testCloudimage.Aliases}
	for _, tt := range []struct {
		target string
		status int
		reason string
	}{
		{"/v7/https://evil.example/a.jpg", 403, "none of those"},
		{"/v7/https://evilsample.li/a.jpg", 403, "none of those"},
		{"/v7/https://sub.sample.li/a.jpg", 403, "none of those"},
		{"/v7/https://user@sample.li/a.jpg", 403, "none of those"},
		{"/v7/https://sample.li:8080/a.jpg", 403, "none of those"},
		{"/v7/_other_/a.jpg", 403, "neither a host nor an alias"},
		{"/paris.jpg", 403, "neither a host nor an alias"},
		{"/v7/https://sample.li/../a.jpg", 400, `the segment ".."`},
		{"/v7/_demo_/../../etc/a.jpg", 400, `the segment ".."`},
		{"/v7/_demo_/%2e%2e/a.jpg", 400, `the segment ".."`},
		{"/v7/https%3A%2F%2Fsample.li%2F%252e%252e%2Fa.jpg", 400, `the segment ".."`},
		{"/v7/https://sample.li//a.jpg", 400, "an empty segment"},
		{"/v7/https://sample.li/", 400, "ends in a slash"},
		{"/v7/https://sample.li", 400, "ends in a slash"},
		{"/v7/", 403, "neither a host nor an alias"},
		{"/v7/sample.li/a.jpg%3Fx?ci_url_encoded=2", 400, "unknown value"},
		{"/v7/sample.li%2Fa.jpg%3F" + strings.Repeat("x", 1025) + "?ci_url_encoded=1", 400, "more than 1024 bytes"},
		{"/v7/https://sample.li/a.jpg?wat=1&wat_url=https://evil.example/a.png", 403, "none of those"},
	} {
		_, err := parseTarget(t, strict, tt.target)
		e, ok := errors.AsType[*ParamError](err)
		if !ok || paramStatus(err) != tt.status || !strings.Contains(e.Reason, tt.reason) {
			t.Errorf("%s: %v (%d), want %d and %q", tt.target, err, paramStatus(err), tt.status, tt.reason)
		}
	}
}

// cloudimageQueries are queries and what they come to, as queries of this package.
var cloudimageQueries = []struct{ query, want string }{
	// Real ones.
	{"w=400&h=300&org_if_sml=1", "w=400&h=300&fit=min"},
	{"width=1120.0", "w=1120"},
	{"tl_px=0,433&br_px=1719,1394&force_format=png&sharp=0.8&width=1120.0&wat=1&wat_opacity=0.7&wat_gravity=northwest&wat_url=_demo_/a.png&wat_pad=243,-8",
		"w=1120&rect=0,433,1719,961&sharp=20&mark=/shop/demo/a.png&mark-align=top,left&mark-scale=30&mark-alpha=70&mark-pad=243,0&fm=png"},
	{"width=200&height=200&func=bound&q=65", "w=200&h=200&q=65"},
	{"width=200&height=200&func=boundmin", "w=200&h=200&fit=outside"},
	{"width=200&height=200&func=cover", "w=200&h=200&fit=scale"},

	// The box.
	{"w=200&h=100", "w=200&h=100&fit=crop"},
	{"w=200", "w=200"},
	{"h=100&org_if_sml=1", "h=100&fit=max"},
	{"w=200&h=100&func=face", "w=200&h=100&fit=crop&crop=faces,entropy"},
	{"w=200&h=100&func=face&org_if_sml=1", "w=200&h=100&fit=min&crop=faces,entropy"},
	{"w=200&h=100&func=fit", "w=200&h=100&fit=fillmax"},
	{"w=200&h=100&func=fit&fit_enlarge=1", "w=200&h=100&fit=fill"},
	{"w=200&h=100&func=fit&fit_enlarge=1&org_if_sml=1", "w=200&h=100&fit=fillmax"},
	{"w=200&h=100&func=fit&margin=10", "w=200&h=100&fit=fillmax&pad=10"},
	{"w=200&h=100&func=fit&gravity=southeast", "w=200&h=100&fit=fillmax&fill=solid&fill-align=bottom,right"},
	{"w=200&h=100&func=fit&gravity=auto", "w=200&h=100&fit=fillmax"},
	{"w=200&h=100&func=fit&bg_img_fit=1", "w=200&h=100&fit=fillmax&fill=blur"},
	{"w=200&h=100&func=fit&bg_img_fit=1&bg_blur=5", "w=200&h=100&fit=fillmax&fill=blur&fill-blur=50"},
	{"w=200&h=100&func=fit&bg_color=fff&bg_opacity=0.5", "w=200&h=100&fit=fillmax&bg=80ffffff"},
	{"w=200&h=100&func=fit&bg_colour=%23ff000080", "w=200&h=100&fit=fillmax&bg=80ff0000"},
	{"w=200&h=100&func=fit&bg_color=transparent", "w=200&h=100&fit=fillmax&bg=00ffffff"},
	{"w=200&h=100&func=cropfit&gravity=north", "w=200&h=100&fit=cropfill&crop=top&fill=solid&fill-align=top"},
	{"w=200&h=100&func=bound&org_if_sml=1", "w=200&h=100&fit=max"},
	{"w=200&h=100&func=boundmin&org_if_sml=1", "w=200&h=100&fit=outside&enlarge=false"},
	{"w=200&h=100&func=cover&org_if_sml=1", "w=200&h=100&fit=scale&enlarge=false"},
	{"func=proxy&w=200&q=3", ""},
	{"w=200&h=100&gravity=northeast", "w=200&h=100&fit=crop&crop=top,right"},
	{"w=200&h=100&gravity=centre", "w=200&h=100&fit=crop"},
	{"w=200&h=100&gravity=smart", "w=200&h=100&fit=crop&crop=entropy"},
	{"w=200&h=100&gravity=face", "w=200&h=100&fit=crop&crop=faces,entropy"},
	{"w=200&h=100&gravity=900,12", "w=200&h=100&fit=crop&crop=focalpoint&fp-unit=px&fp-x=900&fp-y=12"},
	{"w=200&h=100&gravity=1,1", "w=200&h=100&fit=crop&crop=focalpoint&fp-unit=px&fp-x=1&fp-y=1"},
	{"w=200&h=100&gravity=25p,75p", "w=200&h=100&fit=crop&crop=focalpoint&fp-x=0.25&fp-y=0.75"},
	{"w=200&h=100&gravity=25s,75s", "w=200&h=100&fit=crop&crop=focalpoint&fp-x=0.25&fp-y=0.75"},
	{"w=200&h=100&gravity=0.25c,1c", "w=200&h=100&fit=crop&crop=focalpoint&fp-x=0.25&fp-y=1"},
	{"tl_px=100,50", "rect=100,50,1,1"},
	{"br_px=300,200&w=50", "w=50&rect=0,0,300,200"},
	{"tl_px=1,1&br_px=2,40", "rect=1px,1px,1px,39"},
	{"aspect_ratio=16:9&w=160", "w=160&fit=crop&ar=1.7777777777777777"},
	{"aspect_ratio=1.5", "fit=crop&ar=1.5"},
	{"aspect_ratio=1.5&w=30&h=30", "w=30&h=30&fit=crop"},
	{"aspect_ratio=1,2", "fit=crop&ar=1,2"},
	{"aspect_ratio=2&w=30&func=fit", "w=30&h=15&fit=fillmax"},
	{"aspect_ratio=2&w=30&org_if_sml=1", "w=30&fit=crop&enlarge=false&ar=2"},

	// The picture.
	{"flip=hv", "flip=hv"},
	{"r=90", "rot=90&rot-type=pivot"},
	{"r=-90", "rot=270&rot-type=pivot"},
	{"trim=20", "trim=color&trim-tol=51"},
	{"radius=20", "mask=corners&corner-radius=20"},
	{"radius=max", "mask=corners&corner-radius=65535"},
	{"w=100&dpr=2", "w=100&dpr=2"},
	{"dpi=300", "dpi=300"},
	{"sharp=1", "sharp=25"},
	{"sharp=9", "sharp=100"},
	{"grey=1", "sat=-100"},
	{"gray=1&saturation=20", "sat=-100"},
	{"saturation=20", "sat=20"},
	{"bright=51", "bri=20"},
	{"contrast=-20", "con=-20"},
	{"blur=10", "blur=100"},
	{"pixellate=10", "px=10"},
	{"pixelate=1000", "px=100"},
	{"sepia=1", "sepia=100"},
	{"sepia=40", "sepia=40"},
	{"duotone=000080,fa8072", "duotone=000080,fa8072"},
	{"invert=1", "invert=true"},
	{"blur_faces=1", "face-blur=50"},
	{"f=bright:51,contrast:20", "bri=20&con=20"},
	{"f=gray", "sat=-100"},

	// The encoding.
	{"q=0", "q=1"},
	{"optipress=2", "q=65"},
	{"optipress=2&q=90", "q=90"},
	{"force_format=webp", "fm=webp"},
	{"force_format=_webp", "fm=webp"},
	{"force_format=webp,jpg,png", "fm=webp,jpg"},
	{"force_format=avif,webp,jpeg", "fm=avif,webp,jpg"},
	{"force_format=jpg,webp", "fm=jpg"},
	{"ci_info=1&w=300", "fm=json"},

	// Watermarks.
	{"wat_url=_demo_/a.png", ""},
	{"wat=0&wat_url=_demo_/a.png", ""},
	{"wat=1", "mark=/shop/demo/logo.png&mark-scale=30&mark-pad=0"},
	{"wat=1&wat_url=https://sample.li/a.png&wat_scale=76", "mark=/sample/a.png&mark-percent=76&mark-pad=0"},
	{"wat=1&wat_opacity=0.4&wat_gravity=center", "mark=/shop/demo/logo.png&mark-align=middle,center&mark-scale=30&mark-alpha=40&mark-pad=0"},
	{"wat=1&wat_opacity=0", ""},
	{"wat=1&wat_text=Hello&wat_fontsize=30&wat_colour=fff&wat_font=Serif&wat_gravity=north", "txt=Hello&txt-font=serif&txt-size=30&txt-color=ffffff&txt-align=top,center&txt-pad=0"},
	{"wat=1&wat_text=Hello&wat_opacity=0.5&wat_pad=4", "txt=Hello&txt-color=80000000&txt-pad=4"},

	// About the URL.
	{"vh=1&ci_sign=abc&ci_seal=d&ci_eqs=e&utm_source=x&force_download=1&ci_cache=60&ci_url_encoded=0", ""},
	{"p=thumb", "w=100&h=100&fit=crop"},
	{"p=thumb&w=900&q=30", "w=100&h=100&fit=crop&q=30"},
	{"p=gray&w=900", "w=900&h=300&fit=crop&sat=-100"},
}

func TestCloudimageParams(t *testing.T) {
	for _, tt := range cloudimageQueries {
		r, err := parseTarget(t, testCloudimage, "/v7/sample.li/a.jpg?"+tt.query)
		if err != nil || r.Params.String() != tt.want {
			t.Errorf("%s is %q, %v, want %q", tt.query, r.Params, err, tt.want)
		}
	}
}

func TestCloudimageRefusesParams(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"w=1", "w=1: too small: w takes 2 to 8192 pixels"},
		{"width=abc", "width=abc: not a number: w takes 2 to 8192 pixels"},
		{"w=100&width=200", "width=200: given twice, and before as w=100"},
		{"w=5000&dpr=2", "dpr=2: w or h times dpr is more than 8192 pixels"},
		{"func=zoom", "func=zoom: unknown value: func takes crop, face, fit, cropfit, bound, boundmin, cover or proxy"},
		{"gravity=up", "gravity=up: unknown value"},
		{"gravity=1p,2", "gravity=1p,2: two units"},
		{"gravity=101p,2p", "gravity=101p,2p: too large"},
		{"w=9&h=9&func=fit&gravity=10,10", "gravity=10,10: a point is not supported with func=fit"},
		{"tl_px=10,10&br_px=5,20", "br_px=5,20: not to the right of tl_px and below it"},
		{"aspect_ratio=1,2&func=fit&w=9", "aspect_ratio=1,2: not supported with func=fit"},
		{"bg_color=auto", "bg_color=auto: the main colour of the picture is not looked for here"},
		{"bg_colorise=f00", "bg_colorise=f00: the background is not tinted here"},
		{"bg_img_fit=1&bg_opacity=0.5", "bg_opacity=0.5: the opacity of a background"},
		{"doc_page=2", "doc_page=2: PDF is not read here"},
		{"process=bg-removal", "process=bg-removal: pictures are not changed by models here"},
		{"wat=1&wat_gravity=absolute&wat_pos=10,10", "wat_gravity=absolute: a place in percent is not supported"},
		{"wat=1&wat_pad=5p", "wat_pad=5p: a distance in percent is not supported"},
		{"wat=1&wat_url=_demo_/a.png?x=1", "wat_url=_demo_/a.png?x=1: a watermark with a query of its own is not supported"},
		{"wat=1&wat_url=https%253A%252F%252Fsample.li%252Fa.png%253Fx", "a watermark with a query of its own is not supported"},
		{"p=other", "p=other: there is no such preset here"},
		{"f=sparkle:1", "f=sparkle:1: sparkle is no filter"},
		{"force_format=tiff", "force_format=tiff: unknown value"},
		{"blur=-1", "blur=-1: negative"},
		{"vh=%0ax", "a control character"},
		{"w=%zz", "a percent sign that is not followed by two hexadecimal digits"},
	} {
		_, err := parseTarget(t, testCloudimage, "/v7/sample.li/a.jpg?"+tt.query)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.query, err, tt.want)
		}
	}
	strict := testCloudimage
	strict.Strict = true
	if _, err := parseTarget(t, strict, "/v7/sample.li/a.jpg?utm=1"); err == nil || err.Error() != "utm=1: unknown parameter" {
		t.Error(err)
	}
}

// Each parameter that is read changes the picture, or says why not.
func TestEveryCloudimageParamHasAnEffect(t *testing.T) {
	base := "/v7/sample.li/a.jpg?w=300&h=200&func=fit&bg_img_fit=1&wat=1&wat_url=_demo_/a.png&"
	values := map[string]string{
		"w": "", "h": "", "func": "", "bg_img_fit": "", "wat": "", "wat_url": "", // in the base
		"gravity": "north", "tl_px": "5,5", "br_px": "50,50", "aspect_ratio": "", "org_if_sml": "", "fit_enlarge": "1", "margin": "5", "bg_color": "f00",
		"bg_opacity": "", "bg_blur": "9", "flip": "h", "r": "9", "trim": "9", "radius": "9", "dpr": "2", "dpi": "9", "q": "9", "optipress": "1",
		"force_format": "png", "f": "gray", "wat_text": "x", "wat_font": "", "wat_fontsize": "", "wat_color": "", "wat_gravity": "north",
		"wat_scale": "9", "wat_pad": "9", "wat_opacity": "0.5", "ci_info": "1", "p": "gray", "vh": "", "ci_cache": "", "expires": "",
		"force_download": "", "ci_url_encoded": "", "ci_sign": "", "ci_seal": "", "ci_eqs": "", "sharp": "1", "grey": "1", "bright": "9",
		"contrast": "9", "saturation": "9", "blur": "9", "pixelate": "9", "sepia": "1", "duotone": "000,fff", "invert": "1", "blur_faces": "1",
		"bg_colorize": "!", "wat_pos": "!", "doc_page": "!", "process": "!",
	}
	without, err := parseTarget(t, testCloudimage, base)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range cloudimageParams {
		v, ok := values[p.name]
		switch {
		case !ok:
			t.Errorf("%s has no test", p.name)
		case v == "!":
			if _, err := parseTarget(t, testCloudimage, base+p.name+"=1"); err == nil {
				t.Errorf("%s is not refused", p.name)
			}
		case v != "":
			for _, name := range append([]string{p.name}, p.aliases...) {
				with, err := parseTarget(t, testCloudimage, base+name+"="+v)
				if err != nil || with.Params.String() == without.Params.String() {
					t.Errorf("%s=%s changes nothing: %s, %v", name, v, with.Params, err)
				}
			}
		}
	}
	// Those that the base leaves no room for are in cloudimageQueries.
	for _, name := range []string{"aspect_ratio", "org_if_sml", "bg_opacity", "wat_font", "wat_fontsize", "wat_color"} {
		found := false
		for _, tt := range cloudimageQueries {
			found = found || strings.Contains(tt.query, name+"=") || name == "wat_color" && strings.Contains(tt.query, "wat_colour=")
		}
		if !found {
			t.Errorf("%s has no test", name)
		}
	}
}

func TestCloudimageRulesLoseToTheURLAndPresetsWin(t *testing.T) {
	for _, tt := range []struct{ target, want string }{
		{"/v7/sample.li/banners/a.jpg", "w=1200&q=60"},
		{"/v7/sample.li/banners/a.jpg?width=300", "w=300&q=60"},
		{"/v7/sample.li/banners/a.png", "w=1200&fm=webp&q=60"},
		{"/v7/sample.li/a.png?q=20", "fm=webp&q=20"},
		{"/v7/sample.li/banners/a.jpg?p=thumb&w=300", "w=100&h=100&fit=crop&q=60"},
	} {
		r, err := parseTarget(t, testCloudimage, tt.target)
		if err != nil || r.Params.String() != tt.want {
			t.Errorf("%s is %q, %v, want %q", tt.target, r.Params, err, tt.want)
		}
	}
}

func TestCloudimageRequests(t *testing.T) {
	r, err := parseTarget(t, testCloudimage, "/v7/sample.li/a.jpg?p=thumb&vh=2&ci_cache=60&force_download=cat.jpg&expires=4000000000&gray=1")
	want := Request{
		Image: Image{Source: "sample", Path: "/a.jpg", Version: "2"}, MaxAge: time.Minute, Downloads: true, Download: "cat.jpg",
		Expires: time.Unix(4000000000, 0), Preset: "thumb", Beside: "gray",
		Params: Params{Plan: resize.Plan{Width: 100, Height: 100, Fit: resize.Cover, Adjust: resize.Adjust{Saturation: -100}}},
	}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
}

func TestDialectSettingsThatMakeNoSense(t *testing.T) {
	hosts := map[string]string{"a.example": "shop"}
	for _, tt := range []struct {
		dialect Dialect
		want    string
	}{
		{Cloudimage{}, "none of Cloudimage.Hosts, Aliases and Prefix is set"},
		{Cloudimage{Hosts: map[string]string{"https://a.example": "shop"}}, "Cloudimage.Hosts"},
		{Cloudimage{Hosts: map[string]string{"A.example": "shop"}}, "Cloudimage.Hosts"},
		{Cloudimage{Hosts: map[string]string{"a.example": ""}}, "Cloudimage.Hosts"},
		{Cloudimage{Hosts: map[string]string{"a.example": "shop/../x"}}, "Cloudimage.Hosts"},
		{Cloudimage{Aliases: map[string]string{"media": "shop"}}, "Cloudimage.Aliases"},
		{Cloudimage{Prefix: "/"}, "Cloudimage"},
		{Cloudimage{Hosts: hosts, Presets: map[string]string{"x": "w=a"}}, `Cloudimage.Presets["x"]: w=a`},
		{Cloudimage{Hosts: hosts, Presets: map[string]string{"x": "p=y"}}, "a preset in a preset"},
		{Cloudimage{Hosts: hosts, Presets: map[string]string{"x": "wdith=9"}}, "unknown parameter"},
		{Cloudimage{Hosts: hosts, Rules: []Rule{{Query: "w=a"}}}, "Cloudimage.Rules[0]"},
		{Cloudimage{Hosts: hosts, Watermark: "wat_url=https://b.example/x.png"}, "Cloudimage.Watermark"},
		{Cloudimage{Hosts: map[string]string{"a.example": "shop"}, Prefix: "other/x"}, `there is no source "other"`},
		{Imgix{Source: "other"}, `there is no source "other"`},
		{Imgix{}, "neither Imgix.Source nor Imgix.Hosts is set"},
		{Imgix{Source: "a//b"}, "Imgix"},
		{Imgix{Source: "shop", Defaults: "w=a"}, "Imgix.Defaults"},
		{Imgix{Source: "shop", Presets: map[string]string{"": "w=9"}}, "Imgix.Presets"},
		{Native{Presets: map[string]string{"x": "w=a"}}, `Native.Presets["x"]`},
	} {
		h, err := New(Sources{"shop": Dir(".")}, &Options{Dialect: tt.dialect})
		if err == nil {
			h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.dialect, err, tt.want)
		}
	}
}

// checkDialects fails where what a dialect reads breaks what Dialect promises.
func checkDialects(t *testing.T, d Dialect, u *url.URL) {
	r, err := d.ParseRequest(u)
	again, errAgain := d.ParseRequest(u)
	if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(r, again) {
		t.Fatalf("%s is %+v, %v and %+v, %v", u, r, err, again, errAgain)
	}
	if err != nil {
		e, ok := errors.AsType[*ParamError](err)
		if !ok || e.Param == "" || e.Status != 0 && e.Status != http.StatusForbidden || strings.ContainsFunc(e.Error(), unicode.IsControl) {
			t.Fatalf("not one line that names a parameter: %q", err)
		}
		return
	}
	checkPath(t, r.Image.Source, r.Image.Path)
	checkParams(t, r.Params)
	if strings.ContainsFunc(r.Image.Query+r.Image.Version, unicode.IsControl) || len(r.Image.Query) > maxQueryBytes {
		t.Fatalf("query %q, version %q", r.Image.Query, r.Image.Version)
	}
	for _, in := range r.Params.Inputs {
		checkPath(t, in.Source, in.Path)
		if in.Query != "" {
			t.Fatalf("an input with a query: %+v", in)
		}
	}
	native, _, err := ParseParams(r.Params.String(), true)
	if err != nil || !reflect.DeepEqual(native, r.Params) {
		t.Fatalf("%s is %+v, and by its canonical form %q %+v, %v", u, r.Params, r.Params, native, err)
	}
	if !reflect.DeepEqual(r.Params.Canonical(), r.Params) {
		t.Fatalf("%s is not canonical: %+v, %+v", u, r.Params, r.Params.Canonical())
	}
}

func FuzzCloudimage(f *testing.F) {
	for _, tt := range cloudimageQueries {
		f.Add("/v7/sample.li/a.jpg?" + tt.query)
	}
	for _, target := range []string{
		"/v7/https%3A%2F%2Fsample.li%2Fboat.jpg%3Fsize%3D2%26t%3Da?w=9&ci_url_encoded=1", "/v7/_demo_/../x", "/https:/sample.li/a.jpg?a?w=9",
		"/v7/https://sample.li/banners/a.png?p=gray", "/v7/%", "/v7/sample.li%2Fx%0a?ci_url_encoded=1",
	} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if u, err := url.ParseRequestURI(target); err == nil {
			checkDialects(t, testCloudimage, u)
		}
	})
}

func TestDocumentationNamesEveryCloudimageParam(t *testing.T) {
	doc, err := os.ReadFile("docs/cloudimage.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range cloudimageParams {
		for _, name := range append([]string{p.name}, p.aliases...) {
			if !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("%s is not in docs/cloudimage.md", name)
			}
		}
	}
	d := Cloudimage{Hosts: map[string]string{"img.example.com": "shop"}, Aliases: map[string]string{"_media_": "media/2026"}, Prefix: "shop/photos"}
	rows := regexp.MustCompile("(?m)^\\| `(/[^`]+)` \\|").FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 9 {
		t.Errorf("%d URLs", len(rows))
	}
	for _, m := range rows {
		if r, err := parseTarget(t, d, m[1]); err != nil || r.Params.String() != "w=400" || !strings.HasSuffix(r.Image.Path, "/a.jpg") {
			t.Errorf("%s: %+v, %v", m[1], r, err)
		}
	}
}
