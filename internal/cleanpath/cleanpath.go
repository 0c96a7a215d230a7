// Package cleanpath says which paths origins are asked for.
package cleanpath

import "strings"

// Is reports whether path is "/" or "/a/b" with no empty, "." or ".." segment.
func Is(path string) bool {
	if path == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
