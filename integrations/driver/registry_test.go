package driver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// plant is the connection of the system type "plant".
type plant struct {
	name   string
	log    *[]string
	refuse error
}

func (p *plant) Close() error {
	*p.log = append(*p.log, "close "+p.name)
	return p.refuse
}

// plantSettings carries what a test wants of a plant through Decode.
type plantSettings struct {
	log           *[]string
	fail, onClose error
}

func plantNamed(name string, s plantSettings) driver.System {
	return driver.System{Name: name, Type: "plant", Decode: func(into any) error {
		*into.(*plantSettings) = s
		return nil
	}}
}

type (
	plantInverse   struct{ driver.Inverse }
	plantSource    struct{ driver.ChangeSource }
	plantCollector struct{ driver.Collector }
	plantProbe     struct{ driver.Probe }
	plantRecorder  struct{ driver.Recorder }
	plantCounter   struct{ driver.Counter }
)

func init() {
	driver.RegisterSystem("plant", func(_ context.Context, s driver.System) (*plant, error) {
		var settings plantSettings
		if err := s.Decode(&settings); err != nil {
			return nil, err
		}
		if settings.fail != nil {
			return nil, settings.fail
		}
		*settings.log = append(*settings.log, "open "+s.Name)
		return &plant{name: s.Name, log: settings.log, refuse: settings.onClose}, nil
	})
	driver.RegisterSystem("desert", func(context.Context, driver.System) (int, error) { return 1, nil })
	driver.RegisterInverse(driver.Descriptor{Kind: "plant.prune", System: "plant"}, func(*plant) driver.Inverse { return plantInverse{} })
	driver.RegisterInverse(driver.Descriptor{Kind: "plant.graft", System: "plant"}, func(*plant) driver.Inverse { return plantInverse{} })
	driver.RegisterInverse(driver.Descriptor{Kind: "plant.wrong", System: "desert"}, func(*plant) driver.Inverse { return plantInverse{} })
	driver.RegisterSource("plant.diary", "plant", func(*plant) driver.ChangeSource { return plantSource{} })
	driver.RegisterCollector("plant.photo", "plant", func(*plant) driver.Collector { return plantCollector{} })
	driver.RegisterCollector("plant.film", "plant", func(*plant) driver.Collector { return plantCollector{} })
	driver.RegisterParams("plant.film", func(_ incident.Target, params map[string]string) error {
		return driver.KnownParams(params, "plant.film", "length", "speed")
	})
	driver.RegisterProbe("plant.gauge", "plant", func(*plant) driver.Probe { return plantProbe{} })
	driver.RegisterRecorder("plant.prune", "plant", func(*plant) driver.Recorder { return plantRecorder{} })
	driver.RegisterCounter("plant.tally", "plant", func(*plant) driver.Counter { return plantCounter{} })
}

func TestRegisterPanicsOnDuplicatesAndEmptyNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		register func(name string)
		taken    string
	}{
		{"system", func(name string) {
			driver.RegisterSystem(name, func(context.Context, driver.System) (int, error) { return 0, nil })
		}, "plant"},
		{"inverse", func(name string) {
			driver.RegisterInverse(driver.Descriptor{Kind: name}, func(*plant) driver.Inverse { return nil })
		}, "plant.prune"},
		{"source", func(name string) {
			driver.RegisterSource(name, "plant", func(*plant) driver.ChangeSource { return nil })
		}, "plant.diary"},
		{"collector", func(name string) {
			driver.RegisterCollector(name, "plant", func(*plant) driver.Collector { return nil })
		}, "plant.photo"},
		{"recorder", func(name string) {
			driver.RegisterRecorder(name, "plant", func(*plant) driver.Recorder { return nil })
		}, "plant.prune"},
		{"counter", func(name string) {
			driver.RegisterCounter(name, "plant", func(*plant) driver.Counter { return nil })
		}, "plant.tally"},
		{"probe", func(name string) { driver.RegisterProbe(name, "plant", func(*plant) driver.Probe { return nil }) }, "plant.gauge"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Panics(t, func() { test.register(test.taken) })
			require.Panics(t, func() { test.register("") })
		})
	}
}

func TestKindsAreSorted(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, d := range driver.Kinds() {
		kinds = append(kinds, d.Kind)
	}
	require.Equal(t, []string{"plant.graft", "plant.prune", "plant.wrong"}, kinds)
	d, ok := driver.Describe("plant.prune")
	require.True(t, ok)
	require.Equal(t, "plant", d.System)
	_, ok = driver.Describe("plant.burn")
	require.False(t, ok)
	inverses, sources, collectors, probes := driver.Known()
	require.Equal(t, kinds, inverses)
	require.Equal(t, []string{"plant.prune"}, driver.Recorded())
	require.Equal(t, []string{"plant.tally"}, driver.Counters())
	require.Equal(t, "plant", driver.SystemOf("plant.tally"))
	require.Equal(t, []string{"desert", "plant", "plant", "plant", ""}, []string{
		driver.SystemOf("plant.wrong"), driver.SystemOf("plant.diary"), driver.SystemOf("plant.photo"), driver.SystemOf("plant.gauge"), driver.SystemOf("plant.burn"),
	})
	require.Equal(t, []string{"desert", "plant"}, driver.SystemTypes())
	require.Equal(t, [][]string{{"plant.diary"}, {"plant.film", "plant.photo"}, {"plant.gauge"}}, [][]string{sources, collectors, probes})
}

