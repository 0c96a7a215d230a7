package cache

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Each case of TestRoundTrip is a script of steps:
//
//	GET /a | Accept: x         a client's request, with header fields
//	origin: 200 one | Age: 5   how the origin answers, or "fails"; a step without it must not reach the origin
//	saw: If-None-Match: "1"    what the origin's request must have
//	is: 200 one | Age: 5       what the client must get
//	wait 5s                    time passes
//	restart                    the cache is closed and opened again
//	purge http://h/a           and purge stale, purge revalidate
//
// Where fields are compared, "Name: value" has to be so, "Name" has to be there, and "-Name" must not.
func TestRoundTrip(t *testing.T) {
	tests := []struct{ rule, script string }{
		// RFC 9111 section 4: answering from what is stored.
		{"a fresh response is reused, and has Age (4, 5.1)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | X-Any: kept
			is: 200 one | X-Any: kept | -Age | Content-Length: 3 | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=200; stored; ttl=60
			wait 5s
			GET /a
			is: 200 one | X-Any: kept | Age: 5 | Content-Length: 3 | Cache-Status: imagecdn; hit; ttl=55`},
		{"a query is another URL (4)", `
			GET /a?x
			origin: 200 one | Cache-Control: max-age=60
			GET /a?y
			origin: 200 two | Cache-Control: max-age=60
			GET /a
			origin: 200 three | Cache-Control: max-age=60
			GET /a?x
			is: 200 one`},
		{"scheme, host and default port are compared as URLs are, user and fragment not at all (2, 4; RFC 9110 4.2.3)", `
			GET http://H.example:80/a
			origin: 200 one | Cache-Control: max-age=60
			GET http://u:p@h.example/a#f
			is: 200 one
			GET HTTP://h.example./a
			origin: 200 two
			GET https://h.example/a
			origin: 200 three`},
		{"the path's case and escapes count (RFC 9110 4.2.3)", `
			GET /a%2Fb
			origin: 200 one | Cache-Control: max-age=60
			GET /a/b
			origin: 200 two
			GET /A%2fb
			origin: 200 three`},
		{"a Host of its own is another resource than the URL's, for every upstream (RFC 9110 7.1)", `
			GET http://up1/a | Host: one
			origin: 200 one | Cache-Control: max-age=60
			GET http://up1/a | Host: two
			origin: 200 two | Cache-Control: max-age=60
			GET http://up2/a | Host: one
			origin: 200 three | Cache-Control: max-age=60
			GET http://one/a
			origin: 200 four | Cache-Control: max-age=60
			GET http://up1/a | Host: ONE
			is: 200 one
			GET http://up2/a | Host: one
			is: 200 three`},
		{"a response without a Date gets one, stored and passed (RFC 9110 6.6.1)", `
			GET /a
			origin: 200 one | Cache-Control: no-store
			is: 200 one | Date: Sat, 01 Jan 2000 00:00:00 GMT
			wait 1s
			GET /b
			origin: 200 one | Cache-Control: max-age=60
			is: 200 one | Date: Sat, 01 Jan 2000 00:00:01 GMT
			wait 1s
			GET /b
			is: 200 one | Date: Sat, 01 Jan 2000 00:00:01 GMT`},
		{"a Date that is there stays (RFC 9110 6.6.1)", `
			GET /a
			origin: 200 one | Date: Fri, 31 Dec 1999 23:59:50 GMT | Cache-Control: max-age=60
			GET /a
			is: 200 one | Date: Fri, 31 Dec 1999 23:59:50 GMT | Age: 10`},
		{"HEAD is answered from what GET has stored (4; RFC 9110 9.3.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			HEAD /a
			is: 200 | Content-Length: 3 | ETag: "1" | Age: 0 | Cache-Status: imagecdn; hit; ttl=60
			HEAD /a | Range: bytes=0-0
			is: 200 | Content-Length: 3 | -Content-Range
			HEAD /a | If-None-Match: "1"
			is: 304 | -Content-Length`},
		{"HEAD stores nothing for GET (3)", `
			HEAD /a
			origin: 200 | Cache-Control: max-age=60 | Content-Length: 3
			is: 200 | Content-Length: 3
			GET /a
			origin: 200 one`},
		{"a response without content is stored as it is (RFC 9110 15.3.5)", `
			GET /a
			origin: 204 | Cache-Control: max-age=60
			GET /a
			is: 204 | -Content-Length | Age: 0`},
		{"an error with a lifetime is reused (3, 4.2)", `
			GET /a
			origin: 404 gone | Cache-Control: max-age=60
			GET /a
			is: 404 gone | Age: 0`},
		{"fields that Connection lists are for one connection (3.1; RFC 9110 7.6.1)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | Connection: close, x-hop | X-Hop: 1 | Keep-Alive: 5 | X-End: 1
			is: 200 one | -Connection | -X-Hop | -Keep-Alive | X-End: 1
			GET /a
			is: 200 one | -Connection | -X-Hop | -Keep-Alive | X-End: 1`},
		{"Set-Cookie does not forbid storing (7.3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | Set-Cookie: a=b
			GET /a
			is: 200 one | Set-Cookie: a=b`},
		{"a qualified no-cache leaves its fields out of what is stored (5.2.2.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60, no-cache="Set-Cookie, X-Mine" | Set-Cookie: a=b | X-Mine: 1 | X-All: 1
			is: 200 one | Set-Cookie: a=b | X-Mine: 1
			GET /a
			is: 200 one | -Set-Cookie | -X-Mine | X-All: 1`},
		{"so does one without quotes, and ends at its comma (5.2.2.4)", `
			GET /a
			origin: 200 one | Cache-Control: no-cache=X-Mine,max-age=60 | X-Mine: 1
			GET /a
			is: 200 one | -X-Mine`},
		{"a qualified private counts as private (5.2.2.7)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60, private="Set-Cookie"
			is: 200 one | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=200
			GET /a
			origin: 200 two`},
		{"no-store with must-understand is stored by who knows the status (5.2.2.3)", `
			GET /a
			origin: 200 one | Cache-Control: no-store, must-understand, max-age=60
			GET /a
			is: 200 one
			GET /b
			origin: 299 one | Cache-Control: must-understand, max-age=60
			GET /b
			origin: 299 two`},
		{"of two max-age the first counts (4.2.1)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=0, max-age=60
			GET /a
			origin: 200 two`},
		{"a part, an unasked-for 304, 412 and 416 are not about the URL (3, 3.3)", `
			GET /a
			origin: 206 o | Cache-Control: max-age=60 | Content-Range: bytes 0-0/3
			GET /a
			origin: 304 | Cache-Control: max-age=60
			is: 304
			GET /a
			origin: 412 | Cache-Control: max-age=60
			GET /a
			origin: 416 | Cache-Control: max-age=60
			GET /a
			origin: 200 one`},
		{"what can never be used again is not stored (3)", `
			GET /a
			origin: 200 one | Cache-Control: no-cache
			is: 200 one | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=200
			GET /a
			origin: fails`},

		// RFC 9111 section 4.1: Vary.
		{"Vary selects among stored responses (4.1)", `
			GET /a | Accept-Language: de
			origin: 200 eins | Cache-Control: max-age=60 | Vary: Accept-Language
			GET /a | Accept-Language: en
			origin: 200 one | Cache-Control: max-age=60 | Vary: Accept-Language
			is: 200 one | Cache-Status: imagecdn; fwd=vary-miss; fwd-status=200; stored; ttl=60
			GET /a | Accept-Language: de
			is: 200 eins
			GET /a | Accept-Language: EN
			is: 200 one`},
		{"a field that is absent is not an empty one (4.1)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | Vary: X
			GET /a | X:
			origin: 200 two | Cache-Control: max-age=60 | Vary: X
			GET /a
			is: 200 one`},
		{"lines of a field are combined, case and order count (4.1)", `
			GET /a | X: p | X: q
			origin: 200 one | Cache-Control: max-age=60 | Vary: X
			GET /a | X: p,q
			is: 200 one
			GET /a | X: q, p
			origin: 200 two
			GET /a | X: P, q
			origin: 200 three`},
		{"when Vary grows, what is stored under the less is not found by it (4.1)", `
			GET /a | X: 1 | Y: 1
			origin: 200 one | Cache-Control: max-age=1 | Vary: X
			wait 1s
			GET /a | X: 1 | Y: 1
			origin: 200 two | Cache-Control: max-age=60 | Vary: X, Y
			GET /a | X: 1 | Y: 2
			origin: 200 three | Cache-Control: max-age=60 | Vary: X, Y
			GET /a | X: 1 | Y: 1
			is: 200 two
			GET /a | X: 2 | Y: 1
			origin: 200 four | Cache-Control: max-age=60
			GET /a | X: 3
			is: 200 four`},
		{"Vary: * matches nothing (4.1)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | Vary: X, *
			GET /a
			origin: 200 two`},
		{"a variant is validated with its own validator (4.3.1)", `
			GET /a | X: 1
			origin: 200 one | Cache-Control: max-age=1 | Vary: X | ETag: "1"
			GET /a | X: 2
			origin: 200 two | Cache-Control: max-age=1 | Vary: X | ETag: "2"
			wait 1s
			GET /a | X: 1
			origin: 304 | Cache-Control: max-age=60 | ETag: "1"
			saw: If-None-Match: "1"
			is: 200 one
			GET /a | X: 1
			is: 200 one
			GET /a | X: 2
			origin: 304
			saw: If-None-Match: "2"
			is: 200 two`},

		// RFC 9111 sections 4.2.4 and 5861: stale responses.
		{"an origin that is away is stood in for (4.2.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1
			wait 2s
			GET /a
			origin: fails
			is: 200 one | Age: 2 | Cache-Status: imagecdn; fwd=stale; ttl=-1; detail=stale-if-error`},
		{"one that answers 503 only by leave (4.2.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1
			wait 1s
			GET /a
			origin: 503 ouch
			is: 503 ouch
			GET /a
			origin: 200 two`},
		{"stale-if-error is leave, for as long as it says (RFC 5861 4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1, stale-if-error=10
			wait 2s
			GET /a
			origin: 503 ouch
			is: 200 one | Cache-Status: imagecdn; fwd=stale; fwd-status=503; ttl=-1; detail=stale-if-error
			GET /a
			origin: 501 ouch
			is: 501 ouch
			wait 9s
			GET /a
			origin: 503 ouch
			is: 503 ouch`},
		{"a short answer is a failure, too (3.3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1
			wait 1s
			GET /a
			origin: 200 two | Cache-Control: max-age=60 | Content-Length: 5
			is: 200 one
			GET /b
			origin: 200 two | Cache-Control: max-age=60 | Content-Length: 5
			is: fails`},
		{"must-revalidate is never stale (5.2.2.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1, must-revalidate, stale-if-error=10
			wait 1s
			GET /a | Cache-Control: max-stale
			origin: fails
			is: fails`},
		{"proxy-revalidate is never stale (5.2.2.8)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1, proxy-revalidate
			wait 1s
			GET /a
			origin: fails
			is: fails`},
		{"s-maxage implies that (5.2.2.10)", `
			GET /a
			origin: 200 one | Cache-Control: s-maxage=1
			wait 1s
			GET /a | Cache-Control: max-stale
			origin: fails
			is: fails`},
		{"no-cache is never used unasked (5.2.2.4)", `
			GET /a
			origin: 200 one | Cache-Control: no-cache, stale-if-error=60 | ETag: "1"
			GET /a
			origin: fails
			is: fails`},
		{"an error does not take the place of a good response (4.3.3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1"
			wait 1s
			GET /a
			origin: 501 ouch | ETag: "2"
			is: 501 ouch
			GET /a
			origin: 304
			saw: If-None-Match: "1"
			is: 200 one`},
		{"unless it says for how long (3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1
			wait 1s
			GET /a
			origin: 503 ouch | Cache-Control: max-age=5
			GET /a
			is: 503 ouch | Age: 0`},
		{"stale-while-revalidate is served, and refreshed behind (RFC 5861 3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1, stale-while-revalidate=10 | ETag: "1"
			wait 2s
			GET /a | If-None-Match: "0" | Range: bytes=0-0
			origin: 200 two | Cache-Control: max-age=60
			saw: If-None-Match: "1" | -Range
			is: 206 o | Cache-Status: imagecdn; hit; ttl=-1
			GET /a
			is: 200 two`},

		// RFC 9111 section 4.3: validation.
		{"a 304 freshens what is stored (4.3.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1" | Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT | X-A: 1 | X-B: 1
			wait 1s
			GET /a
			origin: 304 | Cache-Control: max-age=60 | X-B: 2
			saw: If-None-Match: "1" | If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			is: 200 one | X-A: 1 | X-B: 2 | Date: Sat, 01 Jan 2000 00:00:01 GMT | Cache-Status: imagecdn; fwd=stale; fwd-status=304; stored; ttl=60
			GET /a
			is: 200 one | X-B: 2`},
		{"what a 304 stores no more is not used again (3.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1"
			wait 1s
			GET /a
			origin: 304 | Cache-Control: no-store
			is: 200 one | Cache-Control: no-store | Cache-Status: imagecdn; fwd=stale; fwd-status=304
			GET /a
			origin: fails
			is: fails`},
		{"a 304 is no answer where there was nothing to compare (4.3.3)", `
			GET /a | X-Mine: 1
			origin: 200 one | Cache-Control: max-age=1
			wait 1s
			GET /a | X-Mine: 1
			origin: 304 | Cache-Control: max-age=60
			saw: -If-None-Match | -If-Modified-Since
			is: 304
			GET /a
			origin: 200 two`},
		{"a stored 404 is no representation to compare with (4.3.1)", `
			GET /a
			origin: 404 none | Cache-Control: max-age=1 | Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT
			wait 1s
			GET /a
			origin: 200 one
			saw: -If-Modified-Since`},
		{"a client's conditions are answered from what is stored (4.3.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "a,b" | Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT | Content-Type: text/x
			GET /a | If-None-Match: W/"0", W/"a,b"
			is: 304 | ETag: "a,b" | Age: 0 | Cache-Control: max-age=60 | Date | -Content-Type | -Content-Length | -Last-Modified
			GET /a | If-None-Match: *
			is: 304
			GET /a | If-None-Match: "a", "b" | If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			is: 200 one
			GET /a | If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			is: 304
			GET /a | If-Modified-Since: Thu, 30 Dec 1999 00:00:00 GMT
			is: 200 one
			GET /a | If-Modified-Since: yesterday
			is: 200 one`},
		{"without Last-Modified the Date counts (4.3.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			GET /a | If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT
			is: 304
			GET /a | If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			is: 200 one`},
		{"and from what has just been fetched, whole (4.3.2)", `
			GET /a | If-None-Match: "1" | If-Modified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			saw: -If-None-Match | -If-Modified-Since
			is: 304 | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=200; stored; ttl=60
			GET /a
			is: 200 one`},
		{"conditions on what is not stored are the origin's, once that is known (4.3.2)", `
			GET /a | If-None-Match: "1"
			origin: 200 one | Cache-Control: private
			is: 200 one
			GET /a | If-None-Match: "1"
			origin: 304
			saw: If-None-Match: "1"
			is: 304
			wait 10s
			GET /a | If-None-Match: "1"
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			saw: -If-None-Match
			is: 304`},
		{"If-Match and If-Unmodified-Since are the origin's (4.3.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			GET /a | If-Match: "2"
			origin: 412
			saw: If-Match: "2"
			is: 412 | Cache-Status: imagecdn; fwd=bypass; fwd-status=412
			GET /a | If-Unmodified-Since: Fri, 31 Dec 1999 00:00:00 GMT
			origin: 412
			is: 412`},
		{"HEAD freshens what it confirms (4.3.5)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1"
			wait 1s
			HEAD /a
			origin: 200 | Cache-Control: max-age=60 | ETag: "1" | Content-Length: 3 | X-New: 1
			is: 200 | Cache-Status: imagecdn; fwd=stale; fwd-status=200
			GET /a
			is: 200 one | X-New: 1 | Age: 0`},
		{"and ends what it contradicts (4.3.5)", `
			GET /a | X: 1
			origin: 200 one | Cache-Control: max-age=60 | Vary: X
			HEAD /a | X: 1 | Cache-Control: no-cache
			origin: 200 | Cache-Control: max-age=60 | Content-Length: 4 | Vary: X
			is: 200 | Cache-Status: imagecdn; fwd=request; fwd-status=200
			GET /a | X: 1
			origin: 200 four`},
		{"of the variant that it is about (4.3.5)", `
			GET /a | X: 1
			origin: 200 one | Cache-Control: max-age=60 | Vary: X
			GET /a | X: 2
			origin: 200 two | Cache-Control: max-age=60 | Vary: X
			HEAD /a | X: 1 | Cache-Control: no-cache
			origin: 200 | Cache-Control: max-age=60 | Content-Length: 4 | Vary: X
			GET /a | X: 2
			is: 200 two
			GET /a | X: 1
			origin: 200 four`},
		{"HEAD with no-store leaves nothing fresh (4.3.5)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			HEAD /a | Cache-Control: no-cache
			origin: 200 | Cache-Control: no-store | Content-Length: 3
			GET /a
			origin: 200 two`},

		// RFC 9110 section 14: ranges.
		{"a range of a whole stored response (RFC 9110 14.2)", `
			GET /a
			origin: 200 0123456789 | Cache-Control: max-age=60 | Content-Type: text/x | ETag: "1"
			GET /a | Range: bytes=2-4
			is: 206 234 | Content-Range: bytes 2-4/10 | Content-Length: 3 | Content-Type: text/x | ETag: "1" | Age: 0
			GET /a | Range: Bytes=-2
			is: 206 89
			GET /a | Range: bytes=20-
			is: 416 * | Content-Range: bytes */10 | -Cache-Control | -ETag | -Age
			GET /a | Range: lines=1-2
			is: 200 0123456789 | -Content-Range
			GET /a | Range: bytes=0-0,2-2
			is: 206 * | -Content-Range
			GET /a | Range: bytes=2-4 | If-None-Match: "1"
			is: 304`},
		{"many ranges are ignored (RFC 9110 17.15)", `
			GET /a
			origin: 200 0123456789abcdefghij | Cache-Control: max-age=60
			GET /a | Range: bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0
			is: 206 *
			GET /a | Range: bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0
			is: 200 0123456789abcdefghij`},
		{"If-Range takes a strong validator (RFC 9110 13.1.5)", `
			GET /a
			origin: 200 0123456789 | Cache-Control: max-age=60 | ETag: "1" | Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT
			GET /a | Range: bytes=2-4 | If-Range: "1"
			is: 206 234
			GET /a | Range: bytes=2-4 | If-Range: "2"
			is: 200 0123456789
			GET /a | Range: bytes=2-4 | If-Range: W/"1"
			is: 200 0123456789
			GET /a | Range: bytes=2-4 | If-Range: Fri, 31 Dec 1999 00:00:00 GMT
			is: 206 234
			GET /a | Range: bytes=2-4 | If-Range: Sat, 01 Jan 2000 00:00:00 GMT
			is: 200 0123456789`},
		{"a date of the same second is no strong one (RFC 9110 8.8.2.2)", `
			GET /a
			origin: 200 0123456789 | Cache-Control: max-age=60 | Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT
			GET /a | Range: bytes=2-4 | If-Range: Sat, 01 Jan 2000 00:00:00 GMT
			is: 200 0123456789`},
		{"a type that nobody gave is not guessed (RFC 9110 8.3)", `
			GET /a
			origin: 200 0123456789 | Cache-Control: max-age=60
			GET /a | Range: bytes=2-4
			is: 206 234 | -Content-Type`},
		{"a range of what is not stored is the origin's (3.3)", `
			GET /a | Range: bytes=0-1 | If-Range: "1"
			origin: 206 on | Cache-Control: max-age=60 | Content-Range: bytes 0-1/3
			saw: Range: bytes=0-1 | If-Range: "1"
			is: 206 on | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=206
			GET /a
			origin: 200 one`},
		{"a range of what is stale is cut from what is validated (4.3.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1"
			wait 1s
			GET /a | Range: bytes=0-1
			origin: 304 | Cache-Control: max-age=60
			saw: -Range | If-None-Match: "1"
			is: 206 on`},
		{"or from what has come in its place (4.3.3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1 | ETag: "1"
			wait 1s
			GET /a | Range: bytes=0-1
			origin: 200 two | Cache-Control: max-age=60
			is: 206 tw`},

		// RFC 9111 section 5.2.1: what a request may ask.
		{"no-cache validates, and updates what is stored (5.2.1.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			GET /a | Cache-Control: no-cache
			origin: 200 two | Cache-Control: max-age=60 | ETag: "2"
			saw: If-None-Match: "1" | Cache-Control: no-cache
			is: 200 two | Cache-Status: imagecdn; fwd=request; fwd-status=200; stored; ttl=60
			GET /a
			is: 200 two`},
		{"no-cache does not take what is stale (5.2.1.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60, stale-if-error=60
			GET /a | Cache-Control: no-cache
			origin: fails
			is: fails
			GET /a
			is: 200 one`},
		{"one bad directive does not hide another (5.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			GET /a | Cache-Control: max-age=soon, No-Cache
			origin: 200 two`},
		{"Pragma counts where there is no Cache-Control (5.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			GET /a | Pragma: x, no-cache | Cache-Control: max-age=60
			is: 200 one
			GET /a | Pragma: x, no-cache
			origin: 200 two`},
		{"max-age and min-fresh (5.2.1.1, 5.2.1.3)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			wait 10s
			GET /a | Cache-Control: max-age=10
			is: 200 one
			GET /a | Cache-Control: min-fresh=50
			is: 200 one
			GET /a | Cache-Control: min-fresh=51
			origin: 200 two | Cache-Control: max-age=60
			wait 10s
			GET /a | Cache-Control: max-age=9
			origin: 200 three`},
		{"max-stale (5.2.1.2)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=1
			wait 10s
			GET /a | Cache-Control: max-stale=10
			is: 200 one | Age: 10 | Cache-Status: imagecdn; hit; ttl=-9
			GET /a | Cache-Control: max-stale
			is: 200 one
			GET /a | Cache-Control: max-stale, max-age=5
			origin: 200 two | Cache-Control: max-age=1
			wait 10s
			GET /a | Cache-Control: max-stale=9
			origin: 200 three`},
		{"no-store asks the origin and stores nothing (5.2.1.5)", `
			GET /a | Cache-Control: no-store
			origin: 200 one | Cache-Control: max-age=60
			is: 200 one | Cache-Status: imagecdn; fwd=bypass; fwd-status=200
			GET /a
			origin: 200 two`},
		{"only-if-cached asks nobody (5.2.1.7)", `
			GET /a | Cache-Control: only-if-cached
			is: 504 | Date | Cache-Status: imagecdn; detail=only-if-cached
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			GET /a | Cache-Control: only-if-cached
			is: 200 one`},
		{"a request with credentials is not for all (3.5)", `
			GET /a | Authorization: x
			origin: 200 one | Cache-Control: max-age=60
			GET /a
			origin: 200 two
			GET /b | Authorization: x
			origin: 200 one | Cache-Control: max-age=60, public
			GET /b
			is: 200 one
			GET /c | Authorization: x
			origin: 200 one | Cache-Control: s-maxage=60
			GET /c | Authorization: y
			is: 200 one
			GET /d | Authorization: x
			origin: 200 one | Cache-Control: max-age=60, must-revalidate
			GET /d
			is: 200 one
			GET /e | Authorization: x
			origin: 200 one | CDN-Cache-Control: max-age=60 | Cache-Control: public
			GET /e
			origin: 200 two`},
		{"a GET with a body is answered by nobody else (RFC 9110 9.3.1)", `
			GET /a body
			origin: 200 one | Cache-Control: max-age=60
			is: 200 one | Cache-Status: imagecdn; fwd=bypass; fwd-status=200
			GET /a
			origin: 200 two | Cache-Control: max-age=60
			GET /a body
			origin: 200 three`},

		// RFC 9111 section 4.4: invalidation.
		{"an unsafe method invalidates its URL, of all variants (4.4)", `
			GET /a | X: 1
			origin: 200 one | Cache-Control: max-age=60 | Vary: X
			GET /a | X: 2
			origin: 200 two | Cache-Control: max-age=60 | Vary: X
			POST /a body
			origin: 204
			is: 204 | Cache-Status: imagecdn; fwd=method; fwd-status=204
			GET /a | X: 1
			origin: 200 three | Cache-Control: max-age=60
			saw: -If-None-Match
			GET /a | X: 2
			is: 200 three`},
		{"so does an unknown one, and a redirect (4.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			M-SEARCH /a
			origin: 303
			GET /a
			origin: 200 two`},
		{"an error does not (4.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			DELETE /a
			origin: 403
			DELETE /a
			origin: 500
			DELETE /a
			origin: fails
			GET /a
			is: 200 one`},
		{"nor does a safe one (4.4)", `
			GET /a
			origin: 200 one | Cache-Control: max-age=60
			OPTIONS /a
			origin: 200 | Cache-Control: max-age=60
			PROPFIND /a
			origin: 207
			GET /a
			is: 200 one`},
		{"Location and Content-Location of the same origin are invalidated, too (4.4)", `
			GET http://h/d/a
			origin: 200 one | Cache-Control: max-age=60
			GET http://h/b?q
			origin: 200 one | Cache-Control: max-age=60
			GET http://other/b?q
			origin: 200 one | Cache-Control: max-age=60
			PUT http://h/d/c
			origin: 201 | Location: a | Content-Location: HTTP://H:80/b?q#f
			PUT http://h/d/c
			origin: 201 | Location: http://other/b?q | Content-Location: https://h/d/a
			GET http://h/d/a
			origin: 200 two
			GET http://h/b?q
			origin: 200 two
			GET http://other/b?q
			is: 200 one`},
		{"under a Host of its own either name of the origin is its own (4.4)", `
			GET http://up/a | Host: h
			origin: 200 one | Cache-Control: max-age=60
			GET http://up/b | Host: h
			origin: 200 one | Cache-Control: max-age=60
			POST http://up/c | Host: h
			origin: 200 | Location: http://h/a | Content-Location: http://up/b
			GET http://up/a | Host: h
			origin: 200 two
			GET http://up/b | Host: h
			origin: 200 two`},

		// Purges.
		{"a purge under the name of the target", `
			GET http://h/a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			purge http://h/a
			GET http://h/a
			origin: 200 two
			saw: -If-None-Match | Cache-Control: no-cache`},
		{"a purge with Revalidate has the origin asked, past copies on the way", `
			GET http://h/a
			origin: 200 one | Cache-Control: max-age=60, stale-if-error=60 | ETag: "1"
			purge revalidate http://h/a
			GET http://h/a
			origin: fails
			saw: If-None-Match: "1" | Cache-Control: no-cache
			is: fails
			GET http://h/a | Cache-Control: max-stale
			origin: 304
			is: 200 one
			GET http://h/a
			is: 200 one`},
		{"a purge with Stale serves while the origin is asked", `
			GET http://h/a
			origin: 200 one | Cache-Control: max-age=60 | ETag: "1"
			purge stale http://h/a
			GET http://h/a
			origin: 200 two | Cache-Control: max-age=60
			saw: Cache-Control: no-cache
			is: 200 one
			GET http://h/a
			is: 200 two`},

		// RFC 9213: targeted fields.
		{"CDN-Cache-Control goes before Cache-Control and Expires, and passes (RFC 9213 2.2)", `
			GET /a
			origin: 200 one | CDN-Cache-Control: max-age=60 | Cache-Control: no-store | Expires: 0
			GET /a
			is: 200 one | CDN-Cache-Control: max-age=60 | Cache-Control: no-store
			GET /b
			origin: 200 one | CDN-Cache-Control: no-store | Cache-Control: max-age=60
			GET /b
			origin: 200 two
			GET /c
			origin: 200 one | CDN-Cache-Control: private | Cache-Control: max-age=60
			GET /c
			origin: 200 two
			GET /d
			origin: 200 one | CDN-Cache-Control: no-cache | Cache-Control: max-age=60 | ETag: "1"
			GET /d
			origin: 304
			is: 200 one`},
		{"what is no dictionary, empty, or of a wrong type is as good as absent (RFC 9213 2.1)", `
			GET /a
			origin: 200 one | CDN-Cache-Control: max-age=60, &&& | Cache-Control: no-store
			GET /a
			origin: 200 two
			GET /b
			origin: 200 one | CDN-Cache-Control: max-age="60" | Cache-Control: no-store
			GET /b
			origin: 200 two
			GET /c
			origin: 200 one | CDN-Cache-Control: | Cache-Control: max-age=60
			GET /c
			is: 200 one
			GET /d
			origin: 200 one | CDN-Cache-Control: MAX-AGE=0 | Cache-Control: max-age=60
			GET /d
			is: 200 one
			GET /e
			origin: 200 one | CDN-Cache-Control: no-store=?0, max-age=60;p=1, foo=(1 2) | Cache-Control: no-store
			GET /e
			is: 200 one`},

		// RFC 9875: cache groups.
		{"an unsafe method's answer invalidates the groups it names, of its origin (RFC 9875 2, 3)", `
			GET http://h/a
			origin: 200 one | Cache-Control: max-age=60, stale-if-error=60 | Cache-Groups: "x", "y";p=1 | ETag: "1"
			GET http://h/b
			origin: 200 one | Cache-Control: max-age=60 | Cache-Groups: "X"
			GET http://other/a
			origin: 200 one | Cache-Control: max-age=60 | Cache-Groups: "y"
			GET http://h/c
			origin: 200 | Cache-Group-Invalidation: "y"
			GET http://h/a
			is: 200 one
			POST http://h/c
			origin: 200 | Cache-Group-Invalidation: "z", "y"
			GET http://h/a
			origin: fails
			is: fails
			GET http://h/a
			origin: 304
			saw: If-None-Match: "1" | Cache-Control: no-cache
			is: 200 one
			GET http://h/a
			is: 200 one
			GET http://h/b
			is: 200 one
			GET http://other/a
			is: 200 one`},
		{"what is no list of strings names no group (RFC 9875 2)", `
			GET http://h/a
			origin: 200 one | Cache-Control: max-age=60 | Cache-Groups: x
			POST http://h/c
			origin: 200 | Cache-Group-Invalidation: x, ("x")
			GET http://h/a
			is: 200 one`},
	}
	for _, test := range tests {
		t.Run(test.rule, func(t *testing.T) { onSite(t, nil, func(s *site) { s.run(test.script) }) })
	}

	t.Run("with an option", func(t *testing.T) {
		for _, test := range []struct {
			rule   string
			o      TransportOptions
			script string
		}{
			{"the first target that is there goes first (RFC 9213 2.2)", TransportOptions{Targets: []string{"My-Cache-Control", "cdn-cache-control"}}, `
				GET /a
				origin: 200 one | CDN-Cache-Control: no-store | My-Cache-Control: max-age=60
				GET /a
				is: 200 one
				GET /b
				origin: 200 one | CDN-Cache-Control: max-age=60 | My-Cache-Control: %
				GET /b
				is: 200 one`},
			{"no target", TransportOptions{Targets: []string{}}, `
				GET /a
				origin: 200 one | CDN-Cache-Control: no-store | Cache-Control: max-age=60
				GET /a
				is: 200 one`},
			{"a name (RFC 9211 2)", TransportOptions{Name: "edge.1"}, `
				GET /a
				origin: 200 one | Cache-Status: up; hit
				is: 200 one | Cache-Status: up; hit, edge.1; fwd=uri-miss; fwd-status=200`},
			{"a name that is no token (RFC 9211 2)", TransportOptions{Name: `the "é" edge`}, `
				GET /a
				origin: 200 one
				is: 200 one | Cache-Status: "the \"?\" edge"; fwd=uri-miss; fwd-status=200`},
			{"a body above MaxBytes passes, of known length and unknown", TransportOptions{MaxBytes: 4}, `
				GET /a
				origin: 200 12345 | Cache-Control: max-age=60
				is: 200 12345 | Cache-Status: imagecdn; fwd=uri-miss; fwd-status=200
				GET /a
				origin: 200 12345 | Cache-Control: max-age=60 | Content-Length: -1
				is: 200 12345
				GET /a
				origin: 200 1234 | Cache-Control: max-age=60 | Content-Length: -1
				GET /a
				is: 200 1234`},
			{"a Lifetime masks errors, and gives silence a lifetime", TransportOptions{Lifetime: Lifetime{Default: time.Minute}}, `
				GET /a
				origin: 200 one
				GET /a
				is: 200 one
				wait 60s
				GET /a
				origin: 503 ouch
				is: 200 one`},
		} {
			t.Run(test.rule, func(t *testing.T) { onSite(t, &test.o, func(s *site) { s.run(test.script) }) })
		}
	})

	t.Run("over a restart", func(t *testing.T) {
		onSiteWith(t, "memory and disk", nil, func(s *site) {
			s.run(`
				GET http://h/a | X: 1
				origin: 200 one | Cache-Control: max-age=60 | Vary: X | ETag: "1" | X-Any: kept
				GET http://h/a | X: 2
				origin: 200 two | Cache-Control: max-age=60 | Vary: X
				GET http://h/b
				origin: 200 b | Cache-Control: max-age=60
				GET http://h/g
				origin: 200 g | Cache-Control: max-age=60 | Cache-Groups: "x"
				GET http://h/g
				is: 200 g
				POST http://h/b
				origin: 200
				wait 5s
				restart
				GET http://h/a | X: 1
				is: 200 one | Age: 5 | X-Any: kept
				GET http://h/a | X: 2
				is: 200 two | Age: 5
				GET http://h/a | X: 3
				origin: 200 three
				is: 200 three | Cache-Status: imagecdn; fwd=vary-miss; fwd-status=200
				GET http://h/b
				origin: 200 c
				GET http://h/g
				origin: 200 h
				purge http://h/a
				restart
				GET http://h/a | X: 1
				origin: 200 four
				saw: Cache-Control: no-cache | -If-None-Match`)
		})
	})
}

// run runs a script.
func (s *site) run(script string) {
	s.Helper()
	lines := strings.Split(strings.TrimSpace(script), "\n")
	for i := 0; i < len(lines); {
		line := strings.TrimSpace(lines[i])
		i++
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "wait":
			d, err := time.ParseDuration(rest)
			if err != nil {
				s.Fatal(err)
			}
			time.Sleep(d)
			continue
		case "restart":
			s.restart()
			continue
		case "purge":
			mode := Delete
			if what, name, ok := strings.Cut(rest, " "); ok {
				mode, rest = map[string]Mode{"stale": Stale, "revalidate": Revalidate}[what], name
			}
			if err := s.cache.Purge(rest, mode); err != nil {
				s.Fatal(err)
			}
			continue
		}
		var origin, saw, is string
		for ; i < len(lines); i++ {
			what, rest, _ := strings.Cut(strings.TrimSpace(lines[i]), ": ")
			if what == "origin" {
				origin = rest
			} else if what == "saw" {
				saw = rest
			} else if what == "is" {
				is = rest
			} else {
				break
			}
		}
		s.step(line, origin, saw, is)
	}
}

func (s *site) step(line, origin, saw, is string) {
	s.Helper()
	s.origin.answers(func(*http.Request) (*http.Response, error) { return scripted(origin) })
	before := s.origin.asked()
	resp, err := s.cache.RoundTrip(request(s.T, line))
	var body []byte
	if err == nil {
		if body, err = io.ReadAll(resp.Body); err == nil {
			err = resp.Body.Close()
		}
	}
	synctest.Wait() // what is refreshed behind
	switch asked := s.origin.asked() - before; {
	case origin == "" && asked != 0:
		s.Errorf("%s: reached the origin", line)
	case origin != "" && asked != 1:
		s.Errorf("%s: reached the origin %d times", line, asked)
	}
	if saw != "" && s.origin.asked() > before {
		_, fields, _ := strings.Cut("x | "+saw, " | ")
		compare(s.T, line+": the origin's request", s.origin.last(), fields)
	}
	if is == "fails" {
		if err == nil {
			s.Errorf("%s: got %d %q, want an error", line, resp.StatusCode, body)
		}
		return
	}
	if err != nil {
		if origin != "fails" {
			s.Errorf("%s: %v", line, err)
		}
		return
	}
	if resp.StatusCode == http.StatusNotModified && len(body) > 0 {
		s.Errorf("%s: 304 with %q", line, body)
	}
	if is != "" {
		first, fields, _ := strings.Cut(is, " | ")
		want, wantBody, _ := strings.Cut(first, " ")
		if got := strconv.Itoa(resp.StatusCode); got != want || wantBody != "*" && string(body) != wantBody {
			s.Errorf("%s: got %s %q, want %s %q", line, got, body, want, wantBody)
		}
		compare(s.T, line+": the response", resp.Header, fields)
	}
}

// request makes a request of "METHOD URL BODY | Field: value".
func request(t *testing.T, line string) *http.Request {
	t.Helper()
	first, fields, _ := strings.Cut(line, " | ")
	words := strings.SplitN(first, " ", 3)
	url := words[1]
	if strings.HasPrefix(url, "/") {
		url = "http://h" + url
	}
	var body io.Reader
	if len(words) > 2 {
		body = strings.NewReader(words[2])
	}
	req, err := http.NewRequestWithContext(t.Context(), words[0], url, body)
	if err != nil {
		t.Fatal(err)
	}
	if fields != "" {
		req.Header = header(split(fields)...)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
		req.Header.Del("Host")
	}
	return req
}

// scripted makes an answer of "STATUS BODY | Field: value".
func scripted(line string) (*http.Response, error) {
	if line == "fails" || line == "" {
		return nil, fmt.Errorf("the origin fails")
	}
	first, fields, _ := strings.Cut(line, " | ")
	status, body, _ := strings.Cut(first, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		return nil, err
	}
	resp := reply(code, body, split(fields)...)
	if n := resp.Header.Get("Content-Length"); n != "" {
		resp.ContentLength, _ = strconv.ParseInt(n, 10, 64)
		if resp.ContentLength < 0 {
			resp.Header.Del("Content-Length")
		}
	}
	return resp, nil
}

func split(fields string) []string {
	if fields == "" {
		return nil
	}
	list := strings.Split(fields, " | ")
	for i, f := range list {
		list[i] = strings.TrimSpace(strings.Replace(f, ":", ": ", 1))
		if name, value, ok := strings.Cut(f, ":"); ok {
			list[i] = name + ": " + strings.TrimSpace(value)
		}
	}
	return list
}

func compare(t *testing.T, what string, h http.Header, fields string) {
	t.Helper()
	for _, f := range split(fields) {
		name, want, valued := strings.Cut(f, ": ")
		switch {
		case strings.HasPrefix(name, "-"):
			if got, there := h[http.CanonicalHeaderKey(name[1:])]; there {
				t.Errorf("%s has %s: %q", what, name[1:], got)
			}
		case len(h.Values(name)) == 0:
			t.Errorf("%s has no %s", what, name)
		case valued && strings.Join(h.Values(name), ", ") != want:
			t.Errorf("%s has %s: %q, want %q", what, name, h.Values(name), want)
		}
	}
}
