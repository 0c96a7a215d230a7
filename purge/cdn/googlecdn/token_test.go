package googlecdn_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/cdntest"
	"github.com/imagecdn/imagecdn/purge/cdn/googlecdn"
)

const (
	email = "purger@my-project.iam.gserviceaccount.com"
	keyID = "0a1b2c3d"
)

var private = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// keyFile is a key as it is downloaded, with some of its fields changed.
func keyFile(t *testing.T, change map[string]string) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private())
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{
		"type": "service_account", "project_id": "my-project", "private_key_id": keyID, "client_email": email, "client_id": "1234",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"auth_uri":    "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com",
	}
	for name, value := range change {
		fields[name] = value
	}
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func google() *cdntest.GoogleCDN {
	return &cdntest.GoogleCDN{Project: "my-project", URLMap: "my-map", Email: email, Key: &private().PublicKey, KeyID: keyID, Instance: true}
}

// sources are the two of tokens, against a stand-in each.
func sources(t *testing.T, f func(t *testing.T, name string, s *cdntest.GoogleCDN, token func(context.Context) (string, error))) {
	key := keyFile(t, nil) // before any bubble
	for _, name := range []string{"ServiceAccount", "MetadataServer"} {
		synctest.Test(t, func(t *testing.T) {
			s := google()
			o := &googlecdn.TokenOptions{Client: cdntest.Client(s)}
			token := googlecdn.MetadataServer(o)
			if name == "ServiceAccount" {
				var err error
				if token, err = googlecdn.ServiceAccount(key, o); err != nil {
					t.Fatal(err)
				}
			}
			f(t, name, s, token)
		})
	}
}

// asked is how often a token was asked for.
func asked(s *cdntest.GoogleCDN) (n int) {
	for _, c := range s.Calls() {
		if strings.HasSuffix(c.Path, "/token") {
			n++
		}
	}
	return n
}

