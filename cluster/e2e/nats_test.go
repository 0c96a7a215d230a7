//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A natsServer is one, with JetStream on a disk of its own. It has the same ports in all its lives.
type natsServer struct {
	t       testing.TB
	binary  string
	name    string
	logs    string
	config  string
	address string // for clients
	monitor string // for this test
	*process
}

// startNATS starts servers: one, or several that are one JetStream cluster.
func startNATS(t testing.TB, logs string, n int) []*natsServer {
	t.Helper()
	path := command(t, binaries.nats)
	for try := 0; ; try++ {
		servers := configureNATS(t, path, logs, n)
		for _, s := range servers {
			s.start()
		}
		up := 0
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && up < n; time.Sleep(20 * time.Millisecond) {
			up = 0
			for _, s := range servers {
				if s.ready() {
					up++
				}
			}
			if servers[0].wait(0) { // a port was taken meanwhile
				break
			}
		}
		if up == n {
			return servers
		}
		for _, s := range servers {
			s.kill()
		}
		if try == 2 {
			t.Fatalf("%d of %d NATS servers came up", up, n)
		}
	}
}

func configureNATS(t testing.TB, binary, logs string, n int) []*natsServer {
	t.Helper()
	dir := t.TempDir()
	servers := make([]*natsServer, n)
	var routes []string
	clusters := make([]string, n)
	for i := range clusters {
		clusters[i] = freePort(t)
		routes = append(routes, "nats-route://"+clusters[i])
	}
	for i := range servers {
		name := fmt.Sprintf("nats-%d", i+1)
		s := &natsServer{t: t, binary: binary, name: name, logs: logs, config: filepath.Join(dir, name+".conf"), address: freePort(t), monitor: freePort(t)}
		config := fmt.Sprintf("server_name: %q\nlisten: %q\nhttp: %q\njetstream { store_dir: %q, max_mem: 256MB, max_file: 4GB }\n",
			name, s.address, s.monitor, filepath.Join(dir, name))
		if n > 1 {
			// Clients are not told of other servers, as they would go there around their proxies.
			config += fmt.Sprintf("cluster { name: e2e, listen: %q, no_advertise: true, routes: [%s] }\n", clusters[i], strings.Join(routes, ", "))
		}
		if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		servers[i] = s
	}
	return servers
}

func (s *natsServer) start() {
	s.process = start(s.t, s.name, s.logs, nil, nil, s.binary, "-c", s.config)
}

// monitoring asks the server about itself.
func (s *natsServer) monitoring(path string, v any) bool {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + s.monitor + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(resp.Body).Decode(v) == nil
}

func (s *natsServer) ready() bool {
	var health struct{ Status string }
	return s.monitoring("/healthz", &health) && health.Status == "ok"
}

// leader is the server that leads a stream, or nil.
func leader(servers []*natsServer, stream string) *natsServer {
	for _, s := range servers {
		var about struct {
			Accounts []struct {
				Streams []struct {
					Name    string
					Cluster struct{ Leader string }
				} `json:"stream_detail"`
			} `json:"account_details"`
		}
		if !s.monitoring("/jsz?accounts=true&streams=true", &about) {
			continue
		}
		for _, a := range about.Accounts {
			for _, one := range a.Streams {
				for _, l := range servers {
					if one.Name == stream && one.Cluster.Leader == l.name {
						return l
					}
				}
			}
		}
	}
	return nil
}
