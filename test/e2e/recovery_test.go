package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

// briefWindows judge soon, because nothing is going to get better.
func briefWindows() harness.Windows {
	w := harness.QuickWindows
	w.Deadline = 6 * time.Second
	return w
}

// Whatever Prometheus says that is no proof of recovery is none: the target is
// back where it was, the verdict says why it is not "recovered", the incident
// stays open and the next level is paged.
func TestNoProofOfRecovery(t *testing.T) {
	t.Parallel()
	signals := []struct {
		service string
		signal  harness.Signal
		want    incident.Verdict
	}{
		{"not-a-number", harness.NaN, incident.VerdictUnknown},
		{"silent", harness.Silent, incident.VerdictUnknown},
		{"ended", harness.Ended, incident.VerdictUnknown},
		{"idle", harness.Idle, incident.VerdictUnknown},
		{"ailing", harness.Ailing, incident.VerdictNotRecovered},
		{"never-seen", harness.Truthful, incident.VerdictUnknown},
	}
	var services []string
	for _, s := range signals {
		services = append(services, s.service)
	}
	w := harness.New(t, harness.Options{Services: services, Unmetered: []string{"never-seen"}, Windows: briefWindows(), Unlimited: true})
	keys := map[string]string{}
	for _, s := range services {
		keys[s] = w.Page(s)
	}
	for _, s := range signals {
		w.Options(keys[s.service])
		w.Signal(s.service, s.signal)
		w.Approve(harness.Ada, keys[s.service])
	}
	for _, s := range signals {
		unproven(t, w, s.service, keys[s.service], s.want)
	}
}

// unproven requires that a rollback was executed, and is not called a recovery.
func unproven(t *testing.T, w *harness.World, service, key string, want incident.Verdict) {
	t.Helper()
	v := w.Ended(key)
	r := v.LastRollback()
	require.Equal(t, incident.RollbackDone, r.Status, "%s: %s", service, r.Reason)
	require.NotNil(t, r.Recovery, service)
	require.Equal(t, want, r.Recovery.Verdict, "%s: %s", service, r.Recovery.Reason)
	require.NotEmpty(t, r.Recovery.Reason, service)
	require.Equal(t, harness.GoodRelease, w.Releases.Running(service), service)
	v = w.View(key, "the escalation", func(v incident.View) bool {
		for _, e := range v.Timeline {
			if e.Kind == incident.EventEscalation {
				return true
			}
		}
		return false
	})
	require.NotEqual(t, incident.PhaseRecovered, v.Phase, service)
	require.NotEqual(t, incident.PhaseClosed, v.Phase, service)
	require.Zero(t, v.Postmortem.Number, "%s: a postmortem of what is not over", service)
	w.Until("the next level being paged for "+service, func() bool {
		at, ok := w.PagerDuty.Incident(incidentID(key))
		return ok && at.Level == 2
	})
	require.NotEmpty(t, w.Cards(key), service)
}

// A Prometheus that nobody reaches proves nothing either.
func TestPrometheusDown(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{Windows: briefWindows()})
	key := w.Page("checkout")
	w.Offer(key)
	w.Prometheus.Cut()
	w.Approve(harness.Ada, key)
	unproven(t, w, "checkout", key, incident.VerdictUnknown)
}

// When Prometheus comes back before the deadline, the same rollback is judged
// after all.
func TestPrometheusBack(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	key := w.Page("checkout")
	w.Offer(key)
	w.Prometheus.Cut()
	w.Approve(harness.Ada, key)
	w.View(key, "a target that is back", func(incident.View) bool { return w.Releases.Running("checkout") == harness.GoodRelease })
	w.Prometheus.Mend()
	w.Recovered("checkout", key)
}
