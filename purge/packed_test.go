package purge

import (
	"fmt"
	"reflect"
	"testing"
)

// What an entry says of nodes is what the record says, and a result that many have is said once.
func TestNodesOfAnEntry(t *testing.T) {
	const id = "0198c1d2-0000-7000-8000-000000000000"
	entry := func(nodes []NodeResult) LogEntry {
		e, err := kept{Accepted: true, Record: Record{ID: id, Attempt: 1, Paths: []PathResult{{Path: "/photos/a"}}, Nodes: nodes}}.entry()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	var all []NodeResult
	for i := range 300 {
		n := NodeResult{Name: fmt.Sprintf("cdn-%03d", i), State: Done, Outcome: Flushed, Originals: 1, Derivatives: 12, Composites: 2, Bytes: 48210}
		switch {
		case i%100 == 5:
			n = NodeResult{Name: n.Name, State: Error, Outcome: Failing, Reason: "the disk is full"}
		case i%100 == 9:
			n = NodeResult{Name: n.Name, State: Done, Outcome: Left, Reason: "the node is gone", Changed: true}
		case i == 10:
			n.Derivatives++
		}
		all = append(all, n)
		if i > 12 && i < 299 {
			continue
		}
		k, err := parseEntry(entry(all))
		if err != nil || !reflect.DeepEqual(k.Record.Nodes, all) || k.Nodes != nil {
			t.Fatalf("of %+v came %+v, %v", all, k, err)
		}
	}
	if size := len(entry(all).Data) - len(entry(nil).Data); size > 300*len(`"cdn-000",`)+1000 {
		t.Errorf("300 nodes, of which most have the same result, take %d bytes", size)
	}
	if k, err := parseEntry(entry(nil)); err != nil || k.Record.Nodes != nil {
		t.Errorf("of no nodes came %+v, %v", k.Record.Nodes, err)
	}
}
