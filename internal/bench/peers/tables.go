package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// ours is the side that others are compared with.
const ours = "imagecdn"

// writeTables writes the figures as tables of Markdown.
func (f *figures) writeTables(w io.Writer) {
	for _, fact := range f.facts {
		fmt.Fprintf(w, "- %s: %s\n", fact[0], fact[1])
	}
	f.speedTable(w, "one", "One picture after the other")
	f.speedTable(w, "set", "A set of widths that arrive together")
	f.qualityTable(w)
	f.memoryTable(w)
}

func (f *figures) part(name string) []record {
	var rs []record
	for _, r := range f.records {
		if r.part == name {
			rs = append(rs, r)
		}
	}
	return rs
}

// distinct gives what key says of the records, once each, in the order in which they come.
func distinct[K comparable](rs []record, key func(record) K) []K {
	var ks []K
	for _, r := range rs {
		if k := key(r); !slices.Contains(ks, k) {
			ks = append(ks, k)
		}
	}
	return ks
}

// An ask is what all sides are asked for.
type ask struct{ input, widths, format string }

func askOf(r record) ask     { return ask{r.input, r.widths, r.format} }
func sideOf(r record) string { return r.side }

func (a ask) String() string {
	n := strings.Count(a.widths, ",")
	if n > 0 {
		return fmt.Sprintf("%s → %s, %d widths", a.input, a.format, n+1)
	}
	return fmt.Sprintf("%s → %s, %s px", a.input, a.format, a.widths)
}

// speedTable has medians of rounds, and the medians of the ratios of each round.
func (f *figures) speedTable(w io.Writer, part, title string) {
	rs := f.part(part)
	if len(rs) == 0 {
		return
	}
	sides := slices.DeleteFunc(distinct(rs, sideOf), func(s string) bool { return s == withoutLibwebp })
	rounds := slices.MaxFunc(rs, func(a, b record) int { return cmp.Compare(a.round, b.round) }).round
	fmt.Fprintf(w, "\n### %s\n\nPictures a second, medians of %d round(s); ratios are medians of the rounds' own.\n\n", title, rounds)
	fmt.Fprint(w, "| what |")
	for _, s := range sides {
		fmt.Fprintf(w, " %s |", s)
	}
	for _, s := range sides[1:] {
		fmt.Fprintf(w, " %s ÷ %s |", ours, s)
	}
	for _, s := range sides {
		fmt.Fprintf(w, " CPU ms, %s |", s)
	}
	for _, s := range sides[1:] {
		fmt.Fprintf(w, " bytes, %s ÷ %s |", ours, s)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("--:|", 4*len(sides)-2))
	for _, a := range distinct(rs, askOf) {
		f.speedRow(w, part, a, a.String(), sides)
		if slices.ContainsFunc(rs, func(r record) bool { return askOf(r) == a && r.side == withoutLibwebp }) {
			f.speedRow(w, part, a, a.String()+", without libwebp", append([]string{withoutLibwebp}, sides[1:]...))
		}
	}
}

// speedRow compares the first of the sides with the others.
func (f *figures) speedRow(w io.Writer, part string, a ask, name string, sides []string) {
	of := func(side string, what func(record) float64) []float64 {
		var v []float64
		for _, r := range f.part(part) {
			if askOf(r) == a && r.side == side {
				v = append(v, what(r))
			}
		}
		return v
	}
	fmt.Fprintf(w, "| %s |", name)
	for _, s := range sides {
		fmt.Fprintf(w, " %s |", figure(median(of(s, record.throughput))))
	}
	for _, s := range sides[1:] {
		fmt.Fprintf(w, " %s |", ratio(median(quotients(of(sides[0], record.throughput), of(s, record.throughput)))))
	}
	for _, s := range sides {
		fmt.Fprintf(w, " %s |", figure(median(of(s, record.cpuEach))))
	}
	for _, s := range sides[1:] {
		fmt.Fprintf(w, " %s |", ratio(median(quotients(of(sides[0], record.size), of(s, record.size)))))
	}
	fmt.Fprintln(w)
}

