package imagecdn

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/svgclean"
	"github.com/imagecdn/imagecdn/origin"
	"github.com/imagecdn/imagecdn/resize"
)

// Sources are where originals come from, by the name that is the first part of an image's path: a letter or
// digit, and then letters, digits, "-", "_" and ".".
type Sources map[string]Source

// A Source is one place where originals come from. [Dir], [FS] and [Origin] make the usual ones; their fields
// may be changed before they are given to [New]. Exactly one of Dir, FS, URL and Transport is set.
type Source struct {
	// Dir is a directory. Symbolic links that lead out of it are not followed. Its files are their own
	// validators: an edited file shows within a second or so, without a purge.
	Dir string

	// FS is a file system, such as an embed.FS.
	FS fs.FS

	// URL is the base of an HTTP origin: the image /a/b.jpg of a source with the URL https://example.com/img/ is
	// https://example.com/img/a/b.jpg.
	URL string

	// Transport is anything else that answers a GET of an image's path.
	Transport http.RoundTripper

	// HTTP are settings of the client for URL, such as access to private addresses. Nil means its
	// defaults, which refuse those. Where it has no Logger, it gets Options.Logger.
	HTTP *origin.HTTPOptions

	// Lifetime is how long this source's images live. Zero means Options.Lifetime.
	Lifetime cache.Lifetime
}

// Dir is the source of images in a directory.
func Dir(path string) Source { return Source{Dir: path} }

// FS is the source of images in a file system.
func FS(fsys fs.FS) Source { return Source{FS: fsys} }

// Origin is the source of images on a web server.
func Origin(base string) Source { return Source{URL: base} }

// source is a Source in use.
type source struct {
	cache    *cache.Transport
	closer   io.Closer    // nil where there is nothing to close
	http     *origin.HTTP // nil where it is no URL
	local    bool         // files of this machine: looking at one forwards nothing
	counters originCounters
}

var sourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (h *Handler) addSource(name string, s Source) error {
	if !sourceName.MatchString(name) {
		return fmt.Errorf("imagecdn: Sources: %q is not a name for a source: it takes letters, digits, \"-\", \"_\" and \".\"", name)
	}
	next, closer, err := s.open(h.log)
	if err != nil {
		return fmt.Errorf("imagecdn: Sources[%q]: %w", name, err)
	}
	made := &source{closer: closer, local: s.Dir != "" || s.FS != nil}
	made.http, _ = next.(*origin.HTTP)
	if !made.local {
		next = countedOrigin{next, &h.stats, &made.counters}
	}
	next = tracked{next, h, name}
	var changed func(image string)
	if !h.opts.IgnoreChanges {
		changed = func(image string) { h.changes.note(name, image) }
	}
	made.cache = cache.NewTransport(h.store, next, &cache.TransportOptions{
		Source:   name,
		Table:    h.table,
		Lifetime: cmp.Or(s.Lifetime, h.opts.Lifetime),
		MaxBytes: h.opts.MaxBytes,
		Inspect:  h.inspect,
		Room:     func(image string) cache.Room { return &room{gate: h.gate, image: name + image} },
		Admit:    h.admitFetch,
		Changed:  changed,
		Classify: h.classify,
	})
	h.sources[name] = made
	return nil
}

func (s Source) open(log *slog.Logger) (http.RoundTripper, io.Closer, error) {
	set := 0
	for _, is := range []bool{s.Dir != "", s.FS != nil, s.URL != "", s.Transport != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return nil, nil, errors.New("exactly one of Dir, FS, URL and Transport must be set")
	}
	switch {
	case s.Dir != "":
		d, err := origin.OpenDir(s.Dir)
		return d, d, err
	case s.FS != nil:
		return origin.NewFS(s.FS), nil, nil
	case s.URL != "":
		var opts origin.HTTPOptions
		if s.HTTP != nil {
			opts = *s.HTTP
		}
		opts.Logger = cmp.Or(opts.Logger, log)
		c, err := origin.NewHTTP(s.URL, &opts)
		return c, c, err
	}
	return s.Transport, nil, nil
}

func (h *Handler) closeSources() {
	for _, s := range h.sources {
		s.cache.Close()
		if s.closer != nil {
			s.closer.Close()
		}
	}
}

// inspect says what an original is, by its bytes alone. What is no picture, or one that nothing could be made of, is not kept at all.
func (h *Handler) inspect(body []byte) (contentType string, status int, reason string) {
	h.stats.origin.bodies.Add(1)
	h.stats.origin.bytes.Add(int64(len(body)))
	info, err := h.renderer.Check(body)
	if errors.Is(err, resize.ErrUnsupported) {
		is, wrong := svgclean.Sniff(body)
		switch {
		case (is || wrong != nil) && h.opts.NoSVG:
			return "", http.StatusUnsupportedMediaType, "SVG is not served here"
		case is:
			return drawingType, http.StatusOK, ""
		case wrong != nil:
			err = wrong
		}
	}
	if err != nil {
		h.logPanic(err)
		h.log.Info("an original is no picture", "error", err)
		return "", statusOf(err), publicText(err)
	}
	return info.Format.ContentType(), http.StatusOK, ""
}

// classify says what a failure of an origin means to a client, and tells the operator the rest.
func (h *Handler) classify(err error) (status int, reason string) {
	if e, ok := errors.AsType[*origin.Error](err); ok {
		if e.Kind != origin.ErrBroken { // which is told once, when it is left alone
			h.log.Warn("an origin failed", "error", e, "cause", e.Cause)
		}
		return origin.Status(err), e.Text
	}
	h.log.Warn("an origin failed", "error", err)
	return cache.Classify(err)
}
