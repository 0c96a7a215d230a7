package cluster

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/imagecdn/imagecdn/cluster/internal/faulty"
)

// docs/scale.md has each metric, and no other.
func TestMetricsAreInTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	s := faulty.StartServer(t, t.TempDir(), -1)
	var n fakeNode
	c := start(t, s.ClientURL(), "a", &n, Options{})
	has := make(map[string]bool)
	for _, m := range c.Metrics() {
		has[m.Name] = true
		if !strings.Contains(string(doc), "`"+m.Name+"`") {
			t.Errorf("docs/scale.md has no %s", m.Name)
		}
		if m.Help == "" || len(m.Samples) != 1 {
			t.Errorf("%+v", m)
		}
	}
	for _, name := range regexp.MustCompile("`(imagecdn_cluster_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		if !has[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
	if len(has) < 15 {
		t.Errorf("there are %d", len(has))
	}
}
