package imagecdn

import (
	"net/url"
)

// A Dialect reads the URLs of one kind of image CDN. [Native] reads those of this package.
type Dialect interface {
	// ParseRequest reads the path and the query of u, as they were sent: u.EscapedPath and u.RawQuery. It looks at nothing else,
	// so that equal ones always mean the same, and may be called by many goroutines at once.
	//
	// The Params that it returns are in their canonical form, as [Params.Canonical] gives it. Every error is a [*ParamError].
	ParseRequest(u *url.URL) (Request, error)
}

// Native is the dialect of this package: /SOURCE/PATH?PARAMETERS, with imgix's parameters. The zero value is ready.
type Native struct {
	// Strict makes an unknown parameter an error. Without it unknown parameters mean nothing, and
	// do not tell two images apart.
	Strict bool
}

// ParseRequest is [ParseRequest].
func (d Native) ParseRequest(u *url.URL) (Request, error) { return ParseRequest(u, d.Strict) }