// Purges go on for as long as one likes, with a token that is asked for once an hour.
func TestTokensAreKeptAndRenewed(t *testing.T) {
	sources(t, func(t *testing.T, name string, s *cdntest.GoogleCDN, token func(context.Context) (string, error)) {
		c, err := googlecdn.New("my-project", "my-map", token, &googlecdn.Options{Client: cdntest.Client(s)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for i := 0; time.Since(start) < 10*time.Hour; i++ {
			if _, err := c.Purge(t.Context(), cdn.Batch{Kind: cdn.All, ID: id(i)}); err != nil {
				t.Fatalf("%s: after %v: %v", name, time.Since(start), err)
			}
			time.Sleep(90 * time.Second)
		}
		if n := asked(s); n < 10 || n > 12 {
			t.Errorf("%s: a token was asked for %d times in ten hours", name, n)
		}
		clean(t, s)
	})
}

// A token with little time left is used for half of that.
func TestShortTokens(t *testing.T) {
	sources(t, func(t *testing.T, name string, s *cdntest.GoogleCDN, token func(context.Context) (string, error)) {
		s.TokenLife = 2 * time.Minute
		for range 10 {
			if _, err := token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		if n := asked(s); n != 5 {
			t.Errorf("%s: %d times in five minutes", name, n)
		}
		clean(t, s)
	})
}

// Many that need a token ask once, and one that gives up leaves the others be.
func TestOneAsksForAll(t *testing.T) {
	sources(t, func(t *testing.T, name string, s *cdntest.GoogleCDN, token func(context.Context) (string, error)) {
		s.Hang(1)
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := token(first); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
		synctest.Wait() // it hangs
		impatient, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := token(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		for range 20 {
			wg.Go(func() {
				if got, err := token(t.Context()); err != nil || got != "ya29.token-1" {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		if n := asked(s); n != 2 {
			t.Errorf("%s: asked %d times, want the one that hung and one more", name, n)
		}
		clean(t, s)
	})
}

func TestNoToken(t *testing.T) {
	sources(t, func(t *testing.T, name string, s *cdntest.GoogleCDN, token func(context.Context) (string, error)) {
		for _, test := range []struct {
			status    int
			body      string
			temporary bool
			says      string
		}{
			{400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, false, "no access token: invalid_grant: Invalid JWT Signature."},
			{401, `{"error":"unauthorized_client"}`, false, "no access token: unauthorized_client"},
			{403, "Missing required header", false, "Missing required header"},
			{404, "not found", false, "not found"},
			{500, "", true, "no access token"},
			{503, "busy", true, "busy"},
			{200, "<html>" + secret, true, "no access token"},
			{200, `{"access_token":"","expires_in":10,"token_type":"Bearer"}`, true, "has none"},
			{200, `{"access_token":"` + secret + `","expires_in":10,"token_type":"mac"}`, true, "has none"},
			{200, `{"access_token":"` + secret + `\r\nX: y","expires_in":10,"token_type":"Bearer"}`, true, "has none"},
		} {
			s.Fail(1, test.status, http.Header{"Metadata-Flavor": {"Google"}}, test.body)
			got, err := token(t.Context())
			e, ok := errors.AsType[*cdn.Error](err)
			if got != "" || !ok || e.Temporary != test.temporary || !strings.Contains(e.Reason, test.says) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %d %s: %q, %v", name, test.status, test.body, got, err)
			}
		}
		if got, err := token(t.Context()); err != nil || got == "" { // none of that is kept
			t.Errorf("%s: %q, %v", name, got, err)
		}
		clean(t, s)
	})
}

func TestAnswersOfSomebodyElse(t *testing.T) {
	s := google()
	s.Fail(1, 200, nil, `{"access_token":"x","expires_in":3600,"token_type":"Bearer"}`)
	_, err := googlecdn.MetadataServer(&googlecdn.TokenOptions{Client: cdntest.Client(s)})(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not from a metadata server") {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	for _, test := range []struct {
		key  []byte
		o    *googlecdn.TokenOptions
		says string
	}{
		{[]byte("-----BEGIN PRIVATE KEY-----"), nil, "no JSON"},
		{[]byte("{}"), nil, "service account"},
		{keyFile(t, map[string]string{"type": "authorized_user"}), nil, "service account"},
		{keyFile(t, map[string]string{"client_email": ""}), nil, "client_email"},
		{keyFile(t, map[string]string{"private_key": ""}), nil, "private_key"},
		{keyFile(t, map[string]string{"private_key": "x"}), nil, "PEM"},
		{keyFile(t, map[string]string{"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}), nil, "RSA"},
		{keyFile(t, map[string]string{"token_uri": "http://oauth2.googleapis.com/token"}), nil, "https"},
	} {
		_, err := googlecdn.ServiceAccount(test.key, test.o)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "PRIVATE") || strings.Contains(err.Error(), "MII") {
			t.Errorf("%v, want %s", err, test.says)
		}
	}
	// Older keys are in PKCS #1, and the token_uri may be missing.
	s := google()
	old := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private())}))
	token, err := googlecdn.ServiceAccount(keyFile(t, map[string]string{"private_key": old, "token_uri": ""}), &googlecdn.TokenOptions{Client: cdntest.Client(s)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token(t.Context()); err != nil {
		t.Error(err)
	}
	clean(t, s)
}

// The stand-in finds each mistake that is made on purpose in a request for a token.
func TestPlantedMistakesOfTokens(t *testing.T) {
	now := time.Now()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": keyID}
	claims := map[string]any{"iss": email, "scope": googlecdn.Scope, "aud": "https://oauth2.googleapis.com/token", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	type request struct {
		method, url, contentType, grant string
		header, claims                  map[string]any
		jwt                             func(string) string
		more                            string
	}
	set := func(in func(r *request) *map[string]any, name string, value any) func(*request) {
		return func(r *request) {
			m := map[string]any{}
			for k, v := range *in(r) {
				m[k] = v
			}
			m[name] = value
			*in(r) = m
		}
	}
	head := func(r *request) *map[string]any { return &r.header }
	claim := func(r *request) *map[string]any { return &r.claims }
	for _, test := range []struct {
		name   string
		change func(r *request)
	}{
		{"", func(*request) {}},
		{"GET", func(r *request) { r.method = "GET" }},
		{"wrong path", func(r *request) { r.url += "s" }},
		{"plain http", func(r *request) { r.url = "http://oauth2.googleapis.com/token" }},
		{"JSON", func(r *request) { r.contentType = "application/json" }},
		{"wrong grant", func(r *request) { r.grant = "client_credentials" }},
		{"a parameter more", func(r *request) { r.more = "&scope=x" }},
		{"no signature", func(r *request) { r.jwt = func(s string) string { return s[:strings.LastIndex(s, ".")+1] } }},
		{"another signature", func(r *request) { r.jwt = func(s string) string { return s[:len(s)-8] + "AAAAAAAA" } }},
		{"two parts", func(r *request) { r.jwt = func(s string) string { return s[:strings.LastIndex(s, ".")] } }},
		{"padded", func(r *request) { r.jwt = func(s string) string { return s + "==" } }},
		{"unsigned", set(head, "alg", "none")},
		{"by a shared key", set(head, "alg", "HS256")},
		{"another key", set(head, "kid", "x")},
		{"another account", set(claim, "iss", "x@example.com")},
		{"for another", set(claim, "sub", "x@example.com")},
		{"another audience", set(claim, "aud", "https://www.googleapis.com/oauth2/v4/token")},
		{"another scope", set(claim, "scope", "https://www.googleapis.com/auth/devstorage.read_only")},
		{"a claim more", set(claim, "admin", true)},
		{"for two hours", set(claim, "exp", now.Add(2*time.Hour).Unix())},
		{"over", set(claim, "exp", now.Add(-time.Minute).Unix())},
		{"of tomorrow", func(r *request) {
			set(claim, "iat", now.Add(24*time.Hour).Unix())(r)
			set(claim, "exp", now.Add(24*time.Hour+time.Minute).Unix())(r)
		}},
		{"text for a time", set(claim, "iat", now.Format(time.RFC3339))},
	} {
		q := request{"POST", "https://oauth2.googleapis.com/token", "application/x-www-form-urlencoded", "urn:ietf:params:oauth:grant-type:jwt-bearer", header, claims,
			func(s string) string { return s }, ""}
		test.change(&q)
		part := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		jwt := part(q.header) + "." + part(q.claims)
		jwt += "." + base64.RawURLEncoding.EncodeToString(googlecdn.SignRS256(t, private(), jwt))
		form := url.Values{"grant_type": {q.grant}, "assertion": {q.jwt(jwt)}}.Encode() + q.more
		r, err := http.NewRequest(q.method, q.url, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", q.contentType)
		s := google()
		resp, err := cdntest.Client(s).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		found := len(s.Faults()) > 0
		if found != (test.name != "") || !found && resp.StatusCode != 200 {
			t.Errorf("%q: %d, faults %q", test.name, resp.StatusCode, s.Faults())
		}
	}
	for _, test := range []struct{ method, path, flavor string }{
		{"GET", "/computeMetadata/v1/instance/service-accounts/default/token", ""},
		{"GET", "/computeMetadata/v1/instance/service-accounts/default/token", "google"},
		{"POST", "/computeMetadata/v1/instance/service-accounts/default/token", "Google"},
		{"GET", "/computeMetadata/v1beta1/instance/service-accounts/default/token", "Google"},
		{"GET", "/computeMetadata/v1/instance/service-accounts/default/token?alt=text", "Google"},
		{"GET", "/", "Google"},
	} {
		s := google()
		r, err := http.NewRequest(test.method, "http://metadata.google.internal"+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.flavor != "" {
			r.Header.Set("Metadata-Flavor", test.flavor)
		}
		if resp, err := cdntest.Client(s).Do(r); err != nil || resp.StatusCode == 200 || len(s.Faults()) != 1 {
			t.Errorf("%+v: %v, faults %q", test, err, s.Faults())
		}
	}
	// A token that has run out.
	synctest.Test(t, func(t *testing.T) {
		s := google()
		s.TokenLife = time.Minute
		token, err := googlecdn.MetadataServer(&googlecdn.TokenOptions{Client: cdntest.Client(s)})(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := googlecdn.New("my-project", "my-map", static(token), &googlecdn.Options{Client: cdntest.Client(s)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			_, err = c.Purge(t.Context(), cdn.Batch{Kind: cdn.All, ID: id(i)})
			if e, ok := errors.AsType[*cdn.Error](err); i == 0 && err != nil || i == 1 && (!ok || e.Status != 401) {
				t.Error(fmt.Sprint(i), err)
			}
			time.Sleep(time.Minute)
		}
	})
}
