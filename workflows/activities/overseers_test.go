package activities_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// servicePager is a pager that pages services too.
type servicePager struct{ pager }

func (p servicePager) PageService(ctx context.Context, serviceID, id, title, text string) error {
	return p.w.call(ctx, "page "+serviceID+" "+id+" "+title+" "+text, func() error { return nil })
}

var _ activities.ServicePager = servicePager{}

func TestFindOverseers(t *testing.T) {
	t.Parallel()
	reach := func(names ...string) (out []incident.Reach) {
		for _, n := range names {
			out = append(out, incident.Reach{Name: n})
		}
		return out
	}
	security := activities.Overseer{Name: "security", ServiceID: "PSEC"}
	checkout := activities.Overseer{Name: "the owners of checkout", ServiceID: "PCHECK"}
	payments := activities.Overseer{Name: "the owners of payments", ServiceID: "PPAY"}
	for _, tt := range []struct {
		name     string
		security string
		plain    bool
		shown    []incident.Reach
		service  string
		want     activities.Overseers
	}{
		{name: "security and the owners of what the plan changes", security: "PSEC", want: activities.Overseers{Page: []activities.Overseer{security, checkout}}},
		{name: "more services were shown than the plan changes", security: "PSEC", shown: reach("checkout", "payments"), want: activities.Overseers{Page: []activities.Overseer{security, checkout, payments}}},
		{name: "no security", want: activities.Overseers{Page: []activities.Overseer{checkout}, Missing: []string{"nobody from security was paged: pagerduty.security_service is not set"}}},
		{name: "a service that nobody knows", security: "PSEC", shown: reach("ghost"), want: activities.Overseers{Page: []activities.Overseer{security, checkout}, Missing: []string{"the owners of ghost were not paged: the catalogue names no PagerDuty service of it"}}},
		{name: "a service that the pager alone knows", security: "PSEC", service: "ghost", shown: reach("ghost"), want: activities.Overseers{Page: []activities.Overseer{security, {Name: "the owners of ghost", ServiceID: "PGHOST"}, checkout}}},
		{name: "security is the owner", security: "PCHECK", want: activities.Overseers{Page: []activities.Overseer{{Name: "security", ServiceID: "PCHECK"}}}},
		{name: "no pager", plain: true, security: "PSEC", want: activities.Overseers{Missing: []string{"neither security nor the owners were paged: pagerduty.token_file is not set"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			a.Security = tt.security
			if !tt.plain {
				a.Pager = servicePager{pager{w}}
			}
			p := plan(t)
			in := activities.OverseersInput{Key: key, Option: incident.Option{ID: "o1", Plan: p, Digest: digest(t, p), Radius: incident.BlastRadius{Services: tt.shown}}, Service: tt.service}
			if tt.service != "" {
				in.ServiceID = "PGHOST"
			}
			got, err := a.FindOverseers(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestPageOverseer(t *testing.T) {
	t.Parallel()
	in := activities.PageOverseerInput{ID: "d1", Overseer: activities.Overseer{Name: "security", ServiceID: "PSEC"}, Title: "title", Text: "text"}
	w := newWorld()
	a := w.activities(t)
	requireError(t, a.PageOverseer(t.Context(), in), incident.ErrTypeInvalid, true)

	a.Pager = servicePager{pager{w}}
	require.NoError(t, a.PageOverseer(t.Context(), in))
	require.Equal(t, []string{"page PSEC d1 title text"}, w.calls)

	none := in
	none.ID = ""
	requireError(t, a.PageOverseer(t.Context(), none), incident.ErrTypeInvalid, true)

	w.fail = func(string) error { return errors.New("no answer") }
	requireError(t, a.PageOverseer(t.Context(), in), "", false)
	w.fail = func(string) error { return driver.ErrDenied }
	requireError(t, a.PageOverseer(t.Context(), in), incident.ErrTypeDenied, true)
}
