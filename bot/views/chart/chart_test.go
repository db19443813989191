package chart_test

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views/chart"
	"github.com/backout/backout/workflows/incident"
)

var update = flag.Bool("update", false, "write the golden files")

// themes are by their names in files.
var themes = map[string]chart.Theme{"light": chart.Light, "dark": chart.Dark}

func drawn(t *testing.T, c incident.Chart, theme chart.Theme) ([]byte, image.Image) {
	t.Helper()
	content, err := chart.Draw(c, theme)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, chart.Width, img.Bounds().Dx())
	require.GreaterOrEqual(t, img.Bounds().Dy(), 675)
	require.LessOrEqual(t, img.Bounds().Dy(), 1800)
	require.Less(t, len(content), 1<<20, "it fits where charts are kept")
	return content, img
}

// difference is the mean distance of two pictures, of 255.
func difference(t *testing.T, a, b image.Image) float64 {
	t.Helper()
	require.Equal(t, a.Bounds(), b.Bounds())
	require.IsType(t, &image.RGBA{}, a)
	require.IsType(t, &image.RGBA{}, b)
	x, y := a.(*image.RGBA).Pix, b.(*image.RGBA).Pix
	sum := 0
	for i := range x {
		sum += max(int(x[i])-int(y[i]), int(y[i])-int(x[i]))
	}
	return float64(sum) / float64(len(x))
}

// TestGolden draws one picture of each SLI, and one of all. Processors round the edges
// of lines differently, so that the pixels may differ by a hair.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]incident.Chart{
		"error-ratio": run("error-ratio"), "latency": run("latency"), "saturation": run("saturation"),
		"recovery": run("error-ratio", "latency", "saturation"),
	} {
		for theme, id := range themes {
			file := filepath.Join("..", "..", "..", "test", "golden", "chart-"+name+"."+theme+".png")
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				content, img := drawn(t, c, id)
				if *update {
					require.NoError(t, os.WriteFile(file, content, 0o600))
				}
				have, err := os.ReadFile(file)
				require.NoError(t, err, "run the test with -update to record it")
				want, err := png.Decode(bytes.NewReader(have))
				require.NoError(t, err)
				require.Less(t, difference(t, want, img), 0.05, "run the test with -update and look at the picture")
			})
		}
	}
}

func TestTheSameChartIsTheSameBytes(t *testing.T) {
	t.Parallel()
	first, _ := drawn(t, run("latency"), chart.Light)
	second, _ := drawn(t, run("latency"), chart.Light)
	require.Equal(t, first, second)
	dark, _ := drawn(t, run("latency"), chart.Dark)
	require.NotEqual(t, first, dark)
}

// TestEveryPartIsSeen takes each part away, which must change the picture.
func TestEveryPartIsSeen(t *testing.T) {
	t.Parallel()
	_, whole := drawn(t, run("error-ratio"), chart.Light)
	for _, tt := range []struct {
		name   string
		change func(*incident.Chart)
	}{
		{"verdict", func(c *incident.Chart) { c.Verdict = incident.VerdictUnknown }},
		{"sentence", func(c *incident.Chart) {
			c.Reason = "Because of something else altogether, which reads quite differently and is as long."
		}},
		{"service", func(c *incident.Chart) { c.Service = "payments" }},
		{"before", func(c *incident.Chart) { c.Before = incident.Span{} }},
		{"during", func(c *incident.Chart) { c.During = incident.Span{} }},
		{"after", func(c *incident.Chart) { c.After = incident.Span{} }},
		{"mark", func(c *incident.Chart) { c.Marks[1].At = at(38) }},
		{"objective", func(c *incident.Chart) { c.Panels[0].Objective.Bound = 0.02 }},
		{"numbers", func(c *incident.Chart) { c.Panels[0].Result = nil }},
		{"gap", func(c *incident.Chart) {
			for i := range c.Panels[0].Series[0].Points {
				if p := &c.Panels[0].Series[0].Points[i]; p.At.After(at(50)) && p.At.Before(at(52)) {
					p.Value = math.NaN()
				}
			}
		}},
		{"missing samples", func(c *incident.Chart) {
			points := c.Panels[0].Series[0].Points
			c.Panels[0].Series[0].Points = append(points[:200:200], points[210:]...)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := run("error-ratio")
			tt.change(&c)
			_, changed := drawn(t, c, chart.Light)
			if changed.Bounds() == whole.Bounds() {
				require.Greater(t, difference(t, whole, changed), 0.005)
			}
		})
	}
}

// TestAGapIsAGap compares a gap of NaN with one of missing samples, of infinity, and
// with a line through.
func TestAGapIsAGap(t *testing.T) {
	t.Parallel()
	with := func(value float64, drop bool) image.Image {
		c := run("latency")
		var kept []incident.Point
		for _, p := range c.Panels[0].Series[0].Points {
			if p.At.After(at(10)) && p.At.Before(at(12)) {
				if drop {
					continue
				}
				p.Value = value
			}
			kept = append(kept, p)
		}
		c.Panels[0].Series[0].Points = kept
		_, img := drawn(t, c, chart.Light)
		return img
	}
	gap := with(math.NaN(), false)
	require.Zero(t, difference(t, gap, with(0, true)))
	require.Zero(t, difference(t, gap, with(math.Inf(1), false)))
	require.NotZero(t, difference(t, gap, with(0.19, false)))
}