// quotients are of what was measured in the same rounds; there are none where one side is left out.
func quotients(a, b []float64) []float64 {
	if len(a) != len(b) {
		return nil
	}
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

// median is NaN of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func figure(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

// qualityTable compares at the same setting, and along the curve of each peer's qualities at the same bytes and at the
// same SSIM.
func (f *figures) qualityTable(w io.Writer) {
	rs := f.part("quality")
	for _, side := range distinct(rs, sideOf) {
		if side == ours {
			continue
		}
		fmt.Fprintf(w, "\n### Quality against %s\n\nSSIM of luma with a Lanczos3 resize of all samples in floating point.\n\n", side)
		fmt.Fprintf(w, "| what | SSIM, %s | SSIM, %s | difference | bytes, %s | bytes, %s | ratio | SSIM at equal bytes, difference | bytes at equal SSIM, ratio |\n", ours, side, ours, side)
		fmt.Fprintf(w, "|---|%s\n", strings.Repeat("--:|", 8))
		var differences, sizes, equalBytes, equalSSIM []float64
		for _, a := range distinct(rs, askOf) {
			var curve []record
			var mine, theirs *record
			for _, r := range rs {
				switch {
				case askOf(r) != a:
				case r.side == ours:
					mine = &r
				case r.side == side:
					curve = append(curve, r)
				}
			}
			if mine == nil {
				continue
			}
			for _, r := range curve {
				if r.quality == mine.quality {
					theirs = &r
				}
			}
			if theirs == nil {
				continue
			}
			difference, size := mine.ssim-theirs.ssim, float64(mine.bytes)/float64(theirs.bytes)
			atBytes := mine.ssim - along(curve, logBytes, similarity, logBytes(*mine))
			atSSIM := float64(mine.bytes) / math.Exp(along(curve, similarity, logBytes, mine.ssim))
			fmt.Fprintf(w, "| %s | %.4f | %.4f | %+.4f | %d | %d | %s | %s | %s |\n", a, mine.ssim, theirs.ssim, difference,
				mine.bytes, theirs.bytes, ratio(size), signed(atBytes), ratio(atSSIM))
			differences, sizes = append(differences, difference), append(sizes, size)
			if !math.IsNaN(atBytes) {
				equalBytes = append(equalBytes, atBytes)
			}
			if !math.IsNaN(atSSIM) {
				equalSSIM = append(equalSSIM, atSSIM)
			}
		}
		fmt.Fprintf(w, "| median | | | %s | | | %s | %s | %s |\n", signed(median(differences)), ratio(median(sizes)), signed(median(equalBytes)), ratio(median(equalSSIM)))
		fmt.Fprintf(w, "| least | | | %s | | | %s | %s | %s |\n", signed(least(differences)), ratio(least(sizes)), signed(least(equalBytes)), ratio(least(equalSSIM)))
		fmt.Fprintf(w, "| most | | | %s | | | %s | %s | %s |\n", signed(most(differences)), ratio(most(sizes)), signed(most(equalBytes)), ratio(most(equalSSIM)))
	}
}

func similarity(r record) float64 { return r.ssim }
func logBytes(r record) float64   { return math.Log(float64(r.bytes)) }

// along gives y where the curve has x, between two of its points by a straight line; NaN beyond its ends.
func along(curve []record, x, y func(record) float64, at float64) float64 {
	c := slices.SortedFunc(slices.Values(curve), func(a, b record) int { return cmp.Compare(x(a), x(b)) })
	for i := 1; i < len(c); i++ {
		if from, to := x(c[i-1]), x(c[i]); from <= at && at <= to && from < to {
			return y(c[i-1]) + (y(c[i])-y(c[i-1]))*(at-from)/(to-from)
		}
	}
	return math.NaN()
}

func signed(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%+.4f", v)
}

func least(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return slices.Min(v)
}

func most(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return slices.Max(v)
}

func (f *figures) memoryTable(w io.Writer) {
	rs := f.part("memory")
	if len(rs) == 0 {
		return
	}
	fmt.Fprint(w, "\n### Peak memory\n\n| what | side | requests | failed | seconds | pictures a second | peak MiB |\n|---|---|--:|--:|--:|--:|--:|\n")
	for _, r := range rs {
		fmt.Fprintf(w, "| %s | %s | %d | %d | %.1f | %s | %.0f |\n", askOf(r), r.side, r.pictures+r.failed, r.failed,
			r.busy.Seconds()/workers, figure(r.throughput()), float64(r.peak)/(1<<20))
	}
}
