//go:build unix

package scalebench

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/purge"
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

// job is a record of a purge of an image that n nodes have carried out, in the bucket of jobs.
func job(n int) []byte {
	r := purge.Record{ID: jobID, Scope: purge.Original, Mode: purge.Delete, Tenant: "acme", Cause: purge.ByAPI, Date: when, Attempt: 1, State: purge.Done,
		Paths: []purge.PathResult{{Path: "/shop" + image(1), State: purge.Done, Outcome: purge.Removed, Originals: 1, Derivatives: 12, Bytes: 1_234_567}}}
	for _, s := range []purge.State{purge.Received, purge.Preparing, purge.FlushingServers, purge.FlushingCDN, purge.Done} {
		r.History = append(r.History, purge.StateAt{State: s, Attempt: 1, Time: when})
	}
	v := struct {
		Owner string             `json:"owner"`
		Final bool               `json:"final"`
		Data  purge.Record       `json:"data"`
		Nodes []purge.NodeResult `json:"nodes"`
	}{"cdn-1", true, r, nil}
	for i := range n {
		v.Nodes = append(v.Nodes, purge.NodeResult{Name: fmt.Sprintf("cdn-%d", i), State: purge.Done, Outcome: purge.Flushed, Originals: 1, Derivatives: 12, Bytes: 1_234_567})
	}
	return encoded(v)
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
		b.ReportMetric(float64(len(job(0))), "job")
		b.ReportMetric(float64(len(job(1000))-len(job(0)))/1000, "job/node")
		b.ReportMetric(float64(len(n)), "name")
	}
}
