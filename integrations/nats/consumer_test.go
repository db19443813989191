package nats

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/nats/natstest"
	"github.com/backout/backout/workflows/incident"
)

// consumerFixture is a consumer on a server of its own, with a connection as Owner.
type consumerFixture struct {
	*natstest.ConsumerServer
	set     *driver.Set
	inverse driver.Inverse
}

func newConsumerFixture(t *testing.T) consumerFixture {
	t.Helper()
	f := consumerFixture{ConsumerServer: natstest.StartConsumer(t, jetstream.ConsumerConfig{AckWait: time.Minute})}
	var err error
	f.set, err = driver.Open(t.Context(), []driver.System{f.System(f.Address(), drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.set.Close()) })
	f.inverse, err = f.set.Inverse(consumerKind, "broker")
	require.NoError(t, err)
	return f
}

func consumerTarget(a aspect) incident.Target {
	return incident.Target{System: "broker", Path: natstest.Stream + "/" + natstest.Durable + "/" + string(a)}
}

func (f consumerFixture) plan(t *testing.T, a aspect, req driver.PlanRequest) driver.Planned {
	t.Helper()
	req.Target = consumerTarget(a)
	p, err := f.inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	return p
}

func (f consumerFixture) action(t *testing.T, a aspect, revision string) incident.Action {
	t.Helper()
	p := f.plan(t, a, driver.PlanRequest{Revision: revision})
	require.False(t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{Kind: consumerKind, Target: consumerTarget(a), From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: true}
}

func (f consumerFixture) run(t *testing.T, a incident.Action, key string) error {
	t.Helper()
	_, err := driver.Execute(t.Context(), f.inverse, a, key, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	return err
}

func (f consumerFixture) consumer(t *testing.T) jetstream.Consumer {
	t.Helper()
	c, err := f.JetStream.Consumer(t.Context(), natstest.Stream, natstest.Durable)
	require.NoError(t, err)
	return c
}

// TestNothingIsDeliveredTwice pauses and resumes a consumer that has acknowledged some
// messages: those are not delivered again, and none is lost.
func TestNothingIsDeliveredTwice(t *testing.T) {
	t.Parallel()
	f := newConsumerFixture(t)
	for n := range 6 {
		_, err := f.JetStream.Publish(t.Context(), "orders.new", fmt.Appendf(nil, "%d", n))
		require.NoError(t, err)
	}
	take := func(count int) (bodies []string) {
		batch, err := f.consumer(t).FetchNoWait(count)
		require.NoError(t, err)
		var taken []jetstream.Msg
		for m := range batch.Messages() {
			taken = append(taken, m)
		}
		for _, m := range taken {
			bodies = append(bodies, string(m.Data()))
			require.NoError(t, m.DoubleAck(t.Context()))
		}
		return bodies
	}
	require.Equal(t, []string{"0", "1"}, take(2))
	require.NoError(t, f.run(t, f.action(t, delivery, paused), "pause"))
	require.Empty(t, take(2), "a consumer that is paused delivers")
	slow := f.action(t, throttle, "max_ack_pending=3")
	require.NoError(t, f.run(t, slow, "throttle"))
	resume := f.action(t, delivery, running)
	p := f.plan(t, delivery, driver.PlanRequest{Revision: running})
	require.Contains(t, check(t, p, "backlog").Reason, "4 messages wait")
	require.Contains(t, check(t, p, "backlog").Reason, "max_ack_pending=3")
	require.NoError(t, f.run(t, resume, "resume"))
	require.Equal(t, []string{"2", "3", "4"}, take(10), "the throttle does not hold")
	require.Equal(t, []string{"5"}, take(10))
	config := f.consumer(t).CachedInfo().Config
	require.Equal(t, time.Minute, config.AckWait, "another setting was changed")
}

// TestConsumerThatWasMadeAnew shows that a consumer that would deliver everything again
// is not taken for the one that was planned for.
func TestConsumerThatWasMadeAnew(t *testing.T) {
	t.Parallel()
	f := newConsumerFixture(t)
	a := f.action(t, delivery, paused)
	require.NoError(t, f.JetStream.DeleteConsumer(t.Context(), natstest.Stream, natstest.Durable))
	_, err := f.JetStream.CreateConsumer(t.Context(), natstest.Stream, f.Config)
	require.NoError(t, err)
	var drift *driver.DriftError
	require.ErrorAs(t, f.run(t, a, "key"), &drift)
	require.Contains(t, drift.Difference, "was made at")
	require.False(t, f.consumer(t).CachedInfo().Paused)
}

// TestPutBack shows that an action that was carried out and undone by somebody is not
// carried out again, also by another process.
func TestPutBack(t *testing.T) {
	t.Parallel()
	f := newConsumerFixture(t)
	a := f.action(t, throttle, "max_ack_pending=3")
	require.NoError(t, f.run(t, a, "key"))
	require.NoError(t, f.Throttle(t.Context(), natstest.InFlight))
	_, err := f.inverse.Apply(t.Context(), a, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back")
	_, err = f.inverse.Apply(t.Context(), a, "another")
	require.NoError(t, err, "another action is refused too")
}

func TestConsumerBeforeAMoment(t *testing.T) {
	t.Parallel()
	f := newConsumerFixture(t)
	source, err := f.set.Source(consumerKind, "broker")
	require.NoError(t, err)
	require.NoError(t, f.Throttle(t.Context(), 5))
	require.NoError(t, f.Pause(t.Context(), forever))
	require.NoError(t, f.Throttle(t.Context(), 5)) // Changes nothing.
	require.NoError(t, f.Throttle(t.Context(), 6))
	for a, want := range map[aspect][][2]string{
		throttle: {{"absent", "max_ack_pending=1000"}, {"max_ack_pending=1000", "max_ack_pending=5"}, {"max_ack_pending=5", "max_ack_pending=6"}},
		delivery: {{"absent", running}, {running, paused}},
	} {
		changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "s", Target: consumerTarget(a), Since: time.Now().Add(-time.Minute), Until: time.Now()})
		require.NoError(t, err)
		var told [][2]string
		for _, c := range changes {
			told = append(told, [2]string{c.From, c.To})
			require.Equal(t, "admin", c.Author)
			require.Equal(t, incident.ChangeTraffic, c.Kind)
		}
		require.Equal(t, want, told)
		p := f.plan(t, a, driver.PlanRequest{Before: changes[len(changes)-1].At})
		require.False(t, p.Blocked(), "%v", p.Preflight)
		require.Equal(t, want[len(want)-1][0], p.To.Revision)
		p = f.plan(t, a, driver.PlanRequest{Before: changes[0].At})
		require.True(t, p.Blocked())
	}

	require.NoError(t, f.JetStream.DeleteConsumer(t.Context(), natstest.Stream, natstest.Durable))
	made := time.Now()
	_, err = f.JetStream.CreateConsumer(t.Context(), natstest.Stream, f.Config)
	require.NoError(t, err)
	// The log tells of it a moment after the answer.
	require.Eventually(t, func() bool {
		p := f.plan(t, throttle, driver.PlanRequest{Before: made})
		return strings.Contains(check(t, p, "state exists").Reason, "was made anew")
	}, 5*time.Second, 10*time.Millisecond, "a state of a consumer that was deleted is offered")
}

func TestConsumerPlanIsBlocked(t *testing.T) {
	t.Parallel()
	f := newConsumerFixture(t)
	for _, test := range []struct {
		name     string
		aspect   aspect
		revision string
		check    string
		says     string
	}{
		{"where it is", throttle, "max_ack_pending=1000", "not there already", "already"},
		{"running already", delivery, running, "not there already", "already"},
		{"a spelling of the other aspect", delivery, "max_ack_pending=1", "state exists", "is no state of delivery"},
		{"no number", throttle, "max_ack_pending=few", "state exists", "is no state of throttle"},
		{"zero, which is no bound", throttle, "max_ack_pending=0", "state exists", "is no state of throttle"},
		{"a rate of a consumer that is pulled from", throttle, "max_ack_pending=5 rate_limit_bps=8000", "state fits", "pulled from"},
		{"a pause that is over", delivery, "paused until 2020-01-01T00:00:00Z", "window is open", "is over"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := f.plan(t, test.aspect, driver.PlanRequest{Revision: test.revision})
			require.True(t, p.Blocked())
			require.Contains(t, check(t, p, test.check).Reason, test.says)
		})
	}
}

