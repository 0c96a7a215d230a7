package imagecdn

import (
	"slices"
	"strings"

	"github.com/imagecdn/imagecdn/resize"
)

// paramsOfEncoding say how the picture is written.
var paramsOfEncoding = []param{
	{
		name: "fm", takes: "jpg, pjpg, png, png8, png32, gif, webp, avif, json or blurhash; or avif, webp or both, in order of preference, and one of those",
		refused: []string{"jp2", "jxr", "mp4", "webm"},
		read: func(r *reader, v string) string {
			e := &r.params.Plan.Encoding
			for {
				first, rest, more := strings.Cut(v, ",")
				if !more {
					break
				}
				f, _ := valueOf(formatWords, first)
				if f != resize.AVIF && f != resize.WebP {
					return "a format before others that not every browser is asked about"
				}
				r.params.Prefer = append(r.params.Prefer, f)
				v = rest
			}
			if r.params.Prefer != nil && (v == "json" || v == "blurhash") {
				return "no picture"
			}
			switch v {
			case "pjpg":
				r.progressive, v = true, "jpg"
			case "png8":
				r.colors, v = 256, "png"
			case "png32":
				e.TrueColor, v = true, "png"
			}
			return readWord(formatWords, v, &r.params.Plan.Format)
		},
		write: func(q *query, p *Params) {
			f := p.Plan.Format
			last := string(f)
			switch {
			case f == resize.PaletteCSS, f == resize.PaletteJSON, f == resize.SameFormat: // palette says it, or nothing is to be said
				return
			case p.Plan.Encoding.TrueColor:
				last = "png32"
			}
			q.text("fm", "")
			for _, f := range p.Prefer {
				q.b = append(q.b, string(f)+","...)
			}
			q.b = append(q.b, last...)
		},
	},
	{
		name: "q", takes: "0 to 100",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Quality, problem = parseWhole(v, 0, 100)
			r.params.Plan.Quality = max(r.params.Plan.Quality, 1) // the worst there is
			return problem
		},
		write: func(q *query, p *Params) { q.number("q", float64(p.Plan.Quality)) },
	},
	{
		name: "auto", takes: "a list of format, compress, enhance, redeye and true", repeats: true,
		read: func(r *reader, v string) string {
			for item := range strings.SplitSeq(v, ",") {
				switch item {
				case "format":
					r.params.AutoFormat = true
				case "compress":
					r.params.Compress = true
				case "enhance":
					r.params.Plan.Adjust.Enhance = true
				case "redeye":
					r.params.Plan.Adjust.RedEye = true
				case "true": // imgix's older word for two of them
					r.params.AutoFormat, r.params.Plan.Adjust.Enhance = true, true
				default:
					return "unknown value"
				}
			}
			return ""
		},
		write: func(q *query, p *Params) {
			first := true
			for _, item := range []struct {
				word string
				set  bool
			}{{"compress", p.Compress}, {"enhance", p.Plan.Adjust.Enhance}, {"format", p.AutoFormat}, {"redeye", p.Plan.Adjust.RedEye}} {
				if !item.set {
					continue
				}
				if first {
					q.text("auto", item.word)
				} else {
					q.more(item.word)
				}
				first = false
			}
		},
	},
	{
		name: "chromasub", takes: "420, 422 or 444",
		read: func(r *reader, v string) string { return readWord(chromaWords, v, &r.params.Plan.Encoding.Chroma) },
		write: func(q *query, p *Params) {
			if c := p.Plan.Encoding.Chroma; c != resize.Chroma420 {
				q.text("chromasub", wordOf(chromaWords, c))
			}
		},
	},
	{
		name: "cs", takes: "srgb, tinysrgb, adobergb1998, origin or strip",
		read: func(r *reader, v string) string { return readWord(colorSpaces, v, &r.params.Plan.Color) },
		write: func(q *query, p *Params) {
			if c := p.Plan.Color; c != resize.SRGB {
				q.text("cs", wordOf(colorSpaces, c))
			}
		},
	},
	boolean("lossless", nil, func(p *resize.Plan) *bool { return &p.Encoding.Lossless }),
	{
		name: "jpg-progressive", aliases: []string{"jpeg-progressive"}, takes: "true or false",
		read: func(r *reader, v string) (problem string) {
			r.progressive, problem = parseBool(v) // which is read after fm=pjpg, and says more
			return problem
		},
		write: func(q *query, p *Params) { q.flag("jpg-progressive", p.Plan.Encoding.Progressive) },
	},
	{
		name: "colorquant", takes: "2 to 256 colours",
		read: func(r *reader, v string) (problem string) {
			r.colors, problem = parseWhole(v, 2, 256)
			return problem
		},
		write: func(q *query, p *Params) { q.number("colorquant", float64(p.Plan.Encoding.Colors)) },
	},
	integer("dpi", nil, 0, 65535, "", func(p *resize.Plan) *int { return &p.Encoding.DPI }),

	// What these allow or ask for is what is done anyway: no metadata is passed on, and no SVG as it came, nor as pixels.
	part("rasterize-bypass", nil, "true or false", func(_ *reader, v string) (problem string) {
		_, problem = parseBool(v)
		return problem
	}),
	part("iptc", nil, "block", func(r *reader, v string) string { return only(v, "block") }),
	part("svg-sanitize", nil, "true", func(r *reader, v string) string { return only(v, "true", "1") }),
}

