package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/resize"
)

// transformFlags say which pictures are made of which files.
type transformFlags struct {
	params            listFlag
	dialect, name     string
	recursive, update bool
	jobs              int
	memory            sizeFlag
	pixels            int64
}

func (t *transformFlags) parse(args []string, stderr io.Writer) (words []string, err error) {
	f := newFlags("transform", "IN 'w=500&fm=webp' OUT, or -params 'w=500&fm=webp' [flags] IN… OUT", stderr)
	t.define(f)
	return parseMixed(f, args)
}

func (t *transformFlags) define(f *flag.FlagSet) {
	t.memory = 512 << 20
	f.Var(&t.params, "params", "make a picture by this `query`, such as w=500&fm=webp, of each file; may be repeated, which shares the reading of the file")
	f.StringVar(&t.dialect, "dialect", "native", "whose `words` -params has: native, imgix or cloudimage")
	f.BoolVar(&t.recursive, "r", false, "take what is in folders at any depth")
	f.BoolVar(&t.update, "update", false, "leave out pictures that are there, and newer than what they are made of; of other -params, too")
	f.StringVar(&t.name, "name", "", "`template` of the names of pictures in OUT, of {dir}, {name}, {ext}, {n} (which of -params, from 1), {params}, and any parameter, such as {w} "+
		"(default {dir}/{name}.{ext}, and with several -params {dir}/{name}-{params}.{ext})")
	f.IntVar(&t.jobs, "jobs", 0, "most `pictures` made at once; 0 means as many as there are processors")
	f.Var(&t.memory, "render-memory", "most `bytes` of memory for making pictures, or unlimited; one that takes more is made alone")
	f.Int64Var(&t.pixels, "max-pixels", 0, "most `pixels` of an original, frames counted; 0 means 50,000,000, less than 0 no limit")
}

// transform makes pictures of files. Without fm= the name of a file says its format. The images of
// mark= are read below the current directory.
func transform(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var t transformFlags
	words, err := t.parse(args, stderr)
	if err != nil {
		return err
	}
	if t.jobs < 0 {
		return usageError("-jobs takes a number of at least 0")
	}
	simple := t.params == nil
	switch {
	case simple && len(words) != 3:
		return usageError("transform takes three words: IN, parameters such as 'w=500&fm=webp', and OUT; or, with -params, IN… and OUT")
	case simple:
		t.params, words = listFlag{words[1]}, []string{words[0], words[2]}
	case len(words) < 2:
		return usageError("transform -params takes files or folders, and what is to be made: a file or a folder")
	}
	var variants []*variant
	for i, query := range t.params {
		v, err := t.variant(i+1, query)
		if err != nil {
			return err
		}
		variants = append(variants, v)
	}
	out := words[len(words)-1]
	s := newScreen(stdout, stderr)
	tasks, failed, single, err := t.tasks(words[:len(words)-1], out, variants)
	if err != nil {
		return err
	}
	finder, setter, err := extras()
	if err != nil {
		return err
	}
	memory := int64(t.memory)
	p := newPress(cmp.Or(t.jobs, runtime.GOMAXPROCS(0)), memory, resize.Renderer{MaxPixels: t.pixels, Faces: finder, Text: setter})
	defer p.close()
	p.update = t.update
	p.run(ctx, tasks, s)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %d of %d pictures were made", errInterrupted, p.made, p.made+p.skipped+p.left)
	}
	for _, t := range tasks {
		failed = append(failed, t.failed()...)
	}
	if single && len(failed) == 1 {
		return failed[0]
	}
	for _, err := range failed {
		s.complain("imagecdn: %v", err)
	}
	if !single {
		line := fmt.Sprintf("%d pictures made, %s", p.made, size(p.bytes))
		if t.update {
			line += fmt.Sprintf("; %d were there already", p.skipped)
		}
		s.say("%s", line)
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d failed", len(failed))
	}
	return nil
}

// A variant is what is made of each file.
type variant struct {
	n      int    // which of -params, from 1
	query  string // as it was given
	params imagecdn.Params
	values url.Values // of the query, for names
}

// ownSource is the source that images of mark= are in with dialects that name none.
const ownSource = "files"

func (t *transformFlags) variant(n int, query string) (*variant, error) {
	v := &variant{n: n, query: strings.TrimPrefix(query, "?")}
	values, err := url.ParseQuery(v.query)
	if err != nil {
		return nil, fmt.Errorf("%q is not a query such as w=500&fm=webp: %w", query, err)
	}
	v.values = values
	var dialect imagecdn.Dialect
	switch t.dialect {
	case "native":
		v.params, _, err = imagecdn.ParseParams(v.query, true)
		return v, err
	case "imgix":
		dialect = imagecdn.Imgix{Source: ownSource, Strict: true}
	case "cloudimage":
		dialect = imagecdn.Cloudimage{Prefix: ownSource, Strict: true}
	default:
		return nil, usageError(fmt.Sprintf("-dialect takes native, imgix or cloudimage, and got %q", t.dialect))
	}
	r, err := dialect.ParseRequest(&url.URL{Path: "/image", RawQuery: v.query})
	v.params = r.Params
	return v, err
}

