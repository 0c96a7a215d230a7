package origin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// NewFS returns an origin whose images are the regular files of fsys, such as an embed.FS. It stands on
// [http.NewFileTransportFS], less what is for browsing.
//
//   - 404 for a directory, "/", a name that is not there or not valid, anything but a regular file, a name
//     that ends in "/index.html", and any path with a segment that begins with a dot (".env", ".git/config").
//   - 403 for a file that may not be read: it is there, and its permissions are wrong.
//   - An error, and so 502, for any other failure: a disk error or too many open files is not "not found".
//
// Every response has Cache-Control: max-age=1: the files are asked, at most once a second per image, so that
// an edited file shows by itself, as does one that was missing. An ETag answers If-None-Match with 304. It is made
// of the time of modification, to the nanosecond, and the size; or of the contents, where there is no time (embed.FS,
// or one up to 1980, as reproducible builds set), or it is less than two seconds old, because a second edit could leave
// it as it is. So edits in quick succession are told apart. There is then no Last-Modified either. A file that is replaced by one of the same size with the same time set on
// purpose (cp -p, rsync -t) is not: purge it.
//
// A file that changes while it is read ends in an error, not in a mix of two. The time to write in place is
// when nobody reads; better, write beside it and rename.
//
// Files that cannot seek, such as those of a zip archive, are read into memory first.
func NewFS(fsys fs.FS) http.RoundTripper {
	return &files{fsys}
}

// Dir is an origin that is a directory. Make one with [OpenDir]. It is safe for concurrent use.
type Dir struct {
	files
	root *os.Root
}

// OpenDir returns an origin whose images are the regular files under dir. What is said at [NewFS] holds here.
//
// Nothing outside dir is opened: it is an [os.Root]. Symbolic links that stay inside are followed; those that lead out,
// and absolute ones wherever they lead, are 404, as are names that the system reserves (Windows' NUL, COM1). Mounts
// inside dir are part of it.
func OpenDir(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	return &Dir{files{rootFS{root}}, root}, nil
}

// Close closes the directory. Bodies that are being read go on.
func (d *Dir) Close() error { return d.root.Close() }

// rootFS is an os.Root as an fs.FS whose Open never waits, and whose errors can be told apart.
type rootFS struct{ root *os.Root }

func (r rootFS) Open(name string) (fs.File, error) {
	local, err := filepath.Localize(name)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	f, err := r.root.OpenFile(local, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, outside(err)
	}
	return f, nil
}

func (r rootFS) Stat(name string) (fs.FileInfo, error) {
	local, err := filepath.Localize(name)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	info, err := r.root.Stat(local)
	return info, outside(err)
}

// outside turns os.Root's own refusals, which are exported under no name, into fs.ErrNotExist. They are those
// errors of a path that come neither from the system nor from a closed root.
func outside(err error) error {
	var p *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &p) && !errors.As(err, &errno) && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// files is the origin behind NewFS and Dir.
type files struct{ fsys fs.FS }

// freshFor is how long after its modification a file's time cannot vouch for its contents: FAT counts in units of two
// seconds, the coarsest in use (HFS+ one second; ext4, XFS, APFS and NTFS the clock's tick, 10 ms at most).
const freshFor = 2 * time.Second

// RoundTrip answers with a file, as [NewFS] says.
func (t *files) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := admit(req); err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(req.URL.Path, "/")
	if !served(name) {
		return plain(req, http.StatusNotFound), nil
	}
	// What is no regular file must not be opened: opening a FIFO waits, opening a device may do anything.
	info, err := fs.Stat(t.fsys, name)
	if err != nil {
		return refusal(req, err)
	}
	if !info.Mode().IsRegular() {
		return plain(req, http.StatusNotFound), nil
	}
	if etag := statETag(info); etag != "" && matches(req.Header["If-None-Match"], etag) {
		return notModified(req, etag), nil
	}

	f, err := t.fsys.Open(name)
	if err != nil {
		return refusal(req, err)
	}
	src, etag, err := read(req.Context(), f)
	if err != nil {
		f.Close()
		return nil, failure(err)
	}
	if src == nil { // not what it was a moment ago
		f.Close()
		return plain(req, http.StatusNotFound), nil
	}
	if matches(req.Header["If-None-Match"], etag) {
		f.Close()
		return notModified(req, etag), nil
	}

	// The transport is given a file system of this one open file, so that what was checked is what is read.
	in := req.Clone(req.Context())
	in.URL.Path, in.URL.RawPath = "/file", ""
	in.Header = make(http.Header)
	fresh := statETag(src.info) == ""
	if req.Header.Get("If-None-Match") == "" && !fresh {
		in.Header["If-Modified-Since"] = req.Header["If-Modified-Since"]
	}
	resp, err := http.NewFileTransportFS(src).RoundTrip(in)
	if err != nil {
		return nil, failure(err)
	}
	resp.Request = req
	switch resp.StatusCode {
	case http.StatusNotModified:
		resp.Body.Close()
		return notModified(req, etag), nil
	case http.StatusOK:
	default:
		resp.Body.Close()
		return nil, failure(fmt.Errorf("file transport: %s", resp.Status))
	}
	resp.Header.Del("Accept-Ranges")
	if fresh {
		resp.Header.Del("Last-Modified")
	}
	resp.Header.Set("Etag", etag)
	stamp(resp.Header)
	resp.ContentLength = src.info.Size()
	if req.Method == http.MethodHead {
		resp.Body.Close()
		resp.Body = http.NoBody
	} else {
		resp.Body = &fileBody{resp.Body, req.Context(), src, resp.ContentLength}
	}
	return resp, nil
}