var (
	formatWords = []word[resize.Format]{
		{"jpg", resize.JPEG}, {"jpeg", resize.JPEG}, {"webp", resize.WebP}, {"png", resize.PNG}, {"avif", resize.AVIF},
		{"gif", resize.GIF}, {"json", resize.JSON}, {"blurhash", resize.BlurHashText},
	}
	colorSpaces = []word[resize.ColorSpace]{
		{"srgb", resize.SRGB}, {"tinysrgb", resize.TinySRGB}, {"adobergb1998", resize.AdobeRGB}, {"origin", resize.Origin},
		{"strip", resize.Strip},
	}
	chromaWords = []word[resize.Chroma]{{"420", resize.Chroma420}, {"422", resize.Chroma422}, {"444", resize.Chroma444}}
)

// only accepts the values that ask for what is done anyway.
func only(v string, values ...string) string {
	if slices.Contains(values, v) {
		return ""
	}
	return "only that is supported"
}

// paramsOfData ask for what can be said about a picture.
var paramsOfData = []param{
	{
		name: "palette", takes: "css or json",
		read: func(r *reader, v string) string { return readWord(paletteWords, v, &r.params.Plan.Format) },
		write: func(q *query, p *Params) {
			if f := p.Plan.Format; f == resize.PaletteCSS || f == resize.PaletteJSON {
				q.text("palette", wordOf(paletteWords, f))
			}
		},
	},
	{
		name: "colors", takes: "1 to 16",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Encoding.Palette, problem = parseWhole(v, 0, 16)
			return problem
		},
		write: func(q *query, p *Params) { q.number("colors", float64(p.Plan.Encoding.Palette)) },
	},
	{
		name: "prefix", takes: "a CSS identifier of up to 100 bytes",
		read: func(r *reader, v string) string {
			r.params.Plan.Encoding.Prefix = v
			if len(v) > 100 || strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
				return "not letters, digits, - and _"
			}
			return ""
		},
		write: func(q *query, p *Params) {
			if v := p.Plan.Encoding.Prefix; v != "" {
				q.text("prefix", v)
			}
		},
	},
	{
		name: "faces", takes: "1",
		read: func(r *reader, v string) (problem string) {
			r.params.Plan.Encoding.Faces, problem = parseBool(v)
			return problem
		},
		write: func(q *query, p *Params) {
			if p.Plan.Encoding.Faces {
				q.text("faces", "1")
			}
		},
	},
}

