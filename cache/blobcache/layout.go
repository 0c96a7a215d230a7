package blobcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/imagecdn/imagecdn/cache"
)

// What is in the bucket:
//
//	things/H/GENERATION/SOURCE/IMAGE/     all that is kept of one image
//	    o-SUM  d-SUM  c-SUM               an original, a derivative, a composite
//	    r-STAMP                           a reference to a composite on another image, made with this one
//	generations/all/GENERATION            a purge of everything
//	generations/SOURCE/GENERATION         a purge of a source
//
// SOURCE and IMAGE are a hash, "-", and where it is short the name itself in base64, which is for lists alone. H is
// the first digit of IMAGE: stores of objects spread what they keep by the beginnings of keys.
//
// GENERATION is a number of 20 digits, "-" and a word that nobody else makes up. The greatest of those of all and of a source is the one
// in use for it. So a purge of a source or of everything is one small object, any number of nodes may write one at once and all come to
// the same end, and what lies under smaller ones is freed later.
const (
	things      = "things/"
	generations = "generations/"
	everything  = "all"

	// longestName bounds what of a name is in a key, before it is encoded: a file system's names have 255 bytes.
	longestName = 150
)

var (
	generationPattern = regexp.MustCompile(`^[0-9]{20}-[0-9a-f]{16}$`)
	hashPattern       = regexp.MustCompile(`^[0-9a-f]{32}$`)
	dirPattern        = regexp.MustCompile(`^[0-9a-f]{32}(-[A-Za-z0-9_-]*)?$`)
	thingPattern      = regexp.MustCompile(`^[odc]-[0-9a-f]{64}$`)
	referencePattern  = regexp.MustCompile(`^r-[0-9a-f]{32}$`)
)

var kindLetters = [...]string{cache.Original: "o", cache.Derivative: "d", cache.Composite: "c"}

func hash16(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// dirName is a hash with the name that it stands for.
func dirName(hash, name string) string {
	if len(name) > longestName {
		return hash
	}
	return hash + "-" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

// nameIn undoes dirName, where the name is there.
func nameIn(dir string) (name string, ok bool) {
	_, enc, ok := strings.Cut(dir, "-")
	if !ok {
		return "", false
	}
	b, err := base64.RawURLEncoding.DecodeString(enc)
	return string(b), err == nil
}

func sourceDir(source string) string { return dirName(hash16(source), source) }

// imageDir is where an image's things are in a generation, with a slash behind.
func imageDir(generation, source, image string) string {
	hash := hash16(source, image)
	return things + hash[:1] + "/" + generation + "/" + sourceDir(source) + "/" + dirName(hash, image) + "/"
}

func thingName(k cache.Key) string { return kindLetters[k.Kind] + "-" + k.Sum.String() }

// kindOf is the kind of a thing of that name.
func kindOf(name string) (cache.Kind, bool) {
	if !thingPattern.MatchString(name) {
		return 0, false
	}
	for k, letter := range kindLetters {
		if name[:1] == letter {
			return cache.Kind(k), true
		}
	}
	return 0, false
}

func newStamp() string { return hex.EncodeToString(random(16)) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // which does not fail
	return b
}

// newGeneration is one greater than the one before.
func newGeneration(before uint64) string { return fmt.Sprintf("%020d-%x", before+1, random(8)) }

const shards = "0123456789abcdef"
