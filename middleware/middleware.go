// Package middleware wraps an [http.Handler] that serves images: URL signatures, CORS and an access log.
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
// request is not signed, and because a page may read the answer to a URL that was refused.
//
// # What is promised
//
// Nothing is kept in memory from one request to the next, and bodies are neither buffered nor copied: a file goes
// from disk to socket by sendfile where net/http would do so. [http.ResponseController] works through each wrapper.
// All are safe for concurrent use as long as their fields are not written to.
package middleware
