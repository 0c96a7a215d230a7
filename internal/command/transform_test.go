package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/gif"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/internal/samples"
	"github.com/imagecdn/imagecdn/resize"
)

// photos makes a tree of photographs in an empty directory, and goes there.
func photos(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, sample := range map[string]string{
		"in/a.jpg": "rocket.jpg", "in/b.png": "chelsea.png", "in/deep/c.JPG": "rocket.jpg", "in/deep/er/d.jpeg": "rocket.jpg", "in/.hidden/e.jpg": "rocket.jpg", "in/deep/.f.jpg": "rocket.jpg",
	} {
		body, err := fs.ReadFile(samples.FS(), sample)
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, string(body))
	}
	write(t, "in/notes.txt", "no picture")
}

func write(t *testing.T, name, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files are all files below a directory, with their sizes where they are pictures.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(filepath.ToSlash(path), dir+"/")
		if info, err := resize.Probe(body); err == nil {
			line += fmt.Sprintf(" %s %d", info.Format, info.Width)
		}
		all = append(all, line)
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestTransformOfManyFiles(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string // below out
	}{
		{"-params w=20 in/a.jpg in/b.png out", []string{"a.jpg jpg 20", "b.png png 20"}},
		{"-params w=20 in out", []string{"a.jpg jpg 20", "b.png png 20"}},
		{"in/a.jpg -params w=20&fm=webp out/", []string{"a.webp webp 20"}},
		{"-params w=20&fm=webp in/a.jpg out/x.webp", []string{"x.webp webp 20"}},
		{"-params w=20 in/*.jpg out", []string{"a.jpg jpg 20"}},
		{"-params w=20 in/a.jpg in/*.jpg in/../in/a.jpg out", []string{"a.jpg jpg 20"}},
		{"-r -params w=20 in out", []string{"a.jpg jpg 20", "b.png png 20", "deep/c.JPG jpg 20", "deep/er/d.jpeg jpg 20"}},
		{"-r -params w=20 -name {name}.{ext} in out", []string{"a.jpg jpg 20", "b.png png 20", "c.JPG jpg 20", "d.jpeg jpg 20"}},
		{"-r -params w=20&fm=png -params w=10 in/deep out", []string{
			"c-w=10.JPG jpg 10", "c-w=20,fm=png.png png 20", "er/d-w=10.jpeg jpg 10", "er/d-w=20,fm=png.png png 20"}},
		{"-params w=20&q=50 -params w=10&q=60 -name {w}/{name}-{q}-{n}.{ext} in/a.jpg out", []string{"10/a-60-2.jpg jpg 10", "20/a-50-1.jpg jpg 20"}},
		{"-params= in/a.jpg out/", []string{"a.jpg jpg 640"}},
		{"-params fm=blurhash -params palette=css&fm=json -name {name}-{n}.{ext} in/a.jpg out", []string{"a-1.txt", "a-2.css"}},
		{"-params auto=compress&w=20 in/b.png out/", []string{"b.png png 20"}},
		{"-dialect imgix -params w=20&mark=/in/b.png&ixlib=x in/a.jpg out/", []string{"a.jpg jpg 20"}},
		{"-dialect cloudimage -params w=20&h=10&func=crop&force_format=webp in/a.jpg out/", []string{"a.webp webp 20"}},
		{"-params w=20&mark=/in/b.png in/a.jpg out/", []string{"a.jpg jpg 20"}},
		{"-jobs 1 -render-memory 1B -r -params w=20 -params w=30 -name {w}.{name}.{ext} in out", []string{
			"20.a.jpg jpg 20", "20.b.png png 20", "20.c.JPG jpg 20", "20.d.jpeg jpg 20", "30.a.jpg jpg 30", "30.b.png png 30", "30.c.JPG jpg 30", "30.d.jpeg jpg 30"}},
		{"-render-memory unlimited -params w=20 in/a.jpg out/", []string{"a.jpg jpg 20"}},
	} {
		photos(t)
		code, stdout, stderr := command(t, append([]string{"transform"}, strings.Fields(tt.args)...)...)
		if got := files(t, "out"); code != 0 || stderr != "" || !slices.Equal(got, tt.want) {
			t.Errorf("%s: exit %d, %s\ngot  %q\nwant %q", tt.args, code, stderr, got, tt.want)
		}
		if want := fmt.Sprintf("%d pictures made, ", len(tt.want)); !strings.Contains(tt.args, "x.webp") && !strings.HasPrefix(stdout, want) {
			t.Errorf("%s: %q, want %q", tt.args, stdout, want)
		}
	}
}

