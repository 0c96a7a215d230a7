package middleware_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imagecdn/imagecdn/middleware"
)

// Every program in docs/signing.md prints the text that follows it, and what it prints is let through.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../docs/signing.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	type program struct{ language, code string }
	var programs []program
	texts := 0
	for _, fence := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		language, code := fence[1], fence[2]
		switch language {
		case "go": // which the examples run
			for line := range strings.Lines(code) {
				if !strings.Contains(string(examples), "\t"+strings.TrimSpace(line)+"\n") {
					t.Errorf("no example has the line\n%s", line)
				}
			}
		case "sh", "js":
			programs = append(programs, program{language, code})
		case "text":
			texts++
			for _, p := range programs {
				if got := runProgram(t, p.language, p.code); got != "" && got != code {
					t.Errorf("%s\nprints %swant   %s", p.code, got, code)
				}
			}
			programs = nil
			if !strings.Contains(string(examples), "// "+code) {
				t.Errorf("no example prints %s", code)
			}
			all := middleware.AnyOf{
				&middleware.Signature{Keys: [][]byte{[]byte("secret-key-of-32-bytes-0123456789")}},
				&middleware.ImgixSignature{Tokens: []string{"FOO123bar"}},
				&middleware.CloudimageSignature{Salts: []string{"salt"}},
				&middleware.CloudimageSeal{Salts: []string{"salt"}},
			}
			if got := get(all.Handler(images), strings.TrimSpace(code)); got.StatusCode != 200 {
				t.Errorf("%s is answered %d", code, got.StatusCode)
			}
		}
	}
	if texts != 4 || len(programs) != 0 {
		t.Errorf("%d programs' outputs are shown, and %d programs after the last", texts, len(programs))
	}
}

// runProgram returns what a program prints, or nothing where there is no interpreter for it.
func runProgram(t *testing.T, language, code string) string {
	t.Helper()
	command := []string{"sh", "-c", code}
	if language == "js" {
		command = []string{"node", "-e", code}
	}
	for _, needed := range []string{command[0], map[string]string{"sh": "openssl", "js": "node"}[language]} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Log("not run: ", err)
			return ""
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		t.Errorf("%s\n%v", code, err)
	}
	return string(out)
}
