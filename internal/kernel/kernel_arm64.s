//go:build !purego

#include "textflag.h"

// Instructions of Advanced SIMD that the assembler has no names for, by the numbers of registers: operands in its
// order, the destination last. See the Arm Architecture Reference Manual, C7.2.
#define SMULL(m, n, d) WORD $(0x0e60c000 | (m)<<16 | (n)<<5 | (d)) // d.4s = n.4h · m.4h
#define SMULL2(m, n, d) WORD $(0x4e60c000 | (m)<<16 | (n)<<5 | (d))
#define SMLAL(m, n, d) WORD $(0x0e608000 | (m)<<16 | (n)<<5 | (d)) // d.4s += n.4h · m.4h
#define SMLAL2(m, n, d) WORD $(0x4e608000 | (m)<<16 | (n)<<5 | (d))
#define SMLALBY(i, m, n, d) WORD $(0x0f402000 | (((i)>>1)&1)<<21 | ((i)&1)<<20 | (m)<<16 | ((i)>>2)<<11 | (n)<<5 | (d)) // d.4s += n.4h · m.h[i]
#define SMLALBY2(i, m, n, d) WORD $(0x4f402000 | (((i)>>1)&1)<<21 | ((i)&1)<<20 | (m)<<16 | ((i)>>2)<<11 | (n)<<5 | (d))
#define UMULL(m, n, d) WORD $(0x2e20c000 | (m)<<16 | (n)<<5 | (d)) // d.8h = n.8b · m.8b
#define SQSHRN(s, n, d) WORD $(0x0f009400 | (32-(s))<<16 | (n)<<5 | (d)) // d.4h = n.4s >> s
#define SQSHRN2(s, n, d) WORD $(0x4f009400 | (32-(s))<<16 | (n)<<5 | (d))
#define SQSHRUN(s, n, d) WORD $(0x2f008400 | (16-(s))<<16 | (n)<<5 | (d)) // d.8b = n.8h >> s
#define SQSHRUN2(s, n, d) WORD $(0x6f008400 | (16-(s))<<16 | (n)<<5 | (d))
#define SQXTUN(n, d) WORD $(0x2e212800 | (n)<<5 | (d)) // d.8b = n.8h
#define XTNS(n, d) WORD $(0x0e612800 | (n)<<5 | (d)) // d.4h = n.4s
#define XTNS2(n, d) WORD $(0x4e612800 | (n)<<5 | (d))
#define XTNH(n, d) WORD $(0x0e212800 | (n)<<5 | (d)) // d.8b = n.8h
#define XTNH2(n, d) WORD $(0x4e212800 | (n)<<5 | (d))
#define SMAX(m, n, d) WORD $(0x4ea06400 | (m)<<16 | (n)<<5 | (d))
#define SMIN(m, n, d) WORD $(0x4ea06c00 | (m)<<16 | (n)<<5 | (d))
#define CMGT0(n, d) WORD $(0x4ea08800 | (n)<<5 | (d)) // d.4s = n.4s > 0
#define SCVTF(n, d) WORD $(0x4e21d800 | (n)<<5 | (d))
#define FCVTZS(n, d) WORD $(0x4ea1b800 | (n)<<5 | (d))
#define FMUL(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d))
#define FDIV(m, n, d) WORD $(0x6e20fc00 | (m)<<16 | (n)<<5 | (d)) // n / m
#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))

// NEXT goes on with the next block of size elements, from R7 of R5 on; where less is left, with the last block.
#define NEXT(size) \
	ADD  $size, R7          \
	ADD  $size, R7, R12     \
	CMP  R5, R12            \
	BLE  block              \
	CMP  R5, R7             \
	BGE  done               \
	SUB  $size, R5, R7      \
	B    block

#define DOWN_ARGUMENTS \
	MOVD dst+0(FP), R0      \
	MOVD src+8(FP), R1      \
	MOVD stride+16(FP), R2  \
	MOVD weight+24(FP), R3  \
	MOVD rows+32(FP), R4    \
	MOVD n+40(FP), R5       \
	MOVD $0, R7

