package command

import (
	"flag"
	"io"
	"net/http/httptest"
	"testing"

	"github.com/imagecdn/imagecdn"
)

func TestRateFlags(t *testing.T) {
	for _, test := range []struct {
		args   []string
		ok     bool
		client string // of a request through 10.0.0.1; empty where the handler's own way is left
		admits int    // of five requests; -1 where there is no limit
	}{
		{nil, true, "", -1},
		{[]string{"-trusted-proxy", "10.0.0.1"}, true, "192.0.2.1", -1},
		{[]string{"-trusted-proxy", "fd00::/8", "-trusted-proxy", "10.0.0.0/8"}, true, "192.0.2.1", -1},
		{[]string{"-trusted-proxy", "proxy.example"}, false, "", 0},
		{[]string{"-rate", "0.001", "-rate-burst", "3"}, true, "", 3},
		{[]string{"-rate", "many"}, false, "", 0},
	} {
		var rates rateFlags
		f := flag.NewFlagSet("serve", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		rates.define(f)
		if err := f.Parse(test.args); (err == nil) != test.ok || !test.ok {
			if test.ok || err == nil {
				t.Errorf("%q: %v", test.args, err)
			}
			continue
		}
		var o imagecdn.Options
		rates.set(&o)
		r := httptest.NewRequest("GET", "/photos/cat.jpg", nil)
		r.RemoteAddr = "10.0.0.1:9"
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		client := ""
		if o.Client != nil {
			client = o.Client(r)
		}
		admits := -1
		if o.Admit != nil {
			admits = 0
			for range 5 {
				if o.Admit(r) == nil {
					admits++
				}
			}
		}
		if client != test.client || admits != test.admits {
			t.Errorf("%q: the client is %q and %d are admitted, want %q and %d", test.args, client, admits, test.client, test.admits)
		}
	}
}