func TestSet(t *testing.T) {
	t.Parallel()
	var log []string
	set, err := driver.Open(t.Context(), []driver.System{plantNamed("oak", plantSettings{log: &log}), plantNamed("elm", plantSettings{log: &log}), {Name: "sand", Type: "desert"}})
	require.NoError(t, err)
	require.Equal(t, []string{"oak", "elm", "sand"}, set.Systems())

	inverse, err := set.Inverse("plant.prune", "elm")
	require.NoError(t, err)
	require.IsType(t, plantInverse{}, inverse)
	source, err := set.Source("plant.diary", "elm")
	require.NoError(t, err)
	require.IsType(t, plantSource{}, source)
	collector, err := set.Collector("plant.photo", "oak")
	require.NoError(t, err)
	require.IsType(t, plantCollector{}, collector)
	probe, err := set.Probe("oak")
	require.NoError(t, err)
	require.IsType(t, plantProbe{}, probe)
	recorder, err := set.Recorder("plant.prune", "oak")
	require.NoError(t, err)
	require.IsType(t, plantRecorder{}, recorder)
	counter, err := set.Counter("elm")
	require.NoError(t, err)
	require.IsType(t, plantCounter{}, counter)
	require.NoError(t, set.Check("plant.prune", incident.Target{System: "oak", Path: "branch"}))

	for _, test := range []struct {
		name string
		find func() error
		want string
	}{
		{"unknown inverse", func() error { _, err := set.Inverse("plant.burn", "oak"); return err }, "no such kind"},
		{"unknown source", func() error { _, err := set.Source("plant.novel", "oak"); return err }, "no such kind"},
		{"unknown collector", func() error { _, err := set.Collector("plant.sketch", "oak"); return err }, "no such kind"},
		{"unknown recorder", func() error { _, err := set.Recorder("plant.graft", "oak"); return err }, "no such kind"},
		{"unknown system", func() error { _, err := set.Inverse("plant.prune", "ash"); return err }, "no such system"},
		{"probe on an unknown system", func() error { _, err := set.Probe("ash"); return err }, "no such system"},
		{"probe on a system without one", func() error { _, err := set.Probe("sand"); return err }, "measure nothing"},
		{"counter on an unknown system", func() error { _, err := set.Counter("ash"); return err }, "no such system"},
		{"counter on a system without one", func() error { _, err := set.Counter("sand"); return err }, "count nothing"},
		{"system of another type", func() error { _, err := set.Collector("plant.photo", "sand"); return err }, `is of type "desert", want "plant"`},
		{"check of an unknown kind", func() error { return set.Check("plant.burn", incident.Target{System: "oak"}) }, "no such kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.find()
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err = set.Inverse("plant.wrong", "sand")
	require.ErrorContains(t, err, "connection is a int", "a kind that expects another connection")

	require.NoError(t, set.Close())
	require.NoError(t, set.Close(), "closing twice")
	require.Equal(t, []string{"open oak", "open elm", "close elm", "close oak"}, log)
}

func TestOpenClosesWhatItOpened(t *testing.T) {
	t.Parallel()
	broken := errors.New("no water")
	for _, test := range []struct {
		name string
		last func(log *[]string) driver.System
		want string
	}{
		{"type is unknown", func(*[]string) driver.System { return driver.System{Name: "elm", Type: "rock"} }, `unknown type "rock"`},
		{"name is used twice", func(log *[]string) driver.System { return plantNamed("oak", plantSettings{log: log}) }, "used twice"},
		{"name is empty", func(log *[]string) driver.System { return plantNamed("", plantSettings{log: log}) }, "is empty"},
		{"open fails", func(log *[]string) driver.System { return plantNamed("elm", plantSettings{log: log, fail: broken}) }, "no water"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log []string
			set, err := driver.Open(t.Context(), []driver.System{plantNamed("oak", plantSettings{log: &log}), test.last(&log)})
			require.ErrorContains(t, err, test.want)
			require.Nil(t, set)
			require.Equal(t, []string{"open oak", "close oak"}, log)
		})
	}
}

func TestCloseClosesAllAndTellsAll(t *testing.T) {
	t.Parallel()
	var log []string
	set, err := driver.Open(t.Context(), []driver.System{
		plantNamed("oak", plantSettings{log: &log, onClose: errors.New("stuck")}),
		plantNamed("elm", plantSettings{log: &log, onClose: errors.New("jammed")}),
	})
	require.NoError(t, err)
	err = set.Close()
	require.ErrorContains(t, err, `close system "oak": stuck`)
	require.ErrorContains(t, err, `close system "elm": jammed`)
	require.True(t, slices.Contains(log, "close oak") && slices.Contains(log, "close elm"))
}

func TestParams(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, collector string
		params          map[string]string
		want            string
	}{
		{"none", "plant.photo", nil, ""},
		{"one of a collector that states none", "plant.photo", map[string]string{"b": "1", "a": "2"}, `parameter "a": it is unknown: plant.photo knows no parameter`},
		{"one that is known", "plant.film", map[string]string{"speed": "2"}, ""},
		{"one that is not", "plant.film", map[string]string{"sped": "2"}, `parameter "sped": it is unknown: plant.film knows length, speed`},
		{"a long name", "plant.film", map[string]string{strings.Repeat("x", 100): "2"}, `parameter "` + strings.Repeat("x", 60) + `": it is unknown`},
		{"an unknown collector", "plant.sketch", nil, "no such collector"},
		{"an inverse", "plant.prune", nil, "no such collector"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := driver.CheckParams(test.collector, incident.Target{}, test.params)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
	require.True(t, driver.TakesParams("plant.film"))
	require.False(t, driver.TakesParams("plant.photo"))
	require.Panics(t, func() { driver.RegisterParams("plant.new", nil) })
	require.Panics(t, func() {
		driver.RegisterParams("plant.film", func(incident.Target, map[string]string) error { return nil })
	})
}
