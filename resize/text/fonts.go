package text

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/go-text/typesetting/font"

	"github.com/imagecdn/imagecdn/resize"
)

//go:embed fonts/*.ttf
var bundled embed.FS

// generic says which families stand for the kinds of fonts that CSS knows, and in which style. Nothing cursive or
// fantastic is bundled: these are what is nearest.
var generic = map[string]struct {
	family string
	style
}{
	"sansserif": {family: "Noto Sans"},
	"serif":     {family: "Noto Serif"},
	"monospace": {family: "Noto Sans Mono"},
	"cursive":   {family: "Noto Serif", style: style{italic: true}},
	"fantasy":   {family: "Noto Serif", style: style{bold: true}},
}

// Options are what New may be told. Nil and zero mean the defaults.
type Options struct {
	// Fonts are TrueType or OpenType fonts, or collections of them, as files hold them. They are known by the names
	// of their families, come before the bundled ones of the same name, and are where letters are looked for that the
	// font asked for does not have. They are read as long as the Setter lives and are not to be changed.
	Fonts [][]byte

	// Aliases are other names of fonts: {"Helvetica": "sans-serif", "Avenir Next": "My Font,bold"}. Upper and lower
	// case, spaces, hyphens and underscores make no difference. An alias comes before a font of the same name.
	Aliases map[string]string
}

// A Setter sets text. It is a resize.Typesetter.
type Setter struct {
	faces   []face // added ones first
	aliases map[string]string
	shapers sync.Pool
}

var _ resize.Typesetter = (*Setter)(nil)

// A face is a font with what it is known by.
type face struct {
	font *font.Font
	name string // as written
	key  string // as compared
	style
}

type style struct{ bold, italic bool }

// New gives a Setter with the bundled fonts and those of opts. An error names the font that cannot be read, or the
// alias that leads to none.
func New(opts *Options) (*Setter, error) {
	if opts == nil {
		opts = new(Options)
	}
	s := &Setter{aliases: make(map[string]string)}
	for i, b := range opts.Fonts {
		if err := s.add(b); err != nil {
			return nil, fmt.Errorf("text: Options.Fonts[%d]: %w", i, err)
		}
	}
	files, err := fs.Glob(bundled, "fonts/*.ttf")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		b, err := bundled.ReadFile(name)
		if err == nil {
			err = s.add(b)
		}
		if err != nil {
			return nil, fmt.Errorf("text: %s: %w", name, err)
		}
	}
	for from, to := range opts.Aliases {
		s.aliases[key(from)] = to
	}
	for from := range opts.Aliases {
		if _, err := s.family(from); err != nil {
			return nil, fmt.Errorf("text: Options.Aliases[%q]: %w", from, err)
		}
	}
	s.shapers.New = func() any { return newShaper(s.faces) }
	return s, nil
}

func (s *Setter) add(b []byte) error {
	fonts, err := font.ParseTTC(bytes.NewReader(b))
	if err != nil {
		return err
	}
	for _, f := range fonts {
		d := f.Describe()
		s.faces = append(s.faces, face{f.Font, d.Family, key(d.Family), style{
			bold:   d.Aspect.Weight >= font.WeightSemibold,
			italic: d.Aspect.Style == font.StyleItalic,
		}})
	}
	return nil
}

// key is what names are compared by.
func key(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "", "'", "", `"`, "").Replace(strings.ToLower(name))
}

// Names are the names that a Text's Font may have, without the styles: the kinds of CSS, the families and the aliases, sorted.
func (s *Setter) Names() []string {
	names := []string{"cursive", "fantasy", "monospace", "sans-serif", "serif"}
	for _, f := range s.faces {
		names = append(names, f.name)
	}
	for name := range s.aliases {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A family is the fonts to take letters from, in order: indices into Setter.faces.
type family []int

// family gives the font of a name, and those that stand in where it has no letter.
func (s *Setter) family(name string) (family, error) {
	first, want, ok := s.find(name, 0)
	if !ok {
		return nil, bad("there is no font %q: there are %s", name, strings.Join(s.Names(), ", "))
	}
	order := family{first}
	// What stands in: of the wanted style first, as it is in s.faces, which has the added fonts first.
	rest := make([]int, 0, len(s.faces))
	for i := range s.faces {
		if i != first {
			rest = append(rest, i)
		}
	}
	slices.SortStableFunc(rest, func(a, b int) int { return s.faces[a].away(want) - s.faces[b].away(want) })
	return append(order, rest...), nil
}

// away is how far a face is from a style: weight counts more than slope.
func (f *face) away(want style) int {
	d := 0
	if f.bold != want.bold {
		d += 2
	}
	if f.italic != want.italic {
		d++
	}
	return d
}

// find gives the face that a name with styles asks for.
func (s *Setter) find(name string, depth int) (int, style, bool) {
	var want style
	base, styles, _ := strings.Cut(name, ",")
	for _, word := range strings.Split(styles, ",") {
		switch key(word) {
		case "", "regular", "normal":
		case "bold":
			want.bold = true
		case "italic", "oblique":
			want.italic = true
		default:
			return 0, want, false
		}
	}
	k := key(base)
	if k == "" {
		k = "sansserif"
	}
	for {
		if to, ok := s.aliases[k]; ok && depth < 8 { // an alias of an alias may be a ring
			i, more, ok := s.find(to, depth+1)
			if !ok {
				return 0, want, false
			}
			want.bold, want.italic = want.bold || more.bold, want.italic || more.italic
			return s.nearest(s.faces[i].key, want), want, true
		}
		if g, ok := generic[k]; ok {
			want.bold, want.italic = want.bold || g.bold, want.italic || g.italic
			k = key(g.family)
		}
		if i := s.nearest(k, want); i >= 0 {
			return i, want, true
		}
		// "Noto Sans Bold Italic", as some write it.
		switch {
		case strings.HasSuffix(k, "bold"):
			k, want.bold = strings.TrimSuffix(k, "bold"), true
		case strings.HasSuffix(k, "italic"):
			k, want.italic = strings.TrimSuffix(k, "italic"), true
		case strings.HasSuffix(k, "oblique"):
			k, want.italic = strings.TrimSuffix(k, "oblique"), true
		case strings.HasSuffix(k, "regular"):
			k = strings.TrimSuffix(k, "regular")
		default:
			return 0, want, false
		}
	}
}

// nearest gives the face of a family that is nearest to a style, or -1.
func (s *Setter) nearest(k string, want style) int {
	best := -1
	for i := range s.faces {
		if s.faces[i].key == k && (best < 0 || s.faces[i].away(want) < s.faces[best].away(want)) {
			best = i
		}
	}
	return best
}