// What cannot be made is told a line each, and keeps nothing else from being made; what would write over something is not begun.
func TestTransformFailures(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		errs []string // a line each
		made int
	}{
		{"-params w=20 -params w=30 in/a.jpg in/bad.jpg in/none.jpg out", 1, []string{"in/bad.jpg: ", "in/none.jpg: ", "2 failed"}, 2},
		{"-params w=20 -params w=5&rect=900,900,5,5 -name {n}.{ext} in/a.jpg out", 1, []string{"in/a.jpg: ", "1 failed"}, 1},
		{"-params w=20 in/bad.jpg out/x.jpg", 1, []string{"in/bad.jpg: "}, 0},
		{"-params w=20 in/none.jpg out/x.jpg", 1, []string{"none.jpg"}, 0},
		{"-params w=20 in/none*.jpg out", 1, []string{"no file has a name like in/none*.jpg"}, 0},
		{"-params w=20 in/[ out", 1, []string{"is not a pattern"}, 0},
		{"-params w=20 empty out", 1, []string{"there are no images there"}, 0},
		{"-params w=abc in/a.jpg out", 1, []string{"w=abc"}, 0},
		{"-params wdith=20 in/a.jpg out", 1, []string{"wdith"}, 0},
		{"-params w=%zz in/a.jpg out", 1, []string{"not a query"}, 0},
		{"-dialect cloudimage -params fit=crop in/a.jpg out", 1, []string{"fit"}, 0},
		{"-params w=20 in/a.jpg in/b.png in", 1, []string{"would be written over"}, 0},
		{"-params fm=webp -name x.{ext} in out", 1, []string{"would be made of in/a.jpg and of in/b.png"}, 0},
		{"-params w=1 -params w=2 -name {name}.{ext} in/a.jpg out", 1, []string{"twice; -name with {n}"}, 0},
		{"-params fm=webp in/a.jpg out/x.png", 1, []string{"its name says png, and fm= says webp"}, 0},
		{"-params fm=webp -name {name}.png in/a.jpg out", 1, []string{"its name says png, and it is webp"}, 0},
		{"-params w=20&mark=/../up.png in/a.jpg out/x.jpg", 1, []string{"mark"}, 0},
		{"-params w=20&mark=/in/none.png in/a.jpg out/x.jpg", 1, []string{"none.png"}, 0},
		{"-max-pixels 10 -params w=20 in/a.jpg out/x.jpg", 1, []string{"of at most 10 pixels"}, 0},
	} {
		photos(t)
		write(t, "in/bad.jpg", "no picture")
		if strings.Contains(tt.args, " in out") {
			os.Remove("in/bad.jpg")
		}
		os.Mkdir("empty", 0o755)
		before := files(t, "in")
		code, _, stderr := command(t, append([]string{"transform"}, strings.Fields(tt.args)...)...)
		lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
		same := len(lines) == len(tt.errs)
		for i := range tt.errs {
			same = same && strings.HasPrefix(lines[i], "imagecdn: ") && strings.Contains(lines[i], tt.errs[i])
		}
		if code != tt.code || !same {
			t.Errorf("%s: exit %d, %q, want %d, %q", tt.args, code, lines, tt.code, tt.errs)
		}
		if got := files(t, "out"); len(got) != tt.made {
			t.Errorf("%s: made %q, want %d", tt.args, got, tt.made)
		}
		if got := files(t, "in"); !slices.Equal(got, before) {
			t.Errorf("%s: the originals are %q, were %q", tt.args, got, before)
		}
	}
	for _, args := range []string{
		"-params w=20", "-params w=20 in/a.jpg", "in/a.jpg out", "-jobs -1 -params w=20 in out", "-dialect other -params w=20 in out", "-params w=20 in in/a.jpg",
		"-params w=20 -name {nam}.jpg in out", "-params w=20 -name {name in out", "-params w=20 -name ../{name}.{ext} in out", "-params w=20 -name {dir} in out", "-render-memory x -params w=20 in out",
	} {
		photos(t)
		if code, _, stderr := command(t, append([]string{"transform"}, strings.Fields(args)...)...); code != 2 || stderr == "" {
			t.Errorf("%s: exit %d, %q", args, code, stderr)
		}
	}
}

func TestTransformUpdates(t *testing.T) {
	photos(t)
	make := func(says string) {
		t.Helper()
		code, stdout, stderr := command(t, "transform", "-update", "-params", "w=20&mark=/in/b.png", "-params", "w=10", "-name", "{name}-{w}.{ext}", "in/a.jpg", "out")
		if code != 0 || !strings.HasPrefix(stdout, says) {
			t.Errorf("exit %d, %q, %s; want %q", code, stdout, stderr, says)
		}
	}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	os.Chtimes("in/a.jpg", past, past)
	os.Chtimes("in/b.png", past, past)
	make("2 pictures made")
	make("0 pictures made, 0 B; 2 were there already")
	os.Remove("out/a-10.jpg")
	make("1 pictures made")
	os.Chtimes("in/b.png", future, future) // the watermark
	make("1 pictures made")
	os.Chtimes("in/a.jpg", future, future)
	make("2 pictures made")
}

