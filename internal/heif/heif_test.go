package heif

import (
	"testing"

	"github.com/imagecdn/imagecdn/internal/bombs"
)

func TestOrientation(t *testing.T) {
	for _, tt := range []struct{ turns, mirror, want int }{
		{0, -1, 1}, {1, -1, 8}, {2, -1, 3}, {3, -1, 6},
		{0, 0, 4}, {0, 1, 2}, {2, 0, 2}, {2, 1, 4}, {1, 0, 5}, {3, 1, 5}, {1, 1, 7}, {3, 0, 7},
	} {
		if got := Orientation(tt.turns, tt.mirror); got != tt.want {
			t.Errorf("%d turns, mirror %d: %d, want %d", tt.turns, tt.mirror, got, tt.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x18meta\x00\x00\x00\x00\x00\x00\x00\x0epitm\x00\x00\x00\x00\x00\x01"))
	for _, b := range bombs.All() {
		if data := b.Data(); len(data) < 2_000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Read(data) // nothing to hold it to but that it ends, within bounds
		for id, at := range c.At {
			if len(at) > len(data) || c.Extents[id] < 1 {
				t.Fatal(id)
			}
		}
	})
}
