package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// purgePaths asks a server to purge, and follows the job to its end.
func purgePaths(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags("purge", "-server URL -key KEY PATH…|FOLDER/…|-tag TAG…|-all", stderr)
	server := f.String("server", "http://127.0.0.1:8080", "base `URL` of the server")
	key := f.String("key", "", "`key` of its API")
	keyFile := f.String("key-file", "", "`file` that holds the key")
	all := f.Bool("all", false, "purge everything, or all of -source")
	tags := f.Bool("tag", false, "the arguments are tags that origins have given to images")
	source := f.String("source", "", "with -all: the one `source` to purge")
	mode := f.String("mode", string(purge.Delete), "delete, revalidate or stale")
	tenant := f.String("tenant", "", "on whose behalf, for the log")
	if err := parse(f, args); err != nil {
		return err
	}
	req := purge.Request{Scope: purge.Original, Paths: f.Args(), Source: *source, Mode: purge.Mode(*mode), Tenant: *tenant}
	switch {
	case *all && (f.NArg() > 0 || *tags):
		return usageError("purge takes paths, tags or -all, not several of them")
	case *all:
		req.Scope, req.Paths = purge.All, nil
	case f.NArg() == 0:
		return usageError("purge takes paths, such as /photos/cat.jpg, folders, such as /photos/2026/, tags with -tag, or -all")
	case *tags:
		req.Scope, req.Paths, req.Tags = purge.Tag, nil, f.Args()
	case strings.HasSuffix(f.Arg(0), "/"):
		req.Scope = purge.Prefix
		for _, folder := range f.Args() {
			if !strings.HasSuffix(folder, "/") {
				return usageError(fmt.Sprintf("purge takes images or folders, not both: %q does not end in a slash", folder))
			}
		}
	}
	base, err := url.Parse(*server)
	if err != nil || base.Host == "" {
		return usageError(fmt.Sprintf("-server %q is not a URL such as http://127.0.0.1:8080", *server))
	}

	if *key, err = readKey(*key, *keyFile); err != nil {
		return err
	}
	c := &apiClient{base: base.JoinPath("/-/api/v1/purges"), key: *key}
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	rec, err := c.call(ctx, http.MethodPost, "", body)
	for state := purge.State(""); err == nil; {
		if rec.State != state {
			state = rec.State
			fmt.Fprintf(stdout, "%s %s\n", rec.ID, state)
		}
		if state.Final() {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		rec, err = c.call(ctx, http.MethodGet, rec.ID, nil)
	}
	if err != nil {
		return err
	}
	for _, p := range rec.Paths {
		fmt.Fprintf(stdout, "%-10s %s: originals %d, derivatives %d, composites %d, bytes %d\n", p.Outcome, p.Path, p.Originals, p.Derivatives, p.Composites, p.Bytes)
		if p.Reason != "" {
			fmt.Fprintf(stdout, "           %s\n", p.Reason)
		}
	}
	return rec.Err()
}

// An apiClient talks to the invalidation API.
type apiClient struct {
	base *url.URL
	key  string
}

func (c *apiClient) call(ctx context.Context, method, id string, body []byte) (rec purge.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(id).String(), bytes.NewReader(body))
	if err != nil {
		return rec, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return rec, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return rec, err
	}
	if resp.StatusCode/100 != 2 {
		var refusal struct {
			Error struct{ Message string }
		}
		if json.Unmarshal(answer, &refusal) == nil && refusal.Error.Message != "" {
			return rec, errors.New(refusal.Error.Message)
		}
		return rec, fmt.Errorf("%s answered %s: %s", c.base.Host, resp.Status, strings.TrimSpace(string(answer[:min(len(answer), 200)])))
	}
	if err := json.Unmarshal(answer, &rec); err != nil {
		return rec, fmt.Errorf("%s gave an answer that is not a job: %w", c.base.Host, err)
	}
	return rec, nil
}
