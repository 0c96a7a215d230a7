package imagecdn

import (
	"fmt"
	"net/http"
	"time"

	"github.com/imagecdn/imagecdn/purge"
)

// A purgeSummary is a job without its lists, for whoever shows many: view=summary of the API.
type purgeSummary struct {
	ID      string      `json:"id"`
	Scope   purge.Scope `json:"scope"`
	Source  string      `json:"source,omitempty"`
	Mode    purge.Mode  `json:"mode"`
	Tenant  string      `json:"tenant"`
	Cause   purge.Cause `json:"cause"`
	Date    time.Time   `json:"date"`
	Attempt int         `json:"attempt"`
	State   purge.State `json:"state"`

	First  string `json:"first"`  // the first path, folder or tag
	Paths  int    `json:"paths"`  // how many there are
	Ended  int    `json:"ended"`  // of these, at their end, failed or not
	Failed int    `json:"failed"` // of these, failed
	Reason string `json:"reason"` // why the first of them did, or the first CDN

	// What was removed, of all paths.
	Originals   int   `json:"originals"`
	Derivatives int   `json:"derivatives"`
	Composites  int   `json:"composites"`
	Bytes       int64 `json:"bytes"`

	CDNs []cdnSummary `json:"cdns"`
}

type cdnSummary struct {
	Name    string           `json:"name"`
	State   purge.State      `json:"state"`
	Outcome purge.CDNOutcome `json:"outcome"`
	Reason  string           `json:"reason"`
	Items   int              `json:"items"`
	Purged  int              `json:"purged"`
}

// eventSummary is a purge.Event with a summary in place of the record.
type eventSummary struct {
	ID      string       `json:"id"`
	Seq     int          `json:"seq"`
	Time    time.Time    `json:"time"`
	Attempt int          `json:"attempt"`
	State   purge.State  `json:"state"`
	Summary purgeSummary `json:"summary"`
}

func summarize(r *purge.Record) purgeSummary {
	s := purgeSummary{
		ID: r.ID, Scope: r.Scope, Source: r.Source, Mode: r.Mode, Tenant: r.Tenant, Cause: r.Cause, Date: r.Date, Attempt: r.Attempt, State: r.State,
		Paths: len(r.Paths), CDNs: make([]cdnSummary, len(r.CDNs)),
	}
	for i := range r.Paths {
		p := &r.Paths[i]
		if i == 0 {
			s.First = p.Path
		}
		if p.State.Final() {
			s.Ended++
		}
		if p.State.Final() && p.State != purge.Done {
			if s.Failed++; s.Failed == 1 {
				s.Reason = p.Path + ": " + p.Reason
			}
		}
		s.Originals += p.Originals
		s.Derivatives += p.Derivatives
		s.Composites += p.Composites
		s.Bytes += p.Bytes
	}
	for i := range r.CDNs {
		c := &r.CDNs[i]
		s.CDNs[i] = cdnSummary{c.Name, c.State, c.Outcome, c.Reason, c.Items, c.Purged}
		if s.Reason == "" && c.State.Final() && c.State != purge.Done {
			s.Reason = c.Name + ": " + c.Reason
		}
	}
	return s
}

func summarizeAll(records []purge.Record) []purgeSummary {
	all := make([]purgeSummary, len(records))
	for i := range records {
		all[i] = summarize(&records[i])
	}
	return all
}

// wantsSummary reads the parameter view.
func wantsSummary(r *http.Request) (bool, error) {
	switch view := r.URL.Query().Get("view"); view {
	case "", "full":
		return false, nil
	case "summary":
		return true, nil
	default:
		return false, &purge.RequestError{Field: "view", Reason: fmt.Sprintf("is %q; it may be %q or %q", oneLine(view), "full", "summary")}
	}
}
