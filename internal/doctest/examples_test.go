package doctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suites are packages for tests alone: what they do takes a *testing.T, which an example has not got. Theirs is compiled and not run.
var suites = []string{"cache/cachetest", "origin/origintest", "purge/purgetest"}

// Every package that others may import says what it is, and has an example that runs.
func TestEveryPackageHasAnExample(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not there to list packages: ", err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Dir,Doc,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	n := 0
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Name, Dir, Doc string
			TestGoFiles, XTestGoFiles  []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if p.Name == "main" || strings.HasPrefix(name, "internal/") {
			continue
		}
		n++
		if p.Doc == "" {
			t.Errorf("package %s has no comment", p.ImportPath)
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		examples := doc.Examples(files...)
		runs := slices.ContainsFunc(examples, func(e *doc.Example) bool { return e.Output != "" || e.EmptyOutput })
		switch {
		case len(examples) == 0:
			t.Errorf("package %s has no example", p.ImportPath)
		case !runs && !slices.Contains(suites, name):
			t.Errorf("package %s has no example with output, so none that runs", p.ImportPath)
		}
	}
	if n < 20 {
		t.Errorf("%d packages in all", n)
	}
}
