//go:build !linux

package cache

import (
	"io"
	"os"
	"time"
)

func (osFiles) read(path string, idle time.Duration) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileSize {
		return nil, nil
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if now := time.Now(); idle > 0 && now.Sub(info.ModTime()) > idle {
		_ = os.Chtimes(path, now, now)
	}
	return data[:n], nil
}
