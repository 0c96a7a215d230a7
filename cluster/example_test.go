package cluster_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/cluster"
)

// A node of a cluster: a purge of any node is done when all have done it.
func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := cluster.Connect(ctx, "nats://10.0.0.5:4222,nats://10.0.0.6:4222,nats://10.0.0.7:4222", &cluster.Options{
		Name:     "cdn-1",
		Replicas: 3,
		Bound:    15 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	disk, err := cache.OpenDisk("/var/cache/imagecdn", nil)
	if err != nil {
		log.Fatal(err)
	}
	h, err := imagecdn.New(imagecdn.Sources{"shop": imagecdn.Origin("https://img.example.com/")}, &imagecdn.Options{
		Cache:   cache.Tiered(cache.NewMemory(256<<20), disk),
		Cluster: c, // which h closes
	})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	log.Fatal(http.ListenAndServe(":8080", h))
}