// marks are the files of the images that go into the picture beside its original.
func (v *variant) marks() (names []string) {
	for _, in := range v.params.Inputs {
		name := strings.TrimPrefix(in.Path, "/")
		if in.Source != ownSource {
			name = in.Source + in.Path
		}
		names = append(names, filepath.FromSlash(name))
	}
	return names
}

// plan returns what is made where the output has a name, and where the input has one. A name that says a format wins where fm= does not.
func (v *variant) plan(named resize.Format, out string) (resize.Plan, error) {
	plan, _ := v.params.Negotiate("")
	open := plan.Format == resize.SameFormat || plan.Format == resize.Opaque
	switch {
	case plan.Format.Data():
	case open && named != "":
		plan.Format = named
	case plan.Format == resize.SameFormat:
		return plan, fmt.Errorf("%s: its name ends in none of .jpg, .png, .gif, .webp and .avif; say fm=", out)
	case !open && named != "" && named != plan.Format:
		return plan, fmt.Errorf("%s: its name says %s, and fm= says %s", out, named, plan.Format)
	}
	return plan, nil
}

// formatOf is what the end of a file's name says; empty where it says nothing.
func formatOf(name string) resize.Format { return formats[strings.ToLower(filepath.Ext(name))] }

// formats are what the ends of files' names mean, of formats that are written.
var formats = map[string]resize.Format{
	".jpg": resize.JPEG, ".jpeg": resize.JPEG, ".jpe": resize.JPEG, ".png": resize.PNG, ".gif": resize.GIF, ".webp": resize.WebP, ".avif": resize.AVIF,
}

// extensions are what the names of files end in: of formats, where the original's name says something else, and of data.
var extensions = map[resize.Format]string{
	resize.JPEG: "jpg", resize.PNG: "png", resize.GIF: "gif", resize.WebP: "webp", resize.AVIF: "avif",
	resize.JSON: "json", resize.BlurHashText: "txt", resize.PaletteJSON: "json", resize.PaletteCSS: "css",
}

// readable are the ends of the names of files that are taken of folders.
var readable = map[string]bool{
	".jpg": true, ".jpeg": true, ".jpe": true, ".png": true, ".apng": true, ".gif": true, ".webp": true, ".avif": true, ".heic": true, ".heif": true,
	".tif": true, ".tiff": true, ".bmp": true, ".ico": true, ".cur": true,
}

// A task is a file, and what is made of it.
type task struct {
	in       string
	pictures []picture
}

// A picture is a file to be made.
type picture struct {
	variant *variant
	plan    resize.Plan
	out     string
	err     error // why it could not be made
}

// failed are the pictures that could not be made. What is wrong with the file itself is said once.
func (t *task) failed() (all []error) {
	said := make(map[string]bool)
	for _, p := range t.pictures {
		if p.err != nil && !said[p.err.Error()] {
			said[p.err.Error()] = true
			all = append(all, p.err)
		}
	}
	return all
}

// tasks are what the words and flags come to. failed are folders that could not be read. It is single if the words name one file and its
// output.
func (t *transformFlags) tasks(ins []string, out string, variants []*variant) (tasks []*task, failed []error, single bool, err error) {
	info, err := os.Stat(out)
	isDir := err == nil && info.IsDir() || strings.HasSuffix(out, "/") || strings.HasSuffix(out, string(filepath.Separator))
	if len(ins) == 1 && len(variants) == 1 && !isDir && t.name == "" {
		if info, err := os.Stat(ins[0]); err != nil || !info.IsDir() {
			if _, err := os.Lstat(ins[0]); err == nil || !strings.ContainsAny(ins[0], "*?[") {
				plan, err := variants[0].plan(formatOf(out), out)
				return []*task{{ins[0], []picture{{variant: variants[0], plan: plan, out: out}}}}, nil, true, err
			}
		}
	}
	if info != nil && !info.IsDir() {
		return nil, nil, false, usageError(fmt.Sprintf("%s is a file: several pictures take a folder", out))
	}
	found, failed, err := t.files(ins, out)
	if err != nil {
		return nil, nil, false, err
	}
	if len(found) == 0 && len(failed) == 0 {
		return nil, nil, false, errors.New("there are no images there")
	}
	inputs := make(map[string]bool)
	for _, f := range found {
		inputs[absolute(f.path)] = true
	}
	makers := make(map[string]string)
	for _, f := range found {
		task := &task{in: f.path}
		for _, v := range variants {
			name, plan, err := t.output(f, v, len(variants) > 1)
			if err != nil {
				return nil, nil, false, err
			}
			name = filepath.Join(out, name)
			whole := absolute(name)
			other, taken := makers[whole]
			switch {
			case inputs[whole]:
				return nil, nil, false, fmt.Errorf("%s would be written over, which is one of the files: name another folder, or -name", name)
			case taken && other == f.path:
				return nil, nil, false, fmt.Errorf("%s would be made of %s twice; -name with {n} or {params} tells them apart", name, other)
			case taken:
				return nil, nil, false, fmt.Errorf("%s would be made of %s and of %s; -name with {dir}, {name} or {ext} tells them apart", name, other, f.path)
			}
			makers[whole] = f.path
			task.pictures = append(task.pictures, picture{variant: v, plan: plan, out: name})
		}
		tasks = append(tasks, task)
	}
	return tasks, failed, false, nil
}

