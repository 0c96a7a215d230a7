// Package gallery is the page of the examples: pictures in as many widths as browsers may want, by URLs that nobody else can make up.
package gallery

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/middleware"
	"github.com/imagecdn/imagecdn/resize"
)

// widths are what a browser may pick from: some 1.4 times apart, so that none is much larger than the screen needs.
var widths = []int{320, 480, 640, 960, 1280}

// A Gallery is a page with pictures.
type Gallery struct {
	Mount  string // where the images are, such as "/img"
	Sign   *middleware.Signature
	Images []Image
}

// An Image is one of the page: its place, /SOURCE/PATH, and what it shows.
type Image struct{ Path, Alt string }

// URL returns the signed URL of an image, at a width, in the best format that the browser's Accept names.
func (g *Gallery) URL(path string, width int) string {
	params := imagecdn.Params{Plan: resize.Plan{Width: float64(width)}, AutoFormat: true}
	u := url.URL{Path: g.Mount + path, RawQuery: params.String()}
	return g.Sign.Sign(u.String())
}

// SrcSet returns the image at all widths, for the attribute srcset.
func (g *Gallery) SrcSet(path string) string {
	var all []string
	for _, w := range widths {
		all = append(all, fmt.Sprintf("%s %dw", g.URL(path, w), w))
	}
	return strings.Join(all, ", ")
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Gallery</title>
{{range .Images}}
<img src="{{$.URL .Path 640}}" srcset="{{$.SrcSet .Path}}" sizes="(min-width: 60em) 50vw, 100vw" alt="{{.Alt}}" loading="lazy">
{{end}}
</html>
`))

// ServeHTTP answers with the page.
func (g *Gallery) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// An error here is a client that went away.
	_ = page.Execute(w, g)
}
