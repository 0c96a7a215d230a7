package purge

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"
)

func TestIDsAscend(t *testing.T) {
	var g idSource
	now := time.UnixMilli(0x0123456789ab)
	last := ""
	for i := range 20_000 { // more than a millisecond's counter holds
		switch i {
		case 10_000:
			now = now.Add(-time.Hour)
		case 15_000:
			now = now.Add(2 * time.Hour)
		}
		id := g.next(now)
		if id <= last || !isID(id) {
			t.Fatalf("%q after %q", id, last)
		}
		if id[14] != '7' || !(id[19] == '8' || id[19] == '9' || id[19] == 'a' || id[19] == 'b') {
			t.Fatalf("%q is not of version 7", id)
		}
		last = id
	}
}

func TestIDHoldsTheTime(t *testing.T) {
	var g idSource
	id := g.next(time.UnixMilli(0x0123456789ab))
	if got, want := id[:14], "01234567-89ab-"; got != want {
		t.Errorf("%q begins with %q, want %q", id, got, want)
	}
	for _, s := range []string{"", id[1:], id + "0", fmt.Sprintf("%X", id), hex.EncodeToString([]byte(id)), "01234567x89ab-7000-8000-000000000000"} {
		if isID(s) {
			t.Errorf("isID(%q)", s)
		}
	}
}
