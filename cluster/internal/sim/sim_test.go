package sim

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 20, "how many `histories` TestNothingPurgedIsServed plays")
	large = flag.Bool("large", false, "play clusters of 300 and 1,000 nodes, too, which takes a minute")
)

// rough is a cluster to which everything happens: messages are lost and late, nodes are cut off one way and both, are killed and come again, and some
// clocks are a tenth faster than others.
func rough(seed uint64) Options {
	return Options{
		Seed: seed, Nodes: 3 + int(seed%6), For: 3 * time.Minute, Bound: []time.Duration{time.Second, 5 * time.Second}[seed%2],
		Link: Delay{2 * time.Millisecond, 1.5}, Store: Delay{time.Millisecond, 1}, Apply: Delay{time.Millisecond, 2}, Work: Delay{10 * time.Millisecond, 2},
		Origin: Delay{30 * time.Millisecond, 1.5}, Message: 10 * time.Microsecond,
		Purges: 5, Fills: 20, Images: 20, Clocks: 0.1, Drop: 0.002, Cuts: 15 * time.Second, Cut: 6 * time.Second, OneWay: 0.3, Dies: 0.3,
	}
}

func TestNothingPurgedIsServed(t *testing.T) {
	purges, left, resumed := 0, 0, 0
	for seed := range uint64(*seeds) {
		r := Run(rough(seed))
		for _, wrong := range r.Wrong {
			t.Errorf("seed %d: %s", seed, wrong)
		}
		if r.Open > 0 {
			t.Errorf("seed %d: %d purges are not done long after all is well", seed, r.Open)
		}
		purges += len(r.Times)
		left += r.Left
		resumed += r.Resumed
	}
	if purges < 300**seeds || left < 50**seeds || resumed < *seeds/2 {
		t.Errorf("in %d histories %d purges were done, %d of them by who went on with a dead node's, and %d nodes left behind: that is too little to say anything", *seeds, purges, resumed, left)
	}
	t.Logf("%d histories, %d purges done, %d of them by who went on with a dead node's; %d nodes left behind", *seeds, purges, resumed, left)
}

// Each rule is needed: without it, a purged image is served.
func TestFaultsAreFound(t *testing.T) {
	for fault, name := range map[Fault]string{
		ShortPatience: "patience less than bound", CurrentFromRead: "current from when the beat was read", AnswerAtOnce: "an answer before the purge", UnmarkedNames: "names without a look at purges",
		UnseenGap: "a gap that is not seen", ServesCutOff: "available", ForgetsPosition: "a restart without position", ResumesAtOnce: "a job that is gone on with at once",
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				o := rough(seed)
				o.Fault = fault
				if r := Run(o); len(r.Wrong) > 0 {
					t.Logf("seed %d: %s", seed, r.Wrong[0])
					return
				}
			}
			t.Error("nothing was noticed in 100 histories")
		})
	}
}

// Patience has to be more than Bound by what clocks may differ: a tenth is enough for a tenth, and no more would be for a half.
func TestClocksFurtherApartThanPatience(t *testing.T) {
	for seed := range uint64(200) {
		o := rough(seed)
		o.Clocks = 0.5
		if r := Run(o); len(r.Wrong) > 0 {
			t.Logf("seed %d: %s", seed, r.Wrong[0])
			return
		}
	}
	t.Error("clocks of which one runs half as fast again did no harm in 200 histories")
}

func TestRunsAreRepeated(t *testing.T) {
	a, b := Run(rough(7)), Run(rough(7))
	if a.Purges != b.Purges || a.Messages != b.Messages || !slices.Equal(a.Times, b.Times) {
		t.Error("two runs of one seed differ")
	}
}

// calm is a cluster to which nothing happens, with the constants of docs/scale.md.
func calm(nodes int) Options {
	return Options{
		Seed: uint64(nodes), Nodes: nodes, For: time.Minute, Bound: bound(nodes),
		Link: Delay{500 * time.Microsecond, 0.3}, Store: Delay{1700 * time.Microsecond, 0.3}, Apply: Delay{290 * time.Microsecond, 0.34}, Work: Delay{8900 * time.Microsecond, 0.437},
		Message: 2500 * time.Nanosecond, Purges: 5, Images: 1000, Clocks: 0.1,
	}
}

