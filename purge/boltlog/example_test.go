package boltlog_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/boltlog"
)

// A vacant is the least Target: there is nothing in it to purge.
type vacant struct{}

func (vacant) Accept(context.Context, purge.Request) error { return nil }

func (vacant) PurgePath(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

func (vacant) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// Jobs outlast the service that took them.
func Example() {
	dir, err := os.MkdirTemp("", "imagecdn")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var id string
	for range 2 {
		jobs, err := boltlog.Open(filepath.Join(dir, "purges.db"))
		if err != nil {
			log.Fatal(err)
		}
		svc, err := purge.Open(context.Background(), vacant{}, &purge.ServiceOptions{Log: jobs})
		if err != nil {
			log.Fatal(err)
		}
		if id == "" {
			job, err := svc.Submit(context.Background(), purge.Request{Paths: []string{"/photos/cat.jpg"}}, nil)
			if err != nil {
				log.Fatal(err)
			}
			if _, err := job.Wait(context.Background()); err != nil {
				log.Fatal(err)
			}
			id = job.ID()
		} else {
			records, _, err := svc.List("", 10)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(records[0].ID == id, records[0].State, records[0].Paths[0].Path)
		}
		svc.Close()
		jobs.Close()
	}
	// Output: true done /photos/cat.jpg
}
