package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
)

// An Extension is what a program has that the command of this module has not, as it would have others download more than they need.
type Extension struct {
	// Usage are lines of what help prints, as they are. Empty means none.
	Usage string

	// Flags defines flags of serve, whose names have to be new, and returns what is done with them. It is called for each run of serve, and
	// where only the flags are asked for.
	Flags func(f *flag.FlagSet) Serving

	// Examples are what settings look like in a file, by the name of the flag, where their default is that there is none: lines of TOML.
	Examples map[string]string

	// Choices are the values of flags that have few, by the name of the flag, for completion.
	Choices map[string][]string
}

// A Serving is what an extension does in one run of serve, once the flags have been read. What is nil is left out.
//
// The contexts end when the program is told to end: what is to go on until Close must not depend on them.
type Serving struct {
	// Check says what is wrong with the flags, before anything is opened.
	Check func(Env) error

	// Source opens the source at a URL; ok is that it is one for this extension. It is not asked about directories and web servers.
	Source func(ctx context.Context, env Env, where string) (s imagecdn.Source, ok bool, err error)

	// Cache returns the cache to be used in the place of fast, which it closes. With an error, fast stays as it was.
	Cache func(ctx context.Context, env Env, fast cache.Store) (cache.Store, error)

	// Options changes the settings of the handler. The cache is among them.
	Options func(ctx context.Context, env Env, opts *imagecdn.Options) error

	// Close frees what the others have opened. It is called once, after the handler is closed, and where something has failed.
	Close func() error
}

// An Env is what a Serving may know of serve.
type Env struct {
	Logger   *slog.Logger
	CacheDir string            // empty where there is none
	Sources  map[string]string // where each is, by its name; empty for the sample photographs
}

// UsageErrorf is a mistake in the command's words: the command says how it is used, and exits with 2.
func UsageErrorf(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// Size is the value of a flag that is a number of bytes, such as 10GiB; less than 0 for "unlimited".
func Size(p *int64) flag.Value { return (*sizeFlag)(p) }

// List is the value of a flag that may be repeated, and that is a list in files.
func List(p *[]string) flag.Value { return (*listFlag)(p) }

// extended are the extensions of a program in one run of serve.
type extended struct {
	all []Serving
	env Env
}

// extend defines the flags of all extensions.
func (p *program) extend(f *flag.FlagSet) *extended {
	e := new(extended)
	for _, x := range p.extensions {
		e.all = append(e.all, x.Flags(f))
	}
	return e
}

// examples are what settings look like whose default is that there is none.
func (p *program) examples() map[string]string {
	all := maps.Clone(examples)
	for _, x := range p.extensions {
		maps.Copy(all, x.Examples)
	}
	return all
}

// choices are the values of a flag of a command, where there are few.
func (p *program) choices(command, name string) []string {
	if command == "serve" {
		for _, x := range p.extensions {
			if words := x.Choices[name]; words != nil {
				return words
			}
		}
	}
	return choices[command+" -"+name]
}

func (e *extended) check() error {
	for _, s := range e.all {
		if s.Check == nil {
			continue
		}
		if err := s.Check(e.env); err != nil {
			return err
		}
	}
	return nil
}

// source opens a source that is neither a directory nor at a web server.
func (e *extended) source(ctx context.Context, where string) (imagecdn.Source, bool, error) {
	for _, s := range e.all {
		if s.Source == nil {
			continue
		}
		if opened, ok, err := s.Source(ctx, e.env, where); ok || err != nil {
			return opened, ok, err
		}
	}
	return imagecdn.Source{}, false, nil
}

// cache returns store with what extensions put around it. With an error it has closed it.
func (e *extended) cache(ctx context.Context, store cache.Store) (cache.Store, error) {
	for _, s := range e.all {
		if s.Cache == nil {
			continue
		}
		wrapped, err := s.Cache(ctx, e.env, store)
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
		store = wrapped
	}
	return store, nil
}

func (e *extended) options(ctx context.Context, opts *imagecdn.Options) error {
	for _, s := range e.all {
		if s.Options == nil {
			continue
		}
		if err := s.Options(ctx, e.env, opts); err != nil {
			return err
		}
	}
	return nil
}

// close closes what was opened last first.
func (e *extended) close() (err error) {
	for _, s := range slices.Backward(e.all) {
		if s.Close != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}