// bound is what docs/scale.md advises for so many nodes.
func bound(nodes int) time.Duration {
	switch {
	case nodes <= 100:
		return 5 * time.Second
	case nodes <= 300:
		return 10 * time.Second
	}
	return time.Minute
}

// The table of docs/scale.md is what the model says and what runs give, and the two agree.
func TestModel(t *testing.T) {
	sizes := []int{1, 3, 16, 100}
	if *large {
		sizes = append(sizes, 300, 1000)
	}
	rows := table(t, "| nodes | Bound |")
	for _, n := range []int{1, 3, 16, 100, 300, 1000} {
		o := calm(n)
		m := Predict(o)
		model := []float64{m.Messages, 100 * m.Busy, millis(m.InForce), millis(m.P50), millis(m.P99)}
		row := rows[strconv.Itoa(n)]
		if len(row) != 12 {
			t.Errorf("docs/scale.md has no row for %d nodes", n)
			row = slices.Repeat([]float64{math.NaN()}, 12)
		}
		if row[1] != o.Bound.Seconds() {
			t.Errorf("%d nodes: the document has Bound %v, not %v", n, row[1], o.Bound)
		}
		run := slices.Repeat([]float64{math.NaN()}, 5)
		if slices.Contains(sizes, n) {
			r := Run(o)
			if r.Open > 0 || r.Refused > 0 || len(r.Wrong) > 0 || r.Current < 0.9999 {
				t.Errorf("%d nodes: %d purges open, %d refused, %v, current %v", n, r.Open, r.Refused, r.Wrong, r.Current)
			}
			run = []float64{r.Messages, 100 * r.Busy, millis(Quantile(r.InForce, 0.5)), millis(Quantile(r.Times, 0.5)), millis(Quantile(r.Times, 0.99))}
		}
		line := fmt.Sprintf("| %d | %.0f |", n, o.Bound.Seconds())
		for i, within := range []float64{1.2, 1.2, 1.5, 1.3, 1.5} {
			line += fmt.Sprintf(" %.*f | %.*f |", digits(model[i]), model[i], digits(run[i]), run[i])
			if ratio := run[i] / model[i]; ratio > within || ratio < 1/within {
				t.Errorf("%d nodes, column %d: the model says %.3g, the run %.3g", n, i, model[i], run[i])
			}
			if !near(row[2+2*i], model[i], 0.02) || !math.IsNaN(run[i]) && !near(row[3+2*i], run[i], 0.15) {
				t.Errorf("%d nodes, column %d: the document says %v and %v; it is %.4g and %.4g", n, i, row[2+2*i], row[3+2*i], model[i], run[i])
			}
		}
		t.Log(line)
	}
}

func digits(x float64) int {
	if x < 10 {
		return 1
	}
	return 0
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// near allows for rounding, to one digit behind the point of what is less than ten.
func near(a, b, part float64) bool {
	rounding := 0.051
	if b > 10 {
		rounding = 0.51
	}
	return math.Abs(a-b) <= math.Max(rounding, part*math.Abs(b))
}

// table reads a table of docs/scale.md that begins so: numbers, by their first column.
func table(t *testing.T, header string) map[string][]float64 {
	t.Helper()
	b, err := os.ReadFile("../../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n"+header)
	if !ok {
		t.Fatalf("docs/scale.md has no table %q", header)
	}
	rows := make(map[string][]float64)
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var row []float64
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for _, cell := range cells {
			x, err := strconv.ParseFloat(strings.Map(func(r rune) rune {
				if strings.ContainsRune("0123456789.", r) {
					return r
				}
				return -1
			}, cell), 64)
			if err != nil {
				x = math.NaN()
			}
			row = append(row, x)
		}
		rows[strings.ReplaceAll(strings.TrimSpace(cells[0]), ",", "")] = row
	}
	return rows
}

