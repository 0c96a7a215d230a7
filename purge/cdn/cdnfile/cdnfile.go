// Package cdnfile reads which CDNs are in front of a handler, and how they are told, from JSON:
//
//	{
//		"rings": [
//			[{"name": "shield", "type": "varnish", "servers": ["http://10.0.0.1:6081"]}],
//			[{"name": "www", "type": "cloudflare", "zone": "023e105f4ecef8ad9ca31a8372d0c353", "token": "$CLOUDFLARE_TOKEN", "plan": "pro"}]
//		]
//	}
//
// The rings are those of [cdn.New]: what is nearest to the handler is first. Every CDN has a name of its own and a type, may have the settings of a [cdn.Edge],
// and has those of its type:
//
//	bases        ["https://www.example.com/img"]    variants   ["w=300"]
//	widen        true                               widenAfter 500
//	again        "30s"                              verify     3             giveUp "10m"
//
//	akamai       host clientToken clientSecret accessToken; network cpCodes accountSwitchKey api
//	bunny        zone key; api
//	cloudflare   zone token; plan api
//	cloudfront   distribution accessKeyID secretAccessKey; sessionToken tagHeader tenant region api
//	cloudimage   key; api
//	fastly       service token; api
//	generic      forms; servers soft tags complete, as in [generic.Options]
//	googlecdn    project urlMap; serviceAccountFile (without it, the token is the metadata server's) host api
//	imgix        key; subImage sourceID api
//	keycdn       zone key; tagBytes api
//	leaseweb     key path; statusPath api
//	nginx        servers; header accepts path wildcards allPath
//	souin        servers; header path
//	varnish      servers; header bans tagHeader
//
// A text that is "$NAME" is the value of that environment variable, so that secrets need not be in the file. "space" beside "rings" is that of [cdn.Options].
// What is not known is an error, and so is a variable that is not set.
package cdnfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
	"github.com/imagecdn/imagecdn/purge/cdn/akamai"
	"github.com/imagecdn/imagecdn/purge/cdn/bunny"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudflare"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudfront"
	"github.com/imagecdn/imagecdn/purge/cdn/cloudimage"
	"github.com/imagecdn/imagecdn/purge/cdn/fastly"
	"github.com/imagecdn/imagecdn/purge/cdn/generic"
	"github.com/imagecdn/imagecdn/purge/cdn/googlecdn"
	"github.com/imagecdn/imagecdn/purge/cdn/imgix"
	"github.com/imagecdn/imagecdn/purge/cdn/keycdn"
	"github.com/imagecdn/imagecdn/purge/cdn/leaseweb"
	"github.com/imagecdn/imagecdn/purge/cdn/nginx"
	"github.com/imagecdn/imagecdn/purge/cdn/souin"
	"github.com/imagecdn/imagecdn/purge/cdn/varnish"
)

// maxFile bounds what is read.
const maxFile = 1 << 20

// Open reads a file and returns the CDNs in it, with o where the file does not say. A nil o means the defaults.
func Open(name string, o *cdn.Options) (*cdn.Edges, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: is larger than a mebibyte", name)
	}
	es, err := Parse(b, os.LookupEnv, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return es, nil
}

// Parse is Open of what is in a file. env looks up an environment variable; nil means that there is none.
func Parse(b []byte, env func(string) (string, bool), o *cdn.Options) (*cdn.Edges, error) {
	var file struct {
		Space string
		Rings [][]json.RawMessage
	}
	if err := decode(b, &file); err != nil {
		return nil, err
	}
	var opts cdn.Options
	if o != nil {
		opts = *o
	}
	if file.Space != "" {
		opts.Space = file.Space
	}
	var rings []cdn.Ring
	n := 0
	for _, r := range file.Rings {
		var ring cdn.Ring
		for _, raw := range r {
			n++
			e, err := edge(raw, env)
			if err != nil {
				if e.Name == "" {
					e.Name = fmt.Sprint("CDN ", n)
				}
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			ring = append(ring, e)
		}
		rings = append(rings, ring)
	}
	if n == 0 {
		return nil, errors.New(`has no CDN: {"rings":[[{"name":…,"type":…}]]}`)
	}
	return cdn.New(rings, &opts)
}

// decode reads JSON of which everything must be known.
func decode(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return oneLine(err)
	}
	if d.More() {
		return errors.New("has more than one value")
	}
	return nil
}