// All pictures of a file share one decoding, and each is what it is by itself, to the eye.
func TestTransformSharesDecoding(t *testing.T) {
	photos(t)
	flags := transformFlags{recursive: true}
	var variants []*variant
	for i, query := range []string{"w=40", "w=320", "w=160&fm=webp", "w=80&fm=png"} {
		v, err := (&transformFlags{dialect: "native"}).variant(i+1, query)
		if err != nil {
			t.Fatal(err)
		}
		variants = append(variants, v)
	}
	tasks, failed, single, err := flags.tasks([]string{"in"}, "out", variants)
	if err != nil || len(failed) > 0 || single || len(tasks) != 4 {
		t.Fatal(tasks, failed, single, err)
	}
	p := newPress(2, 1<<30, resize.Renderer{})
	defer p.close()
	var out bytes.Buffer
	p.run(t.Context(), tasks, newScreen(&out, &out))
	if p.made != 16 || p.pyramids.Decodes() > 8 { // one begins anew where another comes late that wants more
		t.Errorf("%d pictures, %d decodings of 4 files", p.made, p.pyramids.Decodes())
	}
	if p.budget.taken != 0 || p.budget.working != 0 || p.pyramids.Bytes() != 0 {
		t.Errorf("%d bytes, %d slots and %d bytes of pixels are not given back", p.budget.taken, p.budget.working, p.pyramids.Bytes())
	}
}

// A file is as it was, or is the new one, whatever happens; and nothing is left beside it.
func TestInterruptedTransformLeavesNothing(t *testing.T) {
	photos(t)
	write(t, "out/a.jpg", "as it was")
	ended, end := context.WithCancel(t.Context())
	end()
	if err := writeWhole(ended, "out/a.jpg", []byte("new")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := files(t, "out"); !slices.Equal(got, []string{"a.jpg"}) {
		t.Errorf("%q", got)
	}
	if b, _ := os.ReadFile("out/a.jpg"); string(b) != "as it was" {
		t.Errorf("%q", b)
	}
	if runtime.GOOS != "windows" {
		os.Symlink("a.jpg", "out/link.jpg")
		if err := writeWhole(t.Context(), "out/link.jpg", []byte("new")); err != nil {
			t.Error(err)
		}
		if b, _ := os.ReadFile("out/a.jpg"); string(b) != "new" {
			t.Errorf("what a link leads to is %q", b)
		}
	}

	body, err := fs.ReadFile(samples.FS(), "retina.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		write(t, fmt.Sprintf("many/%d.jpg", i), string(body))
	}
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"transform", "-params", "w=1000&fm=png", "many", "made"}, &out, &errs)
	if code != 130 || !strings.HasPrefix(errs.String(), "imagecdn: interrupted: ") || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("exit %d, %q", code, errs.String())
	}
	for _, f := range files(t, "made") {
		if !strings.HasSuffix(f, ".png png 1000") {
			t.Errorf("%s is left", f)
		}
		name, _, _ := strings.Cut(f, " ")
		r, err := os.Open("made/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := image.Decode(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

// A budget never has more at work than slots, nor more memory in use than there is, but for one that goes alone; and all come to their turn.
func TestBudget(t *testing.T) {
	pyramids := resize.NewPyramids(nil)
	defer pyramids.Close()
	b := &budget{slots: 3, memory: 100, held: pyramids}
	var working, taken atomic.Int64
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i := range 200 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			leaveFile, err := b.wait(ctx, &want{bytes: r.Int64N(60)}, &b.files)
			if err != nil {
				t.Error(err)
				return
			}
			for n := range 3 {
				bytes, ctx := r.Int64N(150), ctx
				if r.IntN(4) == 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
					defer cancel()
				}
				leave, err := b.admit(ctx, bytes, n > 0)
				if err != nil {
					continue
				}
				now, in := working.Add(1), taken.Add(bytes)
				if now > 3 || now > 1 && in > 100 {
					t.Errorf("%d at work, with %d bytes", now, in)
				}
				time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
				taken.Add(-bytes)
				working.Add(-1)
				leave()
			}
			leaveFile()
		})
	}
	all.Wait()
	if b.working != 0 || b.taken != 0 || len(b.begun)+len(b.fresh)+len(b.files) > 0 {
		t.Errorf("left: %d at work, %d bytes, %d waiting", b.working, b.taken, len(b.begun)+len(b.fresh)+len(b.files))
	}
	if newPress(1, -1, resize.Renderer{}).budget.memory < math.MaxInt64/4 {
		t.Error("no limit is one")
	}
}

// Names of files are fit for every system, and stay below the folder.
func TestNamesOfPictures(t *testing.T) {
	for query, want := range map[string]string{
		"w=500&fm=webp": "w=500,fm=webp", "mark=/a/b.png": "mark=_a_b.png", "txt=..%2F": "txt=.._2F", `a\:*?"<>|b`: "a________b", strings.Repeat("x", 300): strings.Repeat("x", 100),
	} {
		if got := inName(query); got != want {
			t.Errorf("%q is %q, want %q", query, got, want)
		}
	}
	for _, format := range slices.Collect(maps.Values(formats)) {
		if formatOf("x."+extensions[format]) != format {
			t.Errorf("the extension of %s is %q", format, extensions[format])
		}
	}
}
