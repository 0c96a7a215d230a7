package resize

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"io"
)

// An encodeFunc is Codec.Encode.
type encodeFunc = func(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error

// An inserter writes what it is given, and other bytes where that is so long.
type inserter struct {
	io.Writer
	at   int // from here
	more []byte
}

func (w *inserter) Write(p []byte) (int, error) {
	if w.more == nil || len(p) < w.at {
		w.at -= len(p)
		return w.Writer.Write(p)
	}
	n, err := w.Writer.Write(p[:w.at])
	if err == nil {
		_, err = w.Writer.Write(w.more)
	}
	if w.more = nil; err != nil {
		return n, err
	}
	k, err := w.Writer.Write(p[n:])
	return n + k, err
}

// withAPP2 makes encode, which writes JPEG, write the profile after JFIF's APP0.
func withAPP2(encode encodeFunc) encodeFunc {
	const start = 2 + 18 // SOI and APP0
	return func(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
		if len(o.Profile) > 0 {
			w = &inserter{w, start, app2(o.Profile)}
		}
		return encode(ctx, w, m, o)
	}
}

// app2 gives the segments of a profile (ICC.1:2022, B.4).
func app2(profile []byte) (b []byte) {
	const head = "ICC_PROFILE\x00"
	const most = 65535 - 2 - len(head) - 2
	count := (len(profile) + most - 1) / most
	for i := 1; len(profile) > 0; i++ {
		part := profile[:min(most, len(profile))]
		profile = profile[len(part):]
		b = append(b, 0xff, mAPP2)
		b = binary.BigEndian.AppendUint16(b, uint16(2+len(head)+2+len(part)))
		b = append(b, head...)
		b = append(b, byte(i), byte(count))
		b = append(b, part...)
	}
	return b
}

// withICCP makes encode, which writes PNG, write the profile after IHDR.
func withICCP(encode encodeFunc) encodeFunc {
	const start = 8 + 25 // the signature and IHDR
	return func(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
		if len(o.Profile) > 0 {
			w = &inserter{w, start, iccp(o.Profile)}
		}
		return encode(ctx, w, m, o)
	}
}

// iccp gives the chunk of a profile (PNG, third edition, 11.3.2.3).
func iccp(profile []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x00\x00\x00\x00iCCPicc\x00\x00")
	z := zlib.NewWriter(&b)
	z.Write(profile) // to memory
	z.Close()
	chunk := b.Bytes()
	binary.BigEndian.PutUint32(chunk, uint32(len(chunk)-8))
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}

// withVP8X makes encode, which writes WebP, write the profile in the extended format.
func withVP8X(encode encodeFunc) encodeFunc {
	return func(ctx context.Context, w io.Writer, m image.Image, o EncodeOptions) error {
		if len(o.Profile) == 0 {
			return encode(ctx, w, m, o)
		}
		var b bytes.Buffer
		if err := encode(ctx, &b, m, o); err != nil {
			return err
		}
		out, err := vp8x(b.Bytes(), m.Bounds().Size(), o.Profile)
		if err == nil {
			_, err = w.Write(out)
		}
		return err
	}
}

// vp8x gives file, of a picture of a size, with a profile (RFC 9649, 2.7).
func vp8x(file []byte, size image.Point, profile []byte) ([]byte, error) {
	const hasProfile, hasAlpha = 1 << 5, 1 << 4
	if len(file) < 30 || string(file[:4]) != "RIFF" {
		return nil, errors.New("a WebP without chunks")
	}
	chunk := func(dst []byte, kind string, data []byte) []byte {
		dst = append(dst, kind...)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(data)))
		dst = append(dst, data...)
		return append(dst, make([]byte, len(data)&1)...)
	}
	header := make([]byte, 10)
	rest := file[12:]
	switch kind := string(rest[:4]); kind {
	case "VP8X":
		copy(header, rest[8:])
		rest = rest[18:]
	default:
		if kind == "VP8L" && rest[12]&0x10 != 0 {
			header[0] = hasAlpha
		}
		for i := range 3 {
			header[4+i], header[7+i] = byte((size.X-1)>>(8*i)), byte((size.Y-1)>>(8*i))
		}
	}
	header[0] |= hasProfile
	out := append(make([]byte, 0, len(file)+len(profile)+32), file[:12]...)
	out = chunk(out, "VP8X", header)
	out = chunk(out, "ICCP", profile)
	out = append(out, rest...)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}
