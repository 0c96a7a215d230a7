package command

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deployed reads a file of docs/deploy.
func deployed(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../docs/deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// understood reports an error in the words of a command, short of running it.
func understood(words []string) error {
	if len(words) == 0 {
		return usageError("no command")
	}
	f := new(program).flagsOf(words[0])
	if f == nil {
		return usageError("there is no command " + words[0])
	}
	f.SetOutput(io.Discard)
	if err := f.Parse(words[1:]); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError("words beside flags: " + strings.Join(f.Args(), " "))
	}
	return nil
}

func TestUnderstood(t *testing.T) {
	for words, ok := range map[string]bool{
		"serve -cache x -listen :8080": true, "health -server x": true, "serve -cash x": false, "serve -memory much": false, "serve x": false, "sorve": false, "": false,
	} {
		if err := understood(strings.Fields(words)); (err == nil) != ok {
			t.Errorf("%q: %v", words, err)
		}
	}
}

// The unit starts what there is, with settings that there are, in memory that is enough for them; and systemd finds nothing wrong with it.
func TestUnit(t *testing.T) {
	unit := deployed(t, "imagecdn.service")
	directives := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
		directives[m[1]] = m[2]
	}
	words := strings.Fields(directives["ExecStart"])
	if len(words) < 2 || words[0] != "/usr/local/bin/imagecdn" {
		t.Fatalf("ExecStart=%s", directives["ExecStart"])
	}
	if err := understood(words[1:]); err != nil {
		t.Errorf("ExecStart=%s: %v", directives["ExecStart"], err)
	}
	f := new(program).flagsOf("serve")
	if err := configure(f, "imagecdn.toml", deployed(t, "imagecdn.toml"), environment); err != nil {
		t.Fatal(err)
	}
	bytes := func(text string) (n sizeFlag) {
		text = strings.NewReplacer("GOMEMLIMIT=", "", "1G", "1GiB").Replace(text) // systemd's G is a GiB
		if err := n.Set(text); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return n
	}
	images, renders, one := *f.Lookup("memory").Value.(*sizeFlag), *f.Lookup("render-memory").Value.(*sizeFlag), *f.Lookup("max-render-memory").Value.(*sizeFlag)
	limit, most := bytes(directives["Environment"]), bytes(directives["MemoryMax"])
	if limit != (images+renders)*5/4 || most != 2*(images+renders) || one == 0 || one >= most-images {
		t.Errorf("memory=%v, render-memory=%v and max-render-memory=%v in GOMEMLIMIT=%v and MemoryMax=%v", &images, &renders, &one, &limit, &most)
	}
	for _, name := range []string{"DynamicUser", "StateDirectory", "ProtectSystem", "TimeoutStopSec", "LoadCredential"} {
		if directives[name] == "" {
			t.Errorf("there is no %s=", name)
		}
	}

	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("the rest is for systemd: ", err)
	}
	self, err := os.Executable() // for systemd looks whether there is what it is to start
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "imagecdn.service")
	write(t, file, strings.ReplaceAll(unit, words[0], self))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "imagecdn.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// In tenths.
	out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=15", file).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "unrecognized option") {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// containerLines are the instructions of the Containerfile, by their names.
func containerLines(t *testing.T) map[string][]string {
	all := make(map[string][]string)
	for line := range strings.Lines(deployed(t, "Containerfile")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name != "#" {
			all[name] = append(all[name], rest)
		}
	}
	return all
}

// commandOf is the list in an instruction, such as CMD ["serve"].
func commandOf(t *testing.T, text string) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text[strings.Index(text, "["):]), &words); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return words
}

// What a container starts, and is asked by, is there; it is nobody's, and what it writes is its own.
func TestContainerfile(t *testing.T) {
	lines := containerLines(t)
	entry := commandOf(t, lines["ENTRYPOINT"][0])
	if len(entry) != 1 || entry[0] != "/imagecdn" {
		t.Errorf("ENTRYPOINT %q", entry)
	}
	if err := understood(commandOf(t, lines["CMD"][0])); err != nil {
		t.Errorf("CMD: %v", err)
	}
	if health := commandOf(t, lines["HEALTHCHECK"][0]); health[0] != entry[0] || understood(health[1:]) != nil {
		t.Errorf("HEALTHCHECK %q: %v", health, understood(health[1:]))
	}
	if user := lines["USER"]; len(user) != 1 || strings.HasPrefix(user[0], "0") || !strings.Contains(strings.Join(lines["COPY"], "\n"), "--chown="+user[0]+" /cache /cache") {
		t.Errorf("USER %q, COPY %q", user, lines["COPY"])
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)[1]
	if from := lines["FROM"]; len(from) != 2 || !strings.Contains(from[0], "/golang:"+string(language)+" ") || from[1] != "scratch" {
		t.Errorf("FROM %q, and go.mod has %s", from, language)
	}
}

var container = flag.Bool("container", false, "build what the Containerfile does, and run it in an empty root (as root, on Linux, some seconds)")

func TestHealth(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, r.URL.Path+"\x1b\n")
	}))
	defer server.Close()
	for _, tt := range []struct {
		status int
		args   []string
		code   int
		says   string
	}{
		{200, nil, 0, "/-/readyz"},
		{200, []string{"-live"}, 0, "/-/healthz"},
		{503, nil, 1, "503 Service Unavailable: /-/readyz"},
		{200, []string{"-timeout", "1ns"}, 1, "deadline"},
		{200, []string{"word"}, 2, "no words"},
		{200, []string{"-server", "nowhere"}, 2, "no words"},
		{200, []string{"-server", "http://127.0.0.1:1"}, 1, "refused"},
	} {
		status = tt.status
		code, stdout, stderr := command(t, append([]string{"health", "-server", server.URL}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.says) || strings.Contains(stdout+stderr, "\x1b") {
			t.Errorf("%q: exit %d, %q, %q", tt.args, code, stdout, stderr)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	out, ended := &lineWriter{url: make(chan string, 1)}, make(chan int)
	go func() { ended <- Run(ctx, []string{"serve", "-listen", "127.0.0.1:0", "-cache", ""}, out, io.Discard) }()
	url := <-out.url
	for _, flags := range [][]string{{}, {"-live"}} {
		if code, stdout, stderr := command(t, append([]string{"health", "-server", url}, flags...)...); code != 0 || stdout != "ok\n" {
			t.Errorf("%q: exit %d, %q, %q", flags, code, stdout, stderr)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	stop()
	<-ended
}
