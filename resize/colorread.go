package resize

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/imagecdn/imagecdn/internal/icc"
)

// keptProfile is how many bytes of a profile a render may hold while it waits for leave to work. Those of cameras and screens have
// 0.5 to 60 KB; 300 bytes of deflated ones can be 4 MB, which a thousand renders that wait would have between them.
const keptProfile = 64 << 10

// reading bounds how many profiles are read at a time by those who have no leave yet.
var reading = make(chan struct{}, runtime.GOMAXPROCS(0))

// readColors reads what the file says of its colours: a profile, and what it is for. A profile that cannot be read, or is for other
// numbers than the file has, is as none. One that is too large is ErrTooLarge: to leave it out would show other colours, and nobody
// makes such profiles but to have them inflated.
func (in *input) readColors() error {
	reading <- struct{}{}
	defer func() { <-reading }()
	profile := in.readProfile()
	if len(profile) > icc.MaxBytes {
		return fmt.Errorf("%w: a colour profile of more than %d MB", ErrTooLarge, icc.MaxBytes>>20)
	}
	if profile == nil {
		return nil
	}
	p, err := icc.Parse(profile)
	if err != nil {
		return nil
	}
	in.colored, in.colors = true, p.Space()
	if len(profile) <= keptProfile {
		in.kept = profile
	}
	return nil
}

// readProfile takes the profile out of the file.
func (in *input) readProfile() (profile []byte) {
	c := codecFor(in.info.Format)
	if c.Profile == nil {
		return nil
	}
	_ = guard(string(c.Format), func() error {
		profile = c.Profile(in.Bytes)
		return nil
	})
	return profile
}

// profile gives the ICC profile, or nil where there is none that can be read. A large one is read again: whoever asks has leave to work.
func (in *input) profile() []byte {
	if in.colored && in.kept == nil {
		in.kept = in.readProfile()
	}
	return in.kept
}

const (
	mAPP0 = 0xe0
	mAPP2 = 0xe2
)

// profileJPEG gives the profile of a JPEG, from the chunks in its APP2 segments (ICC.1:2022, B.4). They may come in any order; if one
// is missing or there twice, there is no profile.
func profileJPEG(data []byte) []byte {
	const head = "ICC_PROFILE\x00"
	var chunks [256][]byte
	count, seen, total, components := 0, 0, 0, 0
	damaged := false
	segments(data, func(marker byte, b []byte) bool {
		switch {
		case marker == mSOS || marker == mEOI:
			return false
		case marker >= mSOF0 && marker <= mSOF2 && len(b) >= 6:
			components = int(b[5])
		case marker == mAPP2 && len(b) >= len(head)+2 && string(b[:len(head)]) == head:
			i, n := int(b[len(head)]), int(b[len(head)+1])
			if i < 1 || i > n || count > 0 && n != count || chunks[i] != nil {
				damaged = true
				return false
			}
			chunks[i] = b[len(head)+2:]
			count = n
			seen++
			total += len(chunks[i])
		}
		return true
	})
	if damaged || seen == 0 || seen != count {
		return nil
	}
	if total > icc.MaxBytes {
		return tooLargeProfile()
	}
	profile := chunks[1]
	if count > 1 {
		profile = make([]byte, 0, total)
		for _, c := range chunks[1 : count+1] {
			profile = append(profile, c...)
		}
	}
	return profileFor(profile, components)
}

// profileFor gives profile if it is one for pictures of so many channels. Gray may have that of colours, of which it is some.
func profileFor(profile []byte, channels int) []byte {
	if len(profile) > icc.MaxBytes {
		return profile // to be refused
	}
	space := icc.SpaceOf(profile)
	if space == icc.Space(channels) || space == icc.RGB && channels == 1 {
		return profile
	}
	return nil
}

// profilePNG gives the profile of a PNG, or one made from what else it says. What counts is, in this order, cICP, iCCP, sRGB, and gAMA
// with cHRM (PNG, third edition, 4.3); what cannot be used leaves it to the next.
func profilePNG(data []byte) []byte {
	channels := 3
	said := map[string][]byte{}
	for b := data[min(8, len(data)):]; len(b) >= 8; {
		n, kind := binary.BigEndian.Uint32(b), string(b[4:8])
		if b = b[8:]; uint64(n)+4 > uint64(len(b)) {
			break
		}
		chunk := b[:n]
		b = b[n+4:]
		switch kind {
		case "IHDR":
			if n == 13 && chunk[9]&2 == 0 {
				channels = 1
			}
		case "cICP", "iCCP", "sRGB", "gAMA", "cHRM":
			if said[kind] == nil {
				said[kind] = chunk
			}
		case "IDAT", "IEND":
			b = nil
		}
	}
	gray := channels == 1
	if c := said["cICP"]; len(c) == 4 && c[2] == 0 && c[3] == 1 {
		if profile, known := icc.FromCICP(int(c[0]), int(c[1]), gray); known {
			return profile
		}
	}
	if profile := profileFor(inflateICCP(said["iCCP"]), channels); profile != nil {
		return profile
	}
	gamma := said["gAMA"]
	if len(said["sRGB"]) == 1 || len(gamma) != 4 {
		return nil
	}
	const unit = 100000 // of both chunks
	var primaries *icc.Primaries
	if c := said["cHRM"]; len(c) == 32 {
		at := func(i int) [2]float64 {
			return [2]float64{float64(u32be(c[8*i:])) / unit, float64(u32be(c[8*i+4:])) / unit}
		}
		primaries = &icc.Primaries{at(1), at(2), at(3), at(0)} // white comes first
	}
	return icc.FromGamma(primaries, float64(u32be(gamma))/unit, gray)
}

func u32be(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// tooLargeProfile stands for one that nobody wants to put together.
func tooLargeProfile() []byte { return make([]byte, icc.MaxBytes+1) }

// inflateICCP gives the profile in a chunk, or nil. Of one that is too large it gives as much as tells that.
func inflateICCP(chunk []byte) []byte {
	name := bytes.IndexByte(chunk[:min(len(chunk), 80)], 0)
	if name < 0 || len(chunk) < name+2 || chunk[name+1] != 0 {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(chunk[name+2:]))
	if err != nil {
		return nil
	}
	profile, err := io.ReadAll(io.LimitReader(z, icc.MaxBytes+1))
	if err != nil {
		return nil
	}
	return profile
}

// profileWebP gives the profile of a WebP (RFC 9649, 2.7.1.4).
func profileWebP(data []byte) (profile []byte) {
	riff(data[min(12, len(data)):], func(kind string, chunk []byte) bool {
		if kind == "ICCP" {
			profile = profileFor(chunk, 3)
		}
		return kind == "VP8X" // which is the only chunk before it
	})
	return profile
}
