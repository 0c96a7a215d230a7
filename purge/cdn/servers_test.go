package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagecdn/imagecdn/purge/cdn"
)

// A network answers for hosts: "200", "503 text", "429 5" with a Retry-After, and "" for a host that is down.
type network struct {
	answers map[string]string // by host and path, else by host
	calls   chan string
}

// RoundTrip implements [http.RoundTripper].
func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.calls <- r.URL.Host + r.URL.Path
	answer, ok := n.answers[r.URL.Host+r.URL.Path]
	if !ok {
		answer = n.answers[r.URL.Host]
	}
	if answer == "hang" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if answer == "" {
		return nil, errors.New("connection refused")
	}
	var status int
	var text string
	fmt.Sscanf(answer, "%d %s", &status, &text)
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}
	if status == http.StatusTooManyRequests {
		resp.Header.Set("Retry-After", text)
	}
	if text != "" {
		resp.Body = readCloser{strings.NewReader(text)}
	}
	return resp, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestServers(t *testing.T) {
	a, b := []string{"a"}, []string{"b"}
	tests := []struct {
		name    string
		answers map[string]string
		values  [][]string // of each call
		want    cdn.Receipt
		err     *cdn.Error
		calls   int
	}{
		{"all answer", map[string]string{"x:1": "200", "y:1": "204"}, [][]string{a, b}, cdn.Receipt{Complete: true}, nil, 4},
		{"one accepts", map[string]string{"x:1": "200", "y:1": "202"}, [][]string{a, b}, cdn.Receipt{}, nil, 4},
		{"another status that is good", map[string]string{"x:1": "404", "y:1": "200"}, [][]string{a}, cdn.Receipt{Complete: true}, nil, 2},
		{"one is down", map[string]string{"x:1": "200", "y:1": ""}, [][]string{a, b}, cdn.Receipt{},
			&cdn.Error{Reason: "1 of 2 servers: y:1: connection refused", Temporary: true}, 3},
		{"both are down", map[string]string{"x:1": "", "y:1": ""}, [][]string{nil}, cdn.Receipt{},
			&cdn.Error{Reason: "2 of 2 servers: x:1: connection refused; y:1: connection refused", Temporary: true}, 2},
		{"one refuses", map[string]string{"x:1": "403 no", "y:1": "200"}, [][]string{nil}, cdn.Receipt{},
			&cdn.Error{Status: 403, Reason: "1 of 2 servers: x:1: no"}, 2},
		{"one refuses and one is down", map[string]string{"x:1": "403 no", "y:1": ""}, [][]string{nil}, cdn.Receipt{},
			&cdn.Error{Reason: "2 of 2 servers: x:1: 403: no; y:1: connection refused"}, 2},
		{"both are busy", map[string]string{"x:1": "429 7", "y:1": "429 5"}, [][]string{nil}, cdn.Receipt{},
			&cdn.Error{Status: 429, Reason: "2 of 2 servers: x:1: 7; y:1: 5", Temporary: true, RetryAfter: 7 * time.Second}, 2},
		{"one value fails at one", map[string]string{"x:1": "200", "y:1": "200", "y:1/1": "503"}, [][]string{a, b}, cdn.Receipt{Complete: true,
			Failed: []cdn.Failure{{Value: "b", Reason: "503: 1 of 2 servers: y:1: Service Unavailable", Temporary: true}}}, nil, 4},
		{"values fail apart", map[string]string{"x:1": "200", "y:1": "200", "y:1/1": "503", "x:1/0": "400 bad"}, [][]string{a, b, {"c"}}, cdn.Receipt{Complete: true,
			Failed: []cdn.Failure{{Value: "a", Reason: "400: 1 of 2 servers: x:1: bad"}, {Value: "b", Reason: "503: 1 of 2 servers: y:1: Service Unavailable", Temporary: true}}}, nil, 6},
		{"it goes down on the way", map[string]string{"x:1": "200", "y:1": "200", "y:1/1": ""}, [][]string{a, b, {"c", "d"}}, cdn.Receipt{Complete: true,
			Failed: []cdn.Failure{
				{Value: "b", Reason: "1 of 2 servers: y:1: connection refused", Temporary: true}, {Value: "c", Reason: "1 of 2 servers: y:1: connection refused", Temporary: true},
				{Value: "d", Reason: "1 of 2 servers: y:1: connection refused", Temporary: true},
			}}, nil, 5},
		{"two calls for a value", map[string]string{"x:1": "200", "y:1": "200", "y:1/0": "503", "y:1/1": "403"}, [][]string{a, a, b}, cdn.Receipt{Complete: true,
			Failed: []cdn.Failure{{Value: "a", Reason: "503: 1 of 2 servers: y:1: Service Unavailable"}}}, nil, 6},
		{"all fail in two ways", map[string]string{"x:1": "200", "y:1": "200", "y:1/1": "503", "x:1/0": "400 bad"}, [][]string{a, b}, cdn.Receipt{},
			&cdn.Error{Status: 400, Reason: "1 of 2 servers: x:1: bad"}, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := network{tt.answers, make(chan string, 100)}
			s, err := cdn.NewServers("test", &http.Client{Transport: n}, http.Header{"Key": {"k"}}, []string{"http://x:1", "http://y:1/"}, false)
			if err != nil {
				t.Fatal(err)
			}
			var calls []cdn.ServerCall
			for i, values := range tt.values {
				calls = append(calls, cdn.ServerCall{Values: values, Request: func(base string) (*http.Request, error) {
					return http.NewRequest("PURGE", fmt.Sprintf("%s/%d", base, i), nil)
				}})
			}
			got, err := s.Do(t.Context(), calls, nil, 404)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if e, _ := errors.AsType[*cdn.Error](err); !reflect.DeepEqual(e, tt.err) || e == nil && err != nil {
				t.Errorf("got  %+v\nwant %+v", err, tt.err)
			}
			if len(n.calls) != tt.calls {
				t.Errorf("%d calls, want %d", len(n.calls), tt.calls)
			}
		})
	}
}

// A request that cannot be made is no reason to spare a server the others.
func TestServersWithARequestThatCannotBe(t *testing.T) {
	n := network{map[string]string{"x:1": "200"}, make(chan string, 100)}
	s, err := cdn.NewServers("test", &http.Client{Transport: n}, nil, []string{"http://x:1"}, false)
	if err != nil {
		t.Fatal(err)
	}
	var calls []cdn.ServerCall
	for _, v := range []string{"bad", "good"} {
		calls = append(calls, cdn.ServerCall{Values: []string{v}, Request: func(base string) (*http.Request, error) {
			if v == "bad" {
				return nil, errors.New("is no path")
			}
			return http.NewRequest("PURGE", base+"/"+v, nil)
		}})
	}
	got, err := s.Do(t.Context(), calls, nil)
	want := cdn.Receipt{Complete: true, Failed: []cdn.Failure{{Value: "bad", Reason: "x:1: is no path"}}}
	if err != nil || !reflect.DeepEqual(got, want) || len(n.calls) != 1 {
		t.Errorf("got %+v, %v, %d calls", got, err, len(n.calls))
	}
}

func TestServersCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := network{map[string]string{"x:1": "hang", "y:1": "200"}, make(chan string, 100)}
		s, err := cdn.NewServers("test", &http.Client{Transport: n}, nil, []string{"http://x:1", "http://y:1"}, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = s.Do(ctx, []cdn.ServerCall{{Request: func(base string) (*http.Request, error) { return http.NewRequest("PURGE", base, nil) }}}, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
