//go:build unix

package scalebench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
	"github.com/imagecdn/imagecdn/purge/purgetest"
)

// An event is a beat, as package cluster has it.
type event struct {
	Instance string    `json:"instance"`
	Number   uint64    `json:"number,omitempty"`
	First    uint64    `json:"first,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Applied  uint64    `json:"applied,omitempty"`
	Ready    bool      `json:"ready,omitempty"`
	Version  string    `json:"version,omitempty"`
}

func beat(node int) *nats.Msg {
	m := nats.NewMsg(fmt.Sprintf("bench.inv.beat.cdn-%d", node))
	m.Header.Set(jetstream.MsgTTLHeader, "16s")
	m.Data = encoded(event{Instance: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Number: 123_456, First: 1_234_567, Since: when, Applied: 12_345_678, Ready: true, Version: "v1.2.3"})
	return m
}

var when = time.Date(2026, 5, 4, 3, 2, 1, 123_456_789, time.UTC)

// image is a path of a usual length.
func image(n int) string { return fmt.Sprintf("/products/2026/05/%010d/front.jpg", n) }

func request(n int) []byte {
	return encoded(purge.Request{Scope: purge.Original, Paths: []string{"/shop" + image(n)}, Mode: purge.Delete, Tenant: "acme"})
}

// A flushRequest and a flushReply are those of package cluster.
type flushRequest struct {
	Flush    purge.NodeFlush `json:"flush"`
	Number   uint64          `json:"number"`
	Position uint64          `json:"position"`
}

type flushReply struct {
	Instance string           `json:"instance"`
	Number   uint64           `json:"number"`
	Result   purge.PathResult `json:"result"`
}

const jobID = "01977d3f-9c4b-7d2a-8e31-5f60718293a4"

func flush(number int) []byte {
	return encoded(flushRequest{purge.NodeFlush{ID: jobID, Attempt: 1, Scope: purge.Original, Mode: purge.Delete, Paths: []string{"/shop" + image(1)}}, uint64(number), 12_345_678})
}

func reply(number int) []byte {
	return encoded(flushReply{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", uint64(number), purge.PathResult{
		Path: "/shop" + image(1), State: purge.Done, Outcome: purge.Removed, Originals: 1, Derivatives: 12, Bytes: 1_234_567}})
}

// job is the record, as a log has it, of a purge of an image that n other nodes have carried out, each with results of its own or all with the same.
func job(b *testing.B, n int, own bool) []byte {
	log := purgetest.NewSharedLog()
	s, err := purge.Open(b.Context(), target{}, &purge.ServiceOptions{Log: log.Node("cdn-0"), Nodes: answering{n, own}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	j, err := s.Submit(b.Context(), purge.Request{Scope: purge.Original, Mode: purge.Delete, Tenant: "acme", Cause: purge.ByAPI, Paths: []string{"/shop" + image(1)}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if r, err := j.Wait(b.Context()); err != nil || len(r.Nodes) != n {
		b.Fatalf("%+v, %v", r, err)
	}
	for e, err := range log.Node("cdn-1").Entries("") {
		if err != nil {
			b.Fatal(err)
		}
		return e.Data
	}
	b.Fatal("there is no job")
	return nil
}

// packed is a record as the bucket has it.
func packed(b *testing.B, data []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		b.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

type target struct{}

func (target) Accept(context.Context, purge.Request) error { return nil }

func (target) PurgePath(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{Originals: 1, Derivatives: 12, Bytes: 1_234_567}, nil
}

func (target) PurgeAll(context.Context, string, purge.Mode) (purge.PathResult, error) {
	return purge.PathResult{}, nil
}

// answering are n nodes that have carried out what they are asked for.
type answering struct {
	n   int
	own bool
}

func (answering) Self() string { return "cdn-0" }

func (answering) Lost(string) bool { return false }

func (a answering) Flush(_ context.Context, _ purge.NodeFlush, report func(purge.NodeResult)) {
	some := rand.New(rand.NewPCG(1, 1))
	for i := range a.n {
		r := purge.NodeResult{Name: fmt.Sprintf("cdn-%d", i+1), State: purge.Done, Outcome: purge.Flushed, Originals: 1, Derivatives: 12, Bytes: 1_234_567}
		if a.own {
			r.Derivatives, r.Bytes = some.IntN(20), some.Int64N(2_000_000)
		}
		report(r)
	}
}

// A nameValue is an entry in the bucket of names, as package cluster has it.
type nameValue struct {
	Source    string              `json:"source"`
	Image     string              `json:"image"`
	Version   string              `json:"version,omitempty"`
	At        uint64              `json:"at"`
	Writer    string              `json:"writer"`
	Status    int                 `json:"status"`
	Header    map[string][]string `json:"header,omitempty"`
	Digest    cache.Digest        `json:"digest"`
	Size      int64               `json:"size"`
	Requested int64               `json:"requested"`
	Responded int64               `json:"responded"`
	Lifetime  time.Duration       `json:"lifetime"`
}

func name(n int) (key string, value []byte) {
	key = fmt.Sprintf("%032x.%032x", uint64(n)*0x9e3779b97f4a7c15, 0x1234567)
	value = append([]byte{'1'}, encoded(nameValue{
		Source: "shop", Image: image(n), At: 12_345_678, Writer: "ABCDEFGHIJKLM", Status: 200, Digest: cache.DigestOf(fmt.Append(nil, n)), Size: 829_000,
		Header: map[string][]string{
			"Cache-Control": {"public, max-age=31536000"}, "Content-Length": {"829000"}, "Content-Type": {"image/jpeg"}, "Date": {"Mon, 04 May 2026 03:02:01 GMT"},
			"Etag": {`"5f60718293a4b5c6d7e8f90123456789"`}, "Last-Modified": {"Mon, 04 May 2026 03:02:01 GMT"}, "Surrogate-Key": {"product-123456 shop-acme"},
		},
		Requested: when.UnixNano(), Responded: when.UnixNano(), Lifetime: 365 * 24 * time.Hour,
	})...)
	return key, value
}

func encoded(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// Bytes of payload of each message.
func BenchmarkBytes(b *testing.B) {
	_, n := name(1)
	h := beat(1)
	for b.Loop() {
		b.ReportMetric(float64(h.Size()-len(h.Subject)), "beat")
		b.ReportMetric(float64(len(request(1))), "purge")
		b.ReportMetric(float64(len(flush(1))), "flush")
		b.ReportMetric(float64(len(reply(1))), "reply")
		none := len(job(b, 0, false))
		b.ReportMetric(float64(none), "job")
		b.ReportMetric(float64(len(job(b, 1000, false))-none)/1000, "job/node")
		own := job(b, 1000, true)
		b.ReportMetric(float64(len(own)-none)/1000, "job/node-own")
		b.ReportMetric(float64(len(packed(b, own)))/1000, "job/node-own-packed")
		b.ReportMetric(float64(len(n)), "name")
	}
}
