// Package samples holds the photographs that the demo serves and the tests read. README.md beside
// this file says where each comes from and on what terms.
package samples

import (
	"embed"
	"io/fs"
)

//go:embed photos
var files embed.FS

// FS returns the photographs at its top level: astronaut.png, chelsea.png, coffee.png,
// hubble_deep_field.jpg, retina.jpg and rocket.jpg.
func FS() fs.FS {
	sub, err := fs.Sub(files, "photos")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}