// worstCharts are changes that make a chart as bad as it can get.
func worstCharts() []worstChart {
	nasty := strings.Repeat("a\u202eb\x00\n\u0301\u0301\u0301\u0301\u0301", 15_000)
	return []worstChart{
		{"long text", func(c *incident.Chart) {
			c.Service, c.Reason, c.Incident = nasty, nasty, nasty
			for i := range c.Panels {
				c.Panels[i].Name, c.Panels[i].Unit, c.Panels[i].Failed = nasty, nasty, nasty
			}
		}},
		{"one long word", func(c *incident.Chart) {
			c.Reason, c.Panels[0].Name = strings.Repeat("W", 100_000), strings.Repeat("W", 100_000)
		}},
		{"right to left and unknown letters", func(c *incident.Chart) {
			c.Reason = "שלום עולם abc 日本語 العربية 🔥 <b>&amp;</b> \xff\xfe"
			c.Panels[0].Name = "שגיאות"
		}},
		{"no text", func(c *incident.Chart) { c.Service, c.Reason, c.Incident, c.Verdict = "", "", "", "" }},
		{"many SLIs", func(c *incident.Chart) {
			for range 5 {
				c.Panels = append(c.Panels, c.Panels...)
			}
		}},
		{"many marks at one moment", func(c *incident.Chart) {
			for range 5 {
				c.Marks = append(c.Marks, c.Marks...)
			}
			for i := range c.Marks {
				c.Marks[i].At = at(judged)
			}
		}},
		{"marks that are nowhere", func(c *incident.Chart) {
			c.Marks = append(c.Marks, incident.ChartMark{}, incident.ChartMark{Kind: "other", At: at(3)}, incident.ChartMark{Kind: incident.MarkPage, At: at(1e6)})
		}},
		{"many series", func(c *incident.Chart) {
			for range 6 {
				c.Panels[0].Series = append(c.Panels[0].Series, c.Panels[0].Series...)
			}
		}},
		{"no series", func(c *incident.Chart) { c.Panels[0].Series, c.Panels[0].Failed = nil, "no answer" }},
		{"an empty series", func(c *incident.Chart) { c.Panels[0].Series = []incident.Series{{}} }},
		{"an empty series before a full one", func(c *incident.Chart) {
			c.Panels[0].Series = append([]incident.Series{{}}, c.Panels[0].Series...)
		}},
		{"one sample", func(c *incident.Chart) { c.Panels[0].Series[0].Points = c.Panels[0].Series[0].Points[40:41] }},
		{"nothing but NaN", each(func(float64) float64 { return math.NaN() })},
		{"nothing but infinity", each(func(float64) float64 { return math.Inf(-1) })},
		{"all zero", each(func(float64) float64 { return 0 })},
		{"all zero and zero wanted", func(c *incident.Chart) {
			each(func(float64) float64 { return 0 })(c)
			c.Panels[0].Objective.Bound = 0
		}},
		{"nothing and zero wanted", func(c *incident.Chart) { c.Panels[0].Series, c.Panels[0].Objective.Bound = nil, 0 }},
		{"negative", each(func(v float64) float64 { return -v })},
		{"huge", each(func(v float64) float64 { return v * 1e300 })},
		{"greatest", each(func(float64) float64 { return math.MaxFloat64 })},
		{"greatest and least", func(c *incident.Chart) {
			c.Panels[0].Series[0].Points[3].Value, c.Panels[0].Series[0].Points[4].Value = math.MaxFloat64, -math.MaxFloat64
		}},
		{"tiny", each(func(v float64) float64 { return v * 1e-300 })},
		{"smallest", each(func(float64) float64 { return math.SmallestNonzeroFloat64 })},
		{"huge objective", func(c *incident.Chart) { c.Panels[0].Objective.Bound = -math.MaxFloat64 }},
		{"disordered", func(c *incident.Chart) {
			points := c.Panels[0].Series[0].Points
			points[3], points[90] = points[90], points[3]
		}},
		{"one second", func(c *incident.Chart) { c.Windows[0].Until = c.Windows[0].From.Add(time.Second) }},
		{"one nanosecond", func(c *incident.Chart) { c.Windows[0].Until = c.Windows[0].From.Add(1) }},
		{"a hundred years", func(c *incident.Chart) { c.Windows[0].Until = c.Windows[0].From.AddDate(100, 0, 0) }},
		{"three stretches", func(c *incident.Chart) {
			c.Windows = []incident.Span{{From: at(0), Until: at(5)}, {From: at(10), Until: at(12)}, {From: at(30), Until: at(62)}}
		}},
	}
}

