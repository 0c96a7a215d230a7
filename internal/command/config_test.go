package command

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// environment is what the examples of settings take from there.
func environment(name string) (string, bool) {
	v, ok := map[string]string{
		"IMAGECDN_KEY": "k", "FASTLY_TOKEN": "t", "IMGIX_TOKEN": "imgix-token", "CLOUDIMAGE_SALT": "salt", "MEMORY": "1MiB",
	}[name]
	return v, ok
}

// printed is what -print-config prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"serve", "-print-config"}, args...)...)
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, %s", code, stderr)
	}
	return stdout
}

// settings are the flags of f that are set, with their values.
func settings(f *flag.FlagSet) map[string]any {
	all := make(map[string]any)
	f.Visit(func(fl *flag.Flag) {
		if !slices.Contains(notInFiles, fl.Name) {
			all[fl.Name] = reflect.Indirect(reflect.ValueOf(fl.Value)).Interface()
			if m, ok := all[fl.Name].(sourceFlags); ok {
				all[fl.Name] = map[string]string(m) // which prints
			}
		}
	})
	return all
}

var commented = regexp.MustCompile(`(?m)^#([^ #\n])`)

// What is printed sets nothing, as all of it is in comments; without the #, it sets every flag that there is, to its default where it
// has one.
func TestPrintedConfigIsTheDefaults(t *testing.T) {
	text := printed(t)
	f := new(program).flagsOf("serve")
	if err := configure(f, "x.toml", text, environment); err != nil || len(settings(f)) > 0 {
		t.Errorf("%v, sets %v", err, settings(f))
	}
	if err := configure(f, "x.toml", commented.ReplaceAllString(text, "$1"), environment); err != nil {
		t.Fatal(err)
	}
	set := settings(f)
	f.VisitAll(func(fl *flag.Flag) {
		if slices.Contains(notInFiles, fl.Name) {
			return
		}
		if _, ok := set[fl.Name]; !ok {
			t.Errorf("-%s is not in it", fl.Name)
		}
		if _, ok := examples[fl.Name]; !ok && fl.Value.String() != fl.DefValue {
			t.Errorf("-%s is %q, and %q by default", fl.Name, fl.Value, fl.DefValue)
		}
		_, usage := flag.UnquoteUsage(fl)
		if !strings.Contains(strings.ReplaceAll(text, "\n# ", " "), usage) {
			t.Errorf("-%s: the help text is not in it: %s", fl.Name, usage)
		}
	})
	for name := range examples {
		if f.Lookup(name) == nil {
			t.Errorf("there is an example of %s, which is no flag", name)
		}
	}
}

