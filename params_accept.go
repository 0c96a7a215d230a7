package imagecdn

import "strings"

// acceptsType reports whether an Accept header names mediaType with a weight above zero
// (RFC 9110, section 12.5.1). Wildcards do not count: they say what a client will take, and
// browsers send them whether they can show a format or not.
func acceptsType(accept, mediaType string) bool {
	for accept != "" {
		var item string
		item, accept = cutUnquoted(accept, ',')
		name, params := cutUnquoted(item, ';')
		if strings.EqualFold(strings.Trim(name, " \t"), mediaType) && weighs(params) {
			return true
		}
	}
	return false
}

// weighs reports whether the parameters of an item leave it a weight above zero. One that cannot
// be read is none: the format that everyone can show is the safe answer.
func weighs(params string) bool {
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		name, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.Trim(name, " \t"), "q") {
			continue
		}
		// 0 or 1, and at most three decimals, which must be zeros after 1.
		value = strings.Trim(value, " \t")
		whole, decimals, _ := strings.Cut(value, ".")
		if len(decimals) > 3 || strings.Trim(decimals, "0123456789") != "" {
			return false
		}
		zeros := strings.Trim(decimals, "0") == ""
		return whole == "1" && zeros || whole == "0" && !zeros
	}
	return true
}

// cutUnquoted cuts s at the first sep that is not in a quoted string. Without one, all of s is
// before.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
