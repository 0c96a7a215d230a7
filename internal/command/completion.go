package command

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// shells are those that there is completion for, with how each is told of it.
var shells = map[string]func(io.Writer, []completed){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}

// complete prints a script that has a shell complete commands, flags, and what flags take.
func (p *program) complete(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags("completion", "bash|zsh|fish", stderr)
	if err := parse(f, args); err != nil {
		return err
	}
	write := shells[f.Arg(0)]
	if write == nil || f.NArg() != 1 {
		return usageError("completion takes bash, zsh or fish: source <(imagecdn completion bash)")
	}
	write(stdout, p.completions())
	return nil
}

// A completed is a command, and what may follow it.
type completed struct {
	name, about string
	commands    []completed // of a command that has its own, such as cache
	flags       []completedFlag
	words       argument
}

type completedFlag struct {
	name, about, value string // value is what it is called; empty for a flag that takes none
	takes              argument
	repeats            bool
}

// An argument is what a flag or a command takes.
type argument struct {
	files, dirs bool
	words       []string
}

// choices are the values of flags that have few.
var choices = map[string][]string{
	"purge -mode":        {"delete", "revalidate", "stale"},
	"serve -dialect":     {"native", "imgix", "cloudimage"},
	"transform -dialect": {"native", "imgix", "cloudimage"},
}

// words are what commands take beside flags, where that is known here.
var words = map[string]argument{
	"transform": {files: true}, "cache stats": {dirs: true}, "cache verify": {dirs: true}, "cache clear": {dirs: true},
	"completion": {words: []string{"bash", "zsh", "fish"}},
}

// completions are made of the flags that commands have, so that there is nothing to keep up with them.
func (p *program) completions() (all []completed) {
	for _, c := range p.commands() {
		one := completed{name: c.name, about: c.about}
		if c.name == "cache" {
			for _, name := range []string{"stats", "verify", "clear"} {
				one.commands = append(one.commands, completed{name: name, flags: p.completedFlags(c.name, name), words: words[c.name+" "+name]})
			}
		} else {
			one.flags, one.words = p.completedFlags(c.name), words[c.name]
		}
		all = append(all, one)
	}
	return all
}

func (p *program) completedFlags(command ...string) (all []completedFlag) {
	f := p.flagsOf(command...)
	if f == nil {
		return nil
	}
	f.VisitAll(func(fl *flag.Flag) {
		value, usage := flag.UnquoteUsage(fl)
		if b, ok := fl.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			value = ""
		}
		about, _, _ := strings.Cut(usage, ";")
		about, _, _ = strings.Cut(about, " (")
		one := completedFlag{name: fl.Name, about: cut(about, 80), value: value, repeats: strings.Contains(usage, "may be repeated")}
		one.takes = argument{files: value == "file", dirs: value == "directory", words: p.choices(strings.Join(command, " "), fl.Name)}
		all = append(all, one)
	})
	return all
}

// flagNames are the flags of c as they are typed.
func (c completed) flagNames() string {
	var all []string
	for _, f := range c.flags {
		all = append(all, "-"+f.name)
	}
	return strings.Join(all, " ")
}

func names(all []completed) string {
	var list []string
	for _, c := range all {
		list = append(list, c.name)
	}
	return strings.Join(list, " ")
}

