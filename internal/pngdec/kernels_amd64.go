//go:build !purego

package pngdec

import "golang.org/x/sys/cpu"

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg pngdec

func paeth3(dst, src, before []byte) {
	n := len(dst) / 4
	if n == 0 || !cpu.X86.HasAVX2 || cap(src) <= 3*n {
		paeth3Go(dst, src, before)
		return
	}
	_, _ = src[3*n-1], before[4*n-1]
	paeth3AVX(&dst[0], &src[0], &before[0], n)
}

func paeth4(dst, src, before []byte) {
	n := len(dst) / 4
	if n == 0 || !cpu.X86.HasAVX2 {
		paeth4Go(dst, src, before)
		return
	}
	_, _ = src[4*n-1], before[4*n-1]
	paeth4AVX(&dst[0], &src[0], &before[0], n)
}

func addAdler(s *adler, p []byte) {
	if n := len(p) &^ 31; n > 0 && cpu.X86.HasAVX2 {
		sum, weighted := adlerAVX2(&p[0], n)
		s.b += uint32(n)*s.a + weighted
		s.a += sum
		p = p[n:]
	}
	addAdlerGo(s, p)
}
