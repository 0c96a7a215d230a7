package doctest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elsewhere are pages whose commands have a test of their own, with the file that it is in.
var elsewhere = map[string]struct{ language, test, file string }{
	"docs/compatible-apis.md": {"console", "func TestCompatibleAPIsDocumentation(", "compat_api_test.go"},
	"docs/signing.md":         {"sh", "func TestDocumentation(", "middleware/docs_test.go"},
}

// notRun are commands that are not run here, with the reason. What can be looked at without running them is.
var notRun = []struct {
	command *regexp.Regexp
	reason  string
	check   func(t *testing.T, words []string) error
}{
	{regexp.MustCompile(`^go test \./\.\.\.$`), "would run itself", nil},
	{regexp.MustCompile(`^export IMAGECDN_KEY=…$`), "a key of the reader's; commands here have one in their environment", nil},
	{regexp.MustCompile(`^make [a-z-]+( [A-Z_]+=\S+)*$`), "takes long, or needs other programs; scripts and CI run it", isTarget},
	{regexp.MustCompile(`^go -C examples (run|test) \./\S+$`), "needs the modules of the frameworks; the tests of examples run each", isExample},
	{regexp.MustCompile(`^go -C cluster build -o imagecdn \./\S+$`), "needs the modules of NATS and of buckets; the tests of cluster run it", isProgramOfCluster},
	{regexp.MustCompile(`^(sudo )?(apt-get|install|systemctl|systemd-analyze|journalctl|docker|podman|caddy|kubectl) `), "needs another program, or changes the machine", nil},
}

// served are how the server is started that a page's commands talk to, where that is not with sourcesServed.
var served = map[string][]string{
	"docs/moving-from-imgix.md":      {"-dialect", "imgix", "-source", "shop=ORIGIN"},
	"docs/moving-from-cloudimage.md": {"-dialect", "cloudimage", "-source", "shop=ORIGIN", "-prefix", "shop"},
}

var sourcesServed = []string{"-source", "photos=photos", "-source", "shop=ORIGIN"}

// plainly are programs of every machine that may be run with any words, in a directory of the test's own.
var plainly = []string{"base64", "cat", "curl", "cut", "echo", "grep", "head", "ls", "mkdir", "openssl", "printf", "tr"}