// quoted is s in single quotes of bash and zsh.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func bashCompletion(w io.Writer, all []completed) {
	fmt.Fprint(w, `# Completion of imagecdn for bash: source <(imagecdn completion bash)
_imagecdn_words() { COMPREPLY=($(compgen -W "$1" -- "$2")); }
_imagecdn_files() {
	local IFS=$'\n'
	compopt -o filenames 2>/dev/null
	COMPREPLY=($(compgen "$1" -- "$2"))
}
_imagecdn() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} flags= takes=
	COMPREPLY=()
	# bash has -flag=value as three words.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	prev=${prev/#--/-}
	if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then
`)
	fmt.Fprintf(w, "\t\t_imagecdn_words %s \"$cur\"\n\t\treturn\n\tfi\n", quoted(names(all)))
	fmt.Fprint(w, "\t[[ $command == -* ]] && command=serve\n")
	for _, c := range all {
		if len(c.commands) > 0 {
			fmt.Fprintf(w, "\tif [[ $command == %s ]]; then\n\t\tif ((COMP_CWORD == 2)); then\n\t\t\t_imagecdn_words %s \"$cur\"\n\t\t\treturn\n\t\tfi\n\t\tcommand+=\" ${COMP_WORDS[2]}\"\n\tfi\n",
				c.name, quoted(names(c.commands)))
		}
	}
	fmt.Fprint(w, "\tcase \"$command $prev\" in\n")
	each(all, func(path string, c completed) {
		for _, f := range c.flags {
			pattern := quoted(path + " -" + f.name)
			switch {
			case f.value == "":
			case len(f.takes.words) > 0:
				fmt.Fprintf(w, "\t%s) _imagecdn_words %s \"$cur\"; return ;;\n", pattern, quoted(strings.Join(f.takes.words, " ")))
			case f.takes.files:
				fmt.Fprintf(w, "\t%s) _imagecdn_files -f \"$cur\"; return ;;\n", pattern)
			case f.takes.dirs:
				fmt.Fprintf(w, "\t%s) _imagecdn_files -d \"$cur\"; return ;;\n", pattern)
			default:
				fmt.Fprintf(w, "\t%s) return ;;\n", pattern)
			}
		}
	})
	fmt.Fprint(w, "\tesac\n\tcase $command in\n")
	each(all, func(path string, c completed) {
		fmt.Fprintf(w, "\t%s)\n\t\tflags=%s\n", quoted(path), quoted(c.flagNames()))
		switch {
		case len(c.words.words) > 0:
			fmt.Fprintf(w, "\t\ttakes=%s\n", quoted(strings.Join(c.words.words, " ")))
		case c.words.files:
			fmt.Fprint(w, "\t\ttakes=-f\n")
		case c.words.dirs:
			fmt.Fprint(w, "\t\ttakes=-d\n")
		}
		fmt.Fprint(w, "\t\t;;\n")
	})
	fmt.Fprint(w, `	esac
	case $cur in
	--*) _imagecdn_words "${flags//-/--}" "$cur" ;;
	-*) _imagecdn_words "$flags" "$cur" ;;
	*)
		case $takes in
		'') ;;
		-*) _imagecdn_files "$takes" "$cur" ;;
		*) _imagecdn_words "$takes" "$cur" ;;
		esac
		;;
	esac
}
complete -F _imagecdn imagecdn
`)
}

// each calls do with every command that runs.
func each(all []completed, do func(path string, c completed)) {
	for _, c := range all {
		if len(c.commands) == 0 {
			do(c.name, c)
		}
		for _, sub := range c.commands {
			do(c.name+" "+sub.name, sub)
		}
	}
}

