package imagecdn_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A tick is a moment, by a clock that goes on by one whenever somebody looks at it: of two ticks, the
// smaller was taken first.
type tick int64

// A kind is what an origin has to say of an image, for as long as a version of it lasts.
type kind uint8

const (
	painted kind = iota // a picture, with the version in its pixels
	missing             // 404
	gone                // 410
	failing             // 500, a body that is cut off, no answer at all
)

// kindOf is the kind that a status tells of.
func kindOf(status int) (kind, bool) {
	switch status {
	case http.StatusOK, http.StatusNotModified:
		return painted, true
	case http.StatusNotFound:
		return missing, true
	case http.StatusGone:
		return gone, true
	case http.StatusBadGateway:
		return failing, true
	}
	return 0, false
}

// codes is how many versions pixels tell apart. A response that is this many versions too old looks right.
const codes = 256

// A history is what happened to a handler, as its witnesses saw it. Its check knows the promises, and nothing of
// how they are kept.
type history struct {
	images    map[string]*imageHistory // by path, as a purge names it
	responses []response
}

// An imageHistory is what an origin said of one image, and what was promised of it.
type imageHistory struct {
	versions []version // the first is version 0
	claims   []claim
}

// A version is what an origin has of an image until the next.
type version struct {
	kind  kind
	began tick
	gave  tick // before anybody had the whole of it; zero where nobody ever had
}

// A claim is what a purge promises: a request that begins after from sees no version less than least.
type claim struct {
	what  string // for a reader
	asked tick   // before it was submitted
	from  tick
	acked tick // when it was in force: fills of before must not be kept from here on
	least int  // the version at the origin when it was asked for

	// Only pictures are covered: of a failure nobody knows the tags.
	pictures bool
}

// A response is what a client got.
type response struct {
	begin, end   tick
	what         string // for a reader
	status       int
	etag         string
	cacheControl string
	cacheStatus  string
	body         string // its hash; empty where there was none
	saw          []sighting
	note         string // what was wrong with it, whatever the history
}

// A sighting is one image in a response.
type sighting struct {
	image string
	vh    string
	code  int // the version, modulo codes; less than zero where nothing was to be seen of it
}