// A file that was printed of a command line is as good as the command line, whatever flag it has.
func TestPrintedConfigParsesBack(t *testing.T) {
	given := map[string][]string{ // of flags with values of their own
		"source": {"a=x y", `b=C:\"q"`, "c=https://c.example/?a=b"}, "host": {"h.example:81=a/b"}, "alias": {"_a_=b"}, "preset": {"p=w=1&h=2"},
		"allow": {"w=1,2%2C3", "h", "a%3Db=x%20y"}, "allow-private": {"a,b"}, "cors": {"https://a.example", "*"}, "timing-origins": {"none"},
		"ladder": {"320,640"}, "ladder-qualities": {"40"}, "sign": {"0123456789abcdef", "@/file"}, "sign-imgix": {"t"}, "sign-cloudimage": {"é\t\""}, "seal-cloudimage": {"s"},
		"trusted-proxy": {"10.0.0.0/8", "::1"}, "cache-size": {"123456789"}, "memory": {"1GiB"}, "render-memory": {"unlimited"}, "max-bytes": {"1MB"}, "max-render-memory": {"7KiB"},
		"dialect": {"imgix"}, "cdns": {"file.json"}, "render-timeout": {"1m3s"}, "max-enlarge": {"1.5"}, "rate": {"0.25"},
	}
	var args []string
	new(program).flagsOf("serve").VisitAll(func(fl *flag.Flag) {
		values := given[fl.Name]
		switch v := fl.Value.(type) {
		case flag.Getter:
			switch v.Get().(type) {
			case bool:
				values = []string{"true"}
			case int, int64:
				values = []string{"-7"}
			case time.Duration:
				values = []string{"1m3s"}
			case string:
				values = []string{"a \"text\" # of\\all 'signs'"}
			}
		}
		if slices.Contains(notInFiles, fl.Name) {
			return
		}
		if values == nil {
			t.Errorf("-%s has no value in this test", fl.Name)
		}
		for _, v := range values {
			args = append(args, "-"+fl.Name+"="+v)
		}
	})
	want := new(program).flagsOf("serve")
	if err := want.Parse(args); err != nil {
		t.Fatal(err)
	}
	got := new(program).flagsOf("serve")
	text := printed(t, args...)
	if err := configure(got, "x.toml", text, environment); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	a, b := settings(got), settings(want)
	for name := range b {
		if !reflect.DeepEqual(a[name], b[name]) {
			t.Errorf("-%s comes back as %v, was %v", name, a[name], b[name])
		}
	}
	if len(a) != len(b) {
		t.Errorf("%d settings come back, of %d", len(a), len(b))
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		text string
		args string
		want string // flags that are set: name=value, of maps and lists as Go prints them
	}{
		{"", "", ""},
		{"listen = \"a:1\" # here\nmemory = \"1MiB\"\nqueue = 7\nrate = 0.5\nstrict = true\n", "", "listen=a:1 memory=1048576 queue=7 rate=0.5 strict=true"},
		{"memory = \"$MEMORY\"", "", "memory=1048576"},
		{"[source]\na = \"x\"\n\"b\" = \"$IMAGECDN_KEY\"\n", "", "source=map[a:x b:k]"},
		{"source.a = \"x\"\nlisten = \"b\"\nsource.b = \"y\"", "", "listen=b source=map[a:x b:y]"},
		{"source.a = \"x\"", "-source b=y", "source=map[b:y]"}, // all of it
		{"listen = \"a\"\nmemory = \"1MiB\"", "-listen b", "listen=b memory=1048576"},
		{"listen = \"a\"", "-listen 127.0.0.1:8080", "listen=127.0.0.1:8080"}, // also where it is the default
		{"api-key = \"a\"", "-api-key-file b", "api-key-file=b"},
		{"api-key-file = \"a\"", "-api-key b", "api-key=b"},
		{"cors = \"*\"", "", "cors=[*]"},
		{"cors = [\"a\", \"b\"]", "", "cors=[a b]"},
		{"ladder = [1, 2]\nladder-qualities = \"3,4\"", "", "ladder=[1 2] ladder-qualities=[3 4]"},
		{"allow-private = true", "", "allow-private={true []}"},
		{"allow-private = [\"a\", \"b\"]", "", "allow-private={false [a b]}"},
		{"allow = {w = [1, \"2,3\"], h = true, q = \"a b\"}", "", "allow=map[h:[] q:[a b] w:[1 2,3]]"},
		{"cdns = \"f\"", "", "cdns={f map[] }"},
	} {
		f := new(program).flagsOf("serve")
		if err := f.Parse(strings.Fields(tt.args)); err != nil {
			t.Fatal(err)
		}
		if err := configure(f, "x.toml", tt.text, environment); err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		var got []string
		f.Visit(func(fl *flag.Flag) { got = append(got, fmt.Sprintf("%s=%v", fl.Name, settings(f)[fl.Name])) })
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s %s\ngot  %s\nwant %s", tt.text, tt.args, strings.Join(got, " "), tt.want)
		}
	}
}

