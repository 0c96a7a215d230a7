//go:build unix

// Package e2e tries a cluster as it runs in earnest: nodes, NATS servers and an S3 server are processes, which are killed, stopped and cut off from one
// another while requests and purges go on. docs/scale.md has what is promised; witness_test.go has how it is seen that it holds.
//
// scripts/cluster.sh runs the short forms, within three minutes; `make cluster` the long ones. Everything listens on the loopback address, on
// ports that the kernel chooses, and ends with the test, or, on Linux, with the test's process.
package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var (
	rounds    = flag.Int("e2e.rounds", 30, "purges of TestThreeNodesPurgeRace")
	nodeCount = flag.Int("e2e.nodes", 16, "how many nodes there are in TestSixteenNodes")
	table     = flag.Bool("e2e.table", false, "the long forms of what measures: 500 purges, and 1,000 a second for 30 seconds")
	long      = flag.Bool("e2e.long", false, "all faults, those that are cut off for e2e.away, and with clocks that are wrong, for which Go's library is built anew")
	away      = flag.Duration("e2e.away", 0, "how long a node is cut off; 0 means until that is known and a second longer")
	seed      = flag.Uint64("e2e.seed", 0, "of the random choices; 0 means any")
)

// binaries are what the tests run, built when first asked for.
var binaries struct {
	dir    string
	node   func() (string, error)
	skewed func() (string, error) // a node whose wall clock goes wrong by as many seconds as the environment says
	nats   func() (string, error)
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "imagecdn-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaries.dir = dir
	binaries.node = sync.OnceValues(func() (string, error) { return build("imagecdn", "..", "./cmd/imagecdn") })
	binaries.nats = sync.OnceValues(func() (string, error) { return build("nats-server", ".", "github.com/nats-io/nats-server/v2") })
	binaries.skewed = sync.OnceValues(func() (string, error) {
		overlay, err := skewedClock(dir)
		if err != nil {
			return "", err
		}
		return build("imagecdn-skewed", "..", "-overlay", overlay, "./cmd/imagecdn")
	})
	return m.Run()
}

// build builds a command of the module in a directory.
func build(name, module string, args ...string) (string, error) {
	path := filepath.Join(binaries.dir, name)
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s was not built: %w\n%s", name, err, out)
	}
	return path, nil
}

// command is what one of binaries' functions has built.
func command(t testing.TB, built func() (string, error)) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts many processes")
	}
	path, err := built()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no go command to build with")
	}
	if errors.Is(err, errNoSkew) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var errNoSkew = errors.New("package time of this Go is not as expected, so that no clock can be set wrong")

// skewedClock writes a file for go build -overlay, with which time.Now is wrong by as many seconds as E2E_CLOCK_SKEW says. Go's programs ask
// the kernel without libc, and time namespaces have no offset of the wall clock: there is no other way to have two on one machine.
func skewedClock(dir string) (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	const use = "sec, nsec, mono := runtimeNow()\n" // in Now
	text := string(source)
	if strings.Count(text, use) != 1 || !strings.Contains(text, "\nimport (\n") {
		return "", errNoSkew
	}
	text = strings.Replace(text, use, use+"\tsec += e2eSkew\n", 1)
	text += `
var e2eSkew = func() (n int64) {
	s, _ := syscall.Getenv("E2E_CLOCK_SKEW")
	sign := int64(1)
	for _, c := range []byte(s) {
		if c == '-' {
			sign = -1
		} else {
			n = 10*n + int64(c-'0')
		}
	}
	return sign * n
}()
`
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1)
	patched := filepath.Join(dir, "time.go")
	if err := os.WriteFile(patched, []byte(text), 0o600); err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace":{%q:%q}}`, path, patched), 0o600)
}

// tail is the end of a file.
func tail(path string, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	cut := ""
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
		cut = "…"
	}
	text, _ := io.ReadAll(f)
	return cut + string(text)
}
