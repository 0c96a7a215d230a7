// Inverse DCTs for NEON. Go's assembler knows few of these instructions, so generate.sh assembles them and
// writes them into ../idct_arm64.s as words.
//
// x0 is dst, x1 the stride in bytes, x2 the coefficients, x3 their quantization table, x4 the weights in
// Q13:
//
//	v0 = 10703 4433 -10704 11363 9633 6437 2260 -2259
//	v1 = -11362 -6436 2261 -11363
//
// They are the matrix that the butterflies of idct8Go multiply out to.

// half is half of a pass of eight points: four lanes of 16-bit inputs v16 to v23 to 32-bit outputs v24 to v31.
// s is 2 for the upper half, n the lanes' form.
.macro half s, n
	saddl\s	v2.4s, v16.\n, v20.\n
	ssubl\s	v3.4s, v16.\n, v20.\n
	smull\s	v4.4s, v18.\n, v0.h[0]
	smull\s	v5.4s, v18.\n, v0.h[1]
	smlal\s	v4.4s, v22.\n, v0.h[1]
	smlal\s	v5.4s, v22.\n, v0.h[2]
	shl	v2.4s, v2.4s, #13
	shl	v3.4s, v3.4s, #13
	add	v6.4s, v2.4s, v4.4s	// even 0
	sub	v7.4s, v2.4s, v4.4s	// even 3
	add	v4.4s, v3.4s, v5.4s	// even 1
	sub	v5.4s, v3.4s, v5.4s	// even 2
	smull\s	v2.4s, v17.\n, v0.h[3]	// odd 0
	smull\s	v3.4s, v17.\n, v0.h[4]	// odd 1
	smull\s	v28.4s, v17.\n, v0.h[5]	// odd 2
	smull\s	v29.4s, v17.\n, v0.h[6]	// odd 3
	smlal\s	v2.4s, v19.\n, v0.h[4]
	smlal\s	v3.4s, v19.\n, v0.h[7]
	smlal\s	v28.4s, v19.\n, v1.h[0]
	smlal\s	v29.4s, v19.\n, v1.h[1]
	smlal\s	v2.4s, v21.\n, v0.h[5]
	smlal\s	v3.4s, v21.\n, v1.h[0]
	smlal\s	v28.4s, v21.\n, v1.h[2]
	smlal\s	v29.4s, v21.\n, v0.h[4]
	smlal\s	v2.4s, v23.\n, v0.h[6]
	smlal\s	v3.4s, v23.\n, v1.h[1]
	smlal\s	v28.4s, v23.\n, v0.h[4]
	smlal\s	v29.4s, v23.\n, v1.h[3]
	add	v24.4s, v6.4s, v2.4s
	sub	v31.4s, v6.4s, v2.4s
	add	v25.4s, v4.4s, v3.4s
	sub	v30.4s, v4.4s, v3.4s
	add	v26.4s, v5.4s, v28.4s
	sub	v2.4s, v5.4s, v28.4s
	add	v27.4s, v7.4s, v29.4s
	sub	v28.4s, v7.4s, v29.4s
	mov	v29.16b, v2.16b
.endm

// narrow shifts v24 to v31 right, rounding, and saturates them at 16 bits, into v8 to v15.
.macro narrow s, n
	sqrshrn\s	v8.\n, v24.4s, #11
	sqrshrn\s	v9.\n, v25.4s, #11
	sqrshrn\s	v10.\n, v26.4s, #11
	sqrshrn\s	v11.\n, v27.4s, #11
	sqrshrn\s	v12.\n, v28.4s, #11
	sqrshrn\s	v13.\n, v29.4s, #11
	sqrshrn\s	v14.\n, v30.4s, #11
	sqrshrn\s	v15.\n, v31.4s, #11
.endm

// narrow2 is narrow for the second pass, whose shift is more than one instruction does.
.macro narrow2 s, n
	srshr	v24.4s, v24.4s, #18
	srshr	v25.4s, v25.4s, #18
	srshr	v26.4s, v26.4s, #18
	srshr	v27.4s, v27.4s, #18
	srshr	v28.4s, v28.4s, #18
	srshr	v29.4s, v29.4s, #18
	srshr	v30.4s, v30.4s, #18
	srshr	v31.4s, v31.4s, #18
	sqxtn\s	v8.\n, v24.4s
	sqxtn\s	v9.\n, v25.4s
	sqxtn\s	v10.\n, v26.4s
	sqxtn\s	v11.\n, v27.4s
	sqxtn\s	v12.\n, v28.4s
	sqxtn\s	v13.\n, v29.4s
	sqxtn\s	v14.\n, v30.4s
	sqxtn\s	v15.\n, v31.4s
.endm

// trn transposes 2x2 within each pair of two registers, into two others.
.macro trn a, b, c, d, n
	trn1	v\c\().\n, v\a\().\n, v\b\().\n
	trn2	v\d\().\n, v\a\().\n, v\b\().\n
