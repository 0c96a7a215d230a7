package imagecdn

import (
	"context"
	"fmt"
	"net/http"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/svgclean"
	"github.com/imagecdn/imagecdn/resize"
)

// drawingType is the media type of SVG. An original has it if its bytes are SVG, whatever its origin says.
const drawingType = "image/svg+xml"

// drawingPolicy is what browsers may do with SVG that is a document of its own: in a tab, a frame or an object. No scripts,
// no plugins, no frames, nothing loaded but pictures that are in it, a style of its own, and no access to the site that it comes from. Who shows it as an img
// sees no difference. What is served holds nothing that this forbids; it stands for what was overlooked.
const drawingPolicy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"

// isDrawing reports whether the original of an entry is SVG. Such an original is never served: only what is made of it.
func isDrawing(e *cache.Entry) bool {
	kind := e.Header["Content-Type"]
	return len(kind) == 1 && kind[0] == drawingType
}

// checkDrawings sets p.drawing, and refuses what cannot be made of SVG: no pixels are.
func (p *picture) checkDrawings() error {
	p.drawing = isDrawing(p.inputs[0].now.Entry)
	text := ""
	if p.drawing && !p.req.Params.passes() {
		text = "vector images (SVG) are served as they are: no parameters may change their pixels"
	}
	for _, in := range p.inputs[1:] {
		if text == "" && isDrawing(in.now.Entry) {
			text = fmt.Sprintf("/%s%s: vector images (SVG) are not drawn onto others", in.image.Source, in.image.Path)
		}
	}
	if text == "" {
		return nil
	}
	e := &httpError{status: http.StatusUnsupportedMediaType, text: text}
	if p.keepable() {
		e.lifetime = p.inputs[0].source.cache.Negative()
	}
	return e
}

// passes reports whether p changes no pixels: it says nothing, or how well pixels are to be encoded, which there are none of.
func (p Params) passes() bool {
	return onlyQuality(&p.Plan) && len(p.Inputs) == 0
}

// cleanDrawing returns what may be served of SVG.
func cleanDrawing(ctx context.Context, r *resize.Renderer, body []byte) ([]byte, error) {
	bytes := svgclean.Memory(len(body))
	if r.MaxMemory > 0 && bytes > r.MaxMemory {
		return nil, fmt.Errorf("%w: %d MiB of memory, of at most %d MiB", svgclean.ErrTooLarge, bytes>>20, r.MaxMemory>>20)
	}
	leave, err := r.Admit(ctx, bytes, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	return svgclean.Clean(ctx, body)
}
