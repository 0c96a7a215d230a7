package resize

import (
	"context"
	"image"
)

// A FaceFinder finds faces in pictures, for Plans that cut or zoom to them. Package resize/faces has one. It is
// used by many goroutines at once.
type FaceFinder interface {
	// Find gives the faces of m, the largest first, those of one size from the top and then from the left, or none.
	// It reads m, which is as large as it likes and best small, and changes nothing. The error is the cause of ctx's
	// end. Equal pictures have equal faces, on all processors.
	Find(ctx context.Context, m *image.Gray) ([]Face, error)
}

// A Face is a face in a picture.
type Face struct {
	// Rect is where it is, from the eyebrows to the chin, in the picture's pixels. It lies in the picture.
	Rect image.Rectangle

	// Score says how sure it is: above 0, and higher is surer. It compares faces that one FaceFinder found.
	Score float64
}