.endm

idct8NEON:
	ld1	{v0.8h, v1.8h}, [x4]
	ld1	{v16.8h-v19.8h}, [x2], #64
	ld1	{v20.8h-v23.8h}, [x2]
	ld1	{v24.8h-v27.8h}, [x3], #64
	ld1	{v28.8h-v31.8h}, [x3]
	mul	v16.8h, v16.8h, v24.8h
	mul	v17.8h, v17.8h, v25.8h
	mul	v18.8h, v18.8h, v26.8h
	mul	v19.8h, v19.8h, v27.8h
	mul	v20.8h, v20.8h, v28.8h
	mul	v21.8h, v21.8h, v29.8h
	mul	v22.8h, v22.8h, v30.8h
	mul	v23.8h, v23.8h, v31.8h

	half	, 4h
	narrow	, 4h
	half	2, 8h
	narrow	2, 8h

	trn	8, 9, 16, 17, 8h
	trn	10, 11, 18, 19, 8h
	trn	12, 13, 20, 21, 8h
	trn	14, 15, 22, 23, 8h
	trn	16, 18, 8, 10, 4s
	trn	17, 19, 9, 11, 4s
	trn	20, 22, 12, 14, 4s
	trn	21, 23, 13, 15, 4s
	trn	8, 12, 16, 20, 2d
	trn	9, 13, 17, 21, 2d
	trn	10, 14, 18, 22, 2d
	trn	11, 15, 19, 23, 2d

	half	, 4h
	narrow2	, 4h
	half	2, 8h
	narrow2	2, 8h

	movi	v2.8b, #0x80
.irp r, 8, 9, 10, 11, 12, 13, 14, 15
	sqxtn	v\r\().8b, v\r\().8h
	eor	v\r\().8b, v\r\().8b, v2.8b
	st1	{v\r\().8b}, [x0], x1
.endr
	ret

idct4NEON:
	ld1	{v0.8h}, [x4]
	ld1	{v16.8h, v17.8h}, [x2]
	ld1	{v24.8h, v25.8h}, [x3]
	mul	v16.8h, v16.8h, v24.8h	// x0, x1
	mul	v17.8h, v17.8h, v25.8h	// x2, x3

	saddl	v2.4s, v16.4h, v17.4h
	ssubl	v3.4s, v16.4h, v17.4h
	smull2	v4.4s, v16.8h, v0.h[0]
	smull2	v5.4s, v16.8h, v0.h[1]
	smlal2	v4.4s, v17.8h, v0.h[1]
	smlsl2	v5.4s, v17.8h, v0.h[0]
	shl	v2.4s, v2.4s, #13
	shl	v3.4s, v3.4s, #13
	add	v24.4s, v2.4s, v4.4s
	add	v25.4s, v3.4s, v5.4s
	sub	v26.4s, v3.4s, v5.4s
	sub	v27.4s, v2.4s, v4.4s
	sqrshrn	v8.4h, v24.4s, #11
	sqrshrn	v9.4h, v25.4s, #11
	sqrshrn	v10.4h, v26.4s, #11
	sqrshrn	v11.4h, v27.4s, #11

	trn	8, 9, 12, 13, 4h
	trn	10, 11, 14, 15, 4h
	trn	12, 14, 16, 18, 2s
	trn	13, 15, 17, 19, 2s

	saddl	v2.4s, v16.4h, v18.4h
	ssubl	v3.4s, v16.4h, v18.4h
	smull	v4.4s, v17.4h, v0.h[0]
	smull	v5.4s, v17.4h, v0.h[1]
	smlal	v4.4s, v19.4h, v0.h[1]
	smlsl	v5.4s, v19.4h, v0.h[0]
	shl	v2.4s, v2.4s, #13
	shl	v3.4s, v3.4s, #13
	add	v24.4s, v2.4s, v4.4s
	add	v25.4s, v3.4s, v5.4s
	sub	v26.4s, v3.4s, v5.4s
	sub	v27.4s, v2.4s, v4.4s
	srshr	v24.4s, v24.4s, #18
	srshr	v25.4s, v25.4s, #18
	srshr	v26.4s, v26.4s, #18
	srshr	v27.4s, v27.4s, #18
	sqxtn	v8.4h, v24.4s
	sqxtn2	v8.8h, v25.4s
	sqxtn	v9.4h, v26.4s
	sqxtn2	v9.8h, v27.4s
	sqxtn	v8.8b, v8.8h
	sqxtn2	v8.16b, v9.8h
	movi	v2.16b, #0x80
	eor	v8.16b, v8.16b, v2.16b
	st1	{v8.s}[0], [x0], x1
	st1	{v8.s}[1], [x0], x1
	st1	{v8.s}[2], [x0], x1
	st1	{v8.s}[3], [x0]
	ret
