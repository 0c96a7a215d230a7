package cdn

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
)

// A Namer makes tags. They are hashes, so that all CDNs take them: 27 characters of [a-z0-9], which survive CDNs that fold case and those that do
// not, and every separator. The first says what it is of. Equal Namers make equal tags, on every machine and in every version.
type Namer struct {
	// Space tells apart tags of handlers behind the same zone, service or distribution of a CDN, which else were purged together
	// where they have sources of the same names. Zero is a space of its own.
	Space string
}

// The first characters of tags.
const (
	everythingTag = 'a'
	imageTag      = 'i'
	folderTag     = 'f'
	sourceTag     = 's'
	originTag     = 't'
	overflowTag   = 'o'
)

var lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (n Namer) tag(what byte, parts ...string) string {
	sum := sha256.Sum256([]byte(string(what) + "\x00" + n.Space + "\x00" + strings.Join(parts, "\x00")))
	return string(what) + lower32.EncodeToString(sum[:16])
}

// Everything is the tag of all that a handler answers.
func (n Namer) Everything() string { return n.tag(everythingTag) }

// Source is the tag of all pictures that an image of that source goes into.
func (n Namer) Source(source string) string { return n.tag(sourceTag, source) }

// Image is the tag of all pictures that an image goes into; its path begins with a slash, and is decoded.
func (n Namer) Image(source, path string) string { return n.tag(imageTag, source, path) }

// Folder is the tag of all pictures that an image in that folder, at any depth, goes into; the folder's path begins and ends with a slash.
func (n Namer) Folder(source, path string) string { return n.tag(folderTag, source, path) }

// Origin is the tag of all pictures that an image goes into which its origin gave that tag.
func (n Namer) Origin(tag string) string { return n.tag(originTag, tag) }

// overflow is the tag of answers that have more tags than fit.
func (n Namer) overflow() string { return n.tag(overflowTag) }

// An Image is an image that goes into a picture.
type Image struct {
	Source string
	Path   string   // decoded, with a leading slash
	Tags   []string // that its origin gave it
}

// MaxTags is the most tags of an answer: with separators they take less than 1,024 bytes, which is what Bunny has room for, and they are fewer than
// the 50 of CloudFront and the 128 of Akamai.
const MaxTags = 34

// Tags returns the tags of a picture made from those images: for everything, for each image, source and folder, and for what origins
// gave them, each once. Where that is more than MaxTags, the last of them make way for a tag that purges of folders and tags
// purge as well, so that none is missed. Images and sources are never left out, up to sixteen of them.
func (n Namer) Tags(images []Image) []string {
	tags := make([]string, 0, 8)
	add := func(t string) {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	add(n.Everything())
	for _, img := range images {
		add(n.Image(img.Source, img.Path))
	}
	for _, img := range images {
		add(n.Source(img.Source))
	}
	for _, img := range images {
		for i := strings.IndexByte(img.Path[1:], '/') + 1; i > 0; {
			add(n.Folder(img.Source, img.Path[:i+1]))
			next := strings.IndexByte(img.Path[i+1:], '/')
			if next < 0 || len(tags) > MaxTags {
				break
			}
			i += 1 + next
		}
	}
	for _, img := range images {
		for _, t := range img.Tags {
			if len(tags) > MaxTags {
				break
			}
			add(n.Origin(t))
		}
	}
	if len(tags) > MaxTags {
		tags = append(tags[:MaxTags-1], n.overflow())
	}
	return tags
}

// Value is what the header says for those tags.
func (h TagHeader) Value(tags []string) string {
	if !h.Quoted {
		return strings.Join(tags, h.Separator)
	}
	return `"` + strings.Join(tags, `"`+h.Separator+`"`) + `"`
}
