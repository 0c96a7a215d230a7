package resize

// Encoding is what an encoder is told beside the quality. What a format has no word for is ignored.
type Encoding struct {
	Chroma      Chroma // of JPEG and AVIF
	Lossless    bool   // of WebP
	Progressive bool   // of JPEG
	Colors      int    // most colours, 2 to 256: of GIF and PNG, which get a palette. Zero: as many as there are
	TrueColor   bool   // of PNG: never a palette, and 32 bits a pixel
	DPI         int    // said in the header: of JPEG and PNG. Zero: nothing is said

	Palette int    // colours of the formats PaletteJSON and PaletteCSS, 1 to 16. Zero means 6
	Prefix  string // of the names in PaletteCSS. Empty means "image"
	Faces   bool   // the format JSON lists the faces. It needs Renderer.Faces
}

// Chroma is how many samples of colour there are for those of luma.
type Chroma uint8

const (
	Chroma420 Chroma = iota
	Chroma422
	Chroma444
)

// colors is the most colours of a palette.
func (e Encoding) colors() int {
	if e.Colors == 0 {
		return 256
	}
	return e.Colors
}

func (e Encoding) form(f *form) {
	f.num("chroma", float64(e.Chroma))
	f.flag("lossless", e.Lossless)
	f.flag("progressive", e.Progressive)
	f.num("colors", float64(e.Colors))
	f.flag("truecolor", e.TrueColor)
	f.num("dpi", float64(e.DPI))
	f.num("palette", float64(e.Palette))
	f.text("prefix", e.Prefix)
	f.flag("faces", e.Faces)
}

func (e Encoding) check(c *checker) {
	c.within("Encoding.Chroma", float64(e.Chroma), 0, float64(Chroma444))
	if e.Colors != 0 {
		c.within("Encoding.Colors", float64(e.Colors), 2, 256)
	}
	c.within("Encoding.DPI", float64(e.DPI), 0, 65535)
	c.within("Encoding.Palette", float64(e.Palette), 0, 16)
	c.within("the length of Encoding.Prefix", float64(len(e.Prefix)), 0, 100)
}
