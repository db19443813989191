package seriesfile_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery/seriesfile"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00:00", "2026-03-01T12:00:00", "2026-03-01 12:00", "2026/03/01 12:00",
		"1772366400", "1772366400.0", "1772366400000", "1772366400000000", "1772366400000000000", " 1772366400 ", "1.7723664e9", "Sun, 01 Mar 2026 12:00:00 +0000",
	} {
		got, err := seriesfile.ParseTime(s)
		require.NoError(t, err, s)
		require.True(t, got.Equal(noon), "%s is %s", s, got)
	}
	got, err := seriesfile.ParseTime("1772366400.25")
	require.NoError(t, err)
	require.Equal(t, noon.Add(250*time.Millisecond), got)
	for _, s := range []string{"", "noon", "NaN", "2026-13-01", "1e30", "Inf"} {
		_, err := seriesfile.ParseTime(s)
		require.Error(t, err, s)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	type row struct{ at, value, total, bad float64 }
	nan := math.NaN()
	two := []row{{0, 1.5, nan, nan}, {60, 2.5, nan, nan}}
	for _, tt := range []struct {
		name, content string
		columns       seriesfile.Columns
		want          []row
	}{
		{name: "with a header", content: "time,value\n1772366400,1.5\n1772366460,2.5\n", want: two},
		{name: "without a header", content: "1772366400,1.5\n1772366460,2.5\n", want: two},
		{name: "comment, empty lines, spaces and no last line feed", content: "# errors\n\n 1772366400 , 1.5 \n1772366460,2.5", want: two},
		{name: "semicolons", content: "Timestamp;Value\n2026-03-01 12:00:00;1.5\n2026-03-01 12:01:00;2.5\n", want: two},
		{name: "tabs and milliseconds", content: "1772366400000\t1.5\n1772366460000\t2.5\n", want: two},
		{name: "byte order mark and carriage returns", content: "\ufefftime,value\r\n1772366400,1.5\r\n1772366460,2.5\r\n", want: two},
		{name: "another order of columns, and one that is not known", content: "value,label,timestamp\n1.5,0,1772366400\n2.5,1,1772366460\n", want: two},
		{name: "an own name of the value", content: "timestamp,cpu\n1772366400,1.5\n1772366460,2.5\n", want: two},
		{name: "a count is the value where there is no other", content: "timestamp,count\n1772366400,1.5\n1772366460,2.5\n", want: two},
		{name: "columns by name and number", content: "a,b,c\n9,1772366400,1.5\n9,1772366460,2.5\n", columns: seriesfile.Columns{Time: "B", Value: "3"}, want: two},
		{name: "missing values", content: "time,value\n1772366400,\n1772366460,NaN\n1772366520,null\n", want: []row{{0, nan, nan, nan}, {60, nan, nan, nan}, {120, nan, nan, nan}}},
		{name: "totals and bad events", content: "time,errors,requests\n1772366400,1,100\n", want: []row{{0, nan, 100, 1}}},
		{name: "value with totals", content: "time,ratio,requests\n1772366400,0.01,100\n", want: []row{{0, 0.01, 100, nan}}},
		{name: "not in order", content: "1772366460,2.5\n1772366400,1.5\n", want: two},
		{name: "a label beside it", content: "timestamp,value,is_anomaly\n1772366400,1.5,0\n1772366460,2.5,1\n", want: two},
		{name: "a label of text before it", content: "label,timestamp,value\nnormal,1772366400,1.5\nanomaly,1772366460,2.5\n", want: two},
		{name: "a label and an own name of the value", content: "timestamp,label,cpu\n1772366400,0,1.5\n1772366460,1,2.5\n", want: two},
		{name: "quoted, in capitals and with spaces", content: "\"Time Stamp\",\"VALUE\"\n\"2026-03-01T12:00:00Z\",\"1.5\"\n\"2026-03-01T12:01:00Z\",\"2.5\"\n", want: two},
		{name: "an index before it", content: ",timestamp,value\n0,2026-03-01 12:00:00,1.5\n1,2026-03-01 12:01:00,2.5\n", want: two},
		{name: "time zones", content: "date,value\n2026-03-01T13:00:00+01:00,1.5\n2026-03-01T04:01:00-0800,2.5\n", want: two},
		{name: "the same line twice", content: "1772366400,1.5\n1772366400,1.5\n1772366460,2.5\n", want: two},
		{name: "JSON", content: `{"points":[{"time":1772366400,"value":1.5},{"time":"2026-03-01T12:01:00Z","value":"2.5"}]}`, want: two},
		{name: "JSON as pairs", content: `{"points":[[1772366400,1.5],[1772366460,"2.5"]]}`, want: two},
		{name: "JSON as a bare list", content: ` [[1772366400,1.5],[1772366460,2.5]]`, want: two},
		{name: "JSON with nothing", content: `[[1772366400,null,7],{"time":1772366460,"bad":1,"total":"9"}]`, want: []row{{0, nan, 7, nan}, {60, nan, 9, 1}}},
		{name: "Prometheus", content: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1772366400,"1.5"],[1772366460,"2.5"]]}]}}`, want: two},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := seriesfile.Parse("f", []byte(tt.content), tt.columns)
			require.NoError(t, err)
			require.Len(t, f.Rows, len(tt.want))
			for i, w := range tt.want {
				r := f.Rows[i]
				require.Equal(t, noon.Add(time.Duration(w.at)*time.Second), r.At)
				require.Equal(t, fmt.Sprint(w.value, w.total, w.bad), fmt.Sprint(r.Value, r.Total, r.Bad))
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, content, want string
		columns             seriesfile.Columns
	}{
		{name: "nothing", content: "", want: "f:1: there is no sample"},
		{name: "a header alone", content: "time,value\n", want: "f:1: there is no sample"},
		{name: "time alone", content: "time\n1772366400\n", want: "f:1: there is no column of values"},
		{name: "a value that is none", content: "time,value\n1772366400,1\n1772366460,high\n", want: `f:3: "high" is no number`},
		{name: "a time that is none", content: "1772366400,1\nlater,2\n", want: `f:2: "later" is no time`},
		{name: "two columns of values", content: "timestamp,cpu,memory\n1772366400,1,2\n1772366460,1,2\n", want: "f:1: there are 2 columns that may be the value"},
		{name: "a line that is cut", content: "time,value\n1772366400,1\n17723\n", want: "f:3: there is no value"},
		{name: "a number with a comma in it", content: "time;value\n1772366400;1,5\n", want: `f:2: "1,5" is no number`},
		{name: "a file that is no text", content: "\x1f\x8b\x08\x00\x00", want: "f:1: it is no text"},
		{name: "an open quote", content: "1772366400,1\n\"1772366460,2\n", want: "f:2:"},
		{name: "a column that is not there", content: "time,value\n", columns: seriesfile.Columns{Value: "cpu"}, want: `f:1: there is no column "cpu" for value`},
		{name: "several series", content: "time,value\n1772366400,1\n1772366400,2\n1772366460,1\n1772366460,2\n", want: "f:3: 2 moments stand there more than once"},
		{name: "JSON that ends", content: "{\n\"points\": [\n1", want: "f:3:"},
		{name: "JSON of another kind", content: "{\n\"points\":\n 7}", want: "f:3:"},
		{name: "JSON with a bad point", content: "{\"points\":[\n[1772366400,1],\n[1772366460,\"x\"]]}", want: `f:3: points[1]: "x" is no number`},
		{name: "JSON without a time", content: `[{"value":1}]`, want: "f:1: points[0]: it has no time"},
		{name: "JSON with an unknown name", content: `[{"time":1,"vaule":1}]`, want: "vaule"},
		{name: "JSON with too many fields", content: `[[1,2,3,4]]`, want: "it has 4 fields"},
		{name: "several series of Prometheus", content: `{"status":"success","data":{"resultType":"matrix","result":[{"values":[]},{"values":[]}]}}`, want: "2 series: exactly 1 is needed"},
		{name: "an error of Prometheus", content: `{"status":"error","data":{}}`, want: "did not answer with a matrix"},
		{name: "something after it", content: `{"points":[[1,2]]} x`, want: "something follows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := seriesfile.Parse("f", []byte(tt.content), tt.columns)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// What the schema takes is read, and what the reader knows stands in the schema.
func TestSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(seriesfile.Schema)))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("series.json", doc))
	schema, err := compiler.Compile("series.json")
	require.NoError(t, err)
	for _, tt := range []struct {
		content string
		ok      bool
	}{
		{`{"points":[[1772366400,1.5],[1772366460,null,3],{"time":"2026-03-01T12:02:00Z","value":"NaN","total":1,"bad":0,"traffic":3}],"change":1772366400,"objective":"below 0.01","worse":"either","unit":"ratio","tolerance":0.1}`, true},
		{`{"points":[{"time":1,"vaule":1}]}`, false},
		{`{"points":[[1]]}`, false},
		{`{"points":[{"value":1}]}`, false},
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(tt.content))
		require.NoError(t, err)
		err = schema.Validate(v)
		require.Equal(t, tt.ok, err == nil, "%s: %v", tt.content, err)
		_, err = seriesfile.Parse("f", []byte(tt.content), seriesfile.Columns{})
		require.Equal(t, tt.ok, err == nil, tt.content)
	}
}

// lines is a series of one value a minute as CSV, from half an hour before noon.
func lines(n int, value func(i int) string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,%s\n", noon.Unix()+int64(60*(i-30)), value(i))
	}
	return b.String()
}

// noisy is a little noise that every run has alike.
func noisy(i int) float64 { return rand.New(rand.NewPCG(uint64(i), 11)).Float64() - 0.5 }

func TestJudge(t *testing.T) {
	t.Parallel()
	value := func(v float64) string { return fmt.Sprint(v) }
	steady := func(i int) string { return value(100 + 4*noisy(i)) }
	after := func(from int, then func(i int) string) func(i int) string {
		return func(i int) string {
			if i < from {
				return steady(i)
			}
			return then(i)
		}
	}
	change := seriesfile.Question{Change: noon}
	with := func(edit func(q *seriesfile.Question)) seriesfile.Question {
		q := change
		edit(&q)
		return q
	}
	for _, tt := range []struct {
		name     string
		content  string
		question seriesfile.Question
		want     incident.Verdict
		why      string
	}{
		{"as before", lines(60, steady), change, incident.VerdictRecovered, "and that agrees"},
		{"higher", lines(60, after(30, func(i int) string { return value(130 + 4*noisy(i)) })), change, incident.VerdictNotRecovered, "before the change"},
		{"lower is another signal too", lines(60, after(30, func(i int) string { return value(60 + 4*noisy(i)) })), change, incident.VerdictNotRecovered, "before the change"},
		{"lower is better", lines(60, after(30, func(i int) string { return value(60 + 4*noisy(i)) })), with(func(q *seriesfile.Question) { q.Worse = "higher" }), incident.VerdictRecovered, ""},
		{"back after the rollback", lines(90, func(i int) string {
			if i >= 30 && i < 50 {
				return "300"
			}
			return steady(i)
		}), with(func(q *seriesfile.Question) { q.Rollback = noon.Add(20 * time.Minute) }), incident.VerdictRecovered, ""},
		{"not back after the rollback", lines(90, after(30, func(i int) string { return value(300 + 4*noisy(i)) })), with(func(q *seriesfile.Question) { q.Rollback = noon.Add(20 * time.Minute) }), incident.VerdictNotRecovered, ""},
		{"worse, and within the objective", lines(60, after(30, func(i int) string { return value(130 + 4*noisy(i)) })), with(func(q *seriesfile.Question) { q.Objective = "below 200" }), incident.VerdictNotRecovered, "before the change"},
		{"beyond the objective", lines(60, after(30, func(i int) string { return value(300 + 4*noisy(i)) })), with(func(q *seriesfile.Question) { q.Objective = "< 200" }), incident.VerdictNotRecovered, "wanted < 200"},
		{"within the objective", lines(60, steady), with(func(q *seriesfile.Question) { q.Objective = "> 50" }), incident.VerdictRecovered, "wanted > 50"},
		{"the objective was never met", lines(60, steady), with(func(q *seriesfile.Question) { q.Objective = "above 500" }), incident.VerdictNotRecovered, ""},
		{"one sample", lines(32, steady), change, incident.VerdictUnknown, ""},
		{"empty cells", lines(60, after(30, func(int) string { return "" })), change, incident.VerdictUnknown, "NaN"},
		{"half of them empty", lines(60, after(30, func(i int) string {
			if i%2 == 0 {
				return "NaN"
			}
			return steady(i)
		})), change, incident.VerdictUnknown, "are needed"},
		{"it ends with nothing", lines(60, func(i int) string {
			if i > 54 {
				return ""
			}
			return steady(i)
		}), change, incident.VerdictUnknown, "older than its end"},
		{"asked about later than it goes", lines(60, steady), with(func(q *seriesfile.Question) { q.Now = noon.Add(time.Hour) }), incident.VerdictUnknown, "no data in the short window"},
		{"nothing before", lines(60, func(i int) string {
			if i < 30 {
				return ""
			}
			return steady(i)
		}), change, incident.VerdictUnknown, "baseline"},
		{"per cent where a ratio is meant", lines(60, steady), with(func(q *seriesfile.Question) { q.Unit = "ratio" }), incident.VerdictUnknown, "per cent"},
		{"events as before", "time,bad,total\n" + lines(60, func(i int) string { return fmt.Sprintf("%d,20000", 20+i%3) }), change, incident.VerdictRecovered, "events were bad"},
		{"three times as many bad events", "time,bad,total\n" + lines(60, func(i int) string { return fmt.Sprintf("%d,20000", 20+40*(i/30)+i%3) }), change, incident.VerdictNotRecovered, "before the change"},
		{"too few events to say", "time,bad,total\n" + lines(60, func(int) string { return "0,20" }), change, incident.VerdictUnknown, "more are needed"},
		{"ratio and totals", "time,value,total\n" + lines(60, func(i int) string { return fmt.Sprintf("%g,20000", 0.001*float64(1+i/30*4)) }), with(func(q *seriesfile.Question) { q.Unit = "ratio"; q.Objective = "below 0.004" }), incident.VerdictNotRecovered, "events"},
		{"dead afterwards", "time,bad,total\n" + lines(60, func(i int) string { return []string{"20,20000", "0,0"}[i/30] }), change, incident.VerdictUnknown, ""},
		{"no traffic afterwards", "time,value,traffic\n" + lines(60, func(i int) string { return fmt.Sprintf("%s,%d", steady(i), 100*(1-i/30)) }), change, incident.VerdictUnknown, "Traffic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := seriesfile.Parse("f", []byte(tt.content), seriesfile.Columns{})
			require.NoError(t, err)
			r, err := seriesfile.Judge(f, tt.question)
			require.NoError(t, err)
			require.Equal(t, tt.want, r.Verdict, r.Reason)
			require.Contains(t, r.Reason, tt.why)
			require.Equal(t, r.Verdict, r.SLI.Verdict)
			require.True(t, json.Valid(must(json.Marshal(r))))
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestJudgeRefuses(t *testing.T) {
	t.Parallel()
	f, err := seriesfile.Parse("f", []byte(lines(60, func(int) string { return "1" })), seriesfile.Columns{})
	require.NoError(t, err)
	for _, tt := range []struct {
		name     string
		question seriesfile.Question
		want     string
	}{
		{"no change", seriesfile.Question{}, "the time of the change is needed"},
		{"change before the series", seriesfile.Question{Change: noon.Add(-time.Hour)}, "is not after the first sample"},
		{"change after the series", seriesfile.Question{Change: noon.Add(time.Hour)}, "there is no sample after"},
		{"rollback before the change", seriesfile.Question{Change: noon, Rollback: noon.Add(-time.Minute)}, "is before the change"},
		{"objective in words", seriesfile.Question{Change: noon, Objective: "low"}, `"low" is no objective`},
		{"objective of nothing", seriesfile.Question{Change: noon, Objective: "below NaN"}, "is no objective"},
		{"direction", seriesfile.Question{Change: noon, Worse: "bigger"}, `worse is "bigger"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := seriesfile.Judge(f, tt.question)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// A file of JSON carries its own question, and what is asked besides it wins.
func TestQuestionOfTheFile(t *testing.T) {
	t.Parallel()
	var points []string
	for i := range 60 {
		points = append(points, fmt.Sprintf("[%d,%g]", noon.Unix()+int64(60*(i-30)), 100+4*noisy(i)+float64(i/30*100)))
	}
	content := fmt.Sprintf(`{"change":%d,"name":"cpu","objective":"below 150","points":[%s]}`, noon.Unix(), strings.Join(points, ","))
	f, err := seriesfile.Parse("f", []byte(content), seriesfile.Columns{})
	require.NoError(t, err)
	r, err := seriesfile.Judge(f, seriesfile.Question{})
	require.NoError(t, err)
	require.Equal(t, incident.VerdictNotRecovered, r.Verdict)
	require.Equal(t, "cpu", r.SLI.Name)
	require.Equal(t, "< 150", r.SLI.Objective)
	r, err = seriesfile.Judge(f, seriesfile.Question{Objective: "below 400", Change: noon.Add(10 * time.Minute)})
	require.NoError(t, err)
	require.Equal(t, "< 400", r.SLI.Objective)
	require.Equal(t, 40, r.Baseline.Samples)
}
