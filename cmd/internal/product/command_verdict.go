package product

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery/seriesfile"
)

// maxSeriesFile is the largest series file that is read, in bytes: a million
// samples take less.
const maxSeriesFile = 256 << 20

// verdictFlags are the flags of the verdict command.
type verdictFlags struct {
	file, change, rollback, onset, now, require string
	columns                                     seriesfile.Columns
	question                                    seriesfile.Question
	tolerance                                   float64
	schema                                      bool
}

func (p *program) verdictCommand() *cobra.Command {
	var f verdictFlags
	c := &cobra.Command{
		Use: "verdict --series FILE --change TIME", Short: "Judge a series from a file, as recovery is judged", Args: noArgs,
		Long: `Judge a series from a file by the same rules as recovery after a rollback, and print
the verdict as JSON: recovered, not recovered or unknown, with the numbers and a sentence.

The file is CSV (time,value and, if known, total, bad or traffic; with a header or
without) or JSON (--schema prints its schema; Prometheus' answer to query_range is read
too); - is the standard input. Times are RFC 3339, or seconds or milliseconds since 1970.
Without --rollback the question is whether it is still worse than before the change, and
"recovered" means that it is not. Without --objective the time before the change alone is
the measure. Windows, step and baseline come from the series itself where no flag says them.

Exits 0 when there is a verdict, whatever it is, and 2 when the file or the flags are not
understood. With --require VERDICT it exits 1 when the verdict is another one.`,
		Example: `  backout verdict --series errors.csv --change 2026-01-31T12:00:00Z --unit ratio
  backout verdict --series - --change 1769860800 --rollback 1769861400 --objective "below 0.01"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.schema {
				_, err := p.stdout.Write(seriesfile.Schema)
				return err
			}
			if cmd.Flags().Changed("tolerance") {
				f.question.Tolerance = &f.tolerance
			}
			for _, d := range []struct {
				name string
				into *time.Duration
			}{{"warmup", &f.question.Warmup}, {"gap", &f.question.Gap}} {
				if cmd.Flags().Changed(d.name) && *d.into == 0 {
					*d.into = -1 // Asked for none, which is not the default.
				}
			}
			return p.verdict(cmd.InOrStdin(), f)
		},
	}
	s := c.Flags()
	s.StringVar(&f.file, "series", "", "`file` with the series, - for the standard input")
	s.StringVar(&f.change, "change", "", "`time` of the suspected change")
	s.StringVar(&f.rollback, "rollback", "", "`time` when the rollback was done")
	s.StringVar(&f.onset, "onset", "", "`time` when the harm began, if it is known")
	s.StringVar(&f.now, "now", "", "`time` that is judged (default: the last sample)")
	s.StringVar(&f.question.Objective, "objective", "", `what is wanted, such as "below 0.01" or "above 0.99"`)
	s.StringVar(&f.question.Unit, "unit", "", "unit of the values, such as ratio or seconds")
	s.StringVar(&f.question.Worse, "worse", "", "which way is worse without an objective: higher, lower or either")
	s.Float64Var(&f.tolerance, "tolerance", 0, "how far from the baseline it may be, as a share of it")
	s.DurationVar(&f.question.Step, "step", 0, "distance of the samples")
	s.DurationVar(&f.question.Warmup, "warmup", 0, "how long after the rollback samples do not count")
	s.DurationVar(&f.question.Short, "short", 0, "short window")
	s.DurationVar(&f.question.Long, "long", 0, "long window")
	s.DurationVar(&f.question.Baseline, "baseline", 0, "length of the healthy window (default: all before the change)")
	s.DurationVar(&f.question.Gap, "gap", 0, "how long before the change the healthy window ends")
	s.IntVar(&f.question.MinPoints, "min-points", 0, "fewest samples of a window that count")
	s.Float64Var(&f.question.MinTraffic, "min-traffic", 0, "least traffic that counts, as a share of the baseline's")
	s.StringVar(&f.columns.Time, "time-column", "", "`column` of the time, by name or number from 1")
	s.StringVar(&f.columns.Value, "value-column", "", "`column` of the value")
	s.StringVar(&f.columns.Total, "total-column", "", "`column` of all events of a step")
	s.StringVar(&f.columns.Bad, "bad-column", "", "`column` of the bad events of a step")
	s.StringVar(&f.columns.Traffic, "traffic-column", "", "`column` of events per second")
	s.StringVar(&f.require, "require", "", `exit with 1 unless the verdict is this one, such as "recovered"`)
	s.BoolVar(&f.schema, "schema", false, "print the JSON Schema of series files")
	return c
}

func (p *program) verdict(stdin io.Reader, f verdictFlags) error {
	if f.file == "" {
		return fmt.Errorf("%w: name a file with --series, or - for the standard input", errUsage)
	}
	switch v := incident.Verdict(f.require); v {
	case "", incident.VerdictRecovered, incident.VerdictNotRecovered, incident.VerdictUnknown:
	default:
		return fmt.Errorf("%w: --require is %q: write %q, %q or %q", errUsage, v, incident.VerdictRecovered, incident.VerdictNotRecovered, incident.VerdictUnknown)
	}
	for _, t := range []struct {
		flag, value string
		into        *time.Time
	}{{"change", f.change, &f.question.Change}, {"rollback", f.rollback, &f.question.Rollback}, {"onset", f.onset, &f.question.Onset}, {"now", f.now, &f.question.Now}} {
		if t.value == "" {
			continue
		}
		at, err := seriesfile.ParseTime(t.value)
		if err != nil {
			return fmt.Errorf("%w: --%s: %w", errUsage, t.flag, err)
		}
		*t.into = at
	}
	content, err := readSeries(stdin, f.file)
	if err != nil {
		return err
	}
	file, err := seriesfile.Parse(f.file, content, f.columns)
	if err != nil {
		return unreadableError{err}
	}
	report, err := seriesfile.Judge(file, f.question)
	if err != nil {
		return unreadableError{fmt.Errorf("%s: %w", f.file, err)}
	}
	out := json.NewEncoder(p.stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	if err := out.Encode(report); err != nil {
		return err
	}
	if f.require != "" && report.Verdict != incident.Verdict(f.require) {
		return fmt.Errorf("the verdict is %q, and %q is required", report.Verdict, f.require)
	}
	return nil
}

// readSeries reads a file, or the standard input, up to its limit.
func readSeries(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, unreadableError{fmt.Errorf("read series: %w", err)}
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, maxSeriesFile+1))
	switch {
	case err != nil:
		return nil, unreadableError{fmt.Errorf("read series: %w", err)}
	case len(content) > maxSeriesFile:
		return nil, unreadableError{fmt.Errorf("read series: %s has more than %d bytes", name, maxSeriesFile)}
	default:
		return content, nil
	}
}