// check returns what is wrong in h, and how many responses were of versions that nobody could tell.
func (h *history) check() (wrong []string, untold int) {
	type floor struct {
		from  tick
		least int
	}
	const ofPictures = 1 // with a status that tells of one
	floors := make(map[string][2][]floor)
	for path, image := range h.images {
		var all [2][]floor
		slices.SortFunc(image.claims, func(a, b claim) int { return cmp.Compare(a.from, b.from) })
		for of := range all {
			least := 0
			for _, c := range image.claims {
				if c.pictures && of != ofPictures || c.least <= least {
					continue
				}
				least = c.least
				all[of] = append(all[of], floor{c.from, least})
			}
		}
		floors[path] = all
	}
	leastOf := func(s sighting, k kind, begin tick) int {
		of := 0
		if k == painted {
			of = ofPictures
		}
		fs := floors[s.image][of]
		n, _ := slices.BinarySearchFunc(fs, begin, func(f floor, t tick) int { return cmp.Compare(f.from, t) })
		if n == 0 {
			return 0
		}
		return fs[n-1].least
	}

	// What an ETag stands for: bodies say it first.
	type meaning struct {
		saw  []sighting
		body string
	}
	etags := make(map[string]meaning)
	report := func(r *response, format string, args ...any) {
		if len(wrong) < 5 {
			wrong = append(wrong, fmt.Sprintf(format, args...)+"\n"+h.around(r))
		} else {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	for i := range h.responses {
		r := &h.responses[i]
		if r.status != http.StatusOK || r.body == "" || r.note != "" {
			continue
		}
		if m, ok := etags[r.etag]; !ok {
			etags[r.etag] = meaning{r.saw, r.body}
		} else if m.body != r.body {
			report(r, "one ETag, %s, stands for two pictures", r.etag)
		}
	}

	for i := range h.responses {
		r := &h.responses[i]
		if r.note != "" {
			report(r, "%s", r.note)
			continue
		}
		k, ok := kindOf(r.status)
		if !ok {
			report(r, "status %d", r.status)
			continue
		}
		saw := r.saw
		if k == painted && r.body == "" {
			m, ok := etags[r.etag]
			if !ok {
				untold++
				continue
			}
			saw = m.saw
		}
		explained := false
		for j, s := range saw {
			image := h.images[s.image]
			newest := len(image.versions) - 1
			for newest > 0 && image.versions[newest].began > r.end {
				newest--
			}
			if j < len(r.saw) {
				s.vh = r.saw[j].vh // an ETag may be another request's
			}
			least := leastOf(s, k, r.begin)
			if k != painted {
				for v := least; v <= newest; v++ {
					explained = explained || image.versions[v].kind == k
				}
				continue
			}
			v := newest
			for v >= 0 && (v%codes != s.code || image.versions[v].kind != painted) {
				v--
			}
			switch {
			case v < 0:
				report(r, "%s: version %d modulo %d was never there; the newest is %d", s.image, s.code, codes, newest)
			case v < least:
				report(r, "%s: version %d, and a purge that came into force before the request promised %d or later", s.image, v, least)
			case r.cacheControl != "no-store":
				gave := image.versions[v].gave
				for _, c := range image.claims {
					if c.least > v && c.acked < gave {
						report(r, "%s: version %d came after a purge at %d that promised %d, and may be kept: Cache-Control %q", s.image, v, c.acked, c.least, r.cacheControl)
						break
					}
				}
			}
		}
		if k != painted && !explained {
			report(r, "status %d, which no version of what was asked for explains since the last purge", r.status)
		}
	}
	return wrong, untold
}

// around tells what happened to r's images about the time of it.
func (h *history) around(r *response) string {
	type line struct {
		at   tick
		text string
	}
	var lines []line
	for _, s := range r.saw {
		image := h.images[s.image]
		for v, is := range image.versions {
			lines = append(lines, line{is.began, fmt.Sprintf("%s is version %d at the origin (%s)", s.image, v, [...]string{"painted", "404", "410", "failing"}[is.kind])})
			if is.gave > 0 {
				lines = append(lines, line{is.gave, fmt.Sprintf("%s version %d is given for the first time", s.image, v)})
			}
		}
		for _, c := range image.claims {
			lines = append(lines, line{c.from, fmt.Sprintf("%s promises version %d of %s, asked at %d, in force at %d", c.what, c.least, s.image, c.asked, c.acked)})
		}
		for i := range h.responses {
			o := &h.responses[i]
			if o != r && slices.ContainsFunc(o.saw, func(t sighting) bool { return t.image == s.image }) {
				lines = append(lines, line{o.begin, o.String()})
			}
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.text, b.text)) })
	lines = slices.Compact(lines)
	at, _ := slices.BinarySearchFunc(lines, r.begin, func(l line, t tick) int { return cmp.Compare(l.at, t) })
	var b strings.Builder
	for i := max(0, at-25); i < min(len(lines), at+8); i++ {
		if i == at {
			fmt.Fprintf(&b, "  ▶ %8d %s\n", r.begin, r)
		}
		fmt.Fprintf(&b, "    %8d %s\n", lines[i].at, lines[i].text)
	}
	if at == len(lines) {
		fmt.Fprintf(&b, "  ▶ %8d %s\n", r.begin, r)
	}
	return b.String()
}

func (r *response) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d until %d", r.what, r.status, r.end)
	for _, s := range r.saw {
		if s.code >= 0 {
			fmt.Fprintf(&b, ", %s version …%d", s.image, s.code)
		}
	}
	fmt.Fprintf(&b, " (%s; %s; ETag %s)", r.cacheStatus, r.cacheControl, r.etag)
	return b.String()
}

