package blobcache_test

import (
	"context"
	"errors"
	"io"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
)

var errFault = errors.New("a fault that the test asked for")

// faulty is a bucket in memory whose operations can fail, wait, and return other bytes than were put.
type faulty struct {
	under *blob.Bucket

	mu     sync.Mutex
	before func(ctx context.Context, op, key string) error // called before each operation
	read   func(key string, data []byte) []byte            // what comes of what is read
	ops    map[string]int                                  // how many there were
}

func newFaulty() (*faulty, *blob.Bucket) {
	f := &faulty{under: memblob.OpenBucket(nil), ops: make(map[string]int)}
	return f, blob.NewBucket(f)
}

func (f *faulty) set(before func(ctx context.Context, op, key string) error, read func(key string, data []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.read = before, read
}

// counts returns how many operations there were since it was last called.
func (f *faulty) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	ops := f.ops
	f.ops = make(map[string]int)
	return ops
}

func (f *faulty) begin(ctx context.Context, op, key string) error {
	f.mu.Lock()
	before := f.before
	f.ops[op]++
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, op, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *faulty) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	}
	return gcerrors.Code(err)
}

func (f *faulty) As(any) bool                                                     { return false }
func (f *faulty) ErrorAs(error, any) bool                                         { return false }
func (f *faulty) Close() error                                                    { return f.under.Close() }
func (f *faulty) Copy(context.Context, string, string, *driver.CopyOptions) error { return errFault }
func (f *faulty) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errFault
}

func (f *faulty) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := f.begin(ctx, "attributes", key); err != nil {
		return nil, err
	}
	a, err := f.under.Attributes(ctx, key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{Size: a.Size, ModTime: a.ModTime, ETag: a.ETag, ContentType: a.ContentType}, nil
}

func (f *faulty) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if err := f.begin(ctx, "list", o.Prefix); err != nil {
		return nil, err
	}
	token := o.PageToken
	if len(token) == 0 {
		token = blob.FirstPageToken
	}
	objects, next, err := f.under.ListPage(ctx, token, o.PageSize, &blob.ListOptions{Prefix: o.Prefix, Delimiter: o.Delimiter})
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	page := &driver.ListPage{NextPageToken: next}
	for _, obj := range objects {
		page.Objects = append(page.Objects, &driver.ListObject{Key: obj.Key, Size: obj.Size, ModTime: obj.ModTime, IsDir: obj.IsDir})
	}
	return page, nil
}

func (f *faulty) NewRangeReader(ctx context.Context, key string, offset, length int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	if err := f.begin(ctx, "read", key); err != nil {
		return nil, err
	}
	data, err := f.under.ReadAll(ctx, key)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.read != nil {
		data = f.read(key, data)
	}
	f.mu.Unlock()
	size := int64(len(data))
	data = data[min(offset, size):]
	if length >= 0 && length < int64(len(data)) {
		data = data[:length]
	}
	return &faultyReader{data, size}, nil
}

type faultyReader struct {
	rest []byte
	size int64
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
func (r *faultyReader) Close() error { return nil }
func (r *faultyReader) As(any) bool  { return false }
func (r *faultyReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.size}
}

func (f *faulty) NewTypedWriter(ctx context.Context, key, contentType string, _ *driver.WriterOptions) (driver.Writer, error) {
	return &faultyWriter{f: f, ctx: ctx, key: key, kind: contentType}, nil
}

type faultyWriter struct {
	f         *faulty
	ctx       context.Context
	key, kind string
	data      []byte
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	return len(p), nil
}

// Close has the fault before the object is there for "write", and after it for "written".
func (w *faultyWriter) Close() error {
	if err := w.f.begin(w.ctx, "write", w.key); err != nil {
		return err
	}
	if err := w.f.under.WriteAll(w.ctx, w.key, w.data, &blob.WriterOptions{ContentType: w.kind}); err != nil {
		return err
	}
	w.f.mu.Lock()
	before := w.f.before
	w.f.mu.Unlock()
	if before != nil {
		return before(w.ctx, "written", w.key)
	}
	return nil
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if err := f.begin(ctx, "delete", key); err != nil {
		return err
	}
	return f.under.Delete(ctx, key)
}
