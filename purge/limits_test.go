package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitsOfTenants(t *testing.T) {
	paths := func(n int) (p []string) {
		for i := range n {
			p = append(p, fmt.Sprint("/photos/", i))
		}
		return p
	}
	type step struct {
		after  time.Duration
		tenant string
		paths  int
		want   string // the error; empty for none
		retry  time.Duration
	}
	for _, tt := range []struct {
		name   string
		limits Limits
		steps  []step
	}{
		{"none", Limits{}, []step{{0, "a", 100, "", 0}, {0, "a", 100, "", 0}}},
		{"ten paths", CloudimageLimits(), []step{
			{0, "a", 10, "", 0},
			{0, "a", 11, `purge: the tenant "a" may have 10 paths; make it several purges`, 0},
			{0, "", 11, `purge: a purge without a tenant may have 10 paths; make it several purges`, 0},
		}},
		{"75 paths and one a minute", MultiCDNLimits(), []step{
			{0, "a", 76, `purge: the tenant "a" may have 75 paths; make it several purges`, 0},
			{0, "a", 75, "", 0}, // what was refused did not count
			{0, "a", 1, `purge: the tenant "a" may be made 1 times a minute; try again in 1m0s`, time.Minute},
			{0, "b", 1, "", 0},
			{59 * time.Second, "a", 1, `purge: the tenant "a" may be made 1 times a minute; try again in 1s`, time.Second},
			{time.Second, "a", 1, "", 0},
			{time.Hour, "a", 1, "", 0},
			{0, "a", 1, `purge: the tenant "a" may be made 1 times a minute; try again in 1m0s`, time.Minute},
		}},
		{"a burst", Limits{PerMinute: 6, Burst: 2}, []step{
			{0, "a", 1, "", 0}, {0, "a", 1, "", 0},
			{0, "a", 1, `purge: the tenant "a" may be made 6 times a minute; try again in 10s`, 10 * time.Second},
			{10 * time.Second, "a", 1, "", 0},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &ServiceOptions{Limits: func(string) Limits { return tt.limits }}
			bubble(t, &fake{}, o, func(t *testing.T, s *Service) {
				for i, st := range tt.steps {
					time.Sleep(st.after)
					_, err := s.Submit(t.Context(), Request{Tenant: st.tenant, Paths: paths(st.paths)}, nil)
					if st.want == "" {
						if err != nil {
							t.Errorf("step %d: %v", i, err)
						}
						continue
					}
					var l *LimitError
					if !errors.As(err, &l) || err.Error() != st.want || l.RetryAfter != st.retry || (ErrorCode(err) == "limited") != (st.retry > 0) {
						t.Errorf("step %d: %s %v, %+v\nwant %s, %v", i, ErrorCode(err), err, l, st.want, st.retry)
					}
				}
			})
		})
	}
}

func TestWaitingJobsOfATenantAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := NewService(&fake{path: hold(release)}, &ServiceOptions{Workers: 1, Limits: func(tenant string) Limits {
			if tenant == "free" {
				return Limits{}
			}
			return Limits{MaxWaiting: 2}
		}})
		defer s.Close()
		var codes []string
		for i, tenant := range []string{"a", "a", "a", "a", "b", "free", "free", "free"} {
			_, err := s.Submit(t.Context(), Request{Tenant: tenant, Paths: []string{fmt.Sprint("/photos/", i/2)}}, nil)
			codes = append(codes, fmt.Sprint(tenant, " ", err))
		}
		const no = `a purge: the tenant "a" may have 2 jobs waiting; try again in 1s`
		if want := []string{"a <nil>", "a <nil>", "a <nil>", no, "b <nil>", "free <nil>", "free <nil>", "free <nil>"}; !slices.Equal(codes, want) {
			t.Errorf("got  %q\nwant %q", codes, want)
		}
		close(release)
	})
}

func TestWhatTheTargetRefusesDoesNotCount(t *testing.T) {
	refuse := true
	target := &fake{accept: func(context.Context, Request) error {
		if refuse {
			return errors.New("no")
		}
		return nil
	}}
	bubble(t, target, &ServiceOptions{Limits: func(string) Limits { return MultiCDNLimits() }}, func(t *testing.T, s *Service) {
		for range 3 {
			if _, err := s.Submit(t.Context(), Request{Scope: All}, nil); err == nil || ErrorCode(err) != "internal" {
				t.Error(err)
			}
		}
		refuse = false
		if _, err := s.Submit(t.Context(), Request{Scope: All}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestRatesAreForgotten(t *testing.T) {
	bubble(t, &fake{}, &ServiceOptions{Limits: func(string) Limits { return MultiCDNLimits() }}, func(t *testing.T, s *Service) {
		for i := range 5000 {
			if _, err := s.Submit(t.Context(), Request{Tenant: fmt.Sprint(i), Scope: All}, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := len(s.due); n > 1024 {
			t.Errorf("%d tenants", n)
		}
	})
}
