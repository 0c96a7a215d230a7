package pngdec

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"testing"
)

// inflateAll inflates data in steps, or gives the error.
func inflateAll(data []byte, step int) ([]byte, error) {
	var z inflater
	z.reset(append(bytes.Clone(data), make([]byte, inPadding)...), len(data))
	var all []byte
	out := make([]byte, window+step+outSlack+maxMatch)
	at := 0
	for {
		op, err := z.inflate(out, at, at+step)
		if err != nil {
			return nil, err
		}
		all = append(all, out[at:op]...)
		if op < at+step {
			return all, nil
		}
		if keep := op - window; keep > 0 {
			copy(out, out[keep:op])
			op -= keep
		}
		at = op
	}
}

// sameInflated compares with compress/flate.
func sameInflated(t *testing.T, data []byte) {
	t.Helper()
	want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), 1<<22))
	if len(want) == 1<<22 {
		t.Skip("too much")
	}
	for _, step := range []int{77, 1 << 17} {
		got, err := inflateAll(data, step)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, and compress/flate says %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes differ from compress/flate's %d", len(got), len(want))
		}
	}
}

// samples are data of all kinds: noise, text, runs, codes as long as they get.
func samples() [][]byte {
	rnd := rand.New(rand.NewPCG(1, 1))
	all := [][]byte{nil, {7}, bytes.Repeat([]byte{0}, 70000), bytes.Repeat([]byte("abcdefg"), 9999)}
	for _, values := range []int{2, 3, 20, 256} {
		b := make([]byte, 100_000)
		for i := range b {
			b[i] = byte(rnd.IntN(values))
		}
		all = append(all, b)
	}
	// Each value comes twice as often as the next, so that codes are of all lengths.
	skewed := make([]byte, 150_000)
	for i := range skewed {
		for rnd.IntN(2) == 0 && skewed[i] < 30 {
			skewed[i]++
		}
	}
	// Distances of all sizes.
	far := make([]byte, 120_000)
	for i := range far {
		far[i] = byte(rnd.IntN(256))
		if i > 40_000 && rnd.IntN(20) == 0 {
			i := i
			for from := i - 1 - rnd.IntN(1<<rnd.IntN(16)); i < len(far) && rnd.IntN(30) > 0; i, from = i+1, from+1 {
				far[i] = far[from]
			}
		}
	}
	for i := 50_000; i < len(far)-300; i += 200 {
		back := 1 + rnd.IntN(1<<(1+rnd.IntN(15)))
		for k := range rnd.IntN(290) {
			far[i+k] = far[i+k-back]
		}
	}
	return append(all, skewed, far)
}

func TestInflate(t *testing.T) {
	for _, b := range samples() {
		for _, level := range []int{-2, 0, 1, 5, 9} {
			var out bytes.Buffer
			w, _ := flate.NewWriter(&out, level)
			w.Write(b[:len(b)/2])
			w.Flush()
			w.Write(b[len(b)/2:])
			w.Close()
			sameInflated(t, out.Bytes())
		}
	}
}

func TestInflateDamaged(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":                  {},
		"a kind that there is not": {0x07},
		"stored, of another size":  {0x01, 0x01, 0x00, 0xff, 0xff, 0x00},
		"stored, cut off":          {0x01, 0x02, 0x00, 0xfd, 0xff, 0x00},
		"stored, of nothing":       {0x01, 0x00, 0x00, 0xff, 0xff},
		"fixed, of nothing":        {0x03, 0x00},
		"fixed, cut off":           {0x03},
		"fixed, back beyond":       {0x4b, 0x04, 0xa2, 0x00},
		"too many lengths":         {0xfd, 0xff, 0xff, 0xff, 0xff},
		"no codes":                 {0x05, 0x00, 0x00, 0x00, 0x00, 0x00},
	} {
		t.Run(name, func(t *testing.T) { sameInflated(t, data) })
	}
	rnd := rand.New(rand.NewPCG(2, 2))
	for _, b := range samples() {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, 6)
		w.Write(b[:min(len(b), 20_000)])
		w.Close()
		for range 200 {
			data := bytes.Clone(out.Bytes())
			for range 1 + rnd.IntN(3) {
				data[rnd.IntN(min(len(data), 200))] ^= 1 << rnd.IntN(8)
			}
			sameInflated(t, data[:len(data)-rnd.IntN(2)])
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, b := range samples() {
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, 6)
		w.Write(b[:min(len(b), 3000)])
		w.Close()
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameInflated(t, data) })
}
