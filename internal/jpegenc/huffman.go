package jpegenc

import "slices"

// maxCodeLength is the longest code that a file may have.
const maxCodeLength = 16

// A huffman is a prefix code as files hold it: how many codes of each length there are, and the symbols in
// the order of their codes.
type huffman struct {
	lengths [maxCodeLength + 1]uint8
	symbols []uint8
}

// A node is a subtree while a code is made: the symbols that count in it are all below.
type node struct {
	count  uint64
	parent uint16
}

// optimise makes h the code for symbols that occur as often as counts says, with the two queues of van
// Leeuwen ("On the construction of Huffman trees", 1976): leaves by count, and inner nodes as they come,
// which is by count too. Codes that come out longer than 16 bits are then shortened as in T.81 figure K.3.
//
// There is one leaf more, of no weight, so that it is the last of the longest codes: all ones, which may
// not be used (T.81 annex C).
func (h *huffman) optimise(counts *[256]uint32) {
	h.lengths, h.symbols = [maxCodeLength + 1]uint8{}, h.symbols[:0]
	var keys [256]uint64 // count, then 255-symbol, so that among equals the lower symbol gets the shorter code
	used := 0
	for s, n := range counts {
		if n > 0 {
			keys[used] = uint64(n)<<8 | uint64(255-s)
			used++
		}
	}
	if used == 0 {
		return
	}
	slices.Sort(keys[:used])

	var nodes [2 * 257]node // leaves from the rarest, then inner nodes as they are made
	leaves := used + 1
	for i, k := range keys[:used] {
		nodes[1+i].count = k >> 8
	}
	leaf, inner := 0, leaves
	last := 2*leaves - 2 // the root
	for next := leaves; next <= last; next++ {
		for range 2 {
			i := inner
			if leaf < leaves && (inner == next || nodes[leaf].count <= nodes[inner].count) {
				i = leaf
				leaf++
			} else {
				inner++
			}
			nodes[i].parent = uint16(next)
			nodes[next].count += nodes[i].count
		}
	}

	// From the root down: the depth of a node is one more than its parent's. A tree of 257 leaves is at most 256 deep.
	var depth [2 * 257]uint16
	var of [257]int // leaves of each depth
	for i := last - 1; i >= 0; i-- {
		depth[i] = depth[nodes[i].parent] + 1
		if i < leaves {
			of[depth[i]]++
		}
	}
	// Two leaves that are too deep move up: one to its parent's place, and the other beside a leaf from
	// higher up, which goes one down.
	for d := len(of) - 1; d > maxCodeLength; d-- {
		for of[d] > 0 {
			to := d - 2
			for of[to] == 0 {
				to--
			}
			of[d] -= 2
			of[d-1]++
			of[to+1] += 2
			of[to]--
		}
	}
	deepest := maxCodeLength
	for of[deepest] == 0 {
		deepest--
	}
	of[deepest]-- // the code of all ones

	for d := range h.lengths {
		h.lengths[d] = uint8(of[d])
	}
	for _, k := range slices.Backward(keys[:used]) {
		h.symbols = append(h.symbols, 255-uint8(k))
	}
}

// A code is how a token of one symbol is written: the bits of the symbol, moved left by the number of
// bits of value that follow, over the number of all these bits in the lowest byte. Zero is no code.
type code uint64

// fill sets the codes of a table. In progressive files, symbols of no value stand for a number of blocks.
func (h *huffman) fill(codes *[256]code, progressive bool) {
	*codes = [256]code{}
	next, i := code(0), 0
	for length := 1; length <= maxCodeLength; length++ {
		for range h.lengths[length] {
			symbol := h.symbols[i]
			follow := int(symbol & 15)
			if progressive && follow == 0 && symbol != zeros16 {
				follow = int(symbol >> 4)
			}
			codes[symbol] = next<<(8+follow) | code(length+follow)
			next++
			i++
		}
		next <<= 1
	}
}
