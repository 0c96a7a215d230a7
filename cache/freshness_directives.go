package cache

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/pquerna/cachecontrol/cacheobject"
)

// controls are the directives of a response that count for this cache. Numbers that are not there are negative.
//
// Those of the first targeted field that is there and can be read stand in for Cache-Control and Expires (RFC 9213).
// Of Cache-Control, cachecontrol parses the directives, by RFC 7234.
type controls struct {
	cacheobject.ResponseCacheDirectives
	targeted       bool
	forbidden      bool // not to be stored
	mustUnderstand bool // RFC 9111 section 5.2.2.3
	unreadable     bool // and so the response counts as stale (RFC 9111 section 4.2.1)
}

func controlsOf(status int, h http.Header, targets []string) *controls {
	for _, field := range targets {
		if lines := h.Values(field); len(lines) > 0 {
			if c := targetedControls(lines); c != nil {
				c.forbid(status)
				return c
			}
		}
	}
	c := plainControls(h.Values("Cache-Control"))
	c.forbid(status)
	return c
}

func noControls() *controls {
	return &controls{ResponseCacheDirectives: cacheobject.ResponseCacheDirectives{
		MaxAge: -1, SMaxAge: -1, StaleIfError: -1, StaleWhileRevalidate: -1,
	}}
}

// forbid says whether a response must not be stored. A cache that knows the status obeys must-understand, which an
// accompanying no-store is not for.
func (c *controls) forbid(status int) {
	c.forbidden = c.forbidden || c.PrivatePresent || c.NoStore && !(c.mustUnderstand && http.StatusText(status) != "")
}

// strict reports whether the response must not be used stale, save by leave of stale-if-error or
// stale-while-revalidate where s-maxage alone forbids it.
func (c *controls) strict() bool {
	return c.MustRevalidate || c.ProxyRevalidate || c.NoCachePresent || c.SMaxAge >= 0 || c.unreadable
}

// plainControls reads Cache-Control.
func plainControls(lines []string) *controls {
	c := noControls()
	list, ok := directives(lines)
	var b strings.Builder
	for i, d := range list {
		if deltas[d.name] && slices.ContainsFunc(list[:i], func(o directive) bool { return o.name == d.name }) {
			continue // the first counts (RFC 9111 section 4.2.1)
		}
		c.mustUnderstand = c.mustUnderstand || d.name == "must-understand"
		b.WriteString(", ")
		b.WriteString(d.name)
		if d.value != "" {
			b.WriteString(`="` + quoted.Replace(d.value) + `"`) // a name without quotes ends at a comma, too
		}
	}
	cc, err := cacheobject.ParseResponseCacheControl(b.String())
	if err != nil || !ok {
		// Not stored where it may have been meant to forbid that.
		low := strings.ToLower(strings.Join(lines, ", "))
		c.forbidden = strings.Contains(low, "no-store") || strings.Contains(low, "private")
		c.unreadable = true
		return c
	}
	c.ResponseCacheDirectives = *cc
	return c
}

var (
	deltas = map[string]bool{"max-age": true, "s-maxage": true, "stale-if-error": true, "stale-while-revalidate": true}
	quoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// targetedControls reads a targeted field: a dictionary (RFC 9213 section 2.1). It is nil, and the field counts as
// absent, where that is empty or none, or a number of seconds is something else. What forbids storing, or asks
// for care, does so with any value but ?0.
func targetedControls(lines []string) *controls {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return nil
	}
	c, ok := noControls(), true
	c.targeted = true
	for _, name := range dict.Names() {
		var value any
		if member, _ := dict.Get(name); member != nil {
			if item, isItem := member.(httpsfv.Item); isItem {
				value = item.Value
			}
		}
		set := value != false
		seconds := func(to *cacheobject.DeltaSeconds) {
			n, isInt := value.(int64)
			if !isInt || n < 0 {
				ok = false
				return
			}
			*to = cacheobject.DeltaSeconds(min(n, math.MaxInt32))
		}
		switch name {
		case "no-store":
			c.forbidden = c.forbidden || set && value != true // of a wrong type: not to be lifted by must-understand
			c.NoStore = set
		case "private":
			c.PrivatePresent = set
		case "no-cache":
			c.NoCachePresent = set
			if fields, isString := value.(string); isString {
				c.NoCache = make(cacheobject.FieldNames)
				for f := range strings.SplitSeq(fields, ",") {
					c.NoCache[http.CanonicalHeaderKey(strings.TrimSpace(f))] = true
				}
			}
		case "must-revalidate":
			c.MustRevalidate = set
		case "proxy-revalidate":
			c.ProxyRevalidate = set
		case "must-understand":
			c.mustUnderstand = set
		case "public":
			c.Public = value == true
		case "max-age":
			seconds(&c.MaxAge)
		case "s-maxage":
			seconds(&c.SMaxAge)
		case "stale-if-error":
			seconds(&c.StaleIfError)
		case "stale-while-revalidate":
			seconds(&c.StaleWhileRevalidate)
		}
	}
	if !ok && !c.NoStore && !c.PrivatePresent {
		return nil
	}
	return c
}

// A directive is a member of Cache-Control or Pragma: a name in lower case, and a value without its quotes.
type directive struct{ name, value string }

// directives reads a list of directives. Not ok says that a quote is not closed.
func directives(lines []string) (list []directive, ok bool) {
	field := strings.Join(lines, ", ")
	start, inQuotes := 0, false
	for i := 0; i <= len(field); i++ {
		switch {
		case i == len(field) || field[i] == ',' && !inQuotes:
			if one := strings.Trim(field[start:i], " \t"); one != "" {
				name, value, _ := strings.Cut(one, "=")
				if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
					value = unescape(value[1 : n-1])
				}
				if !isToken(name) {
					name, value = one, "" // to be made of what can be
				}
				list = append(list, directive{strings.ToLower(name), value})
			}
			start = i + 1
		case inQuotes && field[i] == '\\' && i+1 < len(field):
			i++
		case field[i] == '"':
			inQuotes = !inQuotes
		}
	}
	return list, !inQuotes
}

func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// deltaSeconds reads a number of seconds.
func deltaSeconds(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return forever, true
	}
	return seconds(n), true
}

// statusName writes the name of a cache as Cache-Status has it (RFC 9211 section 2): a token, or a string.
func statusName(name string) string {
	if s, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(name))); err == nil {
		return s
	}
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
	s, _ := httpsfv.Marshal(httpsfv.NewItem(ascii))
	return s
}
