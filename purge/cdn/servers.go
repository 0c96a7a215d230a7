package cdn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Servers are caches of one's own, each of which has to be told of a purge itself, as none passes it on. It is what adapters for them make
// their calls with.
type Servers struct {
	client *http.Client
	header http.Header
	bases  []string
	names  []string // of bases, for errors: host and port
}

// maxAtOnce bounds the servers that are called at once.
const maxAtOnce = 16

// NewServers returns the servers at bases, such as "http://10.0.0.1:6081", for the adapter of that name, which errors begin with. A nil client is
// that of [NewClient]. The header is sent with each call. A path in a base is refused unless paths is set.
func NewServers(adapter string, client *http.Client, header http.Header, bases []string, paths bool) (*Servers, error) {
	if client == nil {
		client = NewClient(nil)
	}
	s := &Servers{client: client, header: header.Clone()}
	if len(bases) == 0 {
		return nil, fmt.Errorf("%s: there is no server", adapter)
	}
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			shown := "a server's address"
			if err == nil && u.User == nil {
				shown = fmt.Sprintf("%q", base)
			}
			return nil, fmt.Errorf("%s: %s is not of the form http://host:port", adapter, shown)
		}
		if !paths && u.Path != "" && u.Path != "/" {
			return nil, fmt.Errorf("%s: %s: a server's address has no path, as those of images are sent to it: http://host:port", adapter, u.Host)
		}
		if slices.Contains(s.bases, strings.TrimSuffix(base, "/")) {
			return nil, fmt.Errorf("%s: %s is there twice", adapter, u.Host)
		}
		s.bases = append(s.bases, strings.TrimSuffix(base, "/"))
		s.names = append(s.names, u.Host)
	}
	return s, nil
}

// Anywhere returns Servers of which there is one, that is wherever the requests of calls say: their base is empty. A nil client is that of
// [NewClient]. The header is sent with each call.
func Anywhere(client *http.Client, header http.Header) *Servers {
	if client == nil {
		client = NewClient(nil)
	}
	return &Servers{client: client, header: header.Clone(), bases: []string{""}, names: []string{""}}
}

// A ServerCall is a request that each server gets.
type ServerCall struct {
	Values  []string                                 // of the batch, that it is for; none means all of the batch
	Request func(base string) (*http.Request, error) // base has no slash at its end
}

// Do makes the calls: to all servers at once, and to each of them in order. Answers are read as by [Call]. A server that cannot be reached
// is spared the rest.
//
// The receipt is Complete unless an answer was 202. A value whose call failed at any server has Failed, with the names of these servers. Where all
// have, or the call was for all of the batch, that is the error, which is Temporary where another try may help with every one of them.
// Another try repeats the calls at all servers.
func (s *Servers) Do(ctx context.Context, calls []ServerCall, words func(body []byte) string, also ...int) (Receipt, error) {
	failed := make([][]*Error, len(s.bases)) // by server and call
	accepted := make([]bool, len(s.bases))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	places := make(chan struct{}, maxAtOnce)
	for i, base := range s.bases {
		failed[i] = make([]*Error, len(calls))
		work.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for j, c := range calls {
				status, err := s.call(ctx, base, c, words, also)
				accepted[i] = accepted[i] || status == http.StatusAccepted
				if err == nil {
					continue
				}
				e, ok := errors.AsType[*Error](err)
				if !ok { // the request could not be made, or ctx has ended
					cancel(err)
					return
				}
				failed[i][j] = e
				if e.Status == 0 && e.Temporary {
					for k := j + 1; k < len(calls); k++ {
						failed[i][k] = e
					}
					return
				}
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return Receipt{}, context.Cause(ctx)
	}

	receipt := Receipt{Complete: !slices.Contains(accepted, true)}
	var worst *Error
	values, at := make(map[string]bool), make(map[string]int) // all, and where in receipt.Failed
	whole := false
	for j, c := range calls {
		for _, v := range c.Values {
			values[v] = true
		}
		e := s.join(failed, j)
		if e == nil {
			continue
		}
		whole = whole || len(c.Values) == 0
		if worst == nil {
			worst = new(*e)
		}
		worst.Temporary = worst.Temporary && e.Temporary
		worst.RetryAfter = max(worst.RetryAfter, e.RetryAfter)
		for _, v := range c.Values {
			if i, ok := at[v]; ok {
				receipt.Failed[i].Temporary = receipt.Failed[i].Temporary && e.Temporary
				continue
			}
			at[v] = len(receipt.Failed)
			receipt.Failed = append(receipt.Failed, Failure{Value: v, Reason: OneLine(e.Error()), Temporary: e.Temporary})
		}
	}
	if worst != nil && (whole || len(at) == len(values)) {
		return Receipt{}, worst
	}
	return receipt, nil
}

func (s *Servers) call(ctx context.Context, base string, c ServerCall, words func([]byte) string, also []int) (int, error) {
	r, err := c.Request(base)
	if err != nil {
		return 0, &Error{Reason: plain(err)}
	}
	for k, v := range s.header {
		r.Header[k] = v
	}
	status, _, _, err := Call(s.client, r.WithContext(ctx), words, also...)
	return status, err
}

// join makes one error of what servers answered to a call; nil if none failed.
func (s *Servers) join(failed [][]*Error, call int) *Error {
	joined := &Error{Temporary: true}
	n, same := 0, true
	for i := range failed {
		e := failed[i][call]
		if e == nil {
			continue
		}
		if n++; n == 1 {
			joined.Status = e.Status
		}
		same = same && e.Status == joined.Status
		joined.Temporary = joined.Temporary && e.Temporary
		joined.RetryAfter = max(joined.RetryAfter, e.RetryAfter)
	}
	if n == 0 {
		return nil
	}
	if !same {
		joined.Status = 0
	}
	var reasons []string
	for i := range failed {
		e := failed[i][call]
		if e == nil {
			continue
		}
		reason := e.Reason
		switch {
		case !same:
			reason = e.Error()
		case reason == "":
			reason = http.StatusText(e.Status)
		}
		if s.names[i] != "" {
			reason = s.names[i] + ": " + reason
		}
		reasons = append(reasons, reason)
	}
	joined.Reason = strings.Join(reasons, "; ")
	if len(s.names) > 1 {
		joined.Reason = fmt.Sprintf("%d of %d servers: %s", n, len(s.names), joined.Reason)
	}
	joined.Reason = OneLine(joined.Reason)
	return joined
}