// The checker is shown each fault that it is there to find, and histories that are right.
func TestHistoriesAreJudged(t *testing.T) {
	const cat, logo, sign = "/a/cat.png", "/a/logo.png", "/a/sign.png"
	// Version 1 comes at 10, is given at 12, and a purge of it is in force at 20; version 2 is a 404 from 30 on.
	images := func() map[string]*imageHistory {
		return map[string]*imageHistory{
			cat: {
				versions: []version{{painted, 1, 22}, {painted, 10, 12}, {missing, 30, 0}},
				claims:   []claim{{what: "delete", asked: 15, from: 20, acked: 20, least: 1}},
			},
			logo: {
				versions: []version{{painted, 1, 2}, {painted, 10, 12}},
				claims:   []claim{{what: "stale", asked: 15, from: 25, acked: 20, least: 1}},
			},
			sign: {
				versions: []version{{painted, 1, 2}, {failing, 5, 0}, {painted, 10, 12}},
				claims:   []claim{{what: "delete of a tag", asked: 15, from: 20, acked: 20, least: 2, pictures: true}},
			},
		}
	}
	see := func(begin, end tick, status int, saw ...sighting) response {
		r := response{begin: begin, end: end, what: "GET", status: status, saw: saw, etag: fmt.Sprint(saw), cacheControl: "public, max-age=9"}
		if status == 200 {
			r.body = fmt.Sprint(saw)
		}
		return r
	}
	kept := func(r response, cacheControl string) response { r.cacheControl = cacheControl; return r }
	tagged := func(r response, etag string) response { r.etag = etag; return r }
	for _, c := range []struct {
		name      string
		wrong     string // part of what is found, empty for nothing
		responses []response
	}{
		{"the version that was promised", "", []response{see(21, 22, 200, sighting{cat, "", 1})}},
		{"an old one after the purge", "promised 1", []response{kept(see(21, 22, 200, sighting{cat, "", 0}), "no-store")}},
		{"an old one of a vh version", "promised 1", []response{kept(see(21, 22, 200, sighting{cat, "x", 0}), "no-store")}},
		{"an old one that was asked for before", "", []response{kept(see(19, 22, 200, sighting{cat, "", 0}), "no-store")}},
		{"the same, to be kept", "may be kept", []response{see(19, 22, 200, sighting{cat, "", 0})}},
		{"one that is newer than the origin", "never there", []response{see(5, 6, 200, sighting{cat, "", 1})}},
		{"one that never was", "never there", []response{see(21, 22, 200, sighting{cat, "", 7})}},
		{"a 404 while it was missing", "", []response{see(31, 32, 404, sighting{cat, "", -1})}},
		{"a 404 before", "no version", []response{see(21, 22, 404, sighting{cat, "", -1})}},
		{"a 410 for a 404", "no version", []response{see(31, 32, 410, sighting{cat, "", -1})}},
		{"a failure of what never failed", "no version", []response{see(31, 32, 502, sighting{cat, "", -1})}},
		{"a composite of which the other input is old", "promised 1", []response{see(26, 27, 200, sighting{cat, "", 1}, sighting{logo, "", 0})}},
		{"an old one of a tag", "promised 2", []response{kept(see(27, 28, 200, sighting{sign, "", 0}), "no-store")}},
		{"a failure of a tag", "", []response{see(27, 28, 502, sighting{sign, "", -1})}},
		{"a stale one while it is refreshed", "", []response{see(24, 25, 200, sighting{logo, "", 0})}},
		{"an old vh version once a stale purge is done", "promised 1", []response{see(26, 27, 200, sighting{logo, "x", 0})}},
		{"a 304 of an old picture", "promised 1", []response{
			see(5, 6, 200, sighting{logo, "", 0}), tagged(see(26, 27, 304, sighting{logo, "", -1}), fmt.Sprint([]sighting{{logo, "", 0}}))}},
		{"one ETag and two pictures", "two pictures", []response{
			tagged(see(11, 12, 200, sighting{logo, "", 0}), "e"), tagged(see(11, 12, 200, sighting{logo, "", 1}), "e")}},
		{"a status out of place", "status 500", []response{see(11, 12, 500, sighting{cat, "", -1})}},
	} {
		h := &history{images: images(), responses: c.responses}
		wrong, untold := h.check()
		switch {
		case untold != 0:
			t.Errorf("%s: %d untold", c.name, untold)
		case c.wrong == "" && len(wrong) > 0, c.wrong != "" && len(wrong) != 1, c.wrong != "" && !strings.Contains(wrong[0], c.wrong):
			t.Errorf("%s: found %q, want %q", c.name, wrong, c.wrong)
		case c.wrong != "" && !strings.Contains(wrong[0], "▶"):
			t.Errorf("%s: the history is missing:\n%s", c.name, wrong[0])
		}
	}
}
