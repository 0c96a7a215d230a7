//go:build !purego

#include "textflag.h"

// Weights of the matrix that the butterflies of idct8Go multiply out to, in Q13 and in pairs for VPMADDWD, of
// four pairs for each half of a register. Halves are for two outputs: x04 gives t0 | t1, x26 t3 | t2, and the
// rest the odd part: outputs 3 | 2 from the inputs 7, 1 | 5, 3 (wa01) and 5, 3 | 7, 1 (wb01), outputs 0 | 1
// from the same (wa32, wb32).

DATA w04<>+0(SB)/4, $0x20002000
DATA w04<>+4(SB)/4, $0x20002000
DATA w04<>+8(SB)/4, $0x20002000
DATA w04<>+12(SB)/4, $0x20002000
DATA w04<>+16(SB)/4, $0x2000e000
DATA w04<>+20(SB)/4, $0x2000e000
DATA w04<>+24(SB)/4, $0x2000e000
DATA w04<>+28(SB)/4, $0x2000e000
GLOBL w04<>(SB), RODATA|NOPTR, $32

DATA w26<>+0(SB)/4, $0x115129cf
DATA w26<>+4(SB)/4, $0x115129cf
DATA w26<>+8(SB)/4, $0x115129cf
DATA w26<>+12(SB)/4, $0x115129cf
DATA w26<>+16(SB)/4, $0x1151d630
DATA w26<>+20(SB)/4, $0x1151d630
DATA w26<>+24(SB)/4, $0x1151d630
DATA w26<>+28(SB)/4, $0x1151d630
GLOBL w26<>(SB), RODATA|NOPTR, $32

DATA wa01<>+0(SB)/4, $0x08d4d39d
DATA wa01<>+4(SB)/4, $0x08d4d39d
DATA wa01<>+8(SB)/4, $0x08d4d39d
DATA wa01<>+12(SB)/4, $0x08d4d39d
DATA wa01<>+16(SB)/4, $0xd39e08d5
DATA wa01<>+20(SB)/4, $0xd39e08d5
DATA wa01<>+24(SB)/4, $0xd39e08d5
DATA wa01<>+28(SB)/4, $0xd39e08d5
GLOBL wa01<>(SB), RODATA|NOPTR, $32

DATA wb01<>+0(SB)/4, $0xe6dc25a1
DATA wb01<>+4(SB)/4, $0xe6dc25a1
DATA wb01<>+8(SB)/4, $0xe6dc25a1
DATA wb01<>+12(SB)/4, $0xe6dc25a1
DATA wb01<>+16(SB)/4, $0x192525a1
DATA wb01<>+20(SB)/4, $0x192525a1
DATA wb01<>+24(SB)/4, $0x192525a1
DATA wb01<>+28(SB)/4, $0x192525a1
GLOBL wb01<>(SB), RODATA|NOPTR, $32

DATA wa32<>+0(SB)/4, $0x2c6308d4
DATA wa32<>+4(SB)/4, $0x2c6308d4
DATA wa32<>+8(SB)/4, $0x2c6308d4
DATA wa32<>+12(SB)/4, $0x2c6308d4
DATA wa32<>+16(SB)/4, $0xf72dd39e
DATA wa32<>+20(SB)/4, $0xf72dd39e
DATA wa32<>+24(SB)/4, $0xf72dd39e
DATA wa32<>+28(SB)/4, $0xf72dd39e
GLOBL wa32<>(SB), RODATA|NOPTR, $32

DATA wb32<>+0(SB)/4, $0x25a11925
DATA wb32<>+4(SB)/4, $0x25a11925
DATA wb32<>+8(SB)/4, $0x25a11925
DATA wb32<>+12(SB)/4, $0x25a11925
DATA wb32<>+16(SB)/4, $0x25a1e6dc
DATA wb32<>+20(SB)/4, $0x25a1e6dc
DATA wb32<>+24(SB)/4, $0x25a1e6dc
DATA wb32<>+28(SB)/4, $0x25a1e6dc
GLOBL wb32<>(SB), RODATA|NOPTR, $32

DATA round1<>+0(SB)/4, $0x00000400
DATA round1<>+4(SB)/4, $0x00000400
DATA round1<>+8(SB)/4, $0x00000400
DATA round1<>+12(SB)/4, $0x00000400
DATA round1<>+16(SB)/4, $0x00000400
DATA round1<>+20(SB)/4, $0x00000400
DATA round1<>+24(SB)/4, $0x00000400
DATA round1<>+28(SB)/4, $0x00000400
GLOBL round1<>(SB), RODATA|NOPTR, $32