// oneLine says what is wrong with JSON without its Go types.
func oneLine(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%q cannot be a %s", e.Field, e.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// common are the settings of every CDN.
type common struct {
	Name       string
	Type       string
	Bases      []string
	Variants   []string
	Widen      bool
	WidenAfter int
	Again      duration
	Verify     int
	GiveUp     duration
}

var commonNames = []string{"name", "type", "bases", "variants", "widen", "widenafter", "again", "verify", "giveup"}

// A duration is a text such as "30s".
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is no duration such as %q", b, "30s")
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration such as %q", s, "30s")
	}
	*d = duration(v)
	return nil
}

// edge reads one CDN.
func edge(raw json.RawMessage, env func(string) (string, bool)) (e cdn.Edge, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return e, oneLine(err)
	}
	shared, own := make(map[string]json.RawMessage), make(map[string]json.RawMessage)
	for name, v := range fields {
		if v, err = expand(v, env); err != nil {
			return e, fmt.Errorf("%q: %w", name, err)
		}
		if slices.Contains(commonNames, strings.ToLower(name)) {
			shared[name] = v
		} else {
			own[name] = v
		}
	}
	var c common
	b, err := json.Marshal(shared)
	if err != nil {
		return e, err
	}
	if err := decode(b, &c); err != nil {
		return e, err
	}
	e = cdn.Edge{
		Name: c.Name, Bases: c.Bases, Variants: c.Variants, Widen: c.Widen, WidenAfter: c.WidenAfter,
		Again: time.Duration(c.Again), Verify: c.Verify, GiveUp: time.Duration(c.GiveUp),
	}
	if b, err = json.Marshal(own); err != nil {
		return e, err
	}
	e.CDN, err = adapter(c.Type, func(to any) error { return decode(b, to) })
	return e, err
}

