package cdn

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The client of calls goes where it is sent and nowhere else, with nothing that it was not given.
func TestTheClientOfCalls(t *testing.T) {
	var asked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked = append(asked, "elsewhere") }))
	defer elsewhere.Close()
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Cookie")+r.Header.Get("Referer"))
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	}))
	defer here.Close()
	t.Setenv("HTTP_PROXY", elsewhere.URL)
	t.Setenv("HTTPS_PROXY", elsewhere.URL)
	client := NewClient(nil)
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), "PURGE", here.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err = Call(client, r, nil); err == nil || !strings.HasPrefix(err.Error(), "302") {
			t.Errorf("a redirect: %v", err)
		}
	}
	if got := fmt.Sprint(asked); got != "[ ]" {
		t.Errorf("asked %q", got)
	}

	forbidden := NewClient(&ClientOptions{Control: func(network, address string, _ syscall.RawConn) error {
		if ip := net.ParseIP(address[:strings.LastIndexByte(address, ':')]); ip.IsLoopback() {
			return errors.New("not there")
		}
		return nil
	}})
	r, _ := http.NewRequestWithContext(t.Context(), "GET", here.URL+"/?key=secret", nil)
	if _, _, _, err := Call(forbidden, r, nil); err == nil || !strings.Contains(err.Error(), "not there") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a forbidden address: %v", err)
	}
}

func TestAnswersByClass(t *testing.T) {
	for _, tt := range []struct {
		status    int
		header    string
		body      string
		temporary bool
		after     time.Duration
		text      string
	}{
		{400, "", "bad\ntag", false, 0, "400: bad tag"},
		{403, "", "", false, 0, "403 Forbidden"},
		{408, "", "", true, 0, "408 Request Timeout"},
		{429, "7", "slower", true, 7 * time.Second, "429: slower"},
		{429, "99999999", "", true, time.Hour, "429 Too Many Requests"},
		{429, "soon", "", true, 0, "429 Too Many Requests"},
		{429, "-3", "", true, 0, "429 Too Many Requests"},
		{500, "", strings.Repeat("é", 400), true, 0, "500: " + strings.Repeat("é", 148) + "…"},
		{501, "", "", false, 0, "501 Not Implemented"},
		{503, "Thu, 01 Jan 1970 00:00:00 GMT", "", true, 0, "503 Service Unavailable"},
		{505, "", "", false, 0, "505 HTTP Version Not Supported"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tt.header != "" {
				w.Header().Set("Retry-After", tt.header)
			}
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		r, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL, nil)
		_, _, _, err := Call(s.Client(), r, nil)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != tt.status || e.Temporary != tt.temporary || e.RetryAfter != tt.after || e.Error() != tt.text {
			t.Errorf("%d %q: %+v, %v", tt.status, tt.header, e, err)
		}
		if _, _, _, err := Call(s.Client(), r, nil, tt.status); err != nil {
			t.Errorf("%d is good, and yet: %v", tt.status, err)
		}
		s.Close()
	}

	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
	}))
	defer s.Close()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL, nil)
	if _, _, _, err := Call(s.Client(), r, nil); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("an answer that is cut: %v", err)
	}
}
