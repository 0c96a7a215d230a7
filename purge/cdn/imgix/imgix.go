// Package imgix purges images at imgix, where that stands in front of this CDN as a source of it.
//
//	c, err := imgix.New(key, nil)
//	edges, err := cdn.New([]cdn.Ring{{{Name: "imgix", CDN: c, Bases: []string{"https://shop.imgix.net"}}}}, nil)
//
// The key is an API key with the permission to purge; it goes out as Authorization: Bearer. A URL is that of an image at imgix, whose
// domain belongs to the key's account.
//
// # Limits
//
// One URL in a call, and ten calls a second (docs.imgix.com/references/api-rate-limits). A URL covers all that was made of the image, whatever
// the parameters, so that it goes out without a query. Calls for one URL within ten seconds may be answered 409: such a purge counts
// as taken, as imgix carries it out all the same (docs.imgix.com/apis/management/purges).
//
// # What is not possible
//
// There is no purge of everything, of a folder or of tags, and no soft purge. imgix first asks the source whether the image has
// changed, and stops where it has not. It says that it took a purge, and never that the purge is through. Pictures that the image is a
// watermark of are purged with Options.SubImage alone.
package imgix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// Options are the optional settings of [New].
type Options struct {
	// Client makes the calls. Nil means cdn.NewClient(nil).
	Client *http.Client

	// API is the URL that paths of the API are appended to. Zero means https://api.imgix.com.
	API string

	// SubImage also purges the pictures that an image is a mark or a blend of, of the source SourceID. Zero means that those stay.
	SubImage bool

	// SourceID is the ID of the source at imgix whose pictures SubImage is about: 24 hexadecimal digits. It goes with SubImage, and
	// SubImage with it.
	SourceID string
}

// A CDN is an account at imgix.
type CDN struct {
	key, api, sourceID string
	client             *http.Client
}

// New returns the account that an API key is of. A nil o means the defaults.
func New(key string, o *Options) (*CDN, error) {
	if o == nil {
		o = new(Options)
	}
	if err := cdn.CheckSetting("imgix", "the API key", key); err != nil {
		return nil, err
	}
	if o.SubImage != (o.SourceID != "") {
		return nil, errors.New("imgix: Options.SubImage and Options.SourceID go together")
	}
	c := &CDN{key: key, api: strings.TrimSuffix(o.API, "/"), sourceID: o.SourceID, client: o.Client}
	if c.api == "" {
		c.api = "https://api.imgix.com"
	}
	if c.client == nil {
		c.client = cdn.NewClient(nil)
	}
	return c, nil
}

// Features implements [cdn.CDN].
func (c *CDN) Features() cdn.Features {
	return cdn.Features{Forms: map[cdn.Kind]cdn.Form{
		cdn.URL: {MaxItems: 1, Query: true, Rates: []cdn.Rate{{Name: "purges", Burst: 10, PerSecond: 10}}},
	}}
}

type attributes struct {
	URL      string `json:"url"`
	SubImage bool   `json:"sub_image,omitempty"`
	SourceID string `json:"source_id,omitempty"`
}

// A document is what the API takes, and what it answers: JSON:API.
type document[A any] struct {
	Data struct {
		ID         string `json:"id,omitempty"`
		Attributes A      `json:"attributes"`
		Type       string `json:"type"`
	} `json:"data"`
}

// Purge implements [cdn.CDN].
func (c *CDN) Purge(ctx context.Context, b cdn.Batch) (cdn.Receipt, error) {
	if b.Kind != cdn.URL || len(b.Values) != 1 || b.Soft {
		return cdn.Receipt{}, &cdn.Error{Reason: "imgix purges one URL in a call, and nothing else"}
	}
	u, err := url.Parse(b.Values[0])
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return cdn.Receipt{Failed: []cdn.Failure{{Value: b.Values[0], Reason: "is no absolute URL"}}}, nil
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""

	var d document[attributes]
	d.Data.Type = "purges"
	d.Data.Attributes = attributes{URL: u.String(), SubImage: c.sourceID != "", SourceID: c.sourceID}
	body, err := json.Marshal(d)
	if err != nil {
		return cdn.Receipt{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.api+"/api/v1/purge", bytes.NewReader(body))
	if err != nil {
		return cdn.Receipt{}, &cdn.Error{Reason: "the URL of the API is none"}
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Content-Type", mediaType)
	r.Header.Set("Accept", mediaType)
	status, _, body, err := cdn.Call(c.client, r, c.words, http.StatusConflict)
	if err != nil {
		return cdn.Receipt{}, err
	}
	if status == http.StatusConflict {
		return cdn.Receipt{}, nil
	}
	var answer struct {
		document[struct {
			PurgeID string `json:"purge_id"`
		}]
		Errors []json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return cdn.Receipt{}, &cdn.Error{Status: status, Reason: "the answer is not that of the API: " + cdn.OneLine(c.redact(string(body))), Temporary: true}
	}
	if len(answer.Errors) > 0 {
		return cdn.Receipt{}, &cdn.Error{Status: status, Reason: cdn.OneLine(c.words(body))}
	}
	if answer.Data.ID == "" {
		answer.Data.ID = answer.Data.Attributes.PurgeID
	}
	return cdn.Receipt{ID: answer.Data.ID}, nil
}

const mediaType = "application/vnd.api+json"

// words finds what imgix says in an answer that refuses.
func (c *CDN) words(body []byte) string {
	var answer struct {
		Errors []struct{ Title, Detail string } `json:"errors"`
	}
	var words []string
	if json.Unmarshal(body, &answer) == nil {
		for _, e := range answer.Errors {
			switch {
			case e.Title == "":
				words = append(words, e.Detail)
			case e.Detail == "":
				words = append(words, e.Title)
			default:
				words = append(words, fmt.Sprintf("%s: %s", e.Title, e.Detail))
			}
		}
	}
	if len(words) == 0 {
		return c.redact(string(body))
	}
	return c.redact(strings.Join(words, "; "))
}

// redact takes the key out of what an answer repeats.
func (c *CDN) redact(s string) string { return strings.ReplaceAll(s, c.key, "…") }
