package akamai

import (
	"net/http"
	"testing"
	"time"
)

// The test cases of Akamai's own libraries (AkamaiOPEN-edgegrid-python, akamai/edgegrid/test/testcases.json), but for those that sign further
// headers or cut the body at a limit of 2,048 bytes, neither of which is done here.
func TestEdgeGridTestCases(t *testing.T) {
	const host = "akaa-baseurl-xxxxxxxxxxx-xxxxxxxxxxxxx.luna.akamaiapis.net"
	c := Credentials{
		Host:         host,
		ClientToken:  "akab-client-token-xxx-xxxxxxxxxxxxxxxx",
		ClientSecret: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=",
		AccessToken:  "akab-access-token-xxx-xxxxxxxxxxxxxxxx",
	}
	for _, test := range []struct{ name, method, path, body, signature string }{
		{"simple GET", "GET", "/", "", "tL+y4hxyHxgWVD30X3pWnGKHcPzmrIF+LThiAOhMxYU="},
		{"GET with querystring", "GET", "/testapi/v1/t1?p1=1&p2=2", "", "hKDH1UlnQySSHjvIcZpDMbQHihTQ0XyVAKZaApabdeA="},
		{"POST inside limit", "POST", "/testapi/v1/t3", "datadatadatadatadatadatadatadata", "hXm4iCxtpN22m4cbZb4lVLW5rhX8Ca82vCFqXzSTPe4="},
		{"POST empty body", "POST", "/testapi/v1/t6", "", "1gEDxeQGD5GovIkJJGcBaKnZ+VaPtrc4qBUHixjsPCQ="},
		{"PUT test", "PUT", "/testapi/v1/t6", "PPPPPPPPPPPPPPPPPPPPPPPPPPPPPPP", "GNBWEYSEWOLtu+7dD52da2C39aX/Jchpon3K/AmBqBU="},
		{"GET with query params", "GET", "/testapi/v1/configs/111?from=12345&limit=200000", "", "XM+hsuSs6nuy/5eDRty1IjtVCAdr8xPFRAZ/b8RXDm8="},
		{"GET with query params and separator in path", "GET", "/testapi/v1/configs/111;222;333?from=12345&limit=200000", "",
			"pmQF7Is2+O4r/mMojPR4yeF58BrempNNoBX5/DT0Fxs="},
	} {
		r, err := http.NewRequest(test.method, "https://"+host+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		sign(r, []byte(test.body), c, time.Date(2014, 3, 21, 19, 34, 21, 0, time.UTC), "nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
		want := "EG1-HMAC-SHA256 client_token=akab-client-token-xxx-xxxxxxxxxxxxxxxx;access_token=akab-access-token-xxx-xxxxxxxxxxxxxxxx;" +
			"timestamp=20140321T19:34:21+0000;nonce=nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx;signature=" + test.signature
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, want)
		}
	}
}

func TestObjects(t *testing.T) {
	for _, test := range []struct{ url, object string }{ // an empty object: refused
		{"https://www.example.com/a.jpg", "https://www.example.com/a.jpg"},
		{"http://www.example.com:8080/a.jpg?w=200&h=1", "http://www.example.com:8080/a.jpg?w=200&h=1"},
		{"https://www.example.com/a%2Fb.jpg", "https://www.example.com/a%2Fb.jpg"},
		{"https://www.example.com/caf\u00e9 \"1\".jpg", "https://www.example.com/caf%C3%A9%20%221%22.jpg"},
		{"https://www.example.com/a.jpg#part", "https://www.example.com/a.jpg"},
		{"https://me:secret@www.example.com/a.jpg", "https://www.example.com/a.jpg"},
		{"https://www.example.com/a.jpg?q=\"", ""},
		{"www.example.com/a.jpg", ""},
		{"ftp://www.example.com/a.jpg", ""},
		{"/a.jpg", ""},
		{"", ""},
	} {
		got, err := object("url", test.url)
		if got != test.object || (err == nil) != (test.object != "") {
			t.Errorf("%q: %q, %v, want %q", test.url, got, err, test.object)
		}
	}
}
