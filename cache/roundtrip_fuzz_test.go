package cache

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Directives written out and read again are the same.
func FuzzDirectives(f *testing.F) {
	for _, s := range []string{
		"", ",", "max-age=60", ` No-Cache="a, b" ,no-store`, `x="\"", y=\",z`, `max-age="60`, "a==b", "=", `"`, `no-cache=Set-Cookie,max-age=1`,
		"max-age=99999999999999999999", "private, max-age=x", "max-age=1, max-age=2", "public; max-age=60", `"=,"`, "\x00", "a=\"\\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		list, ok := directives([]string{field})
		for _, d := range list {
			if strings.ToLower(d.name) != d.name || !isToken(d.name) && d.value != "" {
				t.Errorf("%q: the name %q", field, d.name)
			}
		}
		if ok {
			var b strings.Builder // as plainControls does
			for _, d := range list {
				b.WriteString(", " + d.name)
				if d.value != "" {
					b.WriteString(`="` + quoted.Replace(d.value) + `"`)
				}
			}
			again, ok := directives([]string{b.String()})
			if !ok || !slices.Equal(again, list) {
				t.Errorf("%q: %q, and again %q", field, list, again)
			}
		}
		c := plainControls([]string{field})
		c.forbid(http.StatusOK)
		if c.unreadable && !c.forbidden && strings.Contains(strings.ToLower(field), "no-store") {
			t.Errorf("%q may be stored", field)
		}
		w := wishesOf(http.Header{"Cache-Control": {field}, "Pragma": {field}})
		if max(w.maxAge, w.minFresh, w.maxStale) > forever || min(w.maxAge, w.minFresh, w.maxStale) < -1 {
			t.Errorf("%q: %+v", field, w)
		}
	})
}

// A targeted field either counts, whole, or Cache-Control does.
func FuzzTargetedField(f *testing.F) {
	for _, s := range []string{
		"", "max-age=60", "max-age=60, &&&", `max-age="60"`, "no-store=?0", "no-cache=\"a, b\"", "private=(1 2)", "max-age=-1",
		"max-age=999999999999999", "MAX-AGE=1", "a;b=1, c", "max-age=1.5, no-store",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, field string) {
		h := http.Header{"Cdn-Cache-Control": {field}, "Cache-Control": {"max-age=7"}}
		got := freshnessOf(200, h, now, now, nil, []string{"CDN-Cache-Control"})
		if got.Lifetime < 0 || got.Lifetime > forever || got.StaleIfError < 0 || got.StaleWhileRevalidate < 0 {
			t.Errorf("%q: %+v", field, got)
		}
		if c := controlsOf(200, h, []string{"CDN-Cache-Control"}); !c.targeted && got.Lifetime != 7*time.Second {
			t.Errorf("%q does not count, and neither does Cache-Control: %+v", field, got)
		}
		groupsOf(http.Header{"Cache-Groups": {field}}, "Cache-Groups")
		statusName(field)
	})
}

// Requests that differ in a field that Vary names only in white space around commas have one variant, and
// otherwise two, of languages and codings the case aside.
func FuzzVary(f *testing.F) {
	f.Add("X, y", "a, b", "a,b")
	f.Add("Accept-Language", "de", "DE")
	f.Add("*", "", "")
	f.Add(" ,", "x", "y")
	f.Add("x\x00y", "x\n", "x")
	f.Fuzz(func(t *testing.T, vary, a, b string) {
		stored := http.Header{"Vary": {vary}}
		varies(stored)
		fields := varyFields(stored)
		if len(fields) == 0 {
			return
		}
		variantOf := func(v string) string { return variant(stored, http.Header{fields[0]: {v}}) }
		plain := func(v string) string {
			if fields[0] == "Accept-Language" || fields[0] == "Accept-Encoding" {
				v = strings.ToLower(v)
			}
			parts := strings.Split(v, ",")
			for i := range parts {
				parts[i] = strings.TrimSpace(parts[i])
			}
			return strings.Join(parts, ",")
		}
		if strings.ContainsAny(a+b, "\x00\n") {
			return // no field value has these
		}
		if same := variantOf(a) == variantOf(b); same != (plain(a) == plain(b)) {
			t.Errorf("Vary %q: %q and %q: same variant: %v", vary, a, b, same)
		}
	})
}

// Whatever a client asks of a stored response, it gets the whole, bytes of it, or none.
func FuzzConditionsAndRanges(f *testing.F) {
	f.Add(`"1", W/"2"`, "Fri, 31 Dec 1999 00:00:00 GMT", "bytes=0-1, -2", `"1"`)
	f.Add("*", "", "bytes=5-", "")
	f.Add("", "", "bytes=,", "W/")
	f.Add(`"`, "x", "BYTES=1-1", `"`)
	body := []byte("0123456789")
	lease := NewTable(nil, nil).Lease(Name{})
	f.Fuzz(func(t *testing.T, match, since, ranges, cond string) {
		req, _ := http.NewRequest(http.MethodGet, "http://h/a", nil)
		req.Header = http.Header{"If-None-Match": {match}, "If-Modified-Since": {since}, "Range": {ranges}, "If-Range": {cond}}
		e := &Entry{Status: 200, Size: 10, Header: http.Header{"Etag": {`"1"`}, "Date": {"Sat, 01 Jan 2000 00:00:00 GMT"}}}
		resp := new(Transport).respond(req, lease, e, body, "hit", true)
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		switch resp.StatusCode {
		case 200:
			if !bytes.Equal(got, body) {
				t.Errorf("200 with %q", got)
			}
		case 206:
			if resp.Header.Get("Content-Range") != "" && !bytes.Contains(body, got) || resp.ContentLength != int64(len(got)) {
				t.Errorf("206 with %q, %v", got, resp.Header)
			}
		case 304:
			if len(got) > 0 {
				t.Errorf("304 with %q", got)
			}
		case 416:
		default:
			t.Errorf("got %d", resp.StatusCode)
		}
	})
}
