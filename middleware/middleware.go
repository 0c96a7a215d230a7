// Package middleware wraps an [http.Handler] that serves images: URL signatures (its own, imgix's and Cloudimage's), lists of
// what parameters may be, rates for each client, CORS and an access log.
//
// Each is a struct literal whose zero value is safe, with a Handler method. The order, outermost first:
//
//	var images http.Handler // such as an *imagecdn.Handler
//	sign := &middleware.Signature{Keys: [][]byte{key}}
//	cors := &middleware.CORS{Origins: []string{"https://shop.example"}}
//	logs := &middleware.AccessLog{Logger: slog.Default()}
//	http.Handle("/img/", logs.Handler(cors.Handler(sign.Handler(http.StripPrefix("/img", images)))))
//
// The log is outside, to see what the others refuse. CORS comes before signatures, because a browser's preflight
// request is not signed, and because a page may read the answer to a URL that was refused. A list ([Allow]) is inside of signatures,
// which it would not know, or beside them in an [AnyOf].
//
// What is refused is answered with 403 and one line of text that says why. What refuses has a method Check, which does all but
// answer, and a zero value that lets nothing through, or for Allow nothing but originals. docs/signing.md of the module has what is
// signed, byte for byte, in Go, Node.js and a shell.
//
// # What is promised
//
// Nothing but a Rate's clients, which are bounded, is kept in memory from one request to the next, and bodies are neither buffered nor copied: a file goes
// from disk to socket by sendfile where net/http would do so. [http.ResponseController] works through each wrapper.
// All are safe for concurrent use as long as their fields are not written to.
package middleware
