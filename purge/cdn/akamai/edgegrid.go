package akamai

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// sign adds the Authorization of EdgeGrid to r (https://techdocs.akamai.com/developer/docs/edgegrid). No header is signed but Host. The whole
// body counts: EdgeGrid would leave out what is beyond the first 131,072 bytes, and no body here is as large.
func sign(r *http.Request, body []byte, c Credentials, now time.Time, nonce string) {
	stamp := now.UTC().Format("20060102T15:04:05+0000")
	auth := "EG1-HMAC-SHA256 client_token=" + c.ClientToken + ";access_token=" + c.AccessToken + ";timestamp=" + stamp + ";nonce=" + nonce + ";"
	var hash string
	if r.Method == http.MethodPost && len(body) > 0 {
		sum := sha256.Sum256(body)
		hash = base64.StdEncoding.EncodeToString(sum[:])
	}
	data := strings.Join([]string{r.Method, r.URL.Scheme, r.URL.Host, r.URL.RequestURI(), "", hash, auth}, "\t")
	r.Header.Set("Authorization", auth+"signature="+mac(mac(c.ClientSecret, stamp), data))
}

func mac(key, text string) string {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}
