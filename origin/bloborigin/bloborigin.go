// Package bloborigin has buckets for origins: of S3, Google Cloud Storage, Azure, or whatever else gocloud.dev has a driver for.
//
//	import _ "gocloud.dev/blob/s3blob"
//
//	photos, err := bloborigin.Open(ctx, "s3://my-photos?region=eu-central-1", nil)
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer photos.Close()
//	h, err := imagecdn.New(imagecdn.Sources{"photos": {Transport: photos}}, nil)
//
// The image /cats/tom.jpg of the source is the object cats/tom.jpg. Its ETag is its validator: what has not changed since is looked at
// with one request, and not read again.
//
// Most objects have no Cache-Control. Then Source.Lifetime says how long an image is used before the bucket is asked again, which is for a year by
// default: what changes in a bucket is to be purged, or to be given a lifetime, there or in [Options].CacheControl.
package bloborigin

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/imagecdn/imagecdn/internal/cleanpath"
	"github.com/imagecdn/imagecdn/origin"
)

// Options are the optional settings of an Origin.
type Options struct {
	// Prefix is what all keys begin with, and paths do not have, such as "originals/". A slash at the end is added where there is none.
	// Empty means none.
	Prefix string

	// CacheControl is what an object is answered with that has none itself, such as "max-age=60". Empty means none.
	CacheControl string

	// Timeout bounds a request, the body included. Zero means a minute. Negative means no limit.
	Timeout time.Duration
}

// An Origin is a bucket. It is safe for concurrent use.
type Origin struct {
	bucket *blob.Bucket
	owned  bool // closed with the origin
	opts   Options
}

var _ http.RoundTripper = (*Origin)(nil)

// Open opens a bucket by its URL, whose driver must have been imported. It does not ask for anything in it. Close closes it.
func Open(ctx context.Context, bucketURL string, o *Options) (*Origin, error) {
	b, err := blob.OpenBucket(ctx, bucketURL)
	if err != nil {
		return nil, fmt.Errorf("bloborigin: %w", err)
	}
	made, err := New(b, o)
	if err != nil {
		b.Close()
		return nil, err
	}
	made.owned = true
	return made, nil
}

// New is Open for a bucket that is open, and that stays so.
func New(b *blob.Bucket, o *Options) (*Origin, error) {
	if o == nil {
		o = new(Options)
	}
	opts := *o
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	if strings.HasPrefix(opts.Prefix, "/") {
		return nil, errors.New("bloborigin: Options.Prefix begins with a slash")
	}
	if opts.Prefix != "" && !strings.HasSuffix(opts.Prefix, "/") {
		opts.Prefix += "/"
	}
	if strings.ContainsAny(opts.CacheControl, "\r\n\x00") {
		return nil, errors.New("bloborigin: Options.CacheControl is no field's value")
	}
	return &Origin{bucket: b, opts: opts}, nil
}

// Close closes the bucket that Open has opened.
func (o *Origin) Close() error {
	if !o.owned {
		return nil
	}
	return o.bucket.Close()
}

// RoundTrip answers with an object, as package origin says that origins do.
//
//   - 200 with the object's Content-Type, Cache-Control, ETag and Last-Modified. What is kept with Content-Encoding: gzip is unpacked.
//   - 304 where If-None-Match has its ETag, or, without one, If-Modified-Since is no earlier than it.
//   - 404 for an object that does not exist, and for "/".
//   - 403 where the bucket does not let it be read. S3 says so of what does not exist, too, to who may not list the bucket.
//   - An error for all else.
//
// The attributes are read first, and then the object. Where it is replaced in between, its bytes are newer than its validators say, and the
// next conditional request finds that it has changed; never the other way around.
func (o *Origin) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	if err := admit(req); err != nil {
		return nil, err
	}
	if req.URL.Path == "/" {
		return plain(req, http.StatusNotFound), nil
	}
	ctx, cancel := req.Context(), context.CancelFunc(func() {})
	if o.opts.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.opts.Timeout)
	}
	resp, err := o.answer(ctx, req)
	if resp == nil || resp.Body == http.NoBody || err != nil {
		defer cancel()
	} else {
		resp.Body = &ending{resp.Body, cancel}
	}
	if err != nil {
		return refusal(req, err)
	}
	return resp, nil
}

func (o *Origin) answer(ctx context.Context, req *http.Request) (*http.Response, error) {
	key := o.opts.Prefix + req.URL.Path[1:]
	attrs, err := o.bucket.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	header := o.header(attrs)
	if unchanged(req, header) {
		header.Del("Content-Type")
		return respond(req, http.StatusNotModified, header), nil
	}
	zipped := strings.EqualFold(attrs.ContentEncoding, "gzip")
	resp := respond(req, http.StatusOK, header)
	resp.ContentLength = attrs.Size
	if zipped {
		resp.ContentLength = -1
	}
	if req.Method == http.MethodHead {
		return resp, nil
	}
	r, err := o.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	var content io.Reader = &whole{ctx: ctx, r: r, left: r.Size()}
	if zipped {
		resp.ContentLength = -1
		content = &unzipped{from: content}
	} else {
		resp.ContentLength = r.Size()
	}
	resp.Body = &object{content, r}
	return resp, nil
}

// header is what an object is answered with.
func (o *Origin) header(a *blob.Attributes) http.Header {
	h := make(http.Header)
	set := func(name, value string) {
		if value != "" && !strings.ContainsAny(value, "\r\n\x00") {
			h.Set(name, value)
		}
	}
	set("Content-Type", a.ContentType)
	if set("Cache-Control", a.CacheControl); h.Get("Cache-Control") == "" {
		set("Cache-Control", o.opts.CacheControl)
	}
	set("Etag", quoted(a.ETag))
	if !a.ModTime.IsZero() {
		set("Last-Modified", a.ModTime.UTC().Format(http.TimeFormat))
	}
	set("Date", time.Now().UTC().Format(http.TimeFormat))
	return h
}

