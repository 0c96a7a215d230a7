package imagecdn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/imagecdn/imagecdn"

// importPolicy says what each package may import beside the standard library: packages of this module, by
// their path in it, and other modules. Change it with a reason.
//
//	std ◀ cache, origin, resize, purge, middleware ◀ root ◀ cmd
//
// The five in the middle import neither the root nor each other, so that each can be used, tested and
// understood alone. A module is named by every package that imports it, so that a new one is a decision.
var importPolicy = map[string]struct {
	own     []string
	modules []string
}{
	"cache": {
		own: []string{"internal/fault", "internal/flight", "internal/wire"},
		modules: []string{
			"github.com/dgraph-io/ristretto/v2", // which things stay in memory
			"github.com/dunglas/httpsfv",        // targeted fields, cache groups, Cache-Status
			"github.com/gofrs/flock",            // one process per directory
			"github.com/klauspost/compress",     // zstd, for what is not compressed already
			"github.com/pquerna/cachecontrol",   // parses Cache-Control
		},
	},
	"cache/cachetest":   {own: []string{"cache"}},
	"origin":            {own: []string{"internal/cleanpath"}, modules: []string{"code.dny.dev/ssrf"}}, // the ranges of addresses that are not public
	"origin/origintest": {},
	"resize": {
		own: []string{ // colour, JPEG, PNG, WebP, and the loops of resampling
			"internal/icc", "internal/jpegdec", "internal/jpegenc", "internal/kernel", "internal/pngdec", "internal/pngenc",
			"internal/vp8dec",
		},
		modules: []string{
			"github.com/gen2brain/webp", // encodes WebP
			"golang.org/x/image",        // decodes lossless WebP and BMP, resamples
		},
	},
	"resize/avif":  {own: []string{"internal/heif", "internal/icc", "resize"}, modules: []string{"github.com/gen2brain/avif"}},
	"resize/faces": {own: []string{"resize"}, modules: []string{"github.com/esimov/pigo"}}, // the cascade
	"resize/heic":  {own: []string{"internal/heif", "resize"}, modules: []string{"github.com/gen2brain/heic"}},
	"resize/text": {
		own: []string{"resize"},
		modules: []string{
			"github.com/go-text/typesetting", // shapes, orders and breaks lines
			"golang.org/x/image",             // rasterizes outlines
		},
	},
	"resize/tiff":   {own: []string{"resize"}, modules: []string{"golang.org/x/image"}},
	"purge":         {},
	"purge/boltlog": {own: []string{"purge"}, modules: []string{"go.etcd.io/bbolt"}},  // jobs in a file
	"purge/cdn":     {own: []string{"purge"}, modules: []string{"golang.org/x/time"}}, // rate
	"purge/cdn/cdnfile": {own: []string{ // all that a file may name
		"purge/cdn", "purge/cdn/akamai", "purge/cdn/bunny", "purge/cdn/cloudflare", "purge/cdn/cloudfront", "purge/cdn/cloudimage",
		"purge/cdn/fastly", "purge/cdn/generic", "purge/cdn/googlecdn", "purge/cdn/imgix", "purge/cdn/keycdn", "purge/cdn/leaseweb", "purge/cdn/nginx", "purge/cdn/souin", "purge/cdn/varnish",
	}},
	"purge/cdn/cdntest":    {},
	"purge/cdn/akamai":     {own: []string{"purge/cdn"}},
	"purge/cdn/bunny":      {own: []string{"purge/cdn"}},
	"purge/cdn/cloudflare": {own: []string{"purge/cdn"}},
	"purge/cdn/cloudfront": {own: []string{"purge/cdn"}},
	"purge/cdn/cloudimage": {own: []string{"purge/cdn"}},
	"purge/cdn/fastly":     {own: []string{"purge/cdn"}},
	"purge/cdn/generic":    {own: []string{"purge/cdn"}},
	"purge/cdn/googlecdn":  {own: []string{"purge/cdn"}},
	"purge/cdn/imgix":      {own: []string{"purge/cdn"}},
	"purge/cdn/keycdn":     {own: []string{"purge/cdn"}},
	"purge/cdn/leaseweb":   {own: []string{"purge/cdn"}},
	"purge/cdn/nginx":      {own: []string{"purge/cdn"}},
	"purge/cdn/souin":      {own: []string{"purge/cdn"}},
	"purge/cdn/varnish":    {own: []string{"purge/cdn"}},
	"purge/purgetest":      {own: []string{"purge"}},
	"purge/webhook":        {own: []string{"purge"}},
	"middleware": {
		own:     []string{"internal/client"},
		modules: []string{"golang.org/x/time"}, // rate
	},

	"": {
		own: []string{"cache", "internal/client", "internal/fault", "internal/flight", "internal/svgclean", "origin", "purge", "purge/cdn", "resize"},
		modules: []string{
			"golang.org/x/image", // the names of colours
			"golang.org/x/sync",  // errgroup
		},
	},
	"cmd/imagecdn": {own: []string{"internal/command"}},

	"internal/command": { // all of the command; apart from it, so that programs of nested modules can have it with more
		own: []string{
			"", "cache", "internal/samples", "middleware", "origin", "purge", "purge/boltlog", "purge/cdn", "purge/cdn/cdnfile",
			"resize", "resize/avif", "resize/faces", "resize/heic", "resize/text", "resize/tiff",
		},
		modules: []string{
			"github.com/BurntSushi/toml",    // files of settings, with comments
			"github.com/dustin/go-humanize", // sizes in flags
			"github.com/klauspost/compress", // gzip, for pages and the API
			"golang.org/x/term",             // whether there is a terminal to draw on
		},
	},
	"internal/bombs":       {},                                                                   // pictures that tests show to be refused
	"internal/cleanpath":   {},                                                                   // which paths origins are asked for
	"internal/client":      {},                                                                   // who a request comes from
	"internal/clustertest": {own: []string{"", "cache", "purge"}},                                // a cluster in one process, for tests
	"internal/conformance": {own: []string{"cache"}},                                             // a command for the public HTTP cache tests
	"internal/doctest":     {},                                                                   // tests of README.md and docs
	"internal/fault":       {},                                                                   // mistakes that tests must find; none without a build tag
	"internal/flight":      {modules: []string{"golang.org/x/sync"}},                             // singleflight
	"internal/heif":        {},                                                                   // boxes of AVIF and HEIC
	"internal/hitbench":    {own: []string{"", "cache"}},                                         // a command that scripts/hits.sh measures
	"internal/icc":         {},                                                                   // colour profiles
	"internal/jpegdec":     {modules: []string{"golang.org/x/sys"}},                              // whether there is AVX2
	"internal/jpegenc":     {modules: []string{"golang.org/x/sys"}},                              // whether there is AVX2
	"internal/kernel":      {modules: []string{"golang.org/x/sys"}},                              // what the processor can
	"internal/loadtest":    {own: []string{"", "cache", "internal/samples", "origin", "resize"}}, // a command that scripts/load.sh runs
	"internal/pngdec":      {modules: []string{"golang.org/x/sys"}},                              // whether there is AVX2
	"internal/pngenc": {modules: []string{
		"github.com/klauspost/compress", // DEFLATE, for what is looked at once
		"golang.org/x/sys",              // whether there is AVX2
	}},
	"internal/s3test":   {}, // a real S3 server for the tests of nested modules
	"internal/samples":  {},
	"internal/vp8dec":   {modules: []string{"golang.org/x/sys"}},                                                                               // whether there is AVX2
	"internal/svgclean": {},                                                                                                                    // what SVG may be served
	"internal/ssim":     {},                                                                                                                    // what tests and benchmarks hold pictures to
	"internal/sheets":   {own: []string{"internal/samples", "resize", "resize/faces", "resize/text"}, modules: []string{"golang.org/x/image"}}, // a command for the pictures of docs
	"internal/wire":     {},                                                                                                                    // headers of stored things
}