// served reports whether a name may be looked at at all.
func served(name string) bool {
	if name == "" || name == "index.html" || strings.HasSuffix(name, "/index.html") || !fs.ValidPath(name) {
		return false
	}
	for segment := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(segment, ".") {
			return false
		}
	}
	return true
}

// source is one open file, and the file system of it alone. The transport's goroutine reads and closes it; err is
// set by then, before the body's reader is told of the end.
type source struct {
	io.ReadSeeker
	file fs.File
	info fs.FileInfo
	err  error
}

// read looks at an open file, and returns it with its ETag; nil if it is not a regular one.
func read(ctx context.Context, f fs.File) (*source, string, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", nil
	}
	src := &source{file: f, info: info}
	var ok bool
	if src.ReadSeeker, ok = f.(io.ReadSeeker); !ok {
		b, err := io.ReadAll(contextReader{ctx, f})
		if err != nil {
			return nil, "", err
		}
		src.ReadSeeker = bytes.NewReader(b)
	}
	etag := statETag(info)
	if etag == "" {
		hash := sha256.New()
		if _, err := io.Copy(hash, contextReader{ctx, src.ReadSeeker}); err != nil {
			return nil, "", err
		}
		if _, err := src.Seek(0, io.SeekStart); err != nil {
			return nil, "", err
		}
		etag = `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
	}
	return src, etag, nil
}

func (s *source) Open(string) (fs.File, error) { return s, nil }
func (s *source) Stat() (fs.FileInfo, error)   { return s.info, nil }

func (s *source) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && err != io.EOF && s.err == nil {
		s.err = err
	}
	return n, err
}

func (s *source) Close() error {
	if s.err == nil {
		now, err := s.file.Stat()
		if err == nil && (now.Size() != s.info.Size() || !now.ModTime().Equal(s.info.ModTime())) {
			err = errors.New("the file changed while it was read")
		}
		s.err = err
	}
	return s.file.Close()
}

// fileBody is a file's bytes, all of them or an error.
type fileBody struct {
	io.ReadCloser
	ctx  context.Context
	src  *source
	left int64
}

func (b *fileBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, cutShort(err)
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, cutShort(err)
	case b.src.err != nil:
		return n, cutShort(b.src.err)
	case b.left != 0:
		return n, cutShort(io.ErrUnexpectedEOF)
	}
	return n, io.EOF
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// statETag returns the ETag that a file's time and size make; empty if the time cannot vouch for the contents. Besides
// a fresh one, that is none at all, or one that a build set to be the same each time (the epochs of Unix and of zip).
func statETag(info fs.FileInfo) string {
	mtime := info.ModTime()
	if mtime.Year() <= 1980 || time.Since(mtime).Abs() < freshFor {
		return ""
	}
	return `"` + strconv.FormatUint(uint64(mtime.UnixNano()), 16) + "-" + strconv.FormatInt(info.Size(), 16) + `"`
}

// matches reports whether an If-None-Match has the ETag, by weak comparison (RFC 9110 section 13.1.2).
func matches(lists []string, etag string) bool {
	for _, list := range lists {
		if strings.TrimSpace(list) == "*" {
			return true
		}
		for list != "" {
			// An entity-tag may hold commas, so it is taken from quote to quote.
			_, rest, ok := strings.Cut(list, `"`)
			if !ok {
				break
			}
			tag, rest, ok := strings.Cut(rest, `"`)
			if !ok {
				break
			}
			if tag == strings.Trim(etag, `"`) {
				return true
			}
			list = rest
		}
	}
	return false
}

// refusal answers for a file that could not be opened.
func refusal(req *http.Request, err error) (*http.Response, error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return plain(req, http.StatusForbidden), nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), errors.Is(err, syscall.ENOTDIR),
		errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EINVAL):
		return plain(req, http.StatusNotFound), nil
	}
	return nil, failure(err)
}

// plain is a response of one line.
func plain(req *http.Request, status int) *http.Response {
	text := http.StatusText(status) + "\n"
	resp := respond(req, status)
	resp.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
	resp.ContentLength = int64(len(text))
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(strings.NewReader(text))
	}
	return resp
}

func notModified(req *http.Request, etag string) *http.Response {
	resp := respond(req, http.StatusNotModified)
	resp.Header.Set("Etag", etag)
	return resp
}

func respond(req *http.Request, status int) *http.Response {
	resp := &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  make(http.Header),
		Body:    http.NoBody,
		Request: req,
	}
	stamp(resp.Header)
	return resp
}

// stamp sets what every response of a file has.
func stamp(header http.Header) {
	header.Set("Cache-Control", "max-age=1")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
}