// quoted is an ETag with the quotes that some services leave out; empty where it is none.
func quoted(etag string) string {
	weak, tag := "", etag
	if rest, ok := strings.CutPrefix(etag, "W/"); ok {
		weak, tag = "W/", rest
	}
	tag = strings.Trim(tag, `"`)
	if tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r == '"' || r == 0x7f }) {
		return ""
	}
	return weak + `"` + tag + `"`
}

// unchanged evaluates a request's conditions (RFC 9110 section 13.2.2).
func unchanged(req *http.Request, h http.Header) bool {
	if conditions := req.Header.Values("If-None-Match"); len(conditions) > 0 {
		etag := strings.TrimPrefix(h.Get("Etag"), "W/")
		return etag != "" && matches(strings.Join(conditions, ","), etag)
	}
	since, err := http.ParseTime(req.Header.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}

// matches reports whether a list has an ETag, by weak comparison.
func matches(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for {
		// One may hold commas, so it is taken from quote to quote.
		_, rest, ok := strings.Cut(list, `"`)
		if !ok {
			return false
		}
		tag, rest, ok := strings.Cut(rest, `"`)
		if !ok {
			return false
		}
		if `"`+tag+`"` == etag {
			return true
		}
		list = rest
	}
}

// whole reads an object to its end, or has an error.
type whole struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (w *whole) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, cutShort(err)
	}
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if err == io.EOF && w.left == 0 || err == nil {
		return n, err
	}
	if err == io.EOF {
		err = fmt.Errorf("%d bytes are missing", w.left)
	}
	if ended := w.ctx.Err(); ended != nil {
		err = errors.Join(ended, err)
	}
	return n, cutShort(err)
}

// unzipped reads what is kept with gzip.
type unzipped struct {
	from io.Reader
	zip  *gzip.Reader
	err  error
}

func (u *unzipped) Read(p []byte) (n int, err error) {
	if u.err != nil {
		return 0, u.err
	}
	if u.zip == nil {
		if u.zip, err = gzip.NewReader(u.from); err != nil {
			u.err = cutShort(err)
			return 0, u.err
		}
	}
	n, err = u.zip.Read(p)
	if err != nil && err != io.EOF {
		err = cutShort(err)
	}
	u.err = err
	return n, err
}

type object struct {
	io.Reader
	io.Closer
}

// ending ends a request's context with its body.
type ending struct {
	io.ReadCloser
	end func()
}

func (e *ending) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}

// admit checks that a request is one that an origin answers.
func admit(req *http.Request) error {
	if req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != "" {
		return &origin.Error{Text: "origin: refused: the method must be GET or HEAD", Kind: origin.ErrRefused}
	}
	if req.URL == nil || !cleanpath.Is(req.URL.Path) {
		return &origin.Error{Text: "origin: refused: the path must begin with a slash and have no empty, . or .. segment", Kind: origin.ErrRefused}
	}
	if err := req.Context().Err(); err != nil {
		return failure(err)
	}
	return nil
}

// refusal answers for an object that could not be had.
func refusal(req *http.Request, err error) (*http.Response, error) {
	if req.Context().Err() == nil {
		switch code := gcerrors.Code(err); {
		case code == gcerrors.NotFound, code == gcerrors.InvalidArgument, // no key of that form can exist
			errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG): // where the bucket is a directory
			return plain(req, http.StatusNotFound), nil
		case code == gcerrors.PermissionDenied:
			return plain(req, http.StatusForbidden), nil
		}
	} else {
		err = errors.Join(req.Context().Err(), err)
	}
	return nil, failure(err)
}

// failure makes the Error for what went wrong before there was an answer.
func failure(err error) *origin.Error {
	var timeout interface{ Timeout() bool }
	switch code := gcerrors.Code(err); {
	case errors.Is(err, context.Canceled), code == gcerrors.Canceled:
		return &origin.Error{Text: "origin: the request was cancelled", Kind: context.Canceled, Cause: err}
	case errors.Is(err, context.DeadlineExceeded), code == gcerrors.DeadlineExceeded, errors.As(err, &timeout) && timeout.Timeout():
		return &origin.Error{Text: "origin: the origin was too slow", Kind: origin.ErrTimeout, Cause: err}
	}
	return &origin.Error{Text: "origin: the origin could not be reached or gave no valid answer", Cause: err}
}

// cutShort makes the Error for what went wrong while a body was read. It is never io.EOF.
func cutShort(err error) *origin.Error {
	var already *origin.Error
	if errors.As(err, &already) {
		return already
	}
	e := failure(err)
	if e.Kind == nil {
		e = &origin.Error{Text: "origin: the body was cut short", Kind: io.ErrUnexpectedEOF, Cause: err}
	}
	return e
}

func respond(req *http.Request, status int, h http.Header) *http.Response {
	return &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  h,
		Body:    http.NoBody,
		Request: req,
	}
}

// plain is a response of one line.
func plain(req *http.Request, status int) *http.Response {
	text := http.StatusText(status) + "\n"
	resp := respond(req, status, http.Header{
		"Content-Type": {"text/plain; charset=utf-8"},
		"Date":         {time.Now().UTC().Format(http.TimeFormat)},
	})
	resp.ContentLength = int64(len(text))
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(strings.NewReader(text))
	}
	return resp
}
