//go:build !amd64 || purego

package pngdec

func paeth3(dst, src, before []byte) { paeth3Go(dst, src, before) }

func paeth4(dst, src, before []byte) { paeth4Go(dst, src, before) }

func addAdler(s *adler, p []byte) { addAdlerGo(s, p) }
