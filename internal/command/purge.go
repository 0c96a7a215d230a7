package command

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// defaultServer is where serve listens by default.
const defaultServer = "http://127.0.0.1:8080"

// purgeFlags are what is purged, and how the job is followed.
type purgeFlags struct {
	server, key, keyFile       string
	all, prefix, tags          bool
	source, mode, tenant, from string
	batch                      int
	retry, follow              string
	watch, json                bool
}

func (p *purgeFlags) parse(args []string, stderr io.Writer) (words []string, err error) {
	f := newFlags("purge", "[flags] PATH…|FOLDER/…|-tag TAG…|-all|-retry ID|-follow ID", stderr)
	f.StringVar(&p.server, "server", defaultServer, "base `URL` of the server")
	const key, file = "`key` of its API (default: what the environment variable IMAGECDN_KEY has)", "`file` that holds the key"
	f.StringVar(&p.key, "key", "", key)
	f.StringVar(&p.key, "api-key", "", "the same as -key: the `key` of the API")
	f.StringVar(&p.keyFile, "key-file", "", file)
	f.StringVar(&p.keyFile, "api-key-file", "", "the same as -key-file: a `file` that holds the key")
	f.BoolVar(&p.all, "all", false, "purge everything, or all of -source")
	f.StringVar(&p.source, "source", "", "purge all of this `source`")
	f.BoolVar(&p.prefix, "prefix", false, "the words are folders, with or without a slash at the end")
	f.BoolVar(&p.tags, "tag", false, "the words are tags that origins have given to images")
	f.StringVar(&p.from, "from", "", "`file` with more words, one on each line; - is the standard input, which the word - stands for, too")
	f.IntVar(&p.batch, "batch", 1000, "most `paths` in one job; more are several jobs")
	f.StringVar(&p.mode, "mode", string(purge.Delete), "`how`: delete, revalidate or stale")
	f.StringVar(&p.tenant, "tenant", "", "on `whose` behalf, for the log")
	f.StringVar(&p.retry, "retry", "", "try again what failed of the job with this `ID`")
	f.StringVar(&p.follow, "follow", "", "purge nothing, and follow the job with this `ID`")
	f.BoolVar(&p.watch, "watch", false, "show how the job goes on: a bar on a terminal, else lines")
	f.BoolVar(&p.json, "json", false, "print jobs as JSON, one on each line: at their end, and with -watch in each state")
	if words, err = parseMixed(f, args); err != nil {
		return nil, err
	}
	return words, nil
}

