package cache

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// A Selection is the images in some folders, and those with some tags.
type Selection struct {
	Folders []Folder
	Tags    []string
}

// A Folder is all images of a source whose path begins with Path, which begins and ends in a slash: whole
// segments, at any depth.
type Folder struct{ Source, Path string }

// matches reports whether an image is in one of the folders.
func (s Selection) matches(source, image string) bool {
	return slices.ContainsFunc(s.Folders, func(f Folder) bool {
		return f.Source == source && strings.HasPrefix(image, f.Path)
	})
}

// A Mark stands for a folder or a tag: one of 16,384, chosen by a hash that is the same for ever.
type Mark uint16

const markBits = 14

// FNV-1a, 64 bits (Fowler, Noll and Vo), folded to a mark.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

func markOf(h uint64) Mark {
	h ^= h >> 32
	return Mark((h ^ h>>markBits) & (1<<markBits - 1))
}

func tagMark(tag string) Mark { return markOf(fnv(fnvOffset, "#"+tag)) }

func folderMark(f Folder) Mark { return markOf(fnv(fnv(fnvOffset, "/"+f.Source), f.Path)) }

// folderMarks gives the marks of all folders that an image is in, but that of the whole source.
func folderMarks(source, image string) iter.Seq[Mark] {
	return func(yield func(Mark) bool) {
		h := fnv(fnv(fnvOffset, "/"), source)
		for i := range len(image) {
			h = (h ^ uint64(image[i])) * fnvPrime
			if image[i] == '/' && i > 0 && !yield(markOf(h)) {
				return
			}
		}
	}
}

// TagsOf returns the tags by which an origin's response may be purged: the members of Surrogate-Key (Fastly), Cache-Tag
// (Cloudflare, Google), Edge-Cache-Tag (Akamai), xkey (Varnish), and Cache-Groups (RFC 9875). They tell cases apart.
func TagsOf(h http.Header) (tags []string) {
	for _, name := range []string{"Surrogate-Key", "Cache-Tag", "Edge-Cache-Tag", "Xkey"} {
		for _, field := range h[name] {
			tags = append(tags, strings.FieldsFunc(field, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })...)
		}
	}
	return append(tags, stringsOf(h["Cache-Groups"])...)
}

// tagMarks returns the marks of a header's tags. It is never nil.
func tagMarks(h http.Header) []Mark {
	tags := TagsOf(h)
	marks := make([]Mark, 0, len(tags))
	for _, t := range tags {
		marks = append(marks, tagMark(t))
	}
	slices.Sort(marks)
	return slices.Compact(marks)
}