// neverReached says what a package must not depend on, however indirectly: a path stands for all below it.
// Change it with a reason.
var neverReached = map[string][]string{
	"cache":         {"image", "golang.org/x/image"}, // it never sees a pixel
	"origin":        {"image", "golang.org/x/image"},
	"purge":         {"image", "golang.org/x/image", "net/http"}, // it purges a Target, whatever that is
	"middleware":    {"image", "golang.org/x/image"},
	"resize":        {"net/http", "os/exec"}, // it never sees a URL
	"resize/avif":   {"net/http", "os/exec"},
	"resize/faces":  {"net/http", "os/exec"},
	"resize/heic":   {"net/http", "os/exec"},
	"resize/text":   {"net/http", "os/exec"},
	"resize/tiff":   {"net/http", "os/exec"},
	"purge/boltlog": {"net/http"},
	"": { // who embeds the handler decides about the heavy ones
		module + "/resize/avif", module + "/resize/faces", module + "/resize/heic", module + "/resize/text", module + "/resize/tiff", "os/exec",
	},
}

// A listed package is what go list says of one.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
	Module     *struct{ Path string }
}

func TestImportPolicy(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not there to list imports: ", err)
	}
	packages := listPackages(t)
	for path, p := range packages {
		if p.Module == nil || p.Module.Path != module {
			continue
		}
		name := inModule(path)
		allowed, ok := importPolicy[name]
		if !ok {
			t.Errorf("%s: there is no policy for this package; say what it may import", path)
			continue
		}
		used := make(map[string]bool)
		for _, imp := range p.Imports {
			switch q := packages[imp]; {
			case imp == "C":
				t.Errorf("%s imports C: the module builds without cgo", path)
			case q == nil:
				t.Errorf("%s imports %s, which go list does not know", path, imp)
			case q.Standard:
			case q.Module.Path == module:
				if !slices.Contains(allowed.own, inModule(imp)) {
					t.Errorf("%s imports %s", path, imp)
				}
				used[inModule(imp)] = true
			default:
				if !slices.Contains(allowed.modules, q.Module.Path) {
					t.Errorf("%s imports %s, of the module %s", path, imp, q.Module.Path)
				}
				used[q.Module.Path] = true
			}
		}
		for _, may := range slices.Concat(allowed.own, allowed.modules) {
			if !used[may] {
				t.Errorf("%s no longer imports %q: take it out of the policy", path, may)
			}
		}
		for _, dep := range p.Deps {
			for _, never := range neverReached[name] {
				if dep == never || strings.HasPrefix(dep, never+"/") {
					t.Errorf("%s depends on %s", path, dep)
				}
			}
		}
	}
}

