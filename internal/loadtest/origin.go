package main

import (
	"context"
	"encoding/binary"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

// photograph is a JPEG of 2725 by 2225 pixels, the size of the project's yardsticks.
func photograph() ([]byte, error) {
	small, err := fs.ReadFile(samples.FS(), "rocket.jpg")
	if err != nil {
		return nil, err
	}
	var r resize.Renderer
	large, err := r.Render(context.Background(), resize.Plan{Width: 2725, Height: 2225, Fit: resize.Scale, Format: resize.JPEG}, small)
	if err != nil {
		return nil, err
	}
	return large.Bytes, nil
}

// newOrigin has the photograph under any path, each time with other bytes: a comment that says the path. Below /silent/ it never
// answers, and below /drip/ it sends a byte a second.
func newOrigin(photo []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		w.Header().Set("Cache-Control", "max-age=3600")
		if strings.HasPrefix(path, "/silent/") {
			<-r.Context().Done()
			return
		}
		head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xfe}, uint16(2+len(path)))
		head = append(head, path...)
		w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(photo)-2))
		if strings.HasPrefix(path, "/drip/") {
			drip(w, r, head)
			return
		}
		if _, err := w.Write(head); err == nil {
			_, _ = w.Write(photo[2:])
		}
	})
}

func drip(w http.ResponseWriter, r *http.Request, bytes []byte) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range bytes {
		if _, err := w.Write(bytes[i : i+1]); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
