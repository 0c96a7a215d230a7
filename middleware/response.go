package middleware

import (
	"errors"
	"io"
	"net/http"
)

// A response is an http.ResponseWriter that knows what went through it. It passes on everything net/http can do:
// ReadFrom, so that files still go by sendfile, WriteString and Flush itself, the rest by Unwrap.
type response struct {
	http.ResponseWriter
	before func(http.Header) // called right before the header is sent; may be nil
	status int               // of the response; zero until it is sent
	bytes  int64             // of the body
}

func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begin is called before whatever sends the header.
func (w *response) begin(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.before != nil {
		w.before(w.Header())
	}
}

func (w *response) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols { // others are interim: more will follow
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

func (w *response) WriteString(s string) (int, error) {
	w.begin(http.StatusOK)
	n, err := io.WriteString(w.ResponseWriter, s)
	w.bytes += int64(n)
	return n, err
}

func (w *response) ReadFrom(src io.Reader) (int64, error) {
	w.begin(http.StatusOK)
	n, err := io.Copy(w.ResponseWriter, src) // which finds the ReadFrom of what is wrapped, if it has one
	w.bytes += n
	return n, err
}

func (w *response) FlushError() error {
	was := w.status
	w.begin(http.StatusOK)
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if errors.Is(err, http.ErrNotSupported) {
		w.status = was // nothing was sent
	}
	return err
}

func (w *response) Flush() { w.FlushError() }
