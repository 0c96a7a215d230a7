package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// health asks a server whether it is well. It is for containers, which may have no other program that could.
func health(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := newFlags("health", "[-live] [-server URL]", stderr)
	server := f.String("server", defaultServer, "base `URL` of the server")
	live := f.Bool("live", false, "ask only whether the process lives, also while it starts; else whether it serves")
	timeout := f.Duration("timeout", 4*time.Second, "`time` to answer in")
	if err := parse(f, args); err != nil {
		return err
	}
	base, err := url.Parse(*server)
	if err != nil || base.Host == "" || f.NArg() > 0 {
		return usageError("health takes the -server, such as " + defaultServer + ", and no words")
	}
	path := "/-/readyz"
	if *live {
		path = "/-/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	says, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return err
	}
	text := printable(strings.TrimSpace(string(says)))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", req.URL.Redacted(), resp.Status, text)
	}
	fmt.Fprintln(stdout, text)
	return nil
}