// Who does without OpenTelemetry, Prometheus' client, buckets and NATS downloads none of them: they are for nested modules.
func TestModulesThatAreKeptOut(t *testing.T) {
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	kept := []string{"go.opentelemetry.io/", "github.com/prometheus/", "gocloud.dev", "cloud.google.com/", "github.com/aws/", "github.com/Azure/", "google.golang.org/", "github.com/nats-io/"}
	for _, out := range kept {
		if strings.Contains(string(data), out) {
			t.Errorf("go.mod requires %s", out)
		}
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not there to list imports: ", err)
	}
	for path, p := range listPackages(t) {
		for _, out := range kept {
			if p.Module != nil && strings.HasPrefix(p.Module.Path+"/", out) {
				t.Errorf("a package of this module depends on %s, of %s", path, p.Module.Path)
			}
		}
	}
}

// mostOfAProgram bounds a program that embeds one node, in bytes, for linux/amd64 without symbols: it had 15.2 MB before there was a module cluster.
// Change it with a reason.
const mostOfAProgram = 16 << 20

var programSize = flag.Bool("program.size", false, "build a program that embeds a node, and hold it to its bound")

// A program that embeds one node is no larger for what nested modules have.
func TestSizeOfAProgram(t *testing.T) {
	if !*programSize {
		t.Skip("builds a program: -program.size")
	}
	if _, err := exec.LookPath("go"); err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the bound is for linux/amd64, built there: ", err)
	}
	file := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, "./internal/hitbench")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > mostOfAProgram {
		t.Errorf("a program that embeds a node has %d bytes, and may have %d", info.Size(), int64(mostOfAProgram))
	}
}

// inModule is a package's path in the module; empty for the root.
func inModule(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

// listPackages lists the module's packages and all that they depend on, tests apart.
func listPackages(t *testing.T) map[string]*listed {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps,Standard,Module", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	packages := make(map[string]*listed)
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}