DATA round2<>+0(SB)/4, $0x00020000
DATA round2<>+4(SB)/4, $0x00020000
DATA round2<>+8(SB)/4, $0x00020000
DATA round2<>+12(SB)/4, $0x00020000
DATA round2<>+16(SB)/4, $0x00020000
DATA round2<>+20(SB)/4, $0x00020000
DATA round2<>+24(SB)/4, $0x00020000
DATA round2<>+28(SB)/4, $0x00020000
GLOBL round2<>(SB), RODATA|NOPTR, $32

DATA center<>+0(SB)/4, $0x80808080
DATA center<>+4(SB)/4, $0x80808080
DATA center<>+8(SB)/4, $0x80808080
DATA center<>+12(SB)/4, $0x80808080
DATA center<>+16(SB)/4, $0x80808080
DATA center<>+20(SB)/4, $0x80808080
DATA center<>+24(SB)/4, $0x80808080
DATA center<>+28(SB)/4, $0x80808080
GLOBL center<>(SB), RODATA|NOPTR, $32

DATA order<>+0(SB)/4, $0x01050400
DATA order<>+4(SB)/4, $0x03070602
DATA order<>+8(SB)/4, $0x090d0c08
DATA order<>+12(SB)/4, $0x0b0f0e0a
DATA order<>+16(SB)/4, $0x01050400
DATA order<>+20(SB)/4, $0x03070602
DATA order<>+24(SB)/4, $0x090d0c08
DATA order<>+28(SB)/4, $0x0b0f0e0a
GLOBL order<>(SB), RODATA|NOPTR, $32

DATA four1a<>+0(SB)/4, $0x20002000
DATA four1a<>+4(SB)/4, $0x20002000
DATA four1a<>+8(SB)/4, $0x20002000
DATA four1a<>+12(SB)/4, $0x20002000
GLOBL four1a<>(SB), RODATA|NOPTR, $16

DATA four1b<>+0(SB)/4, $0xe0002000
DATA four1b<>+4(SB)/4, $0xe0002000
DATA four1b<>+8(SB)/4, $0xe0002000
DATA four1b<>+12(SB)/4, $0xe0002000
GLOBL four1b<>(SB), RODATA|NOPTR, $16

DATA four1c<>+0(SB)/4, $0x115129cf
DATA four1c<>+4(SB)/4, $0x115129cf
DATA four1c<>+8(SB)/4, $0x115129cf
DATA four1c<>+12(SB)/4, $0x115129cf
GLOBL four1c<>(SB), RODATA|NOPTR, $16

DATA four1d<>+0(SB)/4, $0xd6311151
DATA four1d<>+4(SB)/4, $0xd6311151
DATA four1d<>+8(SB)/4, $0xd6311151
DATA four1d<>+12(SB)/4, $0xd6311151
GLOBL four1d<>(SB), RODATA|NOPTR, $16

DATA four2a<>+0(SB)/4, $0x20002000
DATA four2a<>+4(SB)/4, $0x115129cf
DATA four2a<>+8(SB)/4, $0x20002000
DATA four2a<>+12(SB)/4, $0x115129cf
GLOBL four2a<>(SB), RODATA|NOPTR, $16

DATA four2b<>+0(SB)/4, $0xe0002000
DATA four2b<>+4(SB)/4, $0xd6311151
DATA four2b<>+8(SB)/4, $0xe0002000
DATA four2b<>+12(SB)/4, $0xd6311151
GLOBL four2b<>(SB), RODATA|NOPTR, $16

DATA four2s<>+0(SB)/4, $0x05040100
DATA four2s<>+4(SB)/4, $0x07060302
DATA four2s<>+8(SB)/4, $0x0d0c0908
DATA four2s<>+12(SB)/4, $0x0f0e0b0a
GLOBL four2s<>(SB), RODATA|NOPTR, $16