// A found is a file that pictures are made of.
type found struct {
	path string
	dir  string // its folder, below the one that was named
}

// files are the files that words stand for: files, folders and patterns, of which the shell may have left some.
func (t *transformFlags) files(words []string, out string) (all []found, failed []error, err error) {
	seen := make(map[string]bool)
	add := func(path, dir string) {
		if whole := absolute(path); !seen[whole] {
			seen[whole] = true
			all = append(all, found{path, dir})
		}
	}
	made := absolute(out)
	for _, word := range words {
		names := []string{word}
		if _, err := os.Lstat(word); err != nil && strings.ContainsAny(word, "*?[") {
			if names, err = filepath.Glob(word); err != nil {
				return nil, nil, fmt.Errorf("%q is not a pattern: %w", word, err)
			}
			if len(names) == 0 {
				return nil, nil, fmt.Errorf("no file has a name like %s", word)
			}
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || !info.IsDir() {
				add(name, ".") // what is wrong with it shows when it is read
				continue
			}
			err = filepath.WalkDir(name, func(path string, d os.DirEntry, err error) error {
				switch {
				case err != nil:
					failed = append(failed, err)
				case d.IsDir():
					// What was made before is not what pictures are made of.
					if path != name && (!t.recursive || strings.HasPrefix(d.Name(), ".") || absolute(path) == made) {
						return filepath.SkipDir
					}
				case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") && readable[strings.ToLower(filepath.Ext(path))]:
					dir, err := filepath.Rel(name, filepath.Dir(path))
					if err != nil {
						return err
					}
					add(path, dir)
				}
				return nil
			})
			if err != nil {
				return nil, nil, err
			}
		}
	}
	return all, failed, nil
}

// absolute is a file's one name; where there is none, that which it has.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return filepath.Clean(path)
}

// output is the name of a picture below the folder of all, and how it is made.
func (t *transformFlags) output(f found, v *variant, several bool) (name string, plan resize.Plan, err error) {
	base := filepath.Base(f.path)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	// Of what cannot be written, such as HEIC, a PNG is made.
	named, ext := formatOf(base), strings.TrimPrefix(filepath.Ext(base), ".")
	if named == "" {
		named, ext = resize.PNG, "png"
	}
	plan, _ = v.params.Negotiate("")
	if plan.Format == resize.SameFormat || plan.Format == resize.Opaque {
		plan.Format = named
	} else if plan.Format != named {
		ext = extensions[plan.Format]
	}
	template := t.name
	switch {
	case template == "" && several:
		template = "{dir}/{name}-{params}.{ext}"
	case template == "":
		template = "{dir}/{name}.{ext}"
	}
	var b strings.Builder
	for rest := template; rest != ""; {
		text, word, ok := strings.Cut(rest, "{")
		b.WriteString(text)
		if !ok {
			break
		}
		if word, rest, ok = strings.Cut(word, "}"); !ok {
			return "", plan, usageError(fmt.Sprintf("-name %q has a { without a }", template))
		}
		switch word {
		case "dir":
			b.WriteString(filepath.ToSlash(f.dir))
		case "name":
			b.WriteString(stem)
		case "ext":
			b.WriteString(ext)
		case "n":
			fmt.Fprint(&b, v.n)
		case "params":
			b.WriteString(cmp.Or(inName(v.query), "same"))
		default:
			if !v.values.Has(word) {
				return "", plan, usageError(fmt.Sprintf("-name has {%s}, and -params %q has not", word, v.query))
			}
			b.WriteString(inName(v.values.Get(word)))
		}
	}
	name = filepath.FromSlash(strings.TrimPrefix(filepath.ToSlash(filepath.Clean(b.String())), "/"))
	if !filepath.IsLocal(name) || name == "." {
		return "", plan, usageError(fmt.Sprintf("-name %q makes the name %q, which is not below OUT", template, b.String()))
	}
	if says := formatOf(name); says != "" && says != plan.Format && !plan.Format.Data() {
		return "", plan, fmt.Errorf("%s: its name says %s, and it is %s; -name has {ext} for that", name, says, plan.Format)
	}
	return name, plan, nil
}

// inName is a query, or a part of one, as it may be part of a file's name on every system.
func inName(query string) string {
	query = strings.Map(func(r rune) rune {
		switch {
		case r == '&':
			return ','
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.,=", r):
			return r
		}
		return '_'
	}, query)
	return query[:min(len(query), 100)]
}