// SUMS starts the sums of a block, V0 to V7, with V23.
#define SUMS \
	VMOV V23.B16, V0.B16    \
	VMOV V23.B16, V1.B16    \
	VMOV V23.B16, V2.B16    \
	VMOV V23.B16, V3.B16    \
	VMOV V23.B16, V4.B16    \
	VMOV V23.B16, V5.B16    \
	VMOV V23.B16, V6.B16    \
	VMOV V23.B16, V7.B16    \
	MOVD R3, R9             \
	MOVD R4, R10

// ADD_ROW adds V18 to V21, weighted by V22.
#define ADD_ROW \
	SMLAL(22, 18, 0)        \
	SMLAL2(22, 18, 1)       \
	SMLAL(22, 19, 2)        \
	SMLAL2(22, 19, 3)       \
	SMLAL(22, 20, 4)        \
	SMLAL2(22, 20, 5)       \
	SMLAL(22, 21, 6)        \
	SMLAL2(22, 21, 7)

#define STORE_SUMS(shift) \
	SQSHRN(shift, 0, 0)     \
	SQSHRN2(shift, 1, 0)    \
	SQSHRN(shift, 2, 1)     \
	SQSHRN2(shift, 3, 1)    \
	SQSHRN(shift, 4, 2)     \
	SQSHRN2(shift, 5, 2)    \
	SQSHRN(shift, 6, 3)     \
	SQSHRN2(shift, 7, 3)    \
	ADD  R7<<1, R0, R11     \
	VST1 [V0.H8, V1.H8, V2.H8, V3.H8], (R11)

#define ACROSS_ARGUMENTS \
	MOVD dst+0(FP), R0      \
	MOVD row+8(FP), R1      \
	MOVD start+16(FP), R2   \
	MOVD packed+24(FP), R3  \
	MOVD pad+32(FP), R4     \
	MOVD n+40(FP), R5       \
	MOVD $0, R7

// ACROSS_1 makes eight sums, in V0 and V4: outputs 0 and 4 come first in packed, then 1 and 5, and so on.
#define ACROSS_1 \
	ADD     R7<<2, R2, R8   \
	MOVW    0(R8), R9       \
	MOVW    4(R8), R10      \
	MOVW    8(R8), R11      \
	MOVW    12(R8), R13     \
	MOVW    16(R8), R14     \
	MOVW    20(R8), R15     \
	MOVW    24(R8), R16     \
	MOVW    28(R8), R17     \
	ADD     R9<<1, R1, R9   \
	ADD     R10<<1, R1, R10 \
	ADD     R11<<1, R1, R11 \
	ADD     R13<<1, R1, R13 \
	ADD     R14<<1, R1, R14 \
	ADD     R15<<1, R1, R15 \
	ADD     R16<<1, R1, R16 \
	ADD     R17<<1, R1, R17 \
	VEOR    V0.B16, V0.B16, V0.B16 \
	VEOR    V1.B16, V1.B16, V1.B16 \
	VEOR    V2.B16, V2.B16, V2.B16 \
	VEOR    V3.B16, V3.B16, V3.B16 \
	VEOR    V4.B16, V4.B16, V4.B16 \
	VEOR    V5.B16, V5.B16, V5.B16 \
	VEOR    V6.B16, V6.B16, V6.B16 \
	VEOR    V7.B16, V7.B16, V7.B16 \
	MOVD    R4, R19         \
chunk:                          \
	VLD1.P  64(R3), [V16.H8, V17.H8, V18.H8, V19.H8] \
	VLD1.P  64(R3), [V20.H8, V21.H8, V22.H8, V23.H8] \
	VLD1.P  16(R9), [V24.H8]  \
	VLD1.P  16(R10), [V25.H8] \
	VLD1.P  16(R11), [V26.H8] \
	VLD1.P  16(R13), [V27.H8] \
	VLD1.P  16(R14), [V28.H8] \
	VLD1.P  16(R15), [V29.H8] \
	VLD1.P  16(R16), [V30.H8] \
	VLD1.P  16(R17), [V31.H8] \
	SMLAL(16, 24, 0)        \
	SMLAL(18, 25, 1)        \
	SMLAL(20, 26, 2)        \
	SMLAL(22, 27, 3)        \
	SMLAL(17, 28, 4)        \
	SMLAL(19, 29, 5)        \
	SMLAL(21, 30, 6)        \
	SMLAL(23, 31, 7)        \
	SMLAL2(16, 24, 0)       \
	SMLAL2(18, 25, 1)       \
	SMLAL2(20, 26, 2)       \
	SMLAL2(22, 27, 3)       \
	SMLAL2(17, 28, 4)       \
	SMLAL2(19, 29, 5)       \
	SMLAL2(21, 30, 6)       \
	SMLAL2(23, 31, 7)       \
	SUBS    $8, R19         \
	BGT     chunk           \
	VADDP   V1.S4, V0.S4, V0.S4 \
	VADDP   V3.S4, V2.S4, V2.S4 \
	VADDP   V2.S4, V0.S4, V0.S4 \
	VADDP   V5.S4, V4.S4, V4.S4 \
	VADDP   V7.S4, V6.S4, V6.S4 \
	VADDP   V6.S4, V4.S4, V4.S4 \
	VADD    V8.S4, V0.S4, V0.S4 \
	VADD    V8.S4, V4.S4, V4.S4

