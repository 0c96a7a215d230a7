package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	makeNamed   = regexp.MustCompile("(?m)^(?:[A-Z_]+=\\S+ )*make ([a-z][a-z0-9-]*)")
	scriptNamed = regexp.MustCompile(`\bscripts/[a-z0-9-]+\.sh\b`)
	goTest      = regexp.MustCompile(`(?m)^go (?:-C (\S+) )?test( .*)`)
	inline      = regexp.MustCompile("`([^`\n]+)`")
	word        = regexp.MustCompile(`'[^']*'|\S+`)
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)
)

// What pages tell readers to run, in the midst of a sentence too, is there: targets of the Makefile, scripts, and tests and benchmarks by
// the patterns of -run and -bench.
func TestWhatIsNamedIsThere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range pages(t) {
		var code strings.Builder
		for _, m := range inline.FindAllStringSubmatch(withoutFences(p.text), -1) {
			code.WriteString(m[1] + "\n")
		}
		for _, f := range p.fences {
			code.WriteString(f.code)
		}
		for _, m := range makeNamed.FindAllStringSubmatch(code.String(), -1) {
			n++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s: the Makefile has no target %s", p.name, m[1])
			}
		}
		for _, script := range scriptNamed.FindAllString(p.text, -1) {
			n++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(script))); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
		for _, m := range goTest.FindAllStringSubmatch(code.String(), -1) {
			n++
			if err := testsNamed(m[1], m[2]); err != "" {
				t.Errorf("%s: go test%s: %s", p.name, m[2], err)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d names in all", n)
	}
}

// testsNamed says what is wrong with the words of a go test in a directory of the repository.
func testsNamed(dir, words string) string {
	words, _, _ = strings.Cut(words, " #")
	patterns, packages := map[string]string{}, []string(nil)
	all := word.FindAllString(words, -1)
	for i := 0; i < len(all); i++ {
		switch w := strings.Trim(all[i], "'"); {
		case (w == "-run" || w == "-bench" || w == "-fuzz") && i+1 < len(all):
			i++
			patterns[w] = strings.Trim(all[i], "'")
		case w == "." || strings.HasPrefix(w, "./"):
			packages = append(packages, w)
		}
	}
	if len(packages) == 0 {
		packages = []string{"."}
	}
	var funcs []string
	for _, pkg := range packages {
		pkg, below := strings.CutSuffix(pkg, "/...")
		base := filepath.Join(root, filepath.FromSlash(dir), filepath.FromSlash(pkg))
		if _, err := os.Stat(base); err != nil {
			return err.Error()
		}
		files, _ := filepath.Glob(filepath.Join(base, "*_test.go"))
		if below {
			for _, depth := range []string{"*", "*/*", "*/*/*"} {
				more, _ := filepath.Glob(filepath.Join(base, depth, "*_test.go"))
				files = append(files, more...)
			}
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				return err.Error()
			}
			for _, m := range testFunc.FindAllSubmatch(b, -1) {
				funcs = append(funcs, string(m[1]))
			}
		}
	}
	for flag, pattern := range patterns {
		if flag == "-run" && (pattern == "^$" || pattern == "XX" || pattern == "xxx") {
			continue // none, on purpose
		}
		for _, one := range strings.Split(pattern, "|") {
			one, _, _ = strings.Cut(one, "/")
			re, err := regexp.Compile(one)
			if err != nil {
				return err.Error()
			}
			found := false
			for _, f := range funcs {
				found = found || re.MatchString(f) && strings.HasPrefix(f, "Benchmark") == (flag == "-bench")
			}
			if !found {
				return "nothing there is named " + one
			}
		}
	}
	return ""
}
