// Package command is the command imagecdn, for its program and for those of other modules that have more: an [Extension] gives serve flags of its own, and
// with them sources, another cache, or a cluster.
package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/imagecdn/imagecdn/resize"
	_ "github.com/imagecdn/imagecdn/resize/avif"
	"github.com/imagecdn/imagecdn/resize/faces"
	_ "github.com/imagecdn/imagecdn/resize/heic"
	"github.com/imagecdn/imagecdn/resize/text"
	_ "github.com/imagecdn/imagecdn/resize/tiff"
)

// extras are what this program has beyond package resize: what finds faces, and what sets text.
func extras() (resize.FaceFinder, resize.Typesetter, error) {
	finder, err := faces.New(nil)
	if err != nil {
		return nil, nil, err
	}
	setter, err := text.New(nil)
	if err != nil {
		return nil, nil, err
	}
	return finder, setter, nil
}

// Main is a program: it runs the command with the words of this process until SIGINT or SIGTERM, and exits with its status.
func Main(extensions ...Extension) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, os.Args[1:], os.Stdout, os.Stderr, extensions...)
	stop()
	os.Exit(code)
}

// A program is the command with what it is extended by.
type program struct{ extensions []Extension }

const synopsis = `imagecdn: an image CDN

  imagecdn                                            serve sample photographs on http://127.0.0.1:8080
  imagecdn serve -source NAME=DIR_OR_URL [flags]      serve images at /NAME/path?w=500
  imagecdn purge [flags] PATH…|-all                   make a server forget images
  imagecdn purge -watch -follow ID                    watch a purge to its end
  imagecdn transform IN 'w=500&fm=webp' OUT           make one picture
  imagecdn transform -params 'w=500' [flags] IN… OUT  make pictures of many files
  imagecdn cache stats|verify|clear DIR               look at, check or empty a cache directory

  imagecdn health [-live] [-server URL]               ask a server whether it is well
  imagecdn completion bash|zsh|fish                   have a shell complete all this

  imagecdn version

"imagecdn COMMAND -h" prints a command's flags.
`

// usage is what help prints: also what this program has beyond others, after the last of the commands.
func (p *program) usage() string {
	before, after, _ := strings.Cut(synopsis, "\n\"imagecdn COMMAND")
	for _, x := range p.extensions {
		if x.Usage != "" {
			before += "\n" + x.Usage
		}
	}
	return before + "\n\"imagecdn COMMAND" + after
}

// A subcommand is the first of the words that this program is told.
type subcommand struct {
	name  string
	about string // for a list of commands
	run   func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func (p *program) commands() []subcommand {
	return []subcommand{
		{"serve", "serve images at /NAME/path?w=500", p.serve},
		{"purge", "make a server forget images", purgePaths},
		{"transform", "make pictures of files", transform},
		{"cache", "look at, check or empty a cache directory", manageCache},
		{"health", "ask a server whether it is well", health},
		{"completion", "print a script by which a shell completes all this", p.complete},
		{"help", "say what there is", func(_ context.Context, _ []string, stdout, _ io.Writer) error {
			fmt.Fprint(stdout, p.usage())
			return nil
		}},
		{"version", "say which build this is", func(_ context.Context, _ []string, stdout, _ io.Writer) error {
			fmt.Fprintln(stdout, "imagecdn", version())
			return nil
		}},
	}
}

// Run is the command without the process around it. It returns the exit status: 0 done, 1 failed, 2 wrong
// words, 130 interrupted.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer, extensions ...Extension) int {
	p := &program{extensions}
	if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		args = []string{"help"}
	}
	name := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		name, args = args[0], args[1:]
	}
	var err error = usageError(fmt.Sprintf("there is no command %q", name))
	for _, c := range p.commands() {
		if c.name == name {
			err = c.run(ctx, args, stdout, stderr)
		}
	}
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFlags):
		return 2 // the flag package has said why
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "imagecdn: %v\n\n%s", err, p.usage())
		return 2
	}
	fmt.Fprintf(stderr, "imagecdn: %v\n", err)
	if errors.Is(err, errInterrupted) {
		return 130 // as shells have it of SIGINT
	}
	return 1
}

// version is what the Go tool knows of this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of an unknown version"
	}
	return cmp.Or(info.Main.Version, "(devel)") + ", " + info.GoVersion
}

// readKey reads a key from a file, where one is named, so that it is not seen in a list of processes.
func readKey(key, file string) (string, error) {
	if file == "" {
		return key, nil
	}
	if key != "" {
		return "", usageError("a key is given twice, as it is and as a file")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if key = strings.TrimSpace(string(b)); key == "" {
		return "", fmt.Errorf("%s holds no key", file)
	}
	return key, nil
}

// A usageError is a mistake in the command's words.
type usageError string

func (e usageError) Error() string { return string(e) }

var errFlags = errors.New("bad flags")

// errInterrupted is wrapped by what is said when a user ends a command before its end.
var errInterrupted = errors.New("interrupted")

// newFlags returns a flag set that says how a command is used.
func newFlags(name, words string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "imagecdn %s %s\n\n", name, words)
		f.PrintDefaults()
	}
	return f
}

func parse(f *flag.FlagSet, args []string) error {
	if slices.Equal(args, []string{askFlags}) {
		return askedFlags{f}
	}
	err := f.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return errFlags
}

// parseMixed is parse where flags may also follow words. It returns the words; after -- all are.
func parseMixed(f *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := parse(f, args); err != nil {
			return nil, err
		}
		rest := f.Args()
		if ended := len(args) - len(rest); len(rest) == 0 || ended > 0 && args[ended-1] == "--" {
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

// askFlags, as a command's one argument, has it return its flags and do nothing. It is for what is written from the flags, such as completion: so
// it cannot lag behind them. No process is given a zero byte in an argument.
const askFlags = "\x00"

// askedFlags are what a command returns to askFlags.
type askedFlags struct{ flags *flag.FlagSet }

func (askedFlags) Error() string { return "flags were asked for" }

// flagsOf returns the flags of a command, such as "purge" or "cache", "verify"; nil where it has none.
func (p *program) flagsOf(words ...string) *flag.FlagSet {
	for _, c := range p.commands() {
		if c.name != words[0] {
			continue
		}
		err := c.run(context.Background(), append(slices.Clone(words[1:]), askFlags), io.Discard, io.Discard)
		if asked, ok := errors.AsType[askedFlags](err); ok {
			return asked.flags
		}
	}
	return nil
}
