package imagecdn

import (
	"errors"
	"net/url"

	"github.com/imagecdn/imagecdn/purge"
)

// ParseRequest reads an image URL: /SOURCE/PATH?PARAMETERS. The path is that of u as it was sent,
// decoded once; a host is not looked at. Strict is as in [ParseParams].
//
// Every error is a [*ParamError]; one about the path has the Param "path".
func ParseRequest(u *url.URL, strict bool) (Request, error) {
	escaped := u.EscapedPath()
	source, path, err := splitPath(escaped)
	if err != nil {
		return Request{}, &ParamError{Param: "path", Value: escaped, Reason: err.Reason}
	}
	req, perr := parseQuery(u.RawQuery, strict, parseImage)
	req.Image.Source, req.Image.Path = source, path
	return req, perr
}

// splitPath reads the path of an image as it stands in a URL, by the rules of purges, so that a path that is served
// and the same path purged are one image. Whatever could name one image in two ways, or lead out of its
// source, is refused rather than cleaned: a path that has been cleaned is not the one that was signed, cached
// downstream, or purged.
func splitPath(escaped string) (source, path string, fault *purge.PathError) {
	source, path, err := purge.ParsePath(escaped)
	if err != nil {
		fault, _ = errors.AsType[*purge.PathError](err)
	}
	return source, path, fault
}