var variable = regexp.MustCompile(`^\$[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts variables' values where their names are.
func expand(raw json.RawMessage, env func(string) (string, bool)) (json.RawMessage, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, oneLine(err)
	}
	var walk func(v any) (any, error)
	walk = func(v any) (any, error) {
		switch x := v.(type) {
		case string:
			if !variable.MatchString(x) {
				return x, nil
			}
			if env != nil {
				if value, ok := env(x[1:]); ok {
					return value, nil
				}
			}
			return nil, fmt.Errorf("the environment variable %s is not set", x[1:])
		case []any:
			for i := range x {
				var err error
				if x[i], err = walk(x[i]); err != nil {
					return nil, err
				}
			}
		case map[string]any:
			for k := range x {
				var err error
				if x[k], err = walk(x[k]); err != nil {
					return nil, err
				}
			}
		}
		return v, nil
	}
	v, err := walk(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// headers are header fields as JSON has them.
type headers map[string]string

func (h headers) header() http.Header {
	all := make(http.Header, len(h))
	for k, v := range h {
		all.Set(k, v)
	}
	return all
}

// adapter makes a CDN of a type from its settings.
func adapter(kind string, read func(any) error) (cdn.CDN, error) {
	switch kind {
	case "akamai":
		var s struct {
			Host, ClientToken, ClientSecret, AccessToken, Network, AccountSwitchKey, API string
			CPCodes                                                                      []int
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(akamai.New(akamai.Credentials{Host: s.Host, ClientToken: s.ClientToken, ClientSecret: s.ClientSecret, AccessToken: s.AccessToken},
			&akamai.Options{Network: s.Network, CPCodes: s.CPCodes, AccountSwitchKey: s.AccountSwitchKey, API: s.API}))
	case "bunny":
		var s struct{ Zone, Key, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(bunny.New(s.Zone, s.Key, &bunny.Options{API: s.API}))
	case "cloudflare":
		var s struct{ Zone, Token, Plan, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(cloudflare.New(s.Zone, s.Token, &cloudflare.Options{Plan: cloudflare.Plan(s.Plan), API: s.API}))
	case "cloudfront":
		var s struct {
			Distribution, AccessKeyID, SecretAccessKey, SessionToken, TagHeader, Region, API string
			Tenant                                                                           bool
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		if err := cdn.CheckSetting("cloudfront", "accessKeyID", s.AccessKeyID, "secretAccessKey", s.SecretAccessKey); err != nil {
			return nil, err
		}
		keys := cloudfront.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey, SessionToken: s.SessionToken}
		return made(cloudfront.New(s.Distribution, cloudfront.Static(keys),
			&cloudfront.Options{TagHeader: s.TagHeader, Tenant: s.Tenant, Region: s.Region, API: s.API}))
	case "cloudimage":
		var s struct{ Key, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(cloudimage.New(s.Key, &cloudimage.Options{API: s.API}))
	case "fastly":
		var s struct{ Service, Token, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(fastly.New(s.Service, s.Token, &fastly.Options{API: s.API}))
	case "generic":
		var s generic.Options
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(generic.New(&s))
	case "googlecdn":
		var s struct{ Project, URLMap, ServiceAccountFile, Host, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		token := googlecdn.MetadataServer(nil)
		if s.ServiceAccountFile != "" {
			key, err := os.ReadFile(s.ServiceAccountFile)
			if err != nil {
				return nil, err
			}
			if token, err = googlecdn.ServiceAccount(key, nil); err != nil {
				return nil, err
			}
		}
		return made(googlecdn.New(s.Project, s.URLMap, token, &googlecdn.Options{Host: s.Host, API: s.API}))
	case "imgix":
		var s struct {
			Key, SourceID, API string
			SubImage           bool
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(imgix.New(s.Key, &imgix.Options{SubImage: s.SubImage, SourceID: s.SourceID, API: s.API}))
	case "keycdn":
		var s struct {
			Zone, Key, API string
			TagBytes       int
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(keycdn.New(s.Zone, s.Key, &keycdn.Options{TagBytes: s.TagBytes, API: s.API}))
	case "leaseweb":
		var s struct{ Key, Path, StatusPath, API string }
		if err := read(&s); err != nil {
			return nil, err
		}
		return leaseweb.New(s.Key, &leaseweb.Options{Path: s.Path, StatusPath: s.StatusPath, API: s.API})
	case "nginx":
		var s struct {
			Servers   []string
			Header    headers
			Accepts   []string
			Wildcards bool
			Path      string
			AllPath   string
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(nginx.New(s.Servers, &nginx.Options{Header: s.Header.header(), Accepts: s.Accepts, Wildcards: s.Wildcards, AllPath: s.AllPath, Path: s.Path}))
	case "souin":
		var s struct {
			Servers []string
			Header  headers
			Path    string
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(souin.New(s.Servers, &souin.Options{Header: s.Header.header(), Path: s.Path}))
	case "varnish":
		var s struct {
			Servers   []string
			Header    headers
			Bans      bool
			TagHeader string
		}
		if err := read(&s); err != nil {
			return nil, err
		}
		return made(varnish.New(s.Servers, &varnish.Options{Header: s.Header.header(), Bans: s.Bans, TagHeader: s.TagHeader}))
	case "":
		return nil, errors.New("has no type, such as \"cloudflare\"")
	}
	return nil, fmt.Errorf("the type %q is not known", kind)
}

// made keeps a nil of an adapter from being a CDN.
func made[C cdn.CDN](c C, err error) (cdn.CDN, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