// ACROSS_4 makes four pixels' sums, in V16 to V19.
#define ACROSS_4 \
	ADD     R7<<2, R2, R8   \
	MOVW    0(R8), R9       \
	MOVW    4(R8), R10      \
	MOVW    8(R8), R11      \
	MOVW    12(R8), R13     \
	ADD     R9<<3, R1, R9   \
	ADD     R10<<3, R1, R10 \
	ADD     R11<<3, R1, R11 \
	ADD     R13<<3, R1, R13 \
	VMOV    V8.B16, V16.B16 \
	VMOV    V8.B16, V17.B16 \
	VMOV    V8.B16, V18.B16 \
	VMOV    V8.B16, V19.B16 \
	MOVD    R4, R19         \
chunk:                          \
	VLD1.P  32(R3), [V0.H8, V1.H8]    \
	VLD1.P  32(R9), [V20.H8, V21.H8]  \
	VLD1.P  32(R10), [V22.H8, V23.H8] \
	VLD1.P  32(R11), [V24.H8, V25.H8] \
	VLD1.P  32(R13), [V26.H8, V27.H8] \
	SMLALBY(0, 0, 20, 16)   \
	SMLALBY(4, 0, 22, 17)   \
	SMLALBY(0, 1, 24, 18)   \
	SMLALBY(4, 1, 26, 19)   \
	SMLALBY2(1, 0, 20, 16)  \
	SMLALBY2(5, 0, 22, 17)  \
	SMLALBY2(1, 1, 24, 18)  \
	SMLALBY2(5, 1, 26, 19)  \
	SMLALBY(2, 0, 21, 16)   \
	SMLALBY(6, 0, 23, 17)   \
	SMLALBY(2, 1, 25, 18)   \
	SMLALBY(6, 1, 27, 19)   \
	SMLALBY2(3, 0, 21, 16)  \
	SMLALBY2(7, 0, 23, 17)  \
	SMLALBY2(3, 1, 25, 18)  \
	SMLALBY2(7, 1, 27, 19)  \
	SUBS    $4, R19         \
	BGT     chunk

// UNWEIGH divides the colours of the sum v, in Vv, by its alpha, as acrossAlphaGo does. V9 is 0, V10 all of alpha,
// V11 what makes that 255, V12 a half and V13 255.
#define UNWEIGH(v, Vv) \
	VDUP Vv.S[3], V2.S4     \
	SMAX(9, 2, 2)           \
	SMIN(10, 2, 2)          \
	SMAX(9, v, v)           \
	SMIN(2, v, v)           \
	SCVTF(2, 2)             \
	SCVTF(v, v)             \
	FMUL(13, v, v)          \
	FDIV(2, v, v)           \
	FMUL(11, 2, 2)          \
	FADD(12, v, v)          \
	FADD(12, 2, 2)          \
	FCVTZS(v, v)            \
	FCVTZS(2, 2)            \
	VMOV V2.S[3], Vv.S[3]   \
	VDUP V2.S[3], V2.S4     \
	CMGT0(2, 2)             \
	VAND V2.B16, Vv.B16, Vv.B16

// func down8SIMD(dst *int16, src *uint8, stride int, weight *int16, rows, n int)
TEXT ·down8SIMD(SB), NOSPLIT, $0-48
	DOWN_ARGUMENTS
	MOVD $(1<<7), R6
	VDUP R6, V23.S4

block:
	SUMS
	ADD R7, R1, R8

