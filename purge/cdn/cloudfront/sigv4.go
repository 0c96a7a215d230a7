package cloudfront

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// sign adds X-Amz-Date, X-Amz-Security-Token and Authorization to r, by AWS Signature Version 4
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html). All fields that r has by then are signed.
// The path is not normalized: it has no dots and no empty segments here.
func sign(r *http.Request, body []byte, keys Credentials, region, service string, now time.Time) {
	stamp := now.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Amz-Date", stamp)
	if keys.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", keys.SessionToken)
	}
	request, signed := canonical(r, body)
	scope := stamp[:8] + "/" + region + "/" + service + "/aws4_request"

	key := []byte("AWS4" + keys.SecretAccessKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hash([]byte(request)))
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", keys.AccessKeyID, scope, signed, signature))
}

// canonical is the request in the form whose hash is signed, and the names of the fields in it.
func canonical(r *http.Request, body []byte) (request, signed string) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	fields := map[string]string{"host": host}
	names := []string{"host"}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = strings.Join(strings.Fields(v), " ")
		}
		fields[name] = strings.Join(trimmed, ",")
		names = append(names, name)
	}
	slices.Sort(names)

	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + escape(path, true) + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range names {
		b.WriteString(name + ":" + fields[name] + "\n")
	}
	signed = strings.Join(names, ";")
	b.WriteString("\n" + signed + "\n" + hash(body))
	return b.String(), signed
}

// canonicalQuery sorts the parameters of a query by their names, and then values, as they are escaped.
func canonicalQuery(query url.Values) string {
	var pairs [][2]string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, [2]string{escape(name, false), escape(v, false)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	joined := make([]string, len(pairs))
	for i, p := range pairs {
		joined[i] = p[0] + "=" + p[1]
	}
	return strings.Join(joined, "&")
}

// escape escapes all but what RFC 3986 leaves unreserved, and slashes where these separate segments.
func escape(s string, slashes bool) string {
	var b strings.Builder
	for _, ch := range []byte(s) {
		switch {
		case ch >= '0' && ch <= '9', ch >= 'A' && ch <= 'Z', ch >= 'a' && ch <= 'z', strings.IndexByte("-._~", ch) >= 0, ch == '/' && slashes:
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String()
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
