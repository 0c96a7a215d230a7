package imagecdn_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every claim of SECURITY.md names tests, and all of them exist.
func TestSecurityClaimsHaveTests(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	there := make(map[string]bool)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| claim | default | tests |\n|---|---|---|\n")
	table, _, ok := strings.Cut(table, "\n\n")
	if !ok || strings.Count(table, "\n") < 15 {
		t.Fatalf("the table of claims is not there: %.200q", table)
	}
	for row := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		if len(cells) != 3 {
			t.Errorf("%d cells in %q", len(cells), row)
			continue
		}
		names := regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(cells[2], -1)
		if len(names) == 0 {
			t.Errorf("no test for %q", cells[0])
		}
		for _, name := range names {
			if !there[name[1]] {
				t.Errorf("there is no test %s, for %q", name[1], cells[0])
			}
		}
	}
}
