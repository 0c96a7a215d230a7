package resize

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/bombs"
)

// TestBombs: each bomb of a format of this package is refused by its header, or decoded for less memory than 64 MB, however it is
// asked for.
func TestBombs(t *testing.T) {
	plans := []Plan{{}, {Width: 100, Format: WebP}, {Format: PNG, Animation: Animation{First: 2, Last: 2}}, {Format: JSON}}
	for _, b := range bombs.All() {
		t.Run(b.Name, func(t *testing.T) {
			data := b.Data()
			if _, err := match(data); err != nil {
				t.Skip("read by another package")
			}
			var r Renderer
			_, err := r.Check(data)
			if err != nil {
				checkKind(t, err)
			}
			for _, p := range plans {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := r.Render(t.Context(), p, data)
				runtime.ReadMemStats(&after)
				took := (after.TotalAlloc - before.TotalAlloc) >> 20
				checkKind(t, err)
				if _, panicked := errors.AsType[*PanicError](err); panicked {
					t.Errorf("%s: %+v", p, err)
				}
				if err == nil && !b.Harmless && p.Format != JSON {
					t.Errorf("%s: made a picture", p)
				}
				if took > 64 && !strings.HasPrefix(b.Name, "scans") {
					t.Errorf("%s: took %d MB: %v", p, took, err)
				}
			}
		})
	}
}
