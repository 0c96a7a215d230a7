package imagecdn_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn"
	"github.com/imagecdn/imagecdn/cache"
	"github.com/imagecdn/imagecdn/internal/clustertest"
	"github.com/imagecdn/imagecdn/purge/cdn"
)

var metricsDocs = flag.Bool("metrics.docs", false, "TestEveryMetricIsInTheDocs writes the table of docs/metrics.md anew")

// documented is a metric as /metrics has it.
type documented struct {
	kind, help string
	labels     []string // names
}

// everyMetric is what /metrics may have, by name, in order.
func everyMetric(t *testing.T) (names []string, all map[string]*documented) {
	t.Helper()
	disk, err := cache.OpenDisk(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	edges, err := cdn.New([]cdn.Ring{{{Name: "edge", CDN: &tagCDN{}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, newOrigin(), &imagecdn.Options{Cache: cache.Tiered(cache.NewMemory(0), disk), CDNs: edges, Cluster: clustertest.New().Node("a")})
	if _, err := h.Purge(t.Context(), []string{"bad"}, nil); err == nil {
		t.Fatal("a bad path was taken") // which makes a sample of refusals
	}
	all = make(map[string]*documented)
	var last *documented
	for line := range strings.Lines(scrapeText(t, h)) {
		line = strings.TrimSuffix(line, "\n")
		switch word, rest, _ := strings.Cut(strings.TrimPrefix(line, "# "), " "); {
		case strings.HasPrefix(line, "# HELP "):
			name, help, _ := strings.Cut(rest, " ")
			last = &documented{help: help}
			names, all[name] = append(names, name), last
		case strings.HasPrefix(line, "# TYPE "):
			_, last.kind, _ = strings.Cut(rest, " ")
		default:
			_, labels, _, err := parseSample(line)
			if err != nil {
				t.Fatal(word, err)
			}
			for _, l := range labels {
				if !slices.Contains(last.labels, l[0]) && l[0] != "le" {
					last.labels = append(last.labels, l[0])
				}
			}
		}
	}
	return names, all
}

// The table of docs/metrics.md is what /metrics says of itself.
func TestEveryMetricIsInTheDocs(t *testing.T) {
	names, all := everyMetric(t)
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	for _, name := range names {
		m := all[name]
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "` `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, m.kind, labels, m.help)
	}
	const file = "docs/metrics.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- metrics: go test -run TestEveryMetricIsInTheDocs . -metrics.docs -->\n", "<!-- end of metrics -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", file)
	}
	for _, name := range regexp.MustCompile(`\bimagecdn_[a-z0-9_]+`).FindAllString(before+after, -1) {
		if all[name] == nil {
			t.Errorf("%s speaks of %s, which is not there", file, name)
		}
	}
	if got == table.String() {
		return
	}
	if !*metricsDocs {
		t.Fatalf("the table is not what /metrics says; -metrics.docs writes it anew. It should be\n%s", &table)
	}
	if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A dashboard of Grafana, as far as it is looked at.
type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

// docs/grafana.json asks for metrics and labels that there are, as what they are.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	data, err := os.ReadFile("docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	_, all := everyMetric(t)
	metric := regexp.MustCompile(`\b(?:imagecdn|go)_[a-z0-9_]+`)
	grouped := regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	matched := regexp.MustCompile(`([a-z_]+)=~?"`)
	legend := regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	asked := make(map[string]bool)
	check := func(where, expr, legendFormat string) {
		found := metric.FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for nothing: %s", where, expr)
		}
		labels := []string{"instance"} // Prometheus' own
		for _, name := range found {
			base := name
			if all[name] == nil {
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					base = strings.TrimSuffix(base, suffix)
				}
			}
			m := all[base]
			if m == nil || base != name && m.kind != "histogram" {
				t.Errorf("%s asks for %s, which is not there", where, name)
				continue
			}
			asked[base] = true
			labels = append(labels, m.labels...)
			if strings.HasSuffix(name, "_bucket") {
				labels = append(labels, "le")
			}
			if rate := strings.Contains(expr, "rate("+name+"{"); rate != (m.kind != "gauge") && where != "variables" {
				t.Errorf("%s: %s is a %s: rate %t", where, name, m.kind, rate)
			}
		}
		var used []string
		for _, by := range grouped.FindAllStringSubmatch(expr, -1) {
			used = append(used, strings.Split(by[1], ", ")...)
		}
		for _, m := range append(matched.FindAllStringSubmatch(expr, -1), legend.FindAllStringSubmatch(legendFormat, -1)...) {
			used = append(used, m[1])
		}
		for _, l := range used {
			if !slices.Contains(labels, l) {
				t.Errorf("%s has the label %s, which %v has not", where, l, found)
			}
		}
		if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
			t.Errorf("%s: %s", where, expr)
		}
	}
	ids := make(map[int]bool)
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s: the ID %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s and %s lie over each other", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			check(p.Title, target.Expr, target.LegendFormat)
		}
	}
	check("variables", fmt.Sprint(d.Templating.List), "")
	if len(asked) < 50 {
		t.Errorf("only %d metrics of %d are asked for", len(asked), len(all))
	}
}
