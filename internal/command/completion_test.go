package command

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shellCompletion asks a real shell what comes after words, of which the last is being typed.
var shellCompletion = map[string]string{
	"bash": `source "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _imagecdn; printf '%s\n' "${COMPREPLY[@]}"; true`,
	"fish": `source $SCRIPT; complete -C (string join -- ' ' $argv) | string replace -r '\t.*' ''; true`,
	// A zsh in a terminal, whose compadd writes down what it is given.
	"zsh": `
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'PS1=; autoload -Uz compinit; compinit -u -d "$SCRIPT.dump"; zmodload zsh/zutil
compadd () {
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
	local -a hits
	builtin compadd -A hits "$@"
	print -rl -- $hits >> "$FOUND"
	builtin compadd "$@"
}
leave () { print -r -- "(the end)" >> "$FOUND"; exit }
comppostfuncs=(leave)
zstyle ":completion:*" insert-tab false
bindkey "^I" complete-word
source "$SCRIPT"; print ready'
zpty -r inner line '*ready*'
zpty -w -n inner "${(j: :)@}"$'\t'
for i in {1..100}; do
	grep -qx '(the end)' "$FOUND" 2>/dev/null && break
	zpty -r -t inner line
	sleep 0.02
done
zpty -d inner
grep -vx '(the end)' "$FOUND"; true`,
}

// askShell returns what a shell offers after words.
func askShell(t *testing.T, shell, script, dir string, words ...string) []string {
	t.Helper()
	args := map[string][]string{
		"bash": {"--norc", "--noprofile", "-c", shellCompletion["bash"], "bash"}, "zsh": {"-f", "-c", shellCompletion["zsh"], "zsh"},
		"fish": {"--no-config", "-c", shellCompletion["fish"], "--"},
	}[shell]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, append(args, words...)...)
	cmd.Dir = dir
	found := filepath.Join(t.TempDir(), "found")
	cmd.Env = append(os.Environ(), "SCRIPT="+script, "FOUND="+found, "HOME="+t.TempDir(), "TERM=dumb")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s, %q: %v, %s", shell, words, err, stderr.Bytes())
	}
	got := strings.Fields(string(out))
	for i := range got {
		got[i] = strings.TrimSuffix(got[i], "/") // of directories
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// Real shells offer what there is: every command, every flag, and what flags and commands take.
func TestCompletionInShells(t *testing.T) {
	flags := func(command ...string) (all []string) {
		new(program).flagsOf(command...).VisitAll(func(f *flag.Flag) { all = append(all, "-"+f.Name) })
		return all
	}
	var names []string
	for _, c := range new(program).commands() {
		names = append(names, c.name)
	}
	slices.Sort(names)
	tests := []struct {
		words string // of which the last is being typed, after the last space
		want  []string
	}{
		{"imagecdn ", names},
		{"imagecdn pu", []string{"purge"}},
		{"imagecdn cache ", []string{"clear", "stats", "verify"}},
		{"imagecdn completion ", []string{"bash", "fish", "zsh"}},
		{"imagecdn serve -", flags("serve")},
		{"imagecdn purge -", flags("purge")},
		{"imagecdn transform -", flags("transform")},
		{"imagecdn cache verify -", flags("cache", "verify")},
		{"imagecdn -max-v", []string{"-max-variants", "-max-versions"}},
		{"imagecdn purge -watch -mode ", []string{"delete", "revalidate", "stale"}},
		{"imagecdn serve -listen x -dialect im", []string{"imgix"}},
		{"imagecdn serve -config ", []string{"a.toml", "folder"}},
		{"imagecdn serve -cache ", []string{"folder"}},
		{"imagecdn serve -listen ", nil},
		{"imagecdn transform -params w=5 a", []string{"a.toml"}},
		{"imagecdn cache stats fo", []string{"folder"}},
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.toml"), "")
	os.Mkdir(filepath.Join(dir, "folder"), 0o755)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(err)
			}
			t.Parallel()
			code, stdout, stderr := command(t, "completion", shell)
			if code != 0 || stderr != "" {
				t.Fatal(code, stderr)
			}
			script := filepath.Join(t.TempDir(), "script")
			write(t, script, stdout)
			for i, tt := range tests {
				if testing.Short() && i%3 > 0 {
					continue
				}
				words := strings.Split(tt.words, " ")
				got := askShell(t, shell, script, dir, words...)
				if !slices.Equal(got, tt.want) {
					t.Errorf("%q is completed by\n%q, want\n%q", tt.words, got, tt.want)
				}
			}
			if shell == "bash" {
				for words, want := range map[string][]string{
					"imagecdn|purge|-mode|=|":    {"delete", "revalidate", "stale"},
					"imagecdn|purge|-mode|=|re":  {"revalidate"},
					"imagecdn|purge|--mode|re":   {"revalidate"},
					"imagecdn|purge|--wa":        {"--watch"},
					"imagecdn|cache|verify|--fi": {"--fix"},
				} {
					if got := askShell(t, shell, script, dir, strings.Split(words, "|")...); !slices.Equal(got, want) {
						t.Errorf("%q is completed by %q, want %q", words, got, want)
					}
				}
			}
		})
	}
}

// What is listed by hand beside the flags is there, and is taken.
func TestCompletionListsWhatThereIs(t *testing.T) {
	for path, values := range choices {
		command, name, _ := strings.Cut(path, " -")
		f := new(program).flagsOf(command).Lookup(name)
		if f == nil {
			t.Errorf("there is no %s", path)
			continue
		}
		for _, v := range values {
			if !strings.Contains(f.Usage, v) {
				t.Errorf("%s: %q is not in the help text %q", path, v, f.Usage)
			}
		}
	}
	for path := range words {
		if new(program).flagsOf(strings.Fields(path)...) == nil {
			t.Errorf("there is no command %s", path)
		}
	}
	for _, shell := range []string{"", "tcsh", "bash zsh"} {
		if code, _, stderr := command(t, append([]string{"completion"}, strings.Fields(shell)...)...); code != 2 || !strings.Contains(stderr, "bash, zsh or fish") {
			t.Errorf("completion %s: exit %d, %q", shell, code, stderr)
		}
	}
	for _, c := range new(program).commands() {
		if !strings.Contains(synopsis, "imagecdn "+c.name) && c.name != "help" {
			t.Errorf("the usage has no %s", c.name)
		}
	}
}
