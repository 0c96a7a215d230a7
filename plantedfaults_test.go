//go:build plantedfaults

package imagecdn_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/internal/fault"
)

// The checker of random histories finds mistakes that have been made in the product on purpose, and nothing where
// there are none.
func TestPlantedFaults(t *testing.T) {
	defer func() { fault.Planted = fault.None }()
	for _, c := range []struct {
		name  string
		fault fault.Fault
		wrong string // what is found, among others
	}{
		{"none", fault.None, ""},
		{"a dead lease commits", fault.DeadLeaseCommits, "promised"},
		{"a request joins a flight of before the purge", fault.FlightOutlivesPurge, "promised"},
		{"a purge forgets vh versions", fault.PurgeForgetsVersions, "promised"},
		{"a purge forgets failures", fault.PurgeForgetsFailures, "no version of what was asked for explains"},
		{"a composite's key leaves out the watermark", fault.MarkIsNoInput, "one ETag"},
		{"a restart forgets a purge of everything", fault.RestartForgetsPurgeAll, "promised"},
		{"a restart forgets a purge of an image", fault.RestartForgetsPurge, "promised"},
		{"the first fetch may be answered from a copy", fault.FirstFetchMayBeCopied, "promised"},
		{"the first fetch has the old validator", fault.FirstFetchIsConditional, "promised"},
		{"purged bytes do not say no-store", fault.DeadBytesMayBeKept, "may be kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault.Planted = c.fault
			seed := rand.Uint64()
			ops := 0
			for i := range 60 {
				w := newSoak(t, soakCaches[i%len(soakCaches)], seed+uint64(i), 2000)
				w.run()
				ops += 2000
				wrong, _ := w.history().check()
				wrong = append(wrong, w.wrong...)
				switch {
				case c.fault == fault.None && len(wrong) > 0:
					t.Fatalf("seed %d: %s", seed, strings.Join(wrong, "\n"))
				case c.fault == fault.None && i == 5:
					return
				case c.wrong != "" && slices.ContainsFunc(wrong, func(what string) bool { return strings.Contains(what, c.wrong) }):
					t.Logf("found within %d operations, %d times", ops, len(wrong))
					return
				}
			}
			t.Errorf("seed %d: not found in %d operations", seed, ops)
		})
	}
}