var paletteWords = []word[resize.Format]{{"css", resize.PaletteCSS}, {"json", resize.PaletteJSON}}

// canonicalEncoding leaves out what the format that is asked for has no word for. Where Accept decides, it may come to be WebP or
// AVIF.
func canonicalEncoding(plan *resize.Plan, auto bool) {
	e := &plan.Encoding
	if e.Palette == 6 {
		e.Palette = 0
	}
	if e.Prefix == "image" {
		e.Prefix = ""
	}
	if plan.Format != resize.PaletteCSS {
		e.Prefix = ""
		if plan.Format != resize.PaletteJSON {
			e.Palette = 0
		}
	}
	if plan.Format != resize.JSON {
		e.Faces = false
	}
	if plan.Format != resize.PNG {
		e.TrueColor = false
	}
	if e.TrueColor {
		e.Colors = 0
	}
	if plan.Format.Data() {
		*e = resize.Encoding{Palette: e.Palette, Prefix: e.Prefix, Faces: e.Faces}
	}
	may := func(formats ...resize.Format) bool {
		return plan.Format == resize.SameFormat || slices.Contains(formats, plan.Format) ||
			auto && (slices.Contains(formats, resize.WebP) || slices.Contains(formats, resize.AVIF))
	}
	if !may(resize.JPEG, resize.AVIF) {
		e.Chroma = resize.Chroma420
	}
	if !may(resize.WebP) {
		e.Lossless = false
	}
	if !may(resize.JPEG) {
		e.Progressive = false
	}
	if !may(resize.PNG, resize.GIF) {
		e.Colors = 0
	}
	if !may(resize.JPEG, resize.PNG) {
		e.DPI = 0
	}
}

// paramsOfRequest are about the URL, and not about the picture.
var paramsOfRequest = []param{
	{
		name: "vh", takes: "up to 256 bytes of text", empty: true,
		read: func(r *reader, v string) string {
			r.version = v
			return checkVersion(v)
		},
	},
	{
		name: "expires", takes: "a time in seconds since 1970",
		read: func(r *reader, v string) (problem string) {
			r.expires, problem = parseTime(v)
			return problem
		},
	},
	{
		name: "dl", takes: "the name of a file, up to 200 bytes", empty: true,
		read: func(r *reader, v string) string {
			r.download, r.downloads = v, true
			if len(v) > 200 || checkVersion(v) != "" || strings.ContainsAny(v, `/\`) {
				return "not the name of a file"
			}
			return ""
		},
	},
}

// paramsRefused are imgix's that are answered 400, because a picture without what they ask for is not the picture that is asked for.
var paramsRefused = slices.Concat(
	refuse("generative pictures are not made here", map[string][]string{
		"bg-remove": {"background-remove"}, "bg-replace": {"background-replace"}, "upscale": nil, "object-removal-rect": nil,
	}),
	refuse("video is not made here", map[string][]string{
		"video-clip-start": nil, "video-clip-end": nil, "video-bitrate": nil, "video-codec": nil, "video-thumbnail": nil,
	}),
	refuse("PDF is not read here", map[string][]string{"page": nil, "pdf-annotation": {"annotation"}}),
	refuse("license plates are not looked for here", map[string][]string{"lp-blur": {"license-plate-blur"}}),
	refuse("client hints are not looked at here", map[string][]string{"ch": nil}),
)

// refuse makes rows of parameters that are refused, but for the values that ask for nothing.
func refuse(why string, names map[string][]string) (rows []param) {
	for name, aliases := range names {
		rows = append(rows, param{
			name: name, aliases: aliases, takes: "no value",
			read: func(_ *reader, v string) string {
				if v == "false" || v == "0" {
					return ""
				}
				return why
			},
		})
	}
	slices.SortFunc(rows, func(a, b param) int { return strings.Compare(a.name, b.name) })
	return rows
}