// A pass of eight points over 16-bit inputs in halves of registers:
//
//	Y0 = x0|x4  Y1 = x1|x3  Y2 = x2|x6  Y3 = x7|x5
//
// to outputs, shifted right and saturated at 16 bits:
//
//	Y0 = o0|o1  Y1 = o3|o2  Y2 = o4|o5  Y3 = o7|o6
#define PASS(round, shift) \
	VPERM2I128 $0x01, Y0, Y0, Y4 \ // x4|x0
	VPUNPCKLWD Y4, Y0, Y5        \
	VPUNPCKHWD Y4, Y0, Y6        \
	VPMADDWD   w04<>(SB), Y5, Y5 \ // t0|t1
	VPMADDWD   w04<>(SB), Y6, Y6 \
	VPADDD     round<>(SB), Y5, Y5 \
	VPADDD     round<>(SB), Y6, Y6 \
	VPERM2I128 $0x01, Y2, Y2, Y4 \ // x6|x2
	VPUNPCKLWD Y4, Y2, Y7        \
	VPUNPCKHWD Y4, Y2, Y8        \
	VPMADDWD   w26<>(SB), Y7, Y7 \ // t3|t2
	VPMADDWD   w26<>(SB), Y8, Y8 \
	VPADDD     Y7, Y5, Y9        \ // even 0|1
	VPADDD     Y8, Y6, Y10       \
	VPSUBD     Y7, Y5, Y5        \ // even 3|2
	VPSUBD     Y8, Y6, Y6        \
	VPUNPCKLWD Y1, Y3, Y7        \ // x7,x1|x5,x3
	VPUNPCKHWD Y1, Y3, Y8        \
	VPERM2I128 $0x01, Y7, Y7, Y11 \ // x5,x3|x7,x1
	VPERM2I128 $0x01, Y8, Y8, Y12 \
	VPMADDWD   wa32<>(SB), Y7, Y0  \
	VPMADDWD   wb32<>(SB), Y11, Y1 \
	VPMADDWD   wa32<>(SB), Y8, Y2  \
	VPMADDWD   wb32<>(SB), Y12, Y3 \
	VPADDD     Y1, Y0, Y0          \ // odd 0|1
	VPADDD     Y3, Y2, Y2          \
	VPMADDWD   wa01<>(SB), Y7, Y7  \
	VPMADDWD   wb01<>(SB), Y11, Y11 \
	VPMADDWD   wa01<>(SB), Y8, Y8  \
	VPMADDWD   wb01<>(SB), Y12, Y12 \
	VPADDD     Y11, Y7, Y7         \ // odd 3|2
	VPADDD     Y12, Y8, Y8         \
	VPSUBD     Y0, Y9, Y3          \
	VPSUBD     Y2, Y10, Y4         \
	VPADDD     Y0, Y9, Y0          \
	VPADDD     Y2, Y10, Y2         \
	VPSRAD     shift, Y3, Y3       \
	VPSRAD     shift, Y4, Y4       \
	VPSRAD     shift, Y0, Y0       \
	VPSRAD     shift, Y2, Y2       \
	VPACKSSDW  Y4, Y3, Y3          \ // o7|o6
	VPACKSSDW  Y2, Y0, Y0          \ // o0|o1
	VPSUBD     Y7, Y5, Y2          \
	VPSUBD     Y8, Y6, Y4          \
	VPADDD     Y7, Y5, Y1          \
	VPADDD     Y8, Y6, Y6          \
	VPSRAD     shift, Y2, Y2       \
	VPSRAD     shift, Y4, Y4       \
	VPSRAD     shift, Y1, Y1       \
	VPSRAD     shift, Y6, Y6       \
	VPACKSSDW  Y4, Y2, Y2          \ // o4|o5
	VPACKSSDW  Y6, Y1, Y1          // o3|o2

// func idct8AVX2(dst *uint8, stride int, coef, quant *[64]int16)
TEXT ·idct8AVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ coef+16(FP), AX
	MOVQ quant+24(FP), BX

	VMOVDQU     0(AX), X0
	VINSERTI128 $1, 64(AX), Y0, Y0
	VMOVDQU     16(AX), X1
	VINSERTI128 $1, 48(AX), Y1, Y1
	VMOVDQU     32(AX), X2
	VINSERTI128 $1, 96(AX), Y2, Y2
	VMOVDQU     112(AX), X3
	VINSERTI128 $1, 80(AX), Y3, Y3

	VMOVDQU     0(BX), X4
	VINSERTI128 $1, 64(BX), Y4, Y4
	VMOVDQU     16(BX), X5
	VINSERTI128 $1, 48(BX), Y5, Y5
	VMOVDQU     32(BX), X6
	VINSERTI128 $1, 96(BX), Y6, Y6
	VMOVDQU     112(BX), X7
	VINSERTI128 $1, 80(BX), Y7, Y7

	VPMULLW Y4, Y0, Y0
	VPMULLW Y5, Y1, Y1
	VPMULLW Y6, Y2, Y2
	VPMULLW Y7, Y3, Y3

	// Rows: inputs are horizontal frequencies, lanes vertical ones.
	PASS(round1, $11)

	// Transpose. Lanes become columns of samples, in the order 0, 3, 4, 7, 1, 2, 5, 6.
	VPUNPCKLWD  Y1, Y0, Y4    // columns 0,3|1,2 of frequencies 0-3
	VPUNPCKHWD  Y1, Y0, Y5    // of 4-7
	VPUNPCKLWD  Y3, Y2, Y6    // columns 4,7|5,6
	VPUNPCKHWD  Y3, Y2, Y7
	VPUNPCKLDQ  Y6, Y4, Y8    // frequencies 0, 1 of 0,3,4,7|1,2,5,6
	VPUNPCKHDQ  Y6, Y4, Y9    // 2, 3
	VPUNPCKLDQ  Y7, Y5, Y10   // 4, 5
	VPUNPCKHDQ  Y7, Y5, Y11   // 6, 7
	VPUNPCKLQDQ Y10, Y8, Y0   // 0, 4
	VPUNPCKHQDQ Y9, Y8, Y1    // 1, 3
	VPUNPCKLQDQ Y11, Y9, Y2   // 2, 6
	VPUNPCKHQDQ Y10, Y11, Y3  // 7, 5
	VPERMQ      $0xd8, Y0, Y0 // 0|4
	VPERMQ      $0xd8, Y1, Y1
	VPERMQ      $0xd8, Y2, Y2
	VPERMQ      $0xd8, Y3, Y3

	// Columns.
	PASS(round2, $18)

	VPACKSSWB    Y2, Y0, Y0         // rows 0,4|1,5
	VPACKSSWB    Y3, Y1, Y1         // rows 3,7|2,6
	VPXOR        center<>(SB), Y0, Y0
	VPXOR        center<>(SB), Y1, Y1
	VPSHUFB      order<>(SB), Y0, Y0
	VPSHUFB      order<>(SB), Y1, Y1
	VEXTRACTI128 $1, Y0, X2
	VEXTRACTI128 $1, Y1, X3
	LEAQ         (SI)(SI*2), DX     // 3 rows
	LEAQ         (DI)(SI*4), CX     // row 4
	VMOVQ        X0, (DI)
	VMOVQ        X2, (DI)(SI*1)
	VMOVQ        X3, (DI)(SI*2)
	VMOVQ        X1, (DI)(DX*1)
	VMOVHPS      X0, (CX)
	VMOVHPS      X2, (CX)(SI*1)
	VMOVHPS      X3, (CX)(SI*2)
	VMOVHPS      X1, (CX)(DX*1)
	VZEROUPPER
	RET

