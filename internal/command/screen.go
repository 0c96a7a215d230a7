package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// A screen shows how work goes on: on a terminal by a line that is written over, elsewhere by lines alone. It writes no escape
// sequences, so that every terminal is good enough. It may be used by many goroutines.
type screen struct {
	out, errs io.Writer
	columns   func() int // of the terminal; nil where out is none

	mu    sync.Mutex // guards shown, and is held while anything is written
	shown int        // columns of the line that is shown and not ended
}

// newScreen returns a screen on out, which shares a terminal, where it is one, with errs.
func newScreen(out, errs io.Writer) *screen {
	s := &screen{out: out, errs: errs}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s.columns = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 20 {
				return 80
			}
			return width
		}
	}
	return s
}

// live reports whether show shows anything.
func (s *screen) live() bool { return s.columns != nil }

// show writes a line over the one that is shown. Where there is no terminal it does nothing.
func (s *screen) show(line string) {
	if !s.live() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	line = cut(printable(line), s.columns()-1) // in the last column terminals begin the next line
	width := utf8.RuneCountInString(line)
	fmt.Fprint(s.out, "\r", line, strings.Repeat(" ", max(s.shown-width, 0)))
	s.shown = width
}

// end ends the line that is shown: it stays.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown > 0 {
		fmt.Fprintln(s.out)
		s.shown = 0
	}
}

// clear takes the line away that is shown.
func (s *screen) clear() {
	if s.shown > 0 {
		fmt.Fprint(s.out, "\r", strings.Repeat(" ", s.shown), "\r")
		s.shown = 0
	}
}

// say writes a line of its own, in place of the one that is shown.
func (s *screen) say(format string, args ...any) { s.write(s.out, format, args...) }

// complain is say of what failed.
func (s *screen) complain(format string, args ...any) { s.write(s.errs, format, args...) }

func (s *screen) write(w io.Writer, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintln(w, printable(fmt.Sprintf(format, args...)))
}

// bar is a bar of progress, 22 columns wide.
func bar(done, of int) string {
	const width = 20
	filled := 0
	if of > 0 {
		filled = min(max(done, 0)*width/of, width)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", width-filled) + "]"
}

// printable is s without what could move a terminal's cursor, such as a file's name may have.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// cut shortens s to so many runes.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:max(most-1, 0)]) + "…"
}
