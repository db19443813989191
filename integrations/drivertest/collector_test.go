package drivertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// badly are collectors that break one law each, by what they do.
var badly = map[string]func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error){
	"sound": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		return c.sound(ctx, req)
	},
	"nothing": func(context.Context, *camera, driver.CollectRequest) ([]driver.Evidence, error) { return nil, nil },
	"nameless": func(context.Context, *camera, driver.CollectRequest) ([]driver.Evidence, error) {
		return photo("", "seen"), nil
	},
	"elsewhere": func(context.Context, *camera, driver.CollectRequest) ([]driver.Evidence, error) {
		return photo("p", "x"), nil
	},
	"changes": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		*c.Taken++
		return c.sound(ctx, req)
	},
	"unasked": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		return c.sound(ctx, req)
	},
	"unchecked": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		return c.sound(ctx, req)
	},
	"unproven": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		return c.sound(ctx, req)
	},
	"choosy": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		req.Params = nil // What the check refuses, it takes.
		return c.sound(ctx, req)
	},
	"zooming": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		if err := zoom(incident.Target{}, req.Params); err != nil {
			return nil, err
		}
		req.Params = nil
		return c.sound(ctx, req)
	},
	"careless": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		req.Params = nil
		return c.sound(ctx, req)
	},
	"endless": func(_ context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		return c.sound(context.Background(), req) // That is what is wrong with it.
	},
	"asleep": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		if c.Away {
			return photo("p", "seen"), nil
		}
		return c.sound(ctx, req)
	},
	"talkative": func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error) {
		if c.Away {
			return nil, fmt.Errorf("log in with %s", c.Secret)
		}
		return c.sound(ctx, req)
	},
}

// zoom checks the one parameter that some of these know.
func zoom(_ incident.Target, params map[string]string) error {
	if z := params["zoom"]; z != "" && z != "2" {
		return &driver.ParamError{Param: "zoom", Reason: "want 2"}
	}
	return driver.KnownParams(params, "camera", "zoom")
}

// camera is a connection of these collectors.
type camera struct {
	Away   bool
	Secret string
	Taken  *int
}

func photo(name, content string) []driver.Evidence {
	return []driver.Evidence{{Name: name, MediaType: "text/plain", Content: []byte(content)}}
}

// sound obeys all laws.
func (c *camera) sound(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	switch {
	case len(req.Params) > 0:
		return nil, driver.ErrInvalid
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case c.Away:
		return nil, errors.New("nobody answers")
	}
	return photo("p", "seen"), nil
}

// shooting is one of them.
type shooting struct {
	camera  *camera
	collect func(ctx context.Context, c *camera, req driver.CollectRequest) ([]driver.Evidence, error)
}

func (s shooting) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	return s.collect(ctx, s.camera, req)
}

var taken int

func init() {
	driver.RegisterSystem("camera", func(_ context.Context, s driver.System) (*camera, error) {
		c := &camera{Taken: &taken}
		return c, s.Decode(c)
	})
	driver.RegisterParams("camera.unchecked", func(incident.Target, map[string]string) error { return nil })
	driver.RegisterParams("camera.unproven", zoom)
	driver.RegisterParams("camera.choosy", zoom)
	driver.RegisterParams("camera.zooming", zoom)
	for name, collect := range badly {
		driver.RegisterCollector("camera."+name, "camera", func(c *camera) driver.Collector {
			return shooting{c, collect}
		})
	}
}

func cameraCase(name string) CollectorCase {
	var params map[string]string
	wrong := []map[string]string{{"zoom": "3"}}
	switch name {
	case "unasked", "choosy", "zooming":
		params = map[string]string{"zoom": "2"}
	case "unproven":
		wrong = nil
	}
	return CollectorCase{Kind: "camera." + name, Wrong: wrong, Start: func(testing.TB) *Scene {
		system := func(away bool) driver.System {
			return driver.System{Name: "cam", Type: "camera", Decode: func(into any) error {
				c := into.(*camera) //nolint:forcetypeassert // It is the only one.
				c.Away, c.Secret = away, "canary-of-the-camera"
				return nil
			}}
		}
		return &Scene{
			System: system(false), Away: system(true), Request: driver.CollectRequest{Target: incident.Target{Path: "yard"}, Params: params}, Says: []string{"seen"},
			Digest: func(context.Context) (string, error) { return fmt.Sprint(taken), nil }, Canaries: []string{"canary-of-the-camera"},
		}
	}}
}

// TestCollectorLaws shows that a sound collector passes, and that each law bites.
func TestCollectorLaws(t *testing.T) {
	for _, test := range []struct{ name, law string }{
		{"sound", ""},
		{"nothing", "law 1: nothing was captured"},
		{"nameless", "law 1: a document has no name"},
		{"elsewhere", "law 1: it was not captured"},
		{"changes", "law 2"},
		{"careless", "law 3: map[zoom:3] was not refused"},
		{"unasked", "law 3: what it collects would not be loaded"},
		{"unchecked", "law 3: map[zoom:3] would be loaded"},
		{"unproven", "law 3: the case has no wrong parameters"},
		{"choosy", "law 3: map[zoom:3] was not refused"},
		{"zooming", ""},
		{"endless", "law 4"},
		{"asleep", "law 5"},
		{"talkative", "law 6: what the collector said holds a secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			failed, messages := trial(t, func(tb testing.TB) { collectorLaws(tb, cameraCase(test.name)) })
			require.Equal(t, test.law != "", failed, messages)
			require.Contains(t, fmt.Sprint(messages), test.law)
			require.NotContains(t, fmt.Sprint(messages), "canary-of-the-camera", "a secret is not repeated")
		})
	}
	require.Less(t, patience, time.Minute)
}

func TestUncollected(t *testing.T) {
	t.Parallel()
	require.Empty(t, uncollected([]string{"a", "b"}, []string{"b"}, []string{"a"}))
	require.Equal(t, []string{
		`collector "c" has no case: write one and register it where the laws are run`,
		`collector case "d" has no collector`,
	}, uncollected([]string{"a", "b", "c"}, []string{"b"}, []string{"a", "d"}))
}