row:
	VLD1    (R8), [V16.B16, V17.B16]
	ADD     R2, R8
	VLD1R.P 2(R9), [V22.H8]
	VUXTL   V16.B8, V18.H8
	VUXTL2  V16.B16, V19.H8
	VUXTL   V17.B8, V20.H8
	VUXTL2  V17.B16, V21.H8
	ADD_ROW
	SUBS    $1, R10
	BNE     row
	STORE_SUMS(8)
	NEXT(32)

done:
	RET

// func down16SIMD(dst, src *int16, stride int, weight *int16, rows, n int)
TEXT ·down16SIMD(SB), NOSPLIT, $0-48
	DOWN_ARGUMENTS
	MOVD $(1<<29+1<<15), R6
	VDUP R6, V23.S4

block:
	SUMS
	ADD R7<<1, R1, R8

row:
	VLD1    (R8), [V18.H8, V19.H8, V20.H8, V21.H8]
	ADD     R2, R8
	VLD1R.P 2(R9), [V22.H8]
	ADD_ROW
	SUBS    $1, R10
	BNE     row
	STORE_SUMS(16)
	NEXT(32)

done:
	RET

// func across1SIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int)
TEXT ·across1SIMD(SB), NOSPLIT, $0-48
	ACROSS_ARGUMENTS
	MOVD $(1<<19), R6
	VDUP R6, V8.S4

block:
	ACROSS_1
	SQSHRN(16, 0, 0)
	SQSHRN2(16, 4, 0)
	SQSHRUN(4, 0, 0)
	ADD  R7, R0, R8
	VST1 [V0.B8], (R8)
	NEXT(8)

done:
	RET

// func across1WideSIMD(dst, row *int16, start *int32, packed *int16, pad, n int)
TEXT ·across1WideSIMD(SB), NOSPLIT, $0-48
	ACROSS_ARGUMENTS
	MOVD $(1<<11-1<<27), R6
	VDUP R6, V8.S4

block:
	ACROSS_1
	SQSHRN(12, 0, 0)
	SQSHRN2(12, 4, 0)
	ADD  R7<<1, R0, R8
	VST1 [V0.H8], (R8)
	NEXT(8)

done:
	RET

// func across4SIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int)
TEXT ·across4SIMD(SB), NOSPLIT, $0-48
	ACROSS_ARGUMENTS
	MOVD $(1<<19), R6
	VDUP R6, V8.S4

block:
	ACROSS_4
	SQSHRN(16, 16, 16)
	SQSHRN2(16, 17, 16)
	SQSHRN(16, 18, 18)
	SQSHRN2(16, 19, 18)
	SQSHRUN(4, 16, 16)
	SQSHRUN2(4, 18, 16)
	ADD  R7<<2, R0, R8
	VST1 [V16.B16], (R8)
	NEXT(4)

done:
	RET

// func across4WideSIMD(dst, row *int16, start *int32, packed *int16, pad, n int)
TEXT ·across4WideSIMD(SB), NOSPLIT, $0-48
	ACROSS_ARGUMENTS
	MOVD $(1<<11-1<<27), R6
	VDUP R6, V8.S4

block:
	ACROSS_4
	SQSHRN(12, 16, 16)
	SQSHRN2(12, 17, 16)
	SQSHRN(12, 18, 17)
	SQSHRN2(12, 19, 17)
	ADD  R7<<3, R0, R8
	VST1 [V16.H8, V17.H8], (R8)
	NEXT(4)

done:
	RET

// func acrossAlphaSIMD(dst *uint8, row *int16, start *int32, packed *int16, pad, n int)
TEXT ·acrossAlphaSIMD(SB), NOSPLIT, $0-48
	ACROSS_ARGUMENTS
	VEOR V8.B16, V8.B16, V8.B16
	VEOR V9.B16, V9.B16, V9.B16
	MOVD $(255*255<<12), R6
	VDUP R6, V10.S4
	MOVD $0x35808081, R6 // 1 / (255<<12)
	VDUP R6, V11.S4
	MOVD $0x3f000000, R6
	VDUP R6, V12.S4
	MOVD $0x437f0000, R6
	VDUP R6, V13.S4

block:
	ACROSS_4
	UNWEIGH(16, V16)
	UNWEIGH(17, V17)
	UNWEIGH(18, V18)
	UNWEIGH(19, V19)
	XTNS(16, 16)
	XTNS2(17, 16)
	XTNS(18, 18)
	XTNS2(19, 18)
	XTNH(16, 16)
	XTNH2(18, 16)
	ADD  R7<<2, R0, R8
	VST1 [V16.B16], (R8)
	NEXT(4)

