package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// What is counted of an image, after any order of writes and removals, is what was made of it and is still there.
func TestCount(t *testing.T) {
	disk, err := OpenDisk(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]Store{"memory": NewMemory(0), "disk": disk} {
		t.Run(name, func(t *testing.T) {
			defer store.Close()
			ctx := t.Context()
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			there := make(map[string]map[Key][]Input)
			image := func() string { return fmt.Sprintf("/%d.jpg", random.IntN(4)) }
			for step := range 400 {
				switch random.IntN(12) {
				case 0:
					gone := image()
					if k, ok := store.(Keeper); ok {
						if err := k.Hide("s", gone, false); err != nil {
							t.Fatal(err)
						}
					}
					if _, err := store.Remove(ctx, "s", gone); err != nil {
						t.Fatal(err)
					}
					delete(there, gone)
					for _, things := range there {
						for k, inputs := range things {
							if len(inputs) > 0 && inputs[0].Image == gone {
								delete(things, k)
							}
						}
					}
				case 1:
					k := Key{"s", image(), Original, DigestOf(fmt.Appendf(nil, "%d", step))}
					if err := store.Put(ctx, k, &Thing{Body: []byte("original")}, nil); err != nil {
						t.Fatal(err)
					}
				default:
					k := Key{"s", image(), Derivative, DigestOf(fmt.Appendf(nil, "%d", random.IntN(50)))}
					th := &Thing{Body: []byte("picture")}
					if mark := image(); random.IntN(3) == 0 && mark != k.Image {
						k.Kind, th.Inputs = Composite, []Input{{"s", mark}}
						k.Sum = DigestOf(append(k.Sum[:], mark...))
					}
					if err := store.Put(ctx, k, th, nil); err != nil {
						t.Fatal(err)
					}
					if there[k.Image] == nil {
						there[k.Image] = make(map[Key][]Input)
					}
					there[k.Image][k] = th.Inputs
				}
				for i := range 4 {
					path := fmt.Sprintf("/%d.jpg", i)
					n, err := store.(Counter).Count(ctx, "s", path)
					if err != nil || n != len(there[path]) {
						t.Fatalf("seed %d, step %d: %s: counted %d (%v), want %d", seed, step, path, n, err, len(there[path]))
					}
				}
				if n := disk.hiding.Load(); n != 0 {
					t.Fatalf("seed %d, step %d: all was removed, and %d count as hidden", seed, step, n)
				}
			}
		})
	}
}