// func idct4AVX2(dst *uint8, stride int, coef, quant *[16]int16)
TEXT ·idct4AVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ coef+16(FP), AX
	MOVQ quant+24(FP), BX

	VMOVDQU 0(AX), X0       // x0, x1
	VMOVDQU 16(AX), X1      // x2, x3
	VPMULLW 0(BX), X0, X0
	VPMULLW 16(BX), X1, X1

	// Rows.
	VPUNPCKLWD X1, X0, X2          // x0, x2
	VPUNPCKHWD X1, X0, X3          // x1, x3
	VPMADDWD   four1a<>(SB), X2, X4
	VPMADDWD   four1b<>(SB), X2, X5
	VPMADDWD   four1c<>(SB), X3, X6
	VPMADDWD   four1d<>(SB), X3, X7
	VPADDD     round1<>(SB), X4, X4
	VPADDD     round1<>(SB), X5, X5
	VPADDD     X6, X4, X0          // o0
	VPSUBD     X6, X4, X3          // o3
	VPADDD     X7, X5, X1          // o1
	VPSUBD     X7, X5, X2          // o2
	VPSRAD     $11, X0, X0
	VPSRAD     $11, X1, X1
	VPSRAD     $11, X2, X2
	VPSRAD     $11, X3, X3
	VPACKSSDW  X1, X0, X0          // columns 0, 1
	VPACKSSDW  X3, X2, X1          // columns 2, 3

	// Columns: pairs of frequencies 0, 2 and 1, 3 of each column.
	VPSHUFB   four2s<>(SB), X0, X0
	VPSHUFB   four2s<>(SB), X1, X1
	VPMADDWD  four2a<>(SB), X0, X2
	VPMADDWD  four2a<>(SB), X1, X3
	VPMADDWD  four2b<>(SB), X0, X4
	VPMADDWD  four2b<>(SB), X1, X5
	VSHUFPS   $0x88, X3, X2, X6   // t0
	VSHUFPS   $0xdd, X3, X2, X7   // z0
	VSHUFPS   $0x88, X5, X4, X8   // t1
	VSHUFPS   $0xdd, X5, X4, X9   // z1
	VPADDD    round2<>(SB), X6, X6
	VPADDD    round2<>(SB), X8, X8
	VPADDD    X7, X6, X0
	VPSUBD    X7, X6, X3
	VPADDD    X9, X8, X1
	VPSUBD    X9, X8, X2
	VPSRAD    $18, X0, X0
	VPSRAD    $18, X1, X1
	VPSRAD    $18, X2, X2
	VPSRAD    $18, X3, X3
	VPACKSSDW X1, X0, X0
	VPACKSSDW X3, X2, X2
	VPACKSSWB X2, X0, X0
	VPXOR     center<>(SB), X0, X0
	LEAQ      (DI)(SI*2), DX
	VMOVD     X0, (DI)
	VPEXTRD   $1, X0, (DI)(SI*1)
	VPEXTRD   $2, X0, (DX)
	VPEXTRD   $3, X0, (DX)(SI*1)
	VZEROUPPER
	RET