// purgePaths asks a server to purge, and follows the job to its end.
func purgePaths(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var p purgeFlags
	words, err := p.parse(args, stderr)
	if err != nil {
		return err
	}
	base, err := url.Parse(p.server)
	if err != nil || base.Host == "" {
		return usageError(fmt.Sprintf("-server %q is not a URL such as %s", p.server, defaultServer))
	}
	requests, err := p.requests(words)
	if err != nil {
		return err
	}
	if p.key, err = readKey(p.key, p.keyFile); err != nil {
		return err
	}
	api := &apiClient{base: base.JoinPath("/-/api/v1/purges"), key: cmp.Or(p.key, os.Getenv("IMAGECDN_KEY"))}
	f := &follower{api: api, screen: newScreen(stdout, stderr), watch: p.watch, json: p.json, silence: 2 * time.Minute}

	var jobs []purge.Record
	var refused error // what could not be asked for, after others were accepted
	switch {
	case p.follow != "" || p.retry != "":
		method, path := http.MethodGet, p.follow
		if p.retry != "" {
			method, path = http.MethodPost, p.retry+"/retry"
		}
		rec, err := api.call(ctx, method, path, nil)
		if err != nil {
			return err
		}
		jobs = append(jobs, rec)
	default:
		// All are asked for before the first is followed: they are in force from then on.
		for i, req := range requests {
			rec, err := p.submit(ctx, api, req, i > 0)
			if err != nil && i == 0 {
				return err
			}
			if err != nil {
				refused = fmt.Errorf("%d of %d jobs were asked for, and not what comes from %q on: %w", i, len(requests), req.Paths[0], err)
				break
			}
			jobs = append(jobs, rec)
		}
	}
	again := "imagecdn purge"
	if p.server != defaultServer {
		again += " -server " + p.server
	}
	var failed []error
	for i, rec := range jobs {
		rec, err := f.follow(ctx, rec)
		if ctx.Err() != nil {
			var commands []string
			for _, left := range jobs[i:] {
				commands = append(commands, again+" -watch -follow "+left.ID)
			}
			return fmt.Errorf("%w: the purge is in force, and goes on; to see its end: %s", errInterrupted, strings.Join(commands, "; "))
		}
		if err == nil && rec.State != purge.Done {
			err = fmt.Errorf("purge %s: %s; %s -retry %[1]s tries again what failed", rec.ID, rec.State, again)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if refused != nil {
		failed = append(failed, refused)
	}
	for i, err := range failed {
		if i == len(failed)-1 {
			return err
		}
		f.screen.complain("imagecdn: %v", err)
	}
	return nil
}

// submit asks for a purge. Where others went before it, it waits for its turn if it has to.
func (p *purgeFlags) submit(ctx context.Context, api *apiClient, req purge.Request, patient bool) (purge.Record, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return purge.Record{}, err
	}
	for {
		rec, err := api.call(ctx, http.MethodPost, "", body)
		refusal, _ := errors.AsType[*apiError](err)
		if err == nil || !patient || refusal == nil || refusal.status != http.StatusTooManyRequests {
			return rec, err
		}
		select {
		case <-ctx.Done():
			return rec, ctx.Err()
		case <-time.After(max(refusal.retryAfter, time.Second)):
		}
	}
}

// requests are the purges that the flags and words ask for.
func (p *purgeFlags) requests(words []string) ([]purge.Request, error) {
	kinds := 0
	for _, given := range []bool{p.all || p.source != "", p.prefix, p.tags, p.retry != "", p.follow != ""} {
		if given {
			kinds++
		}
	}
	wordless := p.all || p.source != "" || p.retry != "" || p.follow != ""
	switch {
	case kinds > 1 || wordless && (len(words) > 0 || p.from != ""):
		return nil, usageError("purge takes one of paths, folders, tags with -tag, -all, -retry and -follow")
	case p.batch < 1:
		return nil, usageError("-batch takes a number of at least 1")
	case p.retry != "" || p.follow != "":
		if id := cmp.Or(p.retry, p.follow); strings.ContainsAny(id, "/?#%") || strings.HasPrefix(id, ".") {
			return nil, usageError(fmt.Sprintf("%q is not the ID of a job", id))
		}
		return nil, nil
	}
	req := purge.Request{Scope: purge.Original, Source: p.source, Mode: purge.Mode(p.mode), Tenant: p.tenant}
	if wordless {
		req.Scope = purge.All
		return []purge.Request{req}, nil
	}
	words, err := p.words(words)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, usageError("purge takes paths, such as /photos/cat.jpg, folders, such as /photos/2026/, tags with -tag, or -all")
	}
	switch {
	case p.tags:
		req.Scope = purge.Tag
	case p.prefix || strings.HasSuffix(words[0], "/"):
		req.Scope = purge.Prefix
	}
	for _, w := range words {
		if folder := strings.HasSuffix(w, "/"); !p.tags && !p.prefix && folder != (req.Scope == purge.Prefix) {
			return nil, usageError(fmt.Sprintf("purge takes images or folders, not both: %q and %q", words[0], w))
		}
	}
	var all []purge.Request
	for len(words) > 0 {
		// Of what the API reads of a request, some is for what is around the words, and for what JSON escapes.
		const most = 1 << 19
		n, size := 0, 0
		for n < len(words) && n < p.batch && (n == 0 || size+len(words[n]) < most) {
			size += len(words[n]) + 3
			n++
		}
		if req.Paths = words[:n]; p.tags {
			req.Paths, req.Tags = nil, words[:n]
		}
		all = append(all, req)
		words = words[n:]
	}
	return all, nil
}

// words are the words of the command, and those of files in their place.
func (p *purgeFlags) words(given []string) (words []string, err error) {
	if p.from != "" {
		given = append(given, p.from)
	}
	stdin := false
	for i, w := range given {
		file := io.Reader(os.Stdin)
		switch last := p.from != "" && i == len(given)-1; {
		case w == "-" && stdin:
			return nil, usageError("the standard input is given twice")
		case w == "-":
			stdin = true
		case last:
			f, err := os.Open(w)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			file = f
		default:
			words = append(words, w)
			continue
		}
		// What is longer than purge.MaxPath is for the server to refuse, but a file without lines is not read to its end.
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				words = append(words, line)
			}
			if len(words) > 1_000_000 {
				return nil, errors.New("a million words and more: a purge of folders, tags or all takes less")
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", cmp.Or(strings.TrimPrefix(w, "-"), "the standard input"), err)
		}
	}
	return words, nil
}
