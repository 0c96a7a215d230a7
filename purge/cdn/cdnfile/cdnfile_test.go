package cdnfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

func env(name string) (string, bool) {
	v, ok := map[string]string{"TOKEN": "secret", "KEY": "1234"}[name]
	return v, ok
}

// Every type has its settings read, and needs those that it needs.
func TestEveryType(t *testing.T) {
	for kind, settings := range map[string]string{
		"akamai":     `"host":"akab-x.luna.akamaiapis.net","clientToken":"a","clientSecret":"$TOKEN","accessToken":"b","network":"staging","cpCodes":[1,2]`,
		"bunny":      `"zone":"12","key":"$KEY"`,
		"cloudflare": `"zone":"023e105f4ecef8ad9ca31a8372d0c353","token":"$TOKEN","plan":"pro","api":"https://api.example.com"`,
		"cloudfront": `"distribution":"E1A2B3C4D5E6F7","accessKeyID":"AKIDEXAMPLE","secretAccessKey":"$TOKEN","tagHeader":"X-Tags","region":"us-east-1"`,
		"cloudimage": `"key":"$KEY"`,
		"fastly":     `"service":"SU1Z0isxPaozGVKXdv0eY","token":"$TOKEN"`,
		"generic":    `"forms":{"tag":{"url":"https://api.example.net/purge","header":{"Authorization":"$TOKEN","Content-Type":"application/json"},"body":"{\"tags\": {tags}}","maxItems":50,"rates":[{"name":"requests","burst":5,"perSecond":1}]}},"tags":[{"name":"Cache-Tag","separator":","}],"complete":true`,
		"googlecdn":  `"project":"shop","urlMap":"www","host":"www.example.com"`,
		"imgix":      `"key":"$KEY","subImage":true,"sourceID":"5f3c1a2b3c4d5e6f7a8b9c0d"`,
		"keycdn":     `"zone":"12","key":"$KEY","tagBytes":1000`,
		"leaseweb":   `"key":"$KEY","path":"/content/purge/customer"`,
		"nginx":      `"servers":["http://10.0.0.1"],"accepts":["*/*"],"wildcards":true,"allPath":"/-/purge-all"`,
		"souin":      `"servers":["http://10.0.0.1"],"path":"/souin-api/souin"`,
		"varnish":    `"servers":["http://10.0.0.1:6081"],"header":{"X-Key":"$KEY"},"bans":true`,
	} {
		t.Run(kind, func(t *testing.T) {
			one := func(settings string) error {
				_, err := Parse([]byte(`{"rings":[[{"name":"x","type":"`+kind+`","bases":["https://www.example.com/img/"],"variants":["w=1"],"again":"30s","verify":2,"giveUp":"1m",`+
					`"widen":true,"widenAfter":9,`+settings+`}]]}`), env, nil)
				return err
			}
			if err := one(settings); err != nil {
				t.Error(err)
			}
			if err := one(settings + `,"unknown":1`); err == nil || !strings.Contains(err.Error(), `x: unknown field "unknown"`) {
				t.Errorf("an unknown setting: %v", err)
			}
			first, _, _ := strings.Cut(settings, ",")
			name, _, _ := strings.Cut(first, ":")
			for _, bad := range []string{name + `:""`, name + `:7.5`, name + `:"$NOT_SET"`} {
				if strings.Contains(name, "servers") && strings.HasSuffix(bad, `""`) {
					bad = name + `:[]`
				}
				if err := one(bad); err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "Go ") {
					t.Errorf("%s: %v", bad, err)
				}
			}
		})
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cdns.json")
	write := func(s string) {
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"space":"shop","rings":[[{"name":"shield","type":"varnish","servers":["http://10.0.0.1:6081"]}],
		[{"name":"a","type":"bunny","zone":"1","key":"k"},{"name":"b","type":"fastly","service":"s","token":"t"}]]}`)
	es, err := Open(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := es.Names(); !slices.Equal(got, []string{"shield", "a", "b"}) {
		t.Errorf("the CDNs are %v", got)
	}
	if es.Namer() != (cdn.Namer{Space: "shop"}) {
		t.Errorf("the space is %v", es.Namer())
	}
	var headers []string
	for _, h := range es.TagHeaders() {
		headers = append(headers, h.Name)
	}
	if !slices.Equal(headers, []string{"xkey", "CDN-Tag", "Surrogate-Key"}) {
		t.Errorf("tags are in %v", headers)
	}

	for content, want := range map[string]string{
		``:                                "EOF",
		`{}`:                              "has no CDN",
		`{"rings":[]} {}`:                 "more than one value",
		`{"ring":[]}`:                     "ring",
		`{"rings":[[{"name":"x"}]]}`:      "x: has no type",
		`{"rings":[[{"type":"nimbus"}]]}`: `CDN 1: the type "nimbus" is not known`,
		`{"rings":[[{"name":"x","type":"bunny","zone":"1","key":"k","again":30}]]}`:                                       "no duration",
		`{"rings":[[{"name":"x","type":"bunny","zone":"1","key":"k","bases":["nowhere"]}]]}`:                              `"nowhere"`,
		`{"rings":[[{"name":"x","type":"bunny","zone":"1","key":"secret\n"}]]}`:                                           "white space",
		`{"rings":[[{"name":"x","type":"bunny","zone":"1","key":"k"},{"name":"x","type":"bunny","zone":"1","key":"k"}]]}`: "two CDNs",
	} {
		write(content)
		_, err := Open(name, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), name) || strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
	if _, err := Open(name+"x", nil); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