func isTarget(t *testing.T, words []string) error {
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^` + words[1] + `:`).Match(b) {
		return fmt.Errorf("the Makefile has no target %s", words[1])
	}
	return nil
}

func isExample(t *testing.T, words []string) error {
	if words[4] == "./..." {
		return nil
	}
	_, err := os.Stat(filepath.Join(root, "examples", words[4], "main_test.go"))
	return err
}

func isProgramOfCluster(t *testing.T, words []string) error {
	_, err := os.Stat(filepath.Join(root, "cluster", words[len(words)-1], "main.go"))
	return err
}

// Every command is run: servers until they listen, and what talks to one with a server of the built command. Output that is shown is what
// comes out. A command that is neither run nor on the list of those that are not is a mistake.
func TestCommands(t *testing.T) {
	needPrograms(t)
	binary := build(t)
	for _, p := range pages(t) {
		commands := commandsOf(t, p)
		if len(commands) == 0 {
			continue
		}
		t.Run(filepath.Base(p.name), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, binary, p.name)
			for _, c := range commands {
				d.run(t, c)
			}
		})
	}
}

// needPrograms skips a test that runs commands where they cannot be run.
func needPrograms(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("commands are those of a Unix shell")
	}
	for _, program := range []string{"go", "sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("commands are not run: ", err)
		}
	}
}

// A command is one of a page, with the output that the page shows.
type command struct {
	at, text string
	want     string
	shows    bool // whether want is all of its output
}

func commandsOf(t *testing.T, p page) (all []command) {
	t.Helper()
	if e, ok := elsewhere[p.name]; ok {
		b, err := os.ReadFile(filepath.Join(root, e.file))
		if err != nil || !strings.Contains(string(b), e.test) {
			t.Errorf("%s does not have %s): %v", e.file, e.test, err)
		}
	}
	for _, f := range p.fences {
		if elsewhere[p.name].language == f.language {
			continue
		}
		switch f.language {
		case "console":
			lines := strings.Split(strings.TrimSuffix(f.code, "\n"), "\n")
			for i := 0; i < len(lines); {
				text, ok := strings.CutPrefix(lines[i], "$ ")
				if !ok {
					t.Errorf("%s:%d: a console does not begin with a command", f.page, f.line+i)
					break
				}
				c := command{at: fmt.Sprintf("%s:%d", f.page, f.line+i), text: text}
				for i++; strings.HasSuffix(c.text, `\`) && i < len(lines); i++ {
					c.text += "\n" + lines[i]
				}
				for ; i < len(lines) && !strings.HasPrefix(lines[i], "$ "); i++ {
					c.want, c.shows = c.want+lines[i]+"\n", true
				}
				all = append(all, c)
			}
		case "sh":
			for i, line := range strings.Split(strings.ReplaceAll(f.code, "\\\n", "\\\x00"), "\n") {
				if line = strings.TrimSpace(strings.ReplaceAll(line, "\x00", "\n")); line != "" && !strings.HasPrefix(line, "#") {
					all = append(all, command{at: fmt.Sprintf("%s:%d", f.page, f.line+i), text: line})
				}
			}
		}
	}
	return all
}

// build returns the path of the command.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "imagecdn")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", binary, "./cmd/imagecdn")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// A desk is a directory with what commands of a page work on, and a server that they talk to.
type desk struct {
	dir, binary string
	env         []string
	page        string
	server      string // empty until it is needed
	origin      string
}

// newDesk makes a directory with the command, photographs, keys and a file of CDNs.
func newDesk(t *testing.T, binary, page string) *desk {
	t.Helper()
	d := &desk{dir: t.TempDir(), binary: binary, page: page}
	for _, folder := range []string{"photos", "photos/2026", "home", "var", "etc/imagecdn", "srv"} {
		if err := os.MkdirAll(filepath.Join(d.dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	samples := filepath.Join(root, "internal/samples/photos")
	for to, from := range map[string]string{
		"photos/rocket.jpg": "rocket.jpg", "photos/chelsea.png": "chelsea.png", "photos/cat.jpg": "rocket.jpg", "photos/2026/cat.jpg": "rocket.jpg", "cat.jpg": "rocket.jpg",
	} {
		b, err := os.ReadFile(filepath.Join(samples, from))
		if err != nil {
			t.Fatal(err)
		}
		d.write(t, to, string(b))
	}
	for name, text := range map[string]string{
		"sign.key": "secret-key-of-32-bytes-0123456789\n", "imgix.token": "FOO123bar\n", "cloudimage.salt": "salt-of-a-token\n", "etc/imagecdn/key": "KEY\n", "etc/imagecdn/sign.key": "secret-key-of-32-bytes-0123456789\n",
		"access.log":  "GET /a.jpg?bg-remove=true\nGET /b.jpg?bg-remove=true&w=3\nGET /c.jpg?fm=mp4\nGET /d.jpg?w=400\nGET /e.pdf?w=9&doc_page=2\n",
		"changed.txt": "/photos/cat.jpg\n/photos/rocket.jpg\n",
		"cdns.json":   `{"rings":[[{"name":"edge","type":"varnish","servers":["http://127.0.0.1:1"]}]]}`,
	} {
		d.write(t, name, text)
	}
	if err := os.Symlink(filepath.Join(d.dir, "photos"), filepath.Join(d.dir, "srv/photos")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(d.dir, "imagecdn")); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(filepath.Join(d.dir, "photos")))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(origin.Close)
	d.origin = origin.URL
	d.env = append(os.Environ(), "PATH="+d.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+filepath.Join(d.dir, "home"),
		"XDG_CACHE_HOME="+filepath.Join(d.dir, "home"), "KEY=KEY", "IMAGECDN_KEY=KEY")
	return d
}

func (d *desk) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var (
	comment     = regexp.MustCompile(`\s+#.*$`)
	absolute    = regexp.MustCompile(`([ =@"'])/(var|srv|etc)/`)
	listening   = regexp.MustCompile(`listening on (http://\S+)`)
	environment = regexp.MustCompile(`^([A-Z_]+=\S+ )+`)
	pathOf      = regexp.MustCompile(`^(\./)?imagecdn\b`)
)

