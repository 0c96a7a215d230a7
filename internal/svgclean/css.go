package svgclean

import (
	"slices"
	"strings"
)

// What a token of CSS is (CSS Syntax 3, section 4). Punctuation stands for itself.
const (
	white    = 'w'
	ident    = 'i'
	function = 'f' // with its parenthesis
	keyword  = '@'
	hash     = '#'
	quoted   = 's'
	number   = 'n' // with its unit
	part     = 'u' // url() of a fragment
	comment  = 'c'
	bad      = 'x' // what is not kept, and nothing that it is in
)

// A token is a piece of CSS. Escapes are bad wherever they are: nothing that draws needs them, and filters have been passed by their means.
type token struct {
	kind byte
	text string
}

// A scanner takes CSS apart as browsers do, as far as structure is concerned: what is a string, a comment or a url() there is one here.
type scanner struct{ rest string }

func (s *scanner) take(kind byte, n int) token {
	t := token{kind, s.rest[:n]}
	s.rest = s.rest[n:]
	return t
}

// next returns the next token, and false at the end.
func (s *scanner) next() (token, bool) {
	r := s.rest
	if r == "" {
		return token{}, false
	}
	switch c := r[0]; {
	case isWhite(c):
		return s.take(white, len(r)-len(strings.TrimLeft(r, " \t\r\n\f"))), true
	case strings.HasPrefix(r, "/*"):
		if i := strings.Index(r[2:], "*/"); i >= 0 {
			return s.take(comment, i+4), true
		}
		return s.take(bad, len(r)), true
	case c == '"' || c == '\'':
		return s.string(c), true
	case c == '\\':
		return s.take(bad, min(2, len(r))), true
	case c == '@' && len(r) > 1 && isName(r[1]):
		return s.take(keyword, 1+nameLen(r[1:])), true
	case c == '#' && len(r) > 1 && isName(r[1]):
		return s.take(hash, 1+nameLen(r[1:])), true
	case startsNumber(r):
		return s.take(number, numberLen(r)), true
	case isName(c):
		n := nameLen(r)
		if n == len(r) || r[n] != '(' {
			return s.take(ident, n), true
		}
		if strings.EqualFold(r[:n], "url") {
			return s.url(n + 1), true
		}
		return s.take(function, n+1), true
	case c == '<' || c == '@':
		return s.take(bad, 1), true
	default:
		return s.take(c, 1), true
	}
}

func (s *scanner) string(quote byte) token {
	kind := byte(quoted)
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case quote:
			return s.take(kind, i+1)
		case '\n', '\r', '\f':
			return s.take(bad, i)
		case '\\':
			kind = bad
			i++
		}
	}
	return s.take(bad, len(s.rest))
}

// url takes url(, which is of start bytes, and what is in it. What is no fragment of the document is bad.
func (s *scanner) url(start int) token {
	inside := strings.TrimLeft(s.rest[start:], " \t\r\n\f")
	at := len(s.rest) - len(inside)
	if inside != "" && (inside[0] == '"' || inside[0] == '\'') {
		in := scanner{inside}
		str := in.string(inside[0])
		after := strings.TrimLeft(in.rest, " \t\r\n\f")
		if str.kind == quoted && strings.HasPrefix(after, ")") && isFragment(str.text[1:len(str.text)-1]) {
			s.rest = after[1:]
			return token{part, "url(" + str.text[1:len(str.text)-1] + ")"}
		}
		return s.take(bad, start) // the string comes next
	}
	for i := 0; i < len(inside); i++ {
		switch inside[i] {
		case '\\':
			i++
		case ')':
			if id := strings.TrimRight(inside[:i], " \t\r\n\f"); isFragment(id) {
				s.rest = inside[i+1:]
				return token{part, "url(" + id + ")"}
			}
			return s.take(bad, at+i+1)
		}
	}
	return s.take(bad, len(s.rest))
}

func isWhite(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '-' || c == '_' || c >= 0x80
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && isName(s[n]) {
		n++
	}
	return n
}