// A node that is cut off stops being current after Bound, and is current again soon after.
func TestTimeCurrent(t *testing.T) {
	for i, c := range []struct{ bound, cut time.Duration }{{5 * time.Second, 5 * time.Second}, {5 * time.Second, 30 * time.Second}, {30 * time.Second, 30 * time.Second}} {
		if i > 0 && !*large {
			break
		}
		o := calm(10)
		o.Bound, o.Cut, o.Cuts, o.For, o.Purges = c.bound, c.cut, 3*time.Minute, time.Hour, 2
		r, m := Run(o), Predict(o)
		if ratio := (1 - r.Current) / (1 - m.Current); ratio < 0.7 || ratio > 1.4 {
			t.Errorf("Bound %v, cut off for %v: by the model %.2f %% of the time, in the run %.2f %%", c.bound, c.cut, 100*(1-m.Current), 100*(1-r.Current))
		}
		if len(r.Wrong) > 0 {
			t.Error(r.Wrong[0])
		}
		// From the last beat that was read of a node: Bound and a fifth until it is lost, a fifth until the next beat of one's own.
		most := o.Bound*7/5 + 2*time.Second
		if longest := Quantile(r.Times, 1); longest > most {
			t.Errorf("Bound %v: a purge took %v; with nodes that are away it is to be at most %v", c.bound, longest, most)
		}
		t.Logf("Bound %v, cut off for %v: not current %.2f %%, by the model %.2f %%; Done p50 %v, p99 %v, at most %v", c.bound, c.cut, 100*(1-r.Current), 100*(1-m.Current),
			Quantile(r.Times, 0.5), Quantile(r.Times, 0.99), Quantile(r.Times, 1))
	}
}

// The table of what sharing names saves.
func TestSharing(t *testing.T) {
	rows := table(t, "| nodes | fetched alone |")
	for _, n := range []float64{1, 3, 16, 100, 300, 1000} {
		alone, shared, hitsAlone, hits := Sharing{Images: 10e6, Zipf: 0.9, PerSecond: 10_000, Lifetime: 86_400, Nodes: n}.Fetches()
		want := []float64{n, alone / 1e6, shared / 1e6, 100 * hitsAlone, 100 * hits}
		row := rows[fmt.Sprint(n)]
		if len(row) != len(want) {
			t.Errorf("docs/scale.md has no row for %v nodes: %.1f", n, want)
			continue
		}
		for i := range want {
			if !near(row[i], want[i], 0.01) {
				t.Errorf("%v nodes, column %d: the document says %v; it is %.4g", n, i, row[i], want[i])
			}
		}
	}
}

// The table of what turns save.
func TestRenders(t *testing.T) {
	rows := table(t, "| nodes | 0.1 a second |")
	for _, n := range []float64{3, 16, 100, 1000} {
		row := rows[fmt.Sprint(n)]
		for i, rate := range []float64{0.1, 10, 1000} {
			want := Renders(n, rate, 0.5)
			if len(row) != 5 || !near(row[1+i], want, 0.02) {
				t.Errorf("%v nodes, %v a second: the document says %v; it is %.3g", n, rate, row, want)
			}
		}
	}
}

// The integral of Sharing is that of a sum over each image.
func TestSharingByHand(t *testing.T) {
	s := Sharing{Images: 3, Zipf: 1, PerSecond: 1, Lifetime: 1.1, Nodes: 2}
	alone, shared, _, _ := s.Fetches() // 0.6, 0.3 and 0.2 requests
	var wantAlone, wantShared float64
	for _, asked := range []float64{0.6, 0.3, 0.2} {
		wantAlone += 2 * (1 - math.Exp(-asked/2))
		wantShared += 1 - math.Exp(-asked)
	}
	if math.Abs(alone-wantAlone) > 1e-9 || math.Abs(shared-wantShared) > 1e-9 {
		t.Errorf("%v and %v, not %v and %v", alone, shared, wantAlone, wantShared)
	}
}
