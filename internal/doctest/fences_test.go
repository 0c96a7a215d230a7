// Package doctest holds README.md and docs to what they say: Go in them is type-checked, commands are run or their flags checked, and
// links lead somewhere. What cannot be run here is on a list, with the reason.
package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// A page is a file of documentation.
type page struct {
	name   string // from the root, with slashes
	text   string
	fences []fence
}

// A fence is a block of code in a page.
type fence struct {
	page     string
	line     int // of its first line of code, from 1
	language string
	code     string

	// from is the file that has the code, too, where the comment <!-- from FILE --> is on the line above the fence.
	from string
}

// pages returns README.md and all of docs, and what else has commands for readers.
func pages(t *testing.T) []page {
	t.Helper()
	names, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(names) < 10 {
		t.Fatalf("docs has %d pages, %v", len(names), err)
	}
	for _, name := range []string{"README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "examples/README.md"} {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			names = append(names, filepath.Join(root, name))
		}
	}
	slices.Sort(names)
	all := make([]page, 0, len(names))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p := page{name: filepath.ToSlash(strings.TrimPrefix(name, filepath.FromSlash(root+"/"))), text: strings.ReplaceAll(string(b), "\r\n", "\n")}
		p.name = strings.TrimPrefix(p.name, root+"/")
		p.fences = fencesOf(p.name, p.text)
		all = append(all, p)
	}
	return all
}

var fromFile = regexp.MustCompile(`^<!-- from (\S+) -->$`)

func fencesOf(name, text string) (all []fence) {
	var open *fence
	above, code := "", []string(nil)
	for i, line := range strings.Split(text, "\n") {
		language, is := strings.CutPrefix(line, "```")
		switch {
		case open != nil && is:
			open.code = strings.Join(code, "\n") + "\n"
			all = append(all, *open)
			open, code = nil, nil
		case open != nil:
			code = append(code, line)
		case is:
			open = &fence{page: name, line: i + 2, language: language}
			if m := fromFile.FindStringSubmatch(above); m != nil {
				open.from = m[1]
			}
		}
		above = line
	}
	if open != nil {
		all = append(all, fence{page: name, line: open.line, language: "never closed"})
	}
	return all
}

// checked are the languages of fences, and what becomes of them.
var checked = map[string]string{
	"go":         "TestGo type-checks it",
	"sh":         "TestCommands",
	"console":    "TestCommands",
	"js":         "middleware.TestDocumentation runs those of signing.md, which has them all",
	"json":       "TestJSON parses it",
	"caddyfile":  "TestCaddyfiles; and the nested module examples, where there is a caddy",
	"toml":       "TestSettings",
	"yaml":       "nobody here: configuration of other programs",
	"ini":        "nobody here: configuration of other programs",
	"dockerfile": "TestContainerfile of internal/command",
	"text":       "nobody runs text",
	"":           "TestPlainFences: neither commands nor Go",
}

// Every fence has a language that something looks at.
func TestLanguages(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if _, ok := checked[f.language]; !ok {
				t.Errorf("%s:%d: nothing checks a fence of %q; package doctest is the place for it", f.page, f.line, f.language)
			}
			if f.language == "js" && f.page != "docs/signing.md" {
				t.Errorf("%s:%d: nothing runs the JavaScript of this page", f.page, f.line)
			}
		}
	}
}

// What a fence says it is from has it, but for the indentation.
func TestFencesAreFromTheirFiles(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if f.from == "" {
				continue
			}
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f.from)))
			if err != nil {
				t.Errorf("%s:%d: %v", f.page, f.line, err)
				continue
			}
			if !strings.Contains("\n"+unindented(string(b)), "\n"+unindented(f.code)) {
				t.Errorf("%s:%d: %s does not have\n%s", f.page, f.line, f.from, f.code)
			}
		}
	}
}

// unindented returns text without tabs and spaces at the beginnings of lines.
func unindented(text string) string {
	return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(strings.ReplaceAll(text, "\r\n", "\n"), "")
}

// A fence without a language has neither commands nor Go in it, which would be checked by nobody: synopses and diagrams.
func TestPlainFences(t *testing.T) {
	suspicious := regexp.MustCompile(`(?m)^(\$ |\./imagecdn |curl |package |func |import |h, err)`)
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if line := suspicious.FindString(f.code); f.language == "" && line != "" {
				t.Errorf("%s:%d: a fence without a language has a line that begins with %q", f.page, f.line, line)
			}
		}
	}
}
