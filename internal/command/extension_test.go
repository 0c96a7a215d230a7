package command

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/samples"
)

// A witness is an extension that writes down what it is asked for, in order.
type witness struct {
	mu    sync.Mutex // guards calls
	calls []string

	color string
	peers []string
	size  int64

	fails string // the step that fails
}

func (w *witness) note(step string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, step)
	if w.fails == step {
		return errors.New("it rains")
	}
	return nil
}

// seenStore notes when it is closed.
type seenStore struct {
	cache.Store
	w *witness
}

func (s seenStore) Close() error {
	return errors.Join(s.w.note("close store"), s.Store.Close())
}

func (w *witness) extension() Extension {
	return Extension{
		Usage:    "  imagecdn serve -hue red                             serve in red\n",
		Examples: map[string]string{"hue": "hue = \"red\"\n", "peers": "peers = [\"a\", \"b\"]\n"},
		Choices:  map[string][]string{"hue": {"red", "blue"}},
		Flags: func(f *flag.FlagSet) Serving {
			f.StringVar(&w.color, "hue", "", "a `colour`")
			f.Var(List(&w.peers), "peers", "a `peer`; may be repeated")
			w.size = 1 << 30
			f.Var(Size(&w.size), "tank", "most `bytes` of it")
			return Serving{
				Check: func(env Env) error {
					if w.color == "green" {
						return UsageErrorf("-hue takes red or blue, and got %q", w.color)
					}
					return w.note(fmt.Sprint("check ", len(env.Sources), " ", env.CacheDir != "", " ", w.color, w.peers, w.size))
				},
				Source: func(_ context.Context, env Env, where string) (imagecdn.Source, bool, error) {
					if !strings.HasPrefix(where, "sample://") {
						return imagecdn.Source{}, false, nil
					}
					return imagecdn.FS(samples.FS()), true, w.note("source " + where)
				},
				Cache: func(_ context.Context, _ Env, fast cache.Store) (cache.Store, error) {
					return seenStore{fast, w}, w.note("cache")
				},
				Options: func(_ context.Context, _ Env, opts *imagecdn.Options) error {
					if _, ok := opts.Cache.(seenStore); !ok {
						return fmt.Errorf("the cache is %T", opts.Cache)
					}
					return w.note("options")
				},
				Close: func() error { return w.note("close") },
			}
		},
	}
}

// What an extension gives is in effect, in order, and closed after what uses it.
func TestExtension(t *testing.T) {
	w := new(witness)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	printed, ended := &lineWriter{url: make(chan string, 1)}, make(chan int, 1)
	var errs bytes.Buffer
	file := filepath.Join(t.TempDir(), "settings.toml")
	if err := os.WriteFile(file, []byte("hue = \"red\"\npeers = [\"a\", \"b\"]\ntank = \"2GiB\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		ended <- Run(ctx, []string{"serve", "-config", file, "-listen", "127.0.0.1:0", "-cache", "", "-hue", "blue", "-source", "shop=sample://all"}, printed, &errs, w.extension())
	}()
	var url string
	select {
	case url = <-printed.url:
	case code := <-ended:
		t.Fatalf("exits with %d: %s", code, &errs)
	}
	resp, err := http.Get(strings.TrimSuffix(url, "/") + "/shop/rocket.jpg?w=9")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a source of the extension answers %d", resp.StatusCode)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exits with %d: %s", code, &errs)
	}
	want := []string{"check 1 false blue[a b] 2147483648", "source sample://all", "cache", "options", "close store", "close"}
	if !slices.Equal(w.calls, want) {
		t.Errorf("%q, want %q", w.calls, want)
	}
}

// What has been opened is closed where a step fails, and what failed is said.
func TestExtensionFails(t *testing.T) {
	for _, test := range []struct {
		fails string
		args  string
		code  int
		after string // what is called after the step that fails
		says  string
	}{
		{"source sample://x", "", 1, "close", "imagecdn: -source shop: it rains\n"},
		{"cache", "", 1, "close", "imagecdn: it rains\n"},
		{"options", "", 1, "close store, close", "imagecdn: it rains\n"},
		{"", "-hue green", 2, "", `imagecdn: -hue takes red or blue, and got "green"`},
		{"", "-source b=gopher://x", 1, "close", `imagecdn: imagecdn: Sources["b"]`},
	} {
		w := &witness{fails: test.fails}
		var errs bytes.Buffer
		args := append([]string{"serve", "-listen", "127.0.0.1:0", "-cache", "", "-source", "shop=sample://x"}, strings.Fields(test.args)...)
		code := Run(t.Context(), args, io.Discard, &errs, w.extension())
		if code != test.code || !strings.HasPrefix(errs.String(), test.says) {
			t.Errorf("%+v: exits with %d, and says %s", test, code, &errs)
		}
		i := slices.Index(w.calls, test.fails)
		if after := strings.Join(w.calls[i+1:], ", "); !strings.HasSuffix(after, test.after) {
			t.Errorf("%+v: after that it is asked for %s", test, after)
		}
	}
}

// Who is told to end while an extension waits for something ends without an error.
func TestExtensionIsInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	x := Extension{Flags: func(*flag.FlagSet) Serving {
		return Serving{Options: func(ctx context.Context, _ Env, _ *imagecdn.Options) error {
			stop()
			<-ctx.Done()
			return fmt.Errorf("waiting for a leader: %w", ctx.Err())
		}}
	}}
	var errs bytes.Buffer
	if code := Run(ctx, []string{"serve", "-listen", "127.0.0.1:0", "-cache", ""}, io.Discard, &errs, x); code != 0 || errs.Len() > 0 {
		t.Errorf("exits with %d: %s", code, &errs)
	}
}

// The flags of an extension are where those of serve are.
func TestFlagsOfExtension(t *testing.T) {
	for _, test := range []struct {
		args string
		has  string
	}{
		{"help", `(?s)imagecdn version\n\n?  imagecdn serve -hue red .*serve in red\n\n"imagecdn COMMAND -h"`},
		{"serve -h", `(?m)^  -hue colour\n`},
		{"serve -print-config", "(?m)^# a colour\n#hue = \"red\"$"},
		{"serve -print-config", "(?m)^#peers = \\[\"a\", \"b\"\\]$"},
		{"serve -print-config", "(?m)^#tank = \"1.0 GiB\"$"},
		{"serve -print-config -peers x -peers y", "(?m)^peers = \\[\"x\", \"y\"\\]$"},
		{"completion bash", `'serve -hue'\) _imagecdn_words 'red blue'`},
		{"completion zsh", `-hue\[a colour\]:colour:\(red blue\)`},
		{"completion fish", `-o hue -d 'a colour' -x -a 'red blue'`},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), strings.Fields(test.args), &out, &out, new(witness).extension()); code != 0 {
			t.Errorf("%s: exits with %d", test.args, code)
		}
		if !regexp.MustCompile(test.has).Match(out.Bytes()) {
			t.Errorf("%s does not have %s:\n%s", test.args, test.has, &out)
		}
	}
	var out bytes.Buffer
	if Run(t.Context(), []string{"help"}, &out, &out); out.String() != synopsis {
		t.Errorf("without extensions, help prints\n%s", &out)
	}
}
