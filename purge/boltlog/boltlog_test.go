package boltlog_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

func open(t *testing.T, path string) *boltlog.Log {
	t.Helper()
	l, err := boltlog.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLog(t *testing.T) {
	purgetest.TestLog(t, func(t *testing.T) purgetest.Reopener {
		path := filepath.Join(t.TempDir(), "purges.db")
		var l *boltlog.Log
		t.Cleanup(func() { l.Close() })
		return func() purge.Log {
			if l != nil {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			l = open(t, path)
			return l
		}
	})
}

func TestWhatIsNoLogIsAnErrorThatNamesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "purges.db")
	database := func(edit func(*bbolt.Tx) error) func() error {
		return func() error {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return errors.Join(db.Update(edit), db.Close())
		}
	}
	for _, tt := range []struct {
		name string
		make func() error
		want string
	}{
		{"an empty file", func() error { return os.WriteFile(path, nil, 0o600) }, "kind of database"},
		{"another file", func() error { return os.WriteFile(path, []byte(strings.Repeat("purges ", 4096)), 0o600) }, "invalid database"},
		{"another database", database(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err }), "kind of database"},
		{"a later version", func() error {
			l, err := boltlog.Open(path)
			if err != nil {
				return err
			}
			l.Close()
			return database(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("version"), []byte("imagecdn purges 2"))
			})()
		}, `the version "imagecdn purges 2"`},
		{"a directory", func() error { return os.Mkdir(path, 0o700) }, "directory"},
		{"a log that is open", func() error {
			l, err := boltlog.Open(path)
			t.Cleanup(func() { l.Close() })
			return err
		}, "another process has it open"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			os.RemoveAll(path)
			if err := tt.make(); err != nil {
				t.Fatal(err)
			}
			l, err := boltlog.Open(path)
			if err == nil {
				l.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q of %s", err, tt.want, path)
			}
		})
	}
}

