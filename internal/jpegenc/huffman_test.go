package jpegenc

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// check says what is wrong with a code for counts: it must be a prefix code of at most 16 bits, with each symbol
// once, more frequent ones no longer, and with the code of all ones left out.
func (h *huffman) check(t *testing.T, counts *[256]uint32) (size int) {
	t.Helper()
	free, i := 1, 0 // codes of this length that are not taken
	lengths := map[uint8]int{}
	for length := 1; length <= maxCodeLength; length++ {
		n := int(h.lengths[length])
		if free = 2*free - n; free < 1 {
			t.Fatalf("more codes than there are, to length %d: %v", length, h.lengths)
		}
		for _, s := range h.symbols[i : i+n] {
			lengths[s] = length
			size += length * int(counts[s])
		}
		i += n
	}
	if i != len(h.symbols) || i != len(lengths) {
		t.Fatalf("%d codes for %d symbols, %d different", i, len(h.symbols), len(lengths))
	}
	for s, n := range counts {
		if length, ok := lengths[uint8(s)]; ok != (n > 0) {
			t.Fatalf("symbol %d occurs %d times and has a code of %d bits", s, n, length)
		}
		for other, m := range counts {
			if m > n && n > 0 && lengths[uint8(other)] > lengths[uint8(s)] {
				t.Fatalf("symbol %d occurs %d times and has a longer code than %d, with %d", other, m, s, n)
			}
		}
	}
	return size
}

func TestOptimise(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var h huffman
	fibonacci := func(n int) (c [256]uint32) {
		a, b := uint32(1), uint32(1)
		for i := range n {
			c[(i*37)%256] = a
			a, b = b, a+b
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		counts  [256]uint32
		deepest int // 0: whatever
	}{
		{"one symbol", [256]uint32{7: 1}, 1},
		{"two symbols", [256]uint32{7: 1, 9: 1000}, 2},
		{"16 levels as they are", fibonacci(16), 16},
		{"17 levels cut to 16", fibonacci(17), 16},
		{"46 levels cut to 16", fibonacci(46), 16},
	} {
		h.optimise(&tt.counts)
		h.check(t, &tt.counts)
		deepest := 0
		for length, n := range h.lengths {
			if n > 0 {
				deepest = length
			}
		}
		if tt.deepest != 0 && deepest != tt.deepest {
			t.Errorf("%s: the longest code has %d bits, want %d", tt.name, deepest, tt.deepest)
		}
	}
	for range 300 {
		var counts [256]uint32
		n := 1 + r.IntN(256)
		for _, s := range r.Perm(256)[:n] {
			counts[s] = 1 + r.Uint32N(1<<r.IntN(24))
		}
		h.optimise(&counts)
		size := h.check(t, &counts)
		if slices.Max(h.lengths[14:]) == 0 { // nothing was cut
			if want := annexK(&counts); size != want {
				t.Fatalf("%d bits, by T.81 annex K.2 %d: %v", size, want, h.lengths)
			}
		}
	}
	var none [256]uint32
	if h.optimise(&none); len(h.symbols) != 0 {
		t.Errorf("codes for no symbols: %v", h.symbols)
	}
}

// annexK is the size of what counts says by the procedure of T.81 figure K.1, with one symbol more.
func annexK(counts *[256]uint32) (size int) {
	var freq, length, next [257]int
	for i, n := range counts {
		freq[i] = int(n)
	}
	freq[256] = 1
	for i := range next {
		next[i] = -1
	}
	for {
		v1, v2 := -1, -1
		for i, n := range freq {
			switch {
			case n == 0:
			case v1 < 0 || n <= freq[v1]:
				v1, v2 = i, v1
			case v2 < 0 || n <= freq[v2]:
				v2 = i
			}
		}
		if v2 < 0 {
			break
		}
		freq[v1] += freq[v2]
		freq[v2] = 0
		for {
			length[v1]++
			if next[v1] < 0 {
				break
			}
			v1 = next[v1]
		}
		next[v1] = v2
		for {
			length[v2]++
			if next[v2] < 0 {
				break
			}
			v2 = next[v2]
		}
	}
	// Lengths by count, as the reserved symbol may not have come out as the longest.
	var lengths []int
	var by []uint32
	for i, n := range counts {
		if n > 0 {
			lengths, by = append(lengths, length[i]), append(by, n)
		}
	}
	lengths = append(lengths, length[256])
	slices.Sort(lengths)
	slices.SortFunc(by, func(a, b uint32) int { return int(b) - int(a) })
	for i, n := range by {
		size += lengths[i] * int(n)
	}
	return size
}

// TestStuffing writes all ones and what is near, at each offset.
func TestStuffing(t *testing.T) {
	var codes [tables * 256]code
	for n := range 17 {
		codes[raw+token(n)] = code(n)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for offset := range 64 {
		var w bitWriter
		var tokens []token
		var want []bool
		push := func(v, n int) {
			tokens = append(tokens, token(v&(1<<n-1))<<10|raw|token(n))
			for i := n - 1; i >= 0; i-- {
				want = append(want, v>>i&1 != 0)
			}
		}
		for range offset {
			push(0, 1)
		}
		for range 3000 {
			v := 0xffff
			if r.IntN(3) == 0 {
				v = r.IntN(1 << 16)
			}
			push(v, 1+r.IntN(16))
		}
		// In parts, as rows come.
		var out []byte
		for len(tokens) > 0 {
			n := min(1+r.IntN(700), len(tokens))
			out = w.write(out, tokens[:n], &codes)
			tokens = tokens[n:]
		}
		out = w.flush(out)
		var got []bool
		for i := 0; i < len(out); i++ {
			for b := 7; b >= 0; b-- {
				got = append(got, out[i]>>b&1 != 0)
			}
			if out[i] == 0xff {
				if i++; out[i] != 0 {
					t.Fatal("ones are not followed by a zero")
				}
			}
		}
		for len(want)%8 != 0 {
			want = append(want, true)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("offset %d: other bits than were given", offset)
		}
	}
}