// What is wrong with a file is one line, which says where.
func TestConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"\nlisten = \"a\"\nlisen = \"b\"\n":                  `x.toml:3: there is no setting "lisen": the settings are the flags of imagecdn serve`,
		"config = \"y.toml\"":                                `x.toml:1: there is no setting "config"`,
		"print-config = true":                                `x.toml:1: there is no setting "print-config"`,
		"\n\n[sources]\na = \"b\"":                           `x.toml:3: there is no setting "sources"`,
		"listen = \"a\"\nlisten = \"b\"":                     `x.toml:2: `,
		"listen = ":                                          `x.toml:1: `,
		"listen = \"a\nb\"":                                  `x.toml:1: `,
		"# one\n# two\nmemory = \"much\"":                    `x.toml:3: memory = "much": give a size such as 512MiB or 10GiB`,
		"queue = \"a\"":                                      `x.toml:1: queue = "a": parse error`,
		"queue = 1.5":                                        `x.toml:1: queue = "1.5": parse error`,
		"strict = \"perhaps\"":                               `x.toml:1: strict = "perhaps": parse error`,
		"queue = true":                                       `x.toml:1: queue cannot be true`,
		"listen = [\"a\"]":                                   `x.toml:1: listen takes a text or a number`,
		"listen = 1979-05-27":                                `x.toml:1: listen takes a text or a number`,
		"source = \"photos\"":                                `x.toml:1: source is a table, such as source.NAME = "…"`,
		"[source]\na = 1979-05-27":                           `x.toml:1: source a: takes a text or a number`,
		"[source]\n\"a=b\" = \"c\"":                          `x.toml:1: source "a=b" has a =`,
		"allow = \"w\"":                                      `x.toml:1: allow is a table, such as allow.w`,
		"cors = [[\"a\"]]":                                   `x.toml:1: cors takes a text or a number`,
		"ladder = [2, 1]":                                    `x.toml:1: ladder = "2,1": give whole numbers`,
		"\napi-key = \"$NOT_SET\"":                           `x.toml:2: api-key is the environment variable NOT_SET, which is not set`,
		"[source]\na = \"$NOT_SET\"":                         `x.toml:1: source a: is the environment variable NOT_SET, which is not set`,
		"listen = \"a\"\x00":                                 `x.toml:1: `,
		"listen = \"\xff\"":                                  `x.toml:1: `,
		strings.Repeat("[", 10000):                           `x.toml:1: `,
		"listen = \"\\u001b[2J\"\n\"\\u001b[2J\" = \"\"":     `x.toml:2: there is no setting "\x1b[2J"`,
		"cdns = 5\ncdns.rings = []":                          `x.toml:2: `,
		"trusted-proxy = [\"10.0.0.0/8\", \"ten\"]":          `x.toml:1: trusted-proxy = "ten": give an address`,
		"[[cors]]\na = 1":                                    `x.toml:1: cors takes`,
		"render-timeout = 20":                                `x.toml:1: render-timeout = "20": parse error`,
		"memory = \"1MiB\" memory = \"2MiB\"":                `x.toml:1: `,
		"preset.thumb = \"w=1\"\npreset.thumb = \"w=2\"\n\n": `x.toml:2: `,
	} {
		err := configure(new(program).flagsOf("serve"), "x.toml", text, environment)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), "toml: ") {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
	file := filepath.Join(t.TempDir(), "x.toml")
	write(t, file, strings.Repeat("#", maxConfig+1))
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-config", file}, 1, "is larger than a mebibyte"},
		{[]string{"-config", file + ".none"}, 1, "x.toml.none"},
		{[]string{"-config", filepath.Dir(file)}, 1, "imagecdn: "},
		{[]string{"-config", file, "-print-config"}, 2, "takes no -config"},
	} {
		if code, _, stderr := command(t, append([]string{"serve"}, tt.args...)...); code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit %d, %q", tt.args, code, stderr)
		}
	}
	write(t, file, "listen = \"127.0.0.1:0\"\ncache = \"\"\n[cdns]\nrings = [[{name = \"www\", type = \"fastly\", servise = \"x\"}]]\n")
	if code, _, stderr := command(t, "serve", "-config", file); code != 2 || !strings.Contains(stderr, file+`: cdns: www: unknown field "servise"`) {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// A server of a file serves what the file says, CDNs and all, and flags win.
func TestServeByConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.toml")
	t.Setenv("FASTLY_TOKEN", "t")
	write(t, file, `# a site
max-enlarge = 1.5
widths = "20,2000"
cors = ["https://shop.example"]
listen = "127.0.0.1:1" # which the command line wins over

[cdns]
space = "shop"
rings = [
	[{name = "www", type = "fastly", service = "SU1Z0isxPaozGVKXdv0eY", token = "$FASTLY_TOKEN"}], # comments, too
]
`)
	responses, bodies := answers(t, []string{"-config", file}, "https://shop.example", "/photos/rocket.jpg?w=20", "/photos/rocket.jpg?w=2000", "/photos/rocket.jpg?w=21")
	for i, status := range []int{200, 400, 403} {
		if responses[i].StatusCode != status {
			t.Errorf("picture %d: %d %q, want %d", i+1, responses[i].StatusCode, bodies[i], status)
		}
	}
	if h := responses[0].Header; h.Get("Access-Control-Allow-Origin") == "" || h.Get("Surrogate-Key") == "" {
		t.Errorf("neither CORS nor the tags of the CDN: %v", h)
	}
	responses, _ = answers(t, []string{"-config", file, "-max-enlarge", "5"}, "", "/photos/rocket.jpg?w=2000")
	if responses[0].StatusCode != http.StatusOK {
		t.Errorf("-max-enlarge 5 over the file: %d", responses[0].StatusCode)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