done:
	RET

// func premultiplySIMD(dst *int16, src *uint8, n int)
TEXT ·premultiplySIMD(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R5
	MOVD $0, R7
	MOVD $255, R6
	VDUP R6, V8.B8
	MOVD $0x8000, R6
	VDUP R6, V9.H8

block:
	ADD  R7, R1, R8
	VLD4 (R8), [V0.B8, V1.B8, V2.B8, V3.B8]
	UMULL(3, 0, 4)
	UMULL(3, 1, 5)
	UMULL(3, 2, 6)
	UMULL(3, 8, 7)
	VEOR V9.B16, V4.B16, V4.B16
	VEOR V9.B16, V5.B16, V5.B16
	VEOR V9.B16, V6.B16, V6.B16
	VEOR V9.B16, V7.B16, V7.B16
	ADD  R7<<1, R0, R8
	VST4 [V4.H8, V5.H8, V6.H8, V7.H8], (R8)
	NEXT(32)

done:
	RET

// The weights of JFIF, in Q16, are split into whole numbers and what fits in 16 bits:
//
//	r = y +   cr + (257·y             + 26345·cr) >> 16
//	g = y -   cr + (257·y - 22554·cb + 18734·cr) >> 16
//	b = y + 2·cb + (257·y - 14942·cb            ) >> 16
//
// func yCbCrToRGBASIMD(dst, y, cb, cr *uint8, n int)
TEXT ·yCbCrToRGBASIMD(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD y+8(FP), R1
	MOVD cb+16(FP), R2
	MOVD cr+24(FP), R3
	MOVD n+32(FP), R5
	MOVD $0, R7
	MOVD $257, R6
	VDUP R6, V24.H8
	MOVD $26345, R6
	VDUP R6, V25.H8
	MOVD $-22554, R6
	VDUP R6, V26.H8
	MOVD $18734, R6
	VDUP R6, V27.H8
	MOVD $-14942, R6
	VDUP R6, V28.H8
	MOVD $128, R6
	VDUP R6, V29.H8
	MOVD $255, R6
	VDUP R6, V6.B8

block:
	ADD   R7, R1, R8
	ADD   R7, R2, R9
	ADD   R7, R3, R10
	VLD1  (R8), [V0.B8]
	VLD1  (R9), [V1.B8]
	VLD1  (R10), [V2.B8]
	VUXTL V0.B8, V0.H8
	VUXTL V1.B8, V1.H8
	VUXTL V2.B8, V2.H8
	VSUB  V29.H8, V1.H8, V1.H8
	VSUB  V29.H8, V2.H8, V2.H8
	SMULL(24, 0, 16)
	SMULL2(24, 0, 17)
	VMOV  V16.B16, V18.B16
	VMOV  V17.B16, V19.B16
	VMOV  V16.B16, V20.B16
	VMOV  V17.B16, V21.B16
	SMLAL(25, 2, 16)
	SMLAL2(25, 2, 17)
	SMLAL(26, 1, 18)
	SMLAL2(26, 1, 19)
	SMLAL(27, 2, 18)
	SMLAL2(27, 2, 19)
	SMLAL(28, 1, 20)
	SMLAL2(28, 1, 21)
	SQSHRN(16, 16, 16)
	SQSHRN2(16, 17, 16)
	SQSHRN(16, 18, 18)
	SQSHRN2(16, 19, 18)
	SQSHRN(16, 20, 20)
	SQSHRN2(16, 21, 20)
	VADD  V0.H8, V16.H8, V16.H8
	VADD  V2.H8, V16.H8, V16.H8
	VADD  V0.H8, V18.H8, V18.H8
	VSUB  V2.H8, V18.H8, V18.H8
	VADD  V0.H8, V20.H8, V20.H8
	VADD  V1.H8, V20.H8, V20.H8
	VADD  V1.H8, V20.H8, V20.H8
	SQXTUN(16, 3)
	SQXTUN(18, 4)
	SQXTUN(20, 5)
	ADD   R7<<2, R0, R8
	VST4  [V3.B8, V4.B8, V5.B8, V6.B8], (R8)
	NEXT(8)

done:
	RET
