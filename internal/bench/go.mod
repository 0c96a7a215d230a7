// The yardsticks of benchmarks, apart from the library so that who uses that downloads none of them.
module github.com/imagecdn/imagecdn/internal/bench

go 1.26.0

require (
	github.com/gen2brain/avif v0.5.3
	github.com/gen2brain/jpegn v0.4.2
	github.com/gen2brain/webp v0.6.4
	github.com/imagecdn/imagecdn v0.0.0
	golang.org/x/image v0.47.0
)

require (
	github.com/dunglas/httpsfv v1.1.2 // indirect
	github.com/ebitengine/purego v0.10.1 // indirect
	github.com/tetratelabs/wazero v1.12.0 // indirect
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgraph-io/ristretto/v2 v2.4.2 // indirect
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/gofrs/flock v0.12.1 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/maypok86/otter/v2 v2.4.0
	github.com/pquerna/cachecontrol v0.2.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/imagecdn/imagecdn => ../..