// worstChart is one of them.
type worstChart struct {
	name   string
	change func(*incident.Chart)
}

func TestWorstCharts(t *testing.T) {
	t.Parallel()
	for _, tt := range worstCharts() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := run("error-ratio", "saturation")
			tt.change(&c)
			drawn(t, c, chart.Light)
		})
	}
}

// each changes every sample of the first SLI.
func each(value func(float64) float64) func(*incident.Chart) {
	return func(c *incident.Chart) {
		for i := range c.Panels[0].Series[0].Points {
			p := &c.Panels[0].Series[0].Points[i]
			p.Value = value(p.Value)
		}
	}
}

func TestDrawRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		theme  chart.Theme
		change func(*incident.Chart)
	}{
		{"no theme", 0, func(*incident.Chart) {}},
		{"no SLI", chart.Light, func(c *incident.Chart) { c.Panels = nil }},
		{"no objective", chart.Light, func(c *incident.Chart) { c.Panels[0].Objective = incident.Objective{} }},
		{"an objective that is no number", chart.Light, func(c *incident.Chart) { c.Panels[0].Objective.Bound = math.NaN() }},
		{"no stretch of time", chart.Light, func(c *incident.Chart) { c.Windows = nil }},
		{"an empty stretch", chart.Light, func(c *incident.Chart) { c.Windows[0].Until = c.Windows[0].From }},
		{"stretches that overlap", chart.Light, func(c *incident.Chart) { c.Windows = append(c.Windows, c.Windows...) }},
		{"too many stretches", chart.Light, func(c *incident.Chart) {
			c.Windows = nil
			for i := range 4 {
				c.Windows = append(c.Windows, incident.Span{From: at(float64(i)), Until: at(float64(i) + 0.5)})
			}
		}},
		{"no step", chart.Light, func(c *incident.Chart) { c.Step = 0 }},
		{"too many samples", chart.Light, func(c *incident.Chart) { c.Panels[0].Series[0].Points = make([]incident.Point, 5001) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := run("error-ratio")
			tt.change(&c)
			content, err := chart.Draw(c, tt.theme)
			require.ErrorIs(t, err, chart.ErrInvalid)
			require.Empty(t, content)
		})
	}
}

// TestNoTextTouchesAnother looks at the rectangles of all text of the worst pictures,
// and at whether one in a plot lies over the line of a mark.
func TestNoTextTouchesAnother(t *testing.T) {
	t.Parallel()
	cases := append(worstCharts(),
		worstChart{"a short time before", short(2, 50)},
		worstChart{"a very short time before", short(29, 50)},
		worstChart{"a short time after", short(29, 62)},
		worstChart{"marks all over", func(c *incident.Chart) {
			c.Marks = nil
			for i := range 8 {
				c.Marks = append(c.Marks, incident.ChartMark{Kind: incident.MarkPage, At: at(4 + 7.5*float64(i))})
			}
		}},
		worstChart{"wanted where it is cut", func(c *incident.Chart) {
			each(func(v float64) float64 { return 1 - v })(c)
			c.Panels[0].Objective = incident.Objective{Comparison: incident.Above, Bound: 0.3}
		}},
		worstChart{"gaps at what is wanted", func(c *incident.Chart) {
			c.Panels[0].Objective.Bound = 0.07
			for i := range c.Panels[0].Series[0].Points {
				if p := &c.Panels[0].Series[0].Points[i]; i%90 > 20 {
					p.Value = math.NaN()
				}
			}
		}},
		worstChart{"no answer and zero wanted", func(c *incident.Chart) {
			c.Panels[0].Series, c.Panels[0].Objective.Bound, c.Panels[0].Failed = nil, 0, strings.Repeat("it is away ", 50)
		}},
	)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := run("error-ratio", "saturation")
			tt.change(&c)
			touching, crossed, said, err := chart.Touching(c)
			require.NoError(t, err)
			require.Empty(t, touching)
			if len(c.Marks) <= 5 && len(c.Panels[0].Failed) < 100 {
				require.Empty(t, crossed)
			}
			if len(c.Windows) == 1 {
				panels := min(len(c.Panels), chart.MaxPanels)
				require.Equal(t, panels, said, "the bound of a panel is not said")
			}
		})
	}
}

// short leaves only the time from one minute of the run to another.
func short(from, until float64) func(*incident.Chart) {
	return func(c *incident.Chart) {
		c.Windows[0] = incident.Span{From: at(from), Until: at(until)}
		c.Marks[len(c.Marks)-1].At = at(until)
	}
}

func TestEveryVerdictHasItsPicture(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, v := range []incident.Verdict{incident.VerdictRecovered, incident.VerdictNotRecovered, incident.VerdictUnknown} {
		c := run("saturation")
		c.Verdict = v
		content, _ := drawn(t, c, chart.Dark)
		sum := fmt.Sprintf("%x", incident.DigestOf(content))
		require.NotContains(t, seen, sum)
		seen[sum] = string(v)
	}
}
