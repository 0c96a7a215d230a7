package command

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/middleware"
)

// guardFlags say which URLs are answered. Nothing in them is that all are.
type guardFlags struct {
	sign, imgix, cloudimage, seal secretFlags
	allow                         allowFlags
}

func (g *guardFlags) define(f *flag.FlagSet) {
	const file = "; @FILE reads it from a file, as others see a command's words; may be repeated: all verify"
	f.Var(&g.sign, "sign", "answer only URLs signed with this `key` of at least 16 bytes, in s= (docs/signing.md); of several schemes, one has to be right"+file)
	f.Var(&g.imgix, "sign-imgix", "answer URLs signed as imgix's libraries do, with this `token`"+file)
	f.Var(&g.cloudimage, "sign-cloudimage", "answer URLs signed as Cloudimage's libraries do, with this `salt`, in ci_sign="+file)
	f.Var(&g.seal, "seal-cloudimage", "answer URLs sealed as Cloudimage's libraries do, with this `salt`, in ci_seal=; not beside -sign-cloudimage"+file)
	f.Var(&g.allow, "allow", "answer only URLs without other parameters than these: `NAME[=VALUE,VALUE…]`, percent-encoded; may be repeated. With signatures, both have to be right")
}

func (g *guardFlags) given() bool { return g.signed() || g.allow != nil }

func (g *guardFlags) signed() bool {
	return len(g.sign)+len(g.imgix)+len(g.cloudimage)+len(g.seal) > 0
}

// read reads the secrets that are in files.
func (g *guardFlags) read() error {
	if len(g.cloudimage) > 0 && len(g.seal) > 0 {
		return usageError("-sign-cloudimage and -seal-cloudimage are one or the other")
	}
	for _, secrets := range []secretFlags{g.sign, g.imgix, g.cloudimage, g.seal} {
		for i, secret := range secrets {
			path, isFile := strings.CutPrefix(secret, "@")
			if !isFile {
				continue
			}
			var err error
			if secrets[i], err = readKey("", path); err != nil {
				return err
			}
		}
	}
	for _, key := range g.sign {
		if len(key) < middleware.MinKey {
			return usageError(fmt.Sprintf("-sign takes a key of at least %d bytes", middleware.MinKey))
		}
	}
	return nil
}

// wrap returns a handler that passes on to h what may be answered.
func (g *guardFlags) wrap(h http.Handler) http.Handler {
	if g.allow != nil {
		h = (&middleware.Allow{Params: g.allow}).Handler(h)
	}
	if !g.signed() {
		return h
	}
	var schemes middleware.AnyOf
	if len(g.sign) > 0 {
		s := new(middleware.Signature)
		for _, key := range g.sign {
			s.Keys = append(s.Keys, []byte(key))
		}
		schemes = append(schemes, s)
	}
	if len(g.imgix) > 0 {
		schemes = append(schemes, &middleware.ImgixSignature{Tokens: g.imgix})
	}
	if len(g.cloudimage) > 0 {
		schemes = append(schemes, &middleware.CloudimageSignature{Salts: g.cloudimage})
	}
	if len(g.seal) > 0 {
		schemes = append(schemes, &middleware.CloudimageSeal{Salts: g.seal})
	}
	return schemes.Handler(h)
}

// secretFlags collects secrets, as they are or as @FILE. They are read when all flags are, because the flag package prints
// what it is told is wrong.
type secretFlags []string

func (s *secretFlags) String() string { return "" }

func (s *secretFlags) Set(v string) error {
	if v == "" || v == "@" {
		return errors.New("there is nothing in it")
	}
	*s = append(*s, v)
	return nil
}

// allowFlags collects -allow NAME[=VALUE,VALUE…].
type allowFlags map[string][]string

func (a *allowFlags) String() string { return "" }

func (a *allowFlags) Set(v string) error {
	if *a == nil {
		*a = make(allowFlags)
	}
	name, list, listed := strings.Cut(v, "=")
	name, err := url.QueryUnescape(name)
	if _, again := (*a)[name]; err != nil || name == "" || again {
		return errors.New("give NAME or NAME=VALUE,VALUE…, percent-encoded, and each name once")
	}
	var values []string
	if listed {
		for value := range strings.SplitSeq(list, ",") {
			if value, err = url.QueryUnescape(value); err != nil {
				return err
			}
			values = append(values, value)
		}
	}
	(*a)[name] = values
	return nil
}
