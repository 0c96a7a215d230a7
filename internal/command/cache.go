package command

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"

	"github.com/imagecdn/imagecdn/cache"
)

// manageCache looks at, checks or empties the directory of a disk cache.
func manageCache(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	const words = "stats|verify|clear DIR"
	if len(args) == 0 {
		return usageError("cache takes stats, verify or clear, and a directory")
	}
	command, args := args[0], args[1:]
	f := newFlags("cache", words, stderr)
	fix := false
	switch command {
	case "stats", "clear":
		f = newFlags("cache "+command, "DIR", stderr)
	case "verify":
		f = newFlags("cache verify", "[-fix] DIR", stderr)
		f.BoolVar(&fix, "fix", false, "remove what is damaged")
	case "-h", "-help", "--help":
		return parse(f, []string{"-h"})
	default:
		return usageError(fmt.Sprintf("cache has no command %q: it has stats, verify and clear", command))
	}
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return usageError("cache " + command + " takes one directory")
	}
	dir := f.Arg(0)
	switch command {
	case "stats":
		return cacheStats(ctx, dir, stdout)
	case "verify":
		return cacheVerify(ctx, dir, fix, stdout, stderr)
	}
	files, bytes, err := cache.Clear(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "removed %s files, %s\n", humanize.Comma(int64(files)), size(bytes))
	return nil
}

func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

func cacheStats(ctx context.Context, dir string, stdout io.Writer) error {
	r, err := cache.Inspect(ctx, dir)
	if err != nil {
		return err
	}
	line := func(name string, value any) { fmt.Fprintf(stdout, "%-12s %v\n", name, value) }
	count := func(name string, n int) { line(name, humanize.Comma(int64(n))) }
	count("sources", r.Sources)
	count("images", r.Images)
	count("names", r.Names)
	count("originals", r.Originals)
	count("derivatives", r.Derivatives)
	count("composites", r.Composites)
	count("references", r.References)
	count("files", int(r.Files))
	line("bytes", fmt.Sprintf("%d (%s)", r.Bytes, size(r.Bytes)))
	line("freeable", fmt.Sprintf("%s files, %s", humanize.Comma(r.Freeable.Files), size(r.Freeable.Bytes)))
	if g := r.Generations; g != nil {
		line("epoch", r.Epoch)
		line("generation", fmt.Sprintf("%d; everything was last deleted in %d", g.Seq, g.All.Delete))
		line("purged", fmt.Sprintf("%d sources, single images: %v", len(g.Sources), g.Images))
	} else {
		line("generation", "missing or damaged: everything counts as purged")
	}
	return nil
}

func cacheVerify(ctx context.Context, dir string, fix bool, stdout, stderr io.Writer) error {
	c, err := cache.Verify(ctx, dir, fix, func(path string, err error) {
		fmt.Fprintf(stderr, "%s: %v\n", path, err)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s files, %s, %d damaged, %d of an earlier format\n",
		humanize.Comma(int64(c.Files)), size(c.Bytes), c.Damaged, c.Earlier)
	switch {
	case c.Damaged > 0 && fix:
		return fmt.Errorf("%d files of %s were damaged, and were removed", c.Damaged, dir)
	case c.Damaged > 0:
		return fmt.Errorf("%d files of %s are damaged", c.Damaged, dir)
	}
	return nil
}
