module github.com/imagecdn/imagecdn

go 1.26.0

require (
	code.dny.dev/ssrf v0.3.0
	github.com/BurntSushi/toml v1.5.0
	github.com/dgraph-io/ristretto/v2 v2.4.2
	github.com/dunglas/httpsfv v1.1.2
	github.com/dustin/go-humanize v1.0.1
	github.com/esimov/pigo v1.4.6
	github.com/gen2brain/avif v0.5.3
	github.com/gen2brain/heic v0.4.5
	github.com/gen2brain/webp v0.6.4
	github.com/go-text/typesetting v0.3.5
	github.com/gofrs/flock v0.12.1
	github.com/klauspost/compress v1.20.3
	github.com/pquerna/cachecontrol v0.2.0
	go.etcd.io/bbolt v1.5.0
	go.uber.org/goleak v1.3.0
	golang.org/x/image v0.47.0
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.45.0
	golang.org/x/time v0.16.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/ebitengine/purego v0.10.1 // indirect
	github.com/tetratelabs/wazero v1.12.0 // indirect
)
