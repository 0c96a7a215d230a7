package doctest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkTo  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

// Links within the repository lead to files that are there, and to headings that are in them.
func TestLinks(t *testing.T) {
	for _, p := range pages(t) {
		for _, m := range linkTo.FindAllStringSubmatch(withoutFences(p.text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			name := filepath.Join(root, filepath.FromSlash(p.name))
			if file != "" {
				name = filepath.Join(filepath.Dir(name), filepath.FromSlash(file))
			}
			info, err := os.Stat(name)
			if err != nil {
				t.Errorf("%s: the link to %s leads nowhere", p.name, m[1])
				continue
			}
			if anchor == "" || info.IsDir() {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !anchors(string(b))[anchor] {
				t.Errorf("%s: the link to %s: there is no such heading", p.name, m[1])
			}
		}
	}
}

// anchors returns the names of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(withoutFences(strings.ReplaceAll(text, "\r\n", "\n")), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N}\p{M} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), "")
		all[strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

func withoutFences(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
}

// Every page of docs is linked to from README.md.
func TestEveryPageIsListed(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages(t) {
		if strings.HasPrefix(p.name, "docs/") && !strings.Contains(string(readme), "("+p.name) {
			t.Errorf("README.md does not link to %s", p.name)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if f.language == "json" && !json.Valid([]byte(f.code)) {
				t.Errorf("%s:%d: not JSON:\n%s", f.page, f.line, f.code)
			}
		}
	}
}

// A Caddyfile is that of the examples, which their module has a caddy read.
func TestCaddyfiles(t *testing.T) {
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if f.language == "caddyfile" && f.from != "examples/caddy/Caddyfile" {
				t.Errorf("%s:%d: a Caddyfile is to be from examples/caddy/Caddyfile", f.page, f.line)
			}
		}
	}
}