func zshCompletion(w io.Writer, all []completed) {
	fmt.Fprint(w, "#compdef imagecdn\n# Completion of imagecdn for zsh: source <(imagecdn completion zsh), after compinit; or a file _imagecdn in a directory of $fpath\n"+
		"_imagecdn() {\n\tlocal command=$words[2]\n\tlocal -a list\n\tif (( CURRENT == 2 )) && [[ $command != -* ]]; then\n\t\tlist=(\n")
	escaped := strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`)
	for _, c := range all {
		fmt.Fprintf(w, "\t\t\t%s\n", quoted(c.name+":"+strings.ReplaceAll(c.about, ":", `\:`)))
	}
	fmt.Fprint(w, "\t\t)\n\t\t_describe command list\n\t\treturn\n\tfi\n\tif [[ $command == -* ]]; then\n\t\tcommand=serve\n\telse\n\t\tshift words\n\t\t(( CURRENT-- ))\n\tfi\n")
	for _, c := range all {
		if len(c.commands) > 0 {
			fmt.Fprintf(w, "\tif [[ $command == %s ]]; then\n\t\tif (( CURRENT == 2 )); then\n\t\t\tlist=(%s)\n\t\t\t_describe command list\n\t\t\treturn\n\t\tfi\n"+
				"\t\tcommand+=\" $words[2]\"\n\t\tshift words\n\t\t(( CURRENT-- ))\n\tfi\n", c.name, names(c.commands))
		}
	}
	fmt.Fprint(w, "\tcase $command in\n")
	action := func(t argument) string {
		switch {
		case len(t.words) > 0:
			return "(" + strings.Join(t.words, " ") + ")"
		case t.files:
			return "_files"
		case t.dirs:
			return "_files -/"
		}
		return " "
	}
	each(all, func(path string, c completed) {
		if len(c.flags) == 0 && action(c.words) == " " {
			return
		}
		fmt.Fprintf(w, "\t%s)\n\t\t_arguments", quoted(path))
		for _, f := range c.flags {
			spec := "-" + f.name + "[" + escaped.Replace(f.about) + "]"
			if f.repeats {
				spec = "*" + spec
			}
			if f.value != "" {
				spec += ":" + escaped.Replace(f.value) + ":" + action(f.takes)
			}
			fmt.Fprintf(w, " \\\n\t\t\t%s", quoted(spec))
		}
		if a := action(c.words); a != " " {
			fmt.Fprintf(w, " \\\n\t\t\t%s", quoted("*:"+c.name+":"+a))
		}
		fmt.Fprint(w, "\n\t\t;;\n")
	})
	fmt.Fprint(w, "\tesac\n}\nif [[ $funcstack[1] == _imagecdn ]]; then\n\t_imagecdn \"$@\"\nelse\n\tcompdef _imagecdn imagecdn\nfi\n")
}

func fishCompletion(w io.Writer, all []completed) {
	fmt.Fprint(w, "# Completion of imagecdn for fish: imagecdn completion fish | source\ncomplete -c imagecdn -f\n")
	escaped := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	text := func(s string) string { return "'" + escaped.Replace(s) + "'" }
	takesOf := func(t argument) string {
		switch {
		case len(t.words) > 0:
			return " -x -a " + text(strings.Join(t.words, " "))
		case t.files:
			return " -r -F"
		case t.dirs:
			return " -x -a '(__fish_complete_directories)'"
		}
		return " -x"
	}
	for _, c := range all {
		fmt.Fprintf(w, "complete -c imagecdn -n __fish_use_subcommand -a %s -d %s\n", c.name, text(c.about))
		for _, sub := range c.commands {
			fmt.Fprintf(w, "complete -c imagecdn -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from %s' -a %s\n", c.name, names(c.commands), sub.name)
		}
	}
	each(all, func(path string, c completed) {
		when := "__fish_seen_subcommand_from " + strings.ReplaceAll(path, " ", "; and __fish_seen_subcommand_from ")
		if c.name == "serve" { // without a command it serves
			others := slices.DeleteFunc(strings.Fields(names(all)), func(name string) bool { return name == "serve" })
			when = "not __fish_seen_subcommand_from " + strings.Join(others, " ")
		}
		for _, f := range c.flags {
			fmt.Fprintf(w, "complete -c imagecdn -n %s -o %s -d %s", text(when), f.name, text(f.about))
			if f.value != "" {
				fmt.Fprint(w, takesOf(f.takes))
			}
			fmt.Fprintln(w)
		}
		switch {
		case len(c.words.words) > 0:
			fmt.Fprintf(w, "complete -c imagecdn -n %s -a %s\n", text(when), text(strings.Join(c.words.words, " ")))
		case c.words.files:
			fmt.Fprintf(w, "complete -c imagecdn -n %s -F\n", text(when))
		case c.words.dirs:
			fmt.Fprintf(w, "complete -c imagecdn -n %s -a '(__fish_complete_directories)'\n", text(when))
		}
	})
}
