package command

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/klauspost/compress/gzhttp"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/middleware"
	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// sourceFlags collects -source NAME=DIR_OR_URL.
type sourceFlags map[string]string

func (s sourceFlags) String() string { return "" }

func (s sourceFlags) Set(v string) error {
	name, where, ok := strings.Cut(v, "=")
	if !ok || name == "" || where == "" {
		return errors.New("give NAME=DIRECTORY or NAME=URL")
	}
	if _, again := s[name]; again {
		return fmt.Errorf("the source %q is given twice", name)
	}
	s[name] = where
	return nil
}

// sizeFlag is a number of bytes, such as 10GiB.
type sizeFlag int64

func (s *sizeFlag) String() string {
	if *s < 0 {
		return "unlimited"
	}
	return humanize.IBytes(uint64(*s))
}

func (s *sizeFlag) Set(v string) error {
	if v == "unlimited" {
		*s = -1
		return nil
	}
	n, err := humanize.ParseBytes(v)
	if err != nil || n == 0 || n > 1<<60 {
		return errors.New("give a size such as 512MiB or 10GiB")
	}
	*s = sizeFlag(n)
	return nil
}

// defaultCache is the directory used where none is named.
func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "imagecdn")
}

func (p *program) serve(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	sources := make(sourceFlags)
	memory, disk := sizeFlag(256<<20), sizeFlag(10<<30)
	renders := sizeFlag(256 << 20)
	f := newFlags("serve", "-source NAME=DIR_OR_URL [flags]", stderr)
	listen := f.String("listen", "127.0.0.1:8080", "`address` to listen on")
	f.Var(sources, "source", "where the images at /NAME/ come from: `NAME=DIR_OR_URL`; may be repeated (default: sample photographs)")
	dir := f.String("cache", defaultCache(), "`directory` of the disk cache; empty for memory alone")
	f.Var(&disk, "cache-size", "most `bytes` on disk, or unlimited")
	files := f.Int64("cache-files", 0, "most `files` and folders on disk; 0 means one for 16 KiB of -cache-size and at least 1,000,000, less than 0 no limit")
	f.Var(&memory, "memory", "most `bytes` of images in memory")
	f.Var(&renders, "render-memory", "most `bytes` of memory for making pictures, or unlimited")
	key := f.String("api-key", "", "`key` of the console and the invalidation API (default: a new one, which is printed)")
	keyFile := f.String("api-key-file", "", "`file` that holds the key")
	var private privateFlag
	f.Var(&private, "allow-private", "let sources be at loopback and private addresses: all, or with =`NAME,NAME` these")
	var dialect dialectFlags
	dialect.define(f)
	warm := f.Int("warm", 0, "how many of an image's popular `pictures` are made again after a purge of it")
	noAVIF := f.Bool("no-avif", false, "let auto=format never pick AVIF, which takes long to make")
	var guard guardFlags
	guard.define(f)
	queue := f.Int("queue", 1000, "how many `requests` may wait for a picture to be made; more are answered 429")
	var rates rateFlags
	rates.define(f)
	var cdns cdnsFlag
	f.Var(&cdns, "cdns", "JSON `file` of the CDNs in front, which purges go through to; see docs/cdns.md")
	var limits limitFlags
	limits.define(f)
	var lifetimes lifetimeFlags
	lifetimes.define(f)
	var cors corsFlags
	cors.define(f)
	access := f.Bool("access-log", false, "log every request")
	publicMetrics := f.Bool("public-metrics", false, "open /-/metrics to everybody; else it takes the key of the API")
	timing := f.Bool("server-timing", false, "tell clients in Server-Timing how long the parts of the work took, and so what is in the cache")
	extended := p.extend(f)
	var config configFlags
	config.define(f)
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError(fmt.Sprintf("serve takes no words beside its flags, and got %q", f.Arg(0)))
	}
	if done, err := config.read(f, p.examples(), stdout); done || err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(stderr, nil))
	extended.env = Env{Logger: log, CacheDir: *dir, Sources: sources}
	if err := extended.check(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, extended.close()) }()
	demo := len(sources) == 0
	opened := imagecdn.Sources{"photos": imagecdn.FS(samples.FS())}
	if !demo {
		if opened, err = openSources(ctx, sources, private, extended); err != nil {
			return err
		}
	}
	if demo && guard.given() {
		return usageError("-sign and -allow take a -source: the page of sample photographs is not signed")
	}
	if demo && dialect.dialect != "native" {
		return usageError("-dialect takes a -source")
	}
	opts := &imagecdn.Options{Warm: *warm, NoAVIF: *noAVIF, RenderMemory: int64(renders), ServerTiming: *timing, Logger: log}
	if err := dialect.set(opts, sources); err != nil {
		return err
	}
	if err := guard.read(); err != nil {
		return err
	}
	if opts.CDNs, err = cdns.open(log); err != nil {
		return err
	}
	if memory < 0 {
		return usageError("-memory takes a size")
	}
	if *queue < 1 {
		return usageError("-queue takes a number of at least 1")
	}
	if rates.perSecond < 0 || rates.burst < 1 {
		return usageError("-rate and -rate-burst take numbers above 0")
	}
	if err := limits.set(opts); err != nil {
		return err
	}
	if err := lifetimes.set(opts); err != nil {
		return err
	}
	allowed, err := cors.middleware()
	if err != nil {
		return err
	}
	if *key, err = readKey(*key, *keyFile); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("%w; -listen names another address", err)
	}
	defer listener.Close()
	start := new(front)
	run := serveOn(listener, start)
	defer run.close()
	store, err := openCache(*dir, int64(memory), int64(disk), *files, log)
	if err != nil {
		return fmt.Errorf("%w; -cache names another directory, and -cache \"\" uses memory alone", err)
	}
	if store, err = extended.cache(ctx, store); err != nil {
		return unlessEnded(ctx, err)
	}
	purges, closePurges, err := openPurges(*dir)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, closePurges()) }()
	purges.Logger = log
	if opts.Faces, opts.Text, err = extras(); err != nil {
		return errors.Join(err, store.Close())
	}
	opts.Cache, opts.Purge, opts.MaxQueued = store, purges, *queue
	rates.set(opts)
	if err := extended.options(ctx, opts); err != nil {
		return unlessEnded(ctx, errors.Join(err, store.Close()))
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// A few goroutines more than there are pictures made at once have a processor of the runtime's, and so see at once when the network
		// has something: else a hit waits for the runtime to interrupt a render, which it does after 10 ms. docs/load.md has figures.
		opts.Renders = runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(opts.Renders + 4)
	}
	h, err := imagecdn.New(opened, opts)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	limitMemory(int64(memory), int64(renders)) // after what one picture may take was settled, by a limit that is set for this machine if there is one

	printed := ""
	if *key == "" {
		*key = rand.Text()
		printed = *key
	}
	var top http.Handler = h
	if demo {
		top = demoPage()
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", top)
	admin := &imagecdn.AdminOptions{Keys: []string{*key}, PublicMetrics: *publicMetrics}
	mux.Handle("/-/", http.StripPrefix("/-", h.Admin(admin)))
	guarded := allowed.Handler(h.PurgeMethod(guard.wrap(h), admin)) // so that scripts may read why they are refused, too
	pages := compressed(mux)
	// ServeMux answers paths that are not clean with a redirect; images' paths are the handler's to judge.
	var root http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/-/") {
			w.Header().Set("X-Content-Type-Options", "nosniff") // of a redirect to a clean path, too
			pages.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
	if *access {
		root = (&middleware.AccessLog{Logger: log}).Handler(root)
	}

	start.ready(root)
	announce(stdout, "http://"+listener.Addr().String(), opened, &dialect, demo, printed, *dir)
	if guard.signed() {
		fmt.Fprintln(stdout, "URLs of images have to be signed: docs/signing.md has how.")
	}
	return run.until(ctx, h.Drain)
}