// Cut the file anywhere and damage it anywhere: it is an error, or reads as what was written. Heads apart, see the package.
func TestDamageIsNeverSilent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "purges.db")
	l := open(t, path)
	svc, err := purge.Open(t.Context(), nothing{}, &purge.ServiceOptions{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		j, err := svc.Submit(t.Context(), purge.Request{Paths: []string{fmt.Sprintf("/photos/%d", n)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		j.Wait(t.Context())
	}
	want, _, _ := svc.List("", 100)
	if err := errors.Join(svc.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()

	refused := 0
	try := func(what string, file []byte) {
		t.Helper()
		os.Remove(path) // a mapping that bbolt left locks the old one
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := boltlog.Open(path)
		if err == nil {
			defer l.Close()
			var svc *purge.Service
			if svc, err = purge.Open(t.Context(), nothing{}, &purge.ServiceOptions{Log: l}); err == nil {
				defer svc.Close()
				got, _, _ := svc.List("", 100)
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: the log is opened and has %d records of %d, or others", what, len(got), len(want))
				}
				return
			}
		}
		refused++
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the file", what, err)
		}
	}
	for size := 0; size < len(whole); size += page / 2 {
		try(fmt.Sprintf("cut to %d bytes", size), whole[:size])
	}
	// In what entries hold, wherever that lies in the file: a tree that bbolt cannot walk is bbolt's to survive.
	for range 150 {
		file := append([]byte{}, whole...)
		at := inEntry(file)
		file[at] ^= byte(1 << rand.IntN(8))
		try(fmt.Sprintf("byte %d changed", at), file)
	}
	if refused == 0 {
		t.Error("no damage was found at all")
	}
}

// inEntry is a random place within one of the paths that the records have.
func inEntry(file []byte) int {
	mark := []byte("/photos/")
	var all []int
	for at := 0; ; {
		i := bytes.Index(file[at:], mark)
		if i < 0 {
			return all[rand.IntN(len(all))] + rand.IntN(len(mark))
		}
		all = append(all, at+i)
		at += i + 1
	}
}

// nothing is a Target with nothing to purge.
type nothing struct{}

func (nothing) Accept(context.Context, purge.Request) error { return nil }
func (nothing) PurgePath(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}
func (nothing) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// A durable is a Target that keeps in a file what it accepted, and in another what it purged: a line for each path.
type durable struct {
	mu   sync.Mutex // guards the files, and is held for trace
	dir  string
	said func(string)
}

func (d *durable) line(file, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(d.dir, file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, path); err != nil {
		return err
	}
	d.said(file + " " + path)
	return f.Sync()
}

func (d *durable) lines(t *testing.T, file string) map[string]bool {
	b, err := os.ReadFile(filepath.Join(d.dir, file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	lines := make(map[string]bool)
	for l := range strings.SplitSeq(string(b), "\n") {
		lines[l] = true
	}
	return lines
}

func (d *durable) Accept(_ context.Context, r purge.Request) error {
	for _, p := range r.Paths {
		if err := d.line("accepted", p); err != nil {
			return err
		}
	}
	return nil
}

func (d *durable) PurgePath(_ context.Context, path string, _ purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{Originals: 1}, d.line("purged", path)
}

func (d *durable) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// A talking log says when it is about to write, and when it has.
type talking struct {
	purge.Log
	said func(string)
}

func (l talking) Write(put []purge.LogEntry, drop []string) error {
	l.said("write")
	defer l.said("written")
	return l.Log.Write(put, drop)
}

var (
	kills  = flag.Int("kills", 100, "how often TestKill kills")
	victim = flag.String("victim", "", "be the process that TestKill kills, with this `directory`")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *victim != "" {
		if err := suffer(*victim); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// suffer submits purges until it is killed, and prints every step.
func suffer(dir string) error {
	var mu sync.Mutex
	say := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(s)
	}
	l, err := boltlog.Open(filepath.Join(dir, "purges.db"))
	if err != nil {
		return err
	}
	svc, err := purge.Open(context.Background(), &durable{dir: dir, said: say}, &purge.ServiceOptions{Log: talking{l, say}})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for {
				r := purge.Request{}
				for range 1 + rand.IntN(4) {
					r.Paths = append(r.Paths, fmt.Sprintf("/photos/%x", rand.Uint64()))
				}
				j, err := svc.Submit(context.Background(), r, nil)
				if err != nil {
					say("failed " + err.Error())
					return
				}
				say("acknowledged " + j.ID() + " " + strings.Join(r.Paths, " "))
			}
		})
	}
	all.Wait()
	return nil
}

// A process is killed again and again, at whatever step it has come to. What it acknowledged must be there
// after a restart, in force and brought to its end.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills many processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Skip("the test cannot find itself: ", err)
	}
	dir := t.TempDir()
	acknowledged := make(map[string][]string) // ID ▶ paths
	for range *kills {
		cmd := exec.Command(self, "-victim", dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(60); lines.Scan(); left-- {
			f := strings.Fields(lines.Text())
			switch f[0] {
			case "acknowledged":
				acknowledged[f[1]] = f[2:]
			case "failed":
				t.Error(lines.Text())
			}
			if left == 0 {
				cmd.Process.Kill() // what it says until it is dead is read as well
			}
		}
		cmd.Wait()

		d := &durable{dir: dir, said: func(string) {}}
		l := open(t, filepath.Join(dir, "purges.db"))
		svc, err := purge.Open(t.Context(), d, &purge.ServiceOptions{Log: l})
		if err != nil {
			t.Fatal(err)
		}
		accepted := d.lines(t, "accepted") // before anything else is done
		if err := svc.Close(); err != nil {
			t.Fatal(err)
		}
		purged := d.lines(t, "purged")
		for id, paths := range acknowledged {
			r, err := svc.Get(id)
			if err != nil {
				t.Fatalf("%s was acknowledged: %v", id, err)
			}
			if r.State != purge.Done || len(r.Paths) != len(paths) {
				t.Errorf("%s is %s, with %d paths of %d", id, r.State, len(r.Paths), len(paths))
			}
			for _, p := range paths {
				if !accepted[p] || !purged[p] {
					t.Errorf("%s: %s is accepted %v, purged %v", id, p, accepted[p], purged[p])
				}
			}
		}
		for cursor := ""; ; {
			records, next, err := svc.List(cursor, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				for _, p := range r.Paths {
					if r.State != purge.Done || p.State != purge.Done {
						t.Errorf("%s is half done: %s, %s %s", r.ID, r.State, p.Path, p.State)
					}
				}
				for i, h := range r.History[1:] {
					if h.State == r.History[i].State {
						t.Errorf("%s: %s twice", r.ID, h.State)
					}
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d purges acknowledged", *kills, len(acknowledged))
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
}
