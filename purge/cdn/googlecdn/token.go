package googlecdn

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Scope is what tokens are asked for by [ServiceAccount]: Compute Engine, which the API of Cloud CDN is part of.
const Scope = "https://www.googleapis.com/auth/compute"

// TokenOptions are the optional settings of [ServiceAccount] and [MetadataServer].
type TokenOptions struct {
	// Scope is what tokens may be used for. Empty means Scope. It has no meaning for the metadata server, where it is a setting of
	// the instance.
	Scope string

	// Account is the service account that the metadata server is asked for. Empty means "default".
	Account string

	// URL is where tokens come from. Empty means the token_uri of the key, or "http://metadata.google.internal".
	URL string

	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client
}

// ServiceAccount returns access tokens of a service account, whose key is as the console of Google Cloud has it for download, in JSON. A token is
// kept until shortly before its end. A nil o means the defaults.
//
// It is the flow of https://developers.google.com/identity/protocols/oauth2/service-account (RFC 7523): a JWT that is signed with the key is
// exchanged for a token.
func ServiceAccount(key []byte, o *TokenOptions) (func(context.Context) (string, error), error) {
	var k struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		Key      string `json:"private_key"`
		KeyID    string `json:"private_key_id"`
		TokenURI string `json:"token_uri"`
	}
	if err := json.Unmarshal(key, &k); err != nil {
		return nil, errors.New("googlecdn: the key is no JSON") // the error may quote it
	}
	if k.Type != "service_account" {
		return nil, errors.New("googlecdn: the key is not one of a service account")
	}
	if err := cdn.CheckSetting("googlecdn: the key", "client_email", k.Email); err != nil {
		return nil, err
	}
	if k.Key == "" {
		return nil, errors.New("googlecdn: the key: private_key is missing")
	}
	private, err := parseKey(k.Key)
	if err != nil {
		return nil, err
	}
	opts := tokenOptions(o)
	if opts.Scope == "" {
		opts.Scope = Scope
	}
	if opts.URL == "" {
		opts.URL = k.TokenURI
	}
	if opts.URL == "" {
		opts.URL = "https://oauth2.googleapis.com/token"
	}
	if u, err := url.Parse(opts.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("googlecdn: the token_uri of the key is no https URL")
	}
	return cached(func(ctx context.Context) (*http.Request, error) {
		assertion, err := assertion(private, k.KeyID, k.Email, opts.Scope, opts.URL, time.Now())
		if err != nil {
			return nil, err
		}
		form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, opts.URL, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r, nil
	}, nil, opts.Client), nil
}

// MetadataServer returns access tokens of the service account of the machine, on Google Cloud. A nil o means the defaults.
func MetadataServer(o *TokenOptions) func(context.Context) (string, error) {
	opts := tokenOptions(o)
	if opts.Account == "" {
		opts.Account = "default"
	}
	if opts.URL == "" {
		opts.URL = "http://metadata.google.internal"
	}
	target := strings.TrimSuffix(opts.URL, "/") + "/computeMetadata/v1/instance/service-accounts/" + url.PathEscape(opts.Account) + "/token"
	return cached(func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Metadata-Flavor", "Google")
		return r, nil
	}, func(h http.Header) bool { return h.Get("Metadata-Flavor") == "Google" }, opts.Client) // others have not been asked
}

func tokenOptions(o *TokenOptions) (opts TokenOptions) {
	if o != nil {
		opts = *o
	}
	if opts.Client == nil {
		opts.Client = cdn.NewClient(nil)
	}
	return opts
}

// parseKey reads a private key in PEM.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("googlecdn: the private_key is no PEM")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, ok := key.(*rsa.PrivateKey); ok {
			return key, nil
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("googlecdn: the private_key is no RSA key")
}

// assertion is a JWT (RFC 7519) that says who asks for what, for an hour, signed by RS256.
func assertion(key *rsa.PrivateKey, keyID, email, scope, audience string, now time.Time) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{"RS256", "JWT", keyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Scope    string `json:"scope"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{email, scope, audience, now.Unix(), now.Add(time.Hour).Unix()})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// early is how long before its end a token is not used any more. The metadata server has a new one from five minutes before on.
const early = 4 * time.Minute

// cached returns tokens that request gets, each until shortly before its end. Of many callers one asks, and the others wait for it. A nil
// genuine takes all answers.
func cached(request func(context.Context) (*http.Request, error), genuine func(http.Header) bool, client *http.Client) func(context.Context) (string, error) {
	turn := make(chan struct{}, 1) // guards what follows
	var token string
	var end time.Time
	return func(ctx context.Context) (string, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if token != "" && time.Now().Before(end) {
			return token, nil
		}
		r, err := request(ctx)
		if err != nil {
			return "", err
		}
		asked := time.Now()
		_, header, body, err := cdn.Call(client, r, tokenWords)
		if e, ok := errors.AsType[*cdn.Error](err); ok {
			e.Reason = "no access token: " + e.Reason
		}
		if err != nil {
			return "", err
		}
		if genuine != nil && !genuine(header) {
			return "", &cdn.Error{Reason: "no access token: the answer is not from a metadata server of Google Cloud"}
		}
		var a struct {
			Token   string  `json:"access_token"`
			Type    string  `json:"token_type"`
			Expires float64 `json:"expires_in"`
		}
		if err := json.Unmarshal(body, &a); err != nil || a.Token == "" || !strings.EqualFold(a.Type, "Bearer") || strings.ContainsAny(a.Token, "\r\n ") {
			return "", &cdn.Error{Reason: "no access token: the answer has none", Temporary: true} // it is not quoted: it may have one
		}
		life := time.Duration(min(max(a.Expires, 0), 24*3600) * float64(time.Second))
		token, end = a.Token, asked.Add(max(life-early, life/2))
		return token, nil
	}
}

// tokenWords is what a body says of an error (RFC 6749 section 5.2).
func tokenWords(body []byte) string {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	switch err := json.Unmarshal(body, &e); {
	case err != nil || e.Error == "":
		return string(body)
	case e.Description == "":
		return e.Error
	}
	return e.Error + ": " + e.Description
}