// unlessEnded is err, and nil where it comes of being told to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// compressed has pages and the API compress; images have done so already. A stream of events would hold a compressor, of 400 kB, for as long as
// somebody watches.
func compressed(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.ExceptContentTypes([]string{"text/event-stream"}))
	if err != nil {
		panic(err) // the settings are part of the program
	}
	return wrap(h)
}

// limitMemory sets the runtime's memory limit, unless GOMEMLIMIT has: what images and making pictures may take, and a sixteenth
// and 32 MiB for all else: when much comes at once, memory grows beyond the limit while the collector is at work. Without it the collector lets memory grow to twice of what is in use.
func limitMemory(images, renders int64) {
	if renders < 0 || debug.SetMemoryLimit(-1) < math.MaxInt64 {
		return
	}
	if sum := images + renders; sum < math.MaxInt64/2 {
		debug.SetMemoryLimit(sum + sum/16 + 32<<20)
	}
}

// privateFlag is which sources may be at private addresses: -allow-private for all, -allow-private=NAME,NAME for some.
type privateFlag struct {
	all   bool
	names []string
}

func (p *privateFlag) String() string   { return strings.Join(p.names, ",") }
func (p *privateFlag) IsBoolFlag() bool { return true }

func (p *privateFlag) Set(v string) error {
	switch v {
	case "true":
		p.all = true
	case "false":
		*p = privateFlag{}
	default:
		p.names = append(p.names, strings.Split(v, ",")...)
	}
	return nil
}