// run runs a command, or finds the reason why not.
func (d *desk) run(t *testing.T, c command) {
	t.Helper()
	text := comment.ReplaceAllString(c.text, "")
	text = absolute.ReplaceAllString(text, "${1}"+d.dir+"/$2/")
	text = strings.ReplaceAll(text, "go run ./cmd/imagecdn", "./imagecdn")
	bare := environment.ReplaceAllString(text, "")
	words := strings.Fields(bare)
	switch {
	case text == "go build -o imagecdn ./cmd/imagecdn": // as build did
		return
	case pathOf.MatchString(bare) && (len(words) == 1 || words[1] == "serve" || strings.HasPrefix(words[1], "-")):
		d.serve(t, c, strings.TrimSuffix(text, " &")+" -listen 127.0.0.1:0")
		return
	}
	for _, n := range notRun {
		if !n.command.MatchString(text) {
			continue
		}
		if n.check != nil {
			if err := n.check(t, words); err != nil {
				t.Errorf("%s: %s: %v", c.at, c.text, err)
			}
		}
		t.Logf("not run: %s: %s", c.text, n.reason)
		return
	}
	if !pathOf.MatchString(bare) && !slices.Contains(plainly, words[0]) {
		t.Errorf("%s: %s: nothing here knows how to run this, or why not", c.at, c.text)
		return
	}
	if strings.Contains(text, "imagecdn purge") {
		text = strings.ReplaceAll(text, "imagecdn purge", "imagecdn purge -server "+d.url(t))
	}
	if strings.Contains(text, "127.0.0.1:8080") {
		text = strings.ReplaceAll(text, "http://127.0.0.1:8080", d.url(t))
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir, cmd.Env = d.dir, d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %s: %v\n%s%s", c.at, c.text, err, out, stderr.Bytes())
		return
	}
	if c.shows {
		compare(t, c, string(out))
	}
}

// serve starts a server, and ends it when it listens.
func (d *desk) serve(t *testing.T, c command, text string) {
	t.Helper()
	if !strings.Contains(text, "-api-key") {
		text += " -api-key KEY"
	}
	out, stop, err := d.start(t, "exec "+text)
	if err != nil {
		t.Errorf("%s: %s: %v", c.at, c.text, err)
		return
	}
	stop()
	if c.shows {
		compare(t, c, out)
	}
}

// url returns that of the server that the page's commands talk to, and has it make a picture first.
func (d *desk) url(t *testing.T) string {
	t.Helper()
	if d.server != "" {
		return d.server
	}
	flags := slices.Clone(sourcesServed)
	if f, ok := served[d.page]; ok {
		flags = slices.Clone(f)
	}
	for i := range flags {
		flags[i] = strings.ReplaceAll(flags[i], "ORIGIN", d.origin)
	}
	out, stop, err := d.start(t, "exec ./imagecdn serve -listen 127.0.0.1:0 -cache standing -api-key KEY -allow-private "+strings.Join(flags, " "))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	d.server = listening.FindStringSubmatch(out)[1]
	for _, path := range []string{"/photos/rocket.jpg?w=400&fm=webp", "/shop/rocket.jpg?w=400&fm=webp"} {
		resp, err := http.Get(d.server + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return d.server
}

// start starts a server and returns what it has printed when it listens.
func (d *desk) start(t *testing.T, text string) (printed string, stop func(), err error) {
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir, cmd.Env = d.dir, d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer killer.Stop()
		_ = cmd.Wait()
	}
	killer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		printed += lines.Text() + "\n"
		if listening.MatchString(lines.Text()) {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return printed, stop, nil
		}
	}
	stop()
	return "", nil, errors.New(strings.TrimSpace("it does not listen: " + stderr.String()))
}

var (
	anID    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aTime   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ][0-9:.]+Z?`)
	aNumber = regexp.MustCompile(`\d{4,}`)
	aState  = regexp.MustCompile(`^ID (received|preparing|flushing_servers|flushing_cdn)$`)
	aBar    = regexp.MustCompile(`\[#+-*\]`)
	aDate   = regexp.MustCompile(`(?i)^date: .*`)
)

// progress is how far a job is, which depends on who is quicker.
var progress = []string{"state", "outcome", "originals", "derivatives", "composites", "bytes"}

// withoutProgress returns a JSON value without how far jobs are, as text.
func withoutProgress(text string) (string, bool) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", false
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for key, e := range v {
				if history, ok := e.([]any); ok && key == "history" && len(history) > 1 {
					v[key] = history[:1]
				}
				if slices.Contains(progress, key) {
					v[key] = nil
				}
				walk(v[key])
			}
		}
	}
	walk(v)
	b, err := json.Marshal(v)
	return string(b), err == nil
}