func startsNumber(s string) bool {
	if s[0] == '+' || s[0] == '-' {
		s = s[1:]
	}
	if len(s) > 1 && s[0] == '.' {
		s = s[1:]
	}
	return s != "" && isDigit(s[0])
}

func numberLen(s string) int {
	n := 1 // a sign, a digit or a point
	for n < len(s) && (isDigit(s[n]) || s[n] == '.') {
		n++
	}
	if n < len(s) && s[n] == '%' {
		return n + 1
	}
	return n + nameLen(s[n:])
}

// isFragment reports whether a reference is to an element of the same document: # and a name. Of names, those with percent signs are not
// taken, as they are other names to browsers.
func isFragment(s string) bool {
	if len(s) < 2 || s[0] != '#' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isName(c) && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// checkValue looks at a value that is read as CSS. It returns the names of the elements that it refers to.
func checkValue(s string) (refs []string, ok bool) {
	in := scanner{s}
	for {
		t, more := in.next()
		switch {
		case !more:
			return refs, true
		case t.kind == part:
			refs = append(refs, t.text[len("url(#"):len(t.text)-1])
		case t.kind == comment || !isValue(t):
			return nil, false
		}
	}
}

// isValue reports whether t may be in a value.
func isValue(t token) bool {
	switch t.kind {
	case white, ident, hash, quoted, number, part, comment, ',', '/', '*', '+', '-', '!', '.', '%', ')', '(', ';', ':', '=':
		return true
	case function:
		return functions[strings.ToLower(t.text[:len(t.text)-1])]
	}
	return false
}

// A sheet is CSS that is being filtered.
type sheet struct {
	tokens []token
	out    strings.Builder
	refs   []string
}

// cleanSheet returns what may be kept of a style sheet: rules, @media and @keyframes. All else, such as @import and @font-face, is left out.
func cleanSheet(css string) string {
	s := &sheet{tokens: tokens(css)}
	s.rules(s.tokens, 0)
	return s.out.String()
}

// cleanStyle returns what may be kept of a style attribute, and the names of the elements that it refers to.
func cleanStyle(css string) (string, []string) {
	s := new(sheet)
	s.declarations(tokens(css))
	return s.out.String(), s.refs
}

// tokens takes css apart. Comments are none, but for those that keep their neighbours apart.
func tokens(css string) []token {
	var all []token
	in := scanner{css}
	for {
		t, more := in.next()
		switch {
		case !more:
			return all
		case t.kind == comment:
			t.text = "/**/"
		case t.kind == white:
			t.text = " "
		}
		if len(all) > 0 {
			switch last := &all[len(all)-1]; {
			case t.kind == comment && (last.kind == comment || last.kind == white):
				continue
			case t.kind == white && last.kind == comment:
				*last = t
				continue
			case t.kind == white && last.kind == white:
				continue
			}
		}
		all = append(all, t)
	}
}

// trim leaves out white space and comments around.
func trim(t []token) []token {
	for len(t) > 0 && (t[0].kind == white || t[0].kind == comment) {
		t = t[1:]
	}
	for len(t) > 0 && (t[len(t)-1].kind == white || t[len(t)-1].kind == comment) {
		t = t[:len(t)-1]
	}
	return t
}

// until returns the place of the first of stops that is in no brackets. Without one it is len(t).
func until(t []token, stops string) int {
	var open []byte
	for i := range t {
		k := t[i].kind
		if len(open) == 0 && strings.IndexByte(stops, k) >= 0 {
			return i
		}
		switch {
		case k == '(' || k == function, k == bad && strings.HasSuffix(t[i].text, "("):
			open = append(open, ')')
		case k == '[':
			open = append(open, ']')
		case k == '{':
			open = append(open, '}')
		case len(open) > 0 && k == open[len(open)-1]:
			open = open[:len(open)-1]
		}
	}
	return len(t)
}

// maxNested is how deep rules may be in @media and its like.
const maxNested = 4

// rules writes what may be kept of a list of rules.
func (s *sheet) rules(t []token, depth int) {
	for {
		t = trim(t)
		if len(t) == 0 {
			return
		}
		if t[0].kind == ';' || t[0].kind == '}' {
			t = t[1:]
			continue
		}
		stops := "{"
		if t[0].kind == keyword {
			stops = "{;"
		}
		start := until(t, stops)
		if start == len(t) {
			return
		}
		prelude := trim(t[:start])
		if t[start].kind == ';' {
			t = t[start+1:]
			continue
		}
		t = t[start+1:]
		end := until(t, "}")
		if end == len(t) {
			return // not closed
		}
		s.rule(prelude, t[:end], depth)
		t = t[end+1:]
	}
}

// rule writes a rule, if it may be kept and there is something in it.
func (s *sheet) rule(prelude, block []token, depth int) {
	if len(prelude) == 0 || depth > maxNested {
		return
	}
	inner := new(sheet)
	if prelude[0].kind == keyword {
		if !isCondition(prelude[1:]) {
			return
		}
		switch strings.ToLower(prelude[0].text) {
		case "@media", "@keyframes", "@-webkit-keyframes":
			inner.rules(block, depth+1)
		}
	} else if isSelector(prelude) {
		inner.declarations(block)
	}
	if inner.out.Len() == 0 {
		return
	}
	s.write(prelude)
	s.out.WriteByte('{')
	s.out.WriteString(inner.out.String())
	s.out.WriteByte('}')
}

func (s *sheet) write(t []token) {
	for i := range t {
		s.out.WriteString(t[i].text)
	}
}

// isCondition reports whether t may be what @media and @keyframes say before their blocks.
func isCondition(t []token) bool {
	for i := range t {
		switch t[i].kind {
		case white, comment, ident, number, '(', ')', ':', ',', '/', '>', '=':
		default:
			return false
		}
	}
	return balanced(t)
}

// isSelector reports whether t may be what a rule is about.
func isSelector(t []token) bool {
	for i := range t {
		switch t[i].kind {
		case white, comment, ident, hash, quoted, number, '.', '>', '+', '~', '*', ',', ':', '=', '|', '^', '$', '-', '[', ']', ')':
		case function:
			if !pseudos[strings.ToLower(t[i].text[:len(t[i].text)-1])] {
				return false
			}
		default:
			return false
		}
	}
	return balanced(t)
}

// balanced reports whether brackets match.
func balanced(t []token) bool {
	var open []byte
	for i := range t {
		switch k := t[i].kind; k {
		case '(', function:
			open = append(open, ')')
		case '[':
			open = append(open, ']')
		case ')', ']':
			if len(open) == 0 || open[len(open)-1] != k {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return len(open) == 0
}

// declarations writes those of a block that may be kept.
func (s *sheet) declarations(t []token) {
	first := true
	for len(t) > 0 {
		end := until(t, ";")
		one := trim(t[:end])
		t = t[min(end+1, len(t)):]
		if len(one) < 3 || one[0].kind != ident {
			continue
		}
		name, rest := one[0].text, trim(one[1:])
		if lower := strings.ToLower(name); properties[lower] {
			name = lower
		} else if !strings.HasPrefix(name, "--") || len(name) == 2 {
			continue
		}
		if len(rest) == 0 || rest[0].kind != ':' {
			continue
		}
		val := trim(rest[1:])
		if len(val) == 0 || !isDeclared(val) {
			continue
		}
		// Where a variable is put in, a string may come to be an address: there is nothing here to look at then.
		if strings.HasPrefix(name, "--") && slices.ContainsFunc(val, func(t token) bool { return t.kind == quoted }) {
			continue
		}
		for i := range val {
			if val[i].kind == part {
				s.refs = append(s.refs, val[i].text[len("url(#"):len(val[i].text)-1])
			}
		}
		if !first {
			s.out.WriteByte(';')
		}
		first = false
		s.out.WriteString(name)
		s.out.WriteByte(':')
		s.write(val)
	}
}

func isDeclared(t []token) bool {
	for i := range t {
		if t[i].kind == ';' || !isValue(t[i]) {
			return false
		}
	}
	return balanced(t)
}
