package doctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/imagecdn/imagecdn"

// given are names that fragments use and do not declare: what any program that has the fragment has around it.
var given = map[string]string{
	"ctx":          "context.Context",
	"w":            "http.ResponseWriter",
	"r":            "*http.Request",
	"h":            "*imagecdn.Handler",
	"admin":        "*imagecdn.AdminOptions",
	"mux":          "*http.ServeMux",
	"sources":      "imagecdn.Sources",
	"embedded":     "fs.FS",
	"signedBucket": "http.RoundTripper",
	"images":       "http.Handler",
	"sign":         "*middleware.Signature",
	"sizes":        "*middleware.Allow",
	"key":          "[]byte",
	"zone":         "string",
	"token":        "string",
}

// isNested reports whether a file is in a module of its own.
func isNested(file string) bool {
	for dir := path.Dir(file); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// Every Go fence type-checks: whole files, declarations, statements, and single expressions, with the imports that they need. What a
// fragment leaves unused may be used by what follows it in a program.
func TestGo(t *testing.T) {
	imp := newImporter(t)
	n := 0
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if f.language != "go" {
				continue
			}
			n++
			if isNested(f.from) {
				continue // a module of its own compiles it, and TestFencesAreFromTheirFiles sees that it is the same
			}
			if err := check(imp, f); err != nil {
				t.Errorf("%v\n%s", err, f.code)
			}
		}
	}
	if n < 15 {
		t.Errorf("there are %d Go fences in all", n)
	}
}

// Mistakes in fragments are found.
func TestCheckFindsMistakes(t *testing.T) {
	imp := newImporter(t)
	for _, tt := range []struct{ code, want string }{
		{"h.Purge(ctx, []string{\"/a/b.jpg\"}, nil)", ""},
		{"imagecdn.Sources{\"a\": imagecdn.Dir(\".\")}", ""},
		{"import _ \"github.com/imagecdn/imagecdn/resize/avif\"\n\nfinder, err := faces.New(nil)", ""},
		{"func f() error { return nil }", ""},
		{"package main\n\nfunc main() {}", ""},
		{"return err", "undefined: err"},
		{"h.Purge(ctx, \"/a/b.jpg\", nil)", "cannot use"},
		{"&imagecdn.Options{Widths: 3}", "unknown field"},
		{"\n\nh.Forget()", "page.md:9: h.Forget undefined"},
		{"x := := 3", "expected"},
		{"package main\n\nimport \"example.com/none\"", "could not import"},
		{"nosuch.New()", "undefined: nosuch"},
	} {
		err := check(imp, fence{page: "page.md", line: 7, code: tt.code})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s\n%v, not %q", tt.code, err, tt.want)
		}
	}
}

// A packageImporter imports packages of the module, what they import, and the standard library.
type packageImporter struct {
	types.Importer
	fset  *token.FileSet
	paths map[string]string // of packages by their name, those that fragments need not import
}

func newImporter(t *testing.T) *packageImporter {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not there to tell what packages export: ", err)
	}
	std := []string{
		"bytes", "context", "crypto/rand", "embed", "encoding/json", "errors", "flag", "fmt", "html/template", "io", "io/fs", "log", "log/slog", "net",
		"net/http", "net/http/httptest", "net/http/httputil", "net/url", "os", "os/signal", "runtime", "runtime/debug", "strings", "sync",
		"syscall", "testing", "time",
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-export", "-json=ImportPath,Name,Export,Module", "./..."}, std...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	exports := make(map[string]string)
	imp := &packageImporter{fset: token.NewFileSet(), paths: make(map[string]string)}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Export string
			Module                   *struct{ Path string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		own := p.Module != nil && p.Module.Path == module && !strings.Contains(p.ImportPath, "/internal/")
		if p.Name != "main" && (own || slices.Contains(std, p.ImportPath)) && p.ImportPath != "crypto/rand" {
			imp.paths[p.Name] = p.ImportPath
		}
	}
	imp.Importer = importer.ForCompiler(imp.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("there is no package %s", path)
		}
		return os.Open(exports[path])
	})
	return imp
}

var importLine = regexp.MustCompile(`(?m)^import (\S+ )?"[^"]+".*\n`)

// check type-checks a fence: a file, or else declarations, an expression or statements. Errors have the line of the page.
func check(imp *packageImporter, f fence) error {
	at := fmt.Sprintf("//line %s:%d\n", f.page, f.line)
	if strings.HasPrefix(f.code, "package ") {
		file, err := parser.ParseFile(imp.fset, "", at+f.code, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		return typeCheck(imp, file)
	}
	imports := strings.Join(importLine.FindAllString(f.code, -1), "")
	code := importLine.ReplaceAllString(f.code, "\n") // so that lines keep their numbers
	form := "%s%s%s"
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, parser.SkipObjectResolution); err != nil {
		form = "func _(%s) (_ error) {\n{\n%s%s\n}\npanic(0)\n}"
		if e, err := parser.ParseExpr(code); err == nil {
			if u, ok := e.(*ast.UnaryExpr); ok {
				e = u.X
			}
			if _, ok := e.(*ast.CompositeLit); ok {
				form = "func _(%s) {\nvar _ any =\n%s%s\n}"
			}
		}
	}
	parameters := ""
	for name, typ := range given {
		if form != "%s%s%s" && regexp.MustCompile(`\b`+name+`\b`).MatchString(code) {
			parameters += name + " " + typ + ", "
		}
	}
	src := fmt.Sprintf(form, parameters, at, code)
	for name, path := range imp.paths {
		if regexp.MustCompile(`\b`+name+`\.[A-Z]`).MatchString(src) && !strings.Contains(imports, `"`+path+`"`) {
			imports += fmt.Sprintf("import %q\n", path)
		}
	}
	file, err := parser.ParseFile(imp.fset, "", "package p\n"+imports+src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	return typeCheck(imp, file)
}

// typeCheck returns what keeps a file from compiling, but for what is declared or imported and not used.
func typeCheck(imp *packageImporter, file *ast.File) error {
	var all []error
	conf := types.Config{Importer: imp, Error: func(err error) {
		if e := new(types.Error); errors.As(err, e) && e.Soft {
			return
		}
		all = append(all, err)
	}}
	_, _ = conf.Check("fence", imp.fset, []*ast.File{file}, nil)
	return errors.Join(all...)
}
