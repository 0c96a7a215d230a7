package cloudfront

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// suite are cases of AWS's Signature Version 4 test suite, as it is in aws-sdk-js-v3 (packages/signature-v4/src/suite.fixture.ts) and
// aws-c-auth (tests/aws-signing-test-suite/v4). Left out are those of paths that are normalized, or that are in the request line
// without having been escaped (get-utf8, get-space), which net/http does not send; and get-header-value-multiline, which HTTP no longer has.
var suite = []struct {
	name, method, target string
	header               []string // "name: value"
	body                 string
	token                string
	signed, signature    string
}{
	{"get-vanilla", "GET", "/", nil, "", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-vanilla-query", "GET", "/", nil, "", "", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-vanilla-with-session-token", "GET", "/", nil, "", "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
		"host;x-amz-date;x-amz-security-token", "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
	{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", nil, "", "",
		"host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-vanilla-empty-query-key", "GET", "/?Param1=value1", nil, "", "", "host;x-amz-date", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", nil, "", "",
		"host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-vanilla-query-order-encoded", "GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", nil, "", "",
		"host;x-amz-date", "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
	{"get-vanilla-query-unreserved", "GET",
		"/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", nil, "", "",
		"host;x-amz-date", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
	{"get-vanilla-utf8-query", "GET", "/?\u1234=bar", nil, "", "", "host;x-amz-date", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{"get-header-key-duplicate", "GET", "/", []string{"My-Header1: value2", "My-Header1: value2", "My-Header1: value1"}, "", "",
		"host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
	{"get-header-value-order", "GET", "/", []string{"My-Header1: value4", "My-Header1: value1", "My-Header1: value3", "My-Header1: value2"}, "", "",
		"host;my-header1;x-amz-date", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
	{"get-header-value-trim", "GET", "/", []string{"My-Header1:  value1", `My-Header2:  "a   b   c"`}, "", "",
		"host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	{"post-header-key-case", "POST", "/", nil, "", "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-vanilla", "POST", "/", nil, "", "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-header-key-sort", "POST", "/", []string{"My-Header1: value1"}, "", "",
		"host;my-header1;x-amz-date", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{"post-header-value-case", "POST", "/", []string{"My-Header1: VALUE1"}, "", "",
		"host;my-header1;x-amz-date", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
	{"post-sts-header-before", "POST", "/", nil, "",
		"AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
		"host;x-amz-date;x-amz-security-token", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
	{"post-vanilla-query", "POST", "/?Param1=value1", nil, "", "", "host;x-amz-date", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{"post-vanilla-empty-query-value", "POST", "/?Param1=value1", nil, "", "", "host;x-amz-date", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{"post-x-www-form-urlencoded", "POST", "/", []string{"Content-Type: application/x-www-form-urlencoded"}, "Param1=value1", "",
		"content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	{"post-x-www-form-urlencoded-parameters", "POST", "/", []string{"Content-Type: application/x-www-form-urlencoded; charset=utf8"}, "Param1=value1", "",
		"content-type;host;x-amz-date", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
}

func TestSignatureVersion4TestSuite(t *testing.T) {
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC).In(time.FixedZone("elsewhere", 13*3600))
	for _, test := range suite {
		r, err := http.NewRequest(test.method, "https://example.amazonaws.com"+test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range test.header {
			name, value, _ := strings.Cut(h, ":")
			r.Header.Add(name, value)
		}
		keys := Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: test.token}
		sign(r, []byte(test.body), keys, "us-east-1", "service", now)
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=" + test.signed + ", Signature=" + test.signature
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, want)
		}
	}
}

// The example of the documentation of Signature Version 4.
func TestSignatureVersion4Example(t *testing.T) {
	r, err := http.NewRequest(http.MethodGet, "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	keys := Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	sign(r, nil, keys, "us-east-1", "iam", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
	request, _ := canonical(&http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{
		"Content-Type": r.Header["Content-Type"], "X-Amz-Date": r.Header["X-Amz-Date"],
	}}, nil)
	if got, want := hash([]byte(request)), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"; got != want {
		t.Errorf("the canonical request's hash is %s, want %s", got, want)
	}
	want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, " +
		"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	if got := r.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPathsOfInvalidations(t *testing.T) {
	for _, test := range []struct{ url, path string }{ // an empty path: refused
		{"https://www.example.com/images/image.jpg", "/images/image.jpg"},
		{"https://www.example.com/images/image.jpg?parameter1=a&b=%2C", "/images/image.jpg?parameter1=a&b=%2C"},
		{"https://www.example.com", "/"},
		{"https://www.example.com?", "/?"},
		{"https://www.example.com/a/?", "/a/?"},
		{"https://www.example.com/caf\u00e9 1.jpg", "/caf%C3%A9%201.jpg"},
		{"https://www.example.com/caf%c3%a9.jpg", "/caf%C3%A9.jpg"},
		{"https://www.example.com/%61%2D%2e%5F.jpg", "/a-._.jpg"},         // escaped for nothing
		{"https://www.example.com/a%2Bb%2Fc%3A.jpg", "/a%2Bb%2Fc%3A.jpg"}, // other URLs than those without
		{"https://www.example.com/a+b,c@d;e=f$g:h!'(i)", "/a+b,c@d;e=f$g:h!'(i)"},
		{"https://www.example.com/a[1]{2}|3^4`5", "/a%5B1%5D%7B2%7D%7C3%5E4%605"},
		{"https://www.example.com/a%25.jpg", "/a%25.jpg"},
		{"https://www.example.com/a?b=100%", "/a?b=100%25"},
		{"https://www.example.com/a*b/c.jpg", "/a*b/c.jpg"},
		{"https://www.example.com/a?x=<\">", "/a?x=%3C%22%3E"},
		{"https://www.example.com/~me/a.jpg", ""},
		{"https://www.example.com/%7eme/a.jpg", ""},
		{"https://www.example.com/a?b=~", ""},
		{"https://www.example.com/a%zz", ""},
		{"www.example.com/a.jpg", ""},
		{"/a.jpg", ""},
		{"", ""},
		{"https://www.example.com/" + strings.Repeat("a", 3998), "/" + strings.Repeat("a", 3998)},
		{"https://www.example.com/" + strings.Repeat("a", 3999), ""},
	} {
		got, err := urlPath(test.url)
		if got != test.path || (err == nil) != (test.path != "") {
			t.Errorf("%.80q: %.80q, %v, want %.80q", test.url, got, err, test.path)
		}
	}
}