// compare holds what a command wrote to what the page shows, but for IDs, times, large numbers, and states on the way. JSON may be broken
// into lines where it is shown. A line "…" stands for any lines. What a terminal draws over and over is not what comes without one.
func compare(t *testing.T, c command, got string) {
	t.Helper()
	if aBar.MatchString(c.want) {
		t.Logf("not compared: %s: it draws on a terminal", c.text)
		return
	}
	norm := func(text string) []string {
		text = strings.ReplaceAll(text, "\r", "")
		text = aTime.ReplaceAllString(anID.ReplaceAllString(text, "ID"), "TIME")
		if v, ok := withoutProgress(text); ok {
			return []string{v}
		}
		text = aNumber.ReplaceAllString(text, "N")
		var lines []string
		for line := range strings.Lines(text) {
			line = aDate.ReplaceAllString(strings.TrimSpace(line), "Date: N")
			if line != "" && !aState.MatchString(line) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	shown, printed := norm(c.want), norm(got)
	skip := false
	for _, line := range shown {
		if line == "…" {
			skip = true
			continue
		}
		i := slices.Index(printed, line)
		if i < 0 || i > 0 && !skip {
			t.Errorf("%s: %s\nprints\n%s\nnot\n%s", c.at, c.text, got, c.want)
			return
		}
		printed, skip = printed[i+1:], false
	}
	if len(printed) > 0 && !skip {
		t.Errorf("%s: %s\nprints\n%s\nnot\n%s", c.at, c.text, got, c.want)
	}
}

// isClusters reports whether a file of settings is for the command of the nested module cluster, whose tests start nodes with it.
func isClusters(t *testing.T, f fence) bool {
	t.Helper()
	if !strings.HasPrefix(f.from, "docs/deploy/cluster-") {
		return false
	}
	tests, err := filepath.Glob(filepath.Join(root, "cluster/cmd/imagecdn/*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tests, func(name string) bool {
		b, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(b), `deployed(t, "`+filepath.Base(f.from)+`"`)
	}) {
		t.Errorf("%s:%d: no test of cluster/cmd/imagecdn starts a node with %s", f.page, f.line, f.from)
	}
	return true
}

// A file of settings is one that a server takes.
func TestSettings(t *testing.T) {
	needPrograms(t)
	binary := build(t)
	for _, p := range pages(t) {
		for _, f := range p.fences {
			if f.language != "toml" || isClusters(t, f) {
				continue
			}
			d := newDesk(t, binary, p.name)
			d.write(t, "settings.toml", absolute.ReplaceAllString(f.code, "${1}"+d.dir+"/$2/"))
			c := command{at: fmt.Sprintf("%s:%d", f.page, f.line), text: "imagecdn serve -config settings.toml"}
			d.serve(t, c, "./"+c.text+" -listen 127.0.0.1:0")
		}
	}
}

// Flags that pages name beside commands, in the midst of a sentence or in a synopsis, are flags of those commands.
func TestFlags(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no command to ask: ", err)
	}
	binary := build(t)
	flagsOf := make(map[string][]string)
	named := regexp.MustCompile("(?m)(?:`|^)(?:\\./)?(?:imagecdn )?(serve|purge|transform|cache (?:stats|verify|clear)) ([^`\n]*)")
	aFlag := regexp.MustCompile(`(?:^|[ \[])--?([a-z][a-z-]*)`)
	n := 0
	for _, p := range pages(t) {
		for _, m := range named.FindAllStringSubmatch(p.text, -1) {
			if flagsOf[m[1]] == nil {
				out, _ := exec.CommandContext(t.Context(), binary, append(strings.Fields(m[1]), "-h")...).CombinedOutput()
				flagsOf[m[1]] = []string{"h"}
				for _, f := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(string(out), -1) {
					flagsOf[m[1]] = append(flagsOf[m[1]], f[1])
				}
			}
			for _, f := range aFlag.FindAllStringSubmatch(m[2], -1) {
				n++
				if !slices.Contains(flagsOf[m[1]], f[1]) {
					t.Errorf("%s: %s has no flag -%s: %s", p.name, m[1], f[1], m[0])
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("%d flags in all", n)
	}
}