// TestChangeIsGuarded shows that nothing is offered without the log, or with one that
// does not do its work.
func TestChangeIsGuarded(t *testing.T) {
	t.Parallel()
	at := feed{stream: "S", consumer: "C", aspect: delivery}
	good := logSettings{Subjects: []string{auditSubject, "backout.consumer.PAUSE.*.*"}}
	good.Republish.Source, good.Republish.Destination = gateSource, gateTarget
	require.Empty(t, good.problem("LOG", at))
	for name, spoil := range map[string]func(s *logSettings){
		"sealed":             func(s *logSettings) { s.Sealed = true },
		"no record of calls": func(s *logSettings) { s.Subjects = s.Subjects[1:] },
		"no gate":            func(s *logSettings) { s.Subjects = s.Subjects[:1] },
		"another source":     func(s *logSettings) { s.Republish.Source = "x" },
		"another target":     func(s *logSettings) { s.Republish.Destination = "x" },
	} {
		bad := good
		spoil(&bad)
		require.NotEmpty(t, bad.problem("LOG", at), "%s is no problem", name)
	}

	f := newConsumerFixture(t)
	require.NoError(t, f.JetStream.DeleteStream(t.Context(), natstest.ConsumerLog))
	p := f.plan(t, delivery, driver.PlanRequest{Revision: paused})
	require.True(t, p.Blocked())
	require.Contains(t, check(t, p, "change is guarded").Reason, "does not exist")
}

func TestSettingSpelling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		aspect aspect
		text   string
		same   string
	}{
		{delivery, running, running},
		{delivery, paused, paused},
		{delivery, "paused until 9999-01-01T00:00:00Z", paused},
		{delivery, "paused until 2030-01-02T03:04:05+02:00", "paused until 2030-01-02T01:04:05Z"},
		{delivery, "paused until tomorrow", ""},
		{delivery, "paused until 0001-01-01T00:00:00Z", ""},
		{delivery, "", ""},
		{throttle, "max_ack_pending=-1", "max_ack_pending=-1"},
		{throttle, "max_ack_pending=7 rate_limit_bps=800", "max_ack_pending=7 rate_limit_bps=800"},
		{throttle, "max_ack_pending=7 rate_limit_bps=0", ""},
		{throttle, "max_ack_pending=-2", ""},
		{throttle, "rate_limit_bps=800", ""},
		{throttle, "7", ""},
	} {
		s, err := parseSetting(test.aspect, test.text)
		if test.same == "" {
			require.Error(t, err, "%q is taken", test.text)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, test.same, s.String())
	}
	for _, path := range []string{"", "S/C", "S/C/speed", "S/C/delivery/x", "S.x/C/delivery", "S/>/delivery", "S//delivery"} {
		_, err := parseFeed(incident.Target{System: "broker", Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, "%q is taken", path)
	}
}