// onWeb reports whether a source is at a web server.
func onWeb(where string) bool {
	scheme, _, ok := strings.Cut(where, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

func openSources(ctx context.Context, given sourceFlags, private privateFlag, more *extended) (imagecdn.Sources, error) {
	for _, name := range private.names {
		if !onWeb(given[name]) {
			return nil, usageError(fmt.Sprintf("-allow-private=%s: there is no source %q with a URL", strings.Join(private.names, ","), name))
		}
	}
	opened := make(imagecdn.Sources, len(given))
	for name, where := range given {
		if !strings.Contains(where, "://") {
			opened[name] = imagecdn.Dir(where)
			continue
		}
		if !onWeb(where) {
			s, ok, err := more.source(ctx, where)
			if err != nil {
				return nil, fmt.Errorf("-source %s: %w", name, err)
			}
			if ok {
				opened[name] = s
				continue
			}
		}
		s := imagecdn.Origin(where)
		s.HTTP = &origin.HTTPOptions{AllowPrivate: private.all || slices.Contains(private.names, name)}
		opened[name] = s
	}
	return opened, nil
}

func openCache(dir string, memory, disk, files int64, log *slog.Logger) (cache.Store, error) {
	fast := cache.NewMemory(memory)
	if dir == "" {
		return fast, nil
	}
	slow, err := cache.OpenDisk(dir, &cache.DiskOptions{MaxBytes: disk, MaxFiles: files, Logger: log})
	if err != nil {
		return nil, errors.Join(err, fast.Close())
	}
	return cache.Tiered(fast, slow), nil
}

// openPurges opens the log of purges beside the cache in dir, which it is not a part of: the cache lists
// its own names alone.
func openPurges(dir string) (*purge.ServiceOptions, func() error, error) {
	if dir == "" {
		return new(purge.ServiceOptions), func() error { return nil }, nil
	}
	l, err := boltlog.Open(filepath.Join(dir, "purges.db"))
	if err != nil {
		return nil, nil, err
	}
	return &purge.ServiceOptions{Log: l}, l.Close, nil
}

// announce says what is served, and where.
func announce(w io.Writer, base string, sources imagecdn.Sources, dialect *dialectFlags, demo bool, key, dir string) {
	fmt.Fprintf(w, "imagecdn is listening on %s\n\n", base)
	if demo {
		fmt.Fprintf(w, "Sample photographs, on one page:\n  %s/\nor one by one:\n", base)
		for _, u := range demoURLs {
			fmt.Fprintf(w, "  %s%s\n", base, u.url)
		}
	} else {
		fmt.Fprintln(w, "Images are at:")
		for _, name := range slices.Sorted(maps.Keys(sources)) {
			fmt.Fprintf(w, "  %s%s\n", base, dialect.example(name))
			if dialect.dialect != "native" {
				break // it names no source
			}
		}
	}
	fmt.Fprintf(w, "\nThe cache is in %s.\nThe console is at %s/-/console\n", cmp.Or(dir, "memory"), base)
	if key != "" {
		fmt.Fprintf(w, "The key of the console and the invalidation API, for this run: %s\n", key)
		if demo {
			fmt.Fprintf(w, "  go run ./cmd/imagecdn purge -server %s -key %s /photos/%s\n", base, key, firstSample())
		}
	}
}

func firstSample() string {
	names, err := fs.Glob(samples.FS(), "*.jpg")
	if err != nil || len(names) == 0 {
		return "rocket.jpg"
	}
	return names[len(names)-1]
}
