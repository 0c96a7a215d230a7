package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// maxAnswer bounds what is read of an answer: a job of 10,000 paths is some 3 MB.
const maxAnswer = 16 << 20

// An apiClient talks to the invalidation API.
type apiClient struct {
	base *url.URL // that of /-/api/v1/purges
	key  string
}

// An apiError is a refusal, or an answer that is none of the API.
type apiError struct {
	status     int
	message    string
	retryAfter time.Duration // zero where the server did not say
}

func (e *apiError) Error() string { return e.message }

// passes reports whether the same request may succeed later: a server that is overloaded or starts anew, or what is in front of it.
func (e *apiError) passes() bool { return e.status == http.StatusTooManyRequests || e.status >= 500 }

func (c *apiClient) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	return req, nil
}

// call asks for a job.
func (c *apiClient) call(ctx context.Context, method, path string, body []byte) (rec purge.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return rec, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return rec, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return rec, err
	}
	if resp.StatusCode/100 != 2 {
		return rec, c.refusal(resp, answer)
	}
	if err := json.Unmarshal(answer, &rec); err != nil || rec.ID == "" {
		return rec, fmt.Errorf("%s gave an answer that is not a job", c.base.Host)
	}
	return rec, nil
}

// refusal is what an answer says that is no success.
func (c *apiClient) refusal(resp *http.Response, answer []byte) error {
	e := &apiError{status: resp.StatusCode}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.retryAfter = time.Duration(min(n, 3600)) * time.Second
	}
	var refusal struct {
		Error struct{ Message string }
	}
	if json.Unmarshal(answer, &refusal) == nil && refusal.Error.Message != "" {
		e.message = printable(refusal.Error.Message)
	} else {
		e.message = fmt.Sprintf("%s answered %s: %s", c.base.Host, resp.Status, printable(strings.TrimSpace(string(answer[:min(len(answer), 200)]))))
	}
	return e
}
