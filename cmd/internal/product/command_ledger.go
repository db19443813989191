package product

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/integrations/ledger"
)

func (p *program) ledgerCommand() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "ledger", Short: "Verify, read and export the ledger", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.PersistentFlags().StringVar(&file, "file", "", "ledger `file` (default: that of the configuration)")
	c.AddCommand(p.verifyLedgerCommand(&file), p.exportLedgerCommand(&file), &cobra.Command{
		Use: "show [INCIDENT]", Short: "Print the entries, one JSON object a line", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.showLedger(cmd.Context(), file, args) },
	})
	return c
}

// verification is what a ledger is held against.
type verification struct {
	export  string
	heads   []string
	against []string
}

func (p *program) verifyLedgerCommand(file *string) *cobra.Command {
	var v verification
	c := &cobra.Command{
		Use: "verify", Short: "Check the hash chain; exits 1 and names the first bad entry", Args: noArgs,
		Long: "Check that no entry was changed, removed, moved or cut off. Exits 1 and names the first\nbad entry. Who can write the ledger can make another one that is whole: hold it against\na copy that a sink has, or against a head that was kept elsewhere.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v.export != "" {
				return p.verifyExport(v)
			}
			return p.verifyLedger(cmd.Context(), *file, v)
		},
	}
	c.Flags().StringVar(&v.export, "export", "", "check an export in this `file` instead of the ledger")
	c.Flags().StringArrayVar(&v.heads, "head", nil, "`SEQ:HASH` that verify printed earlier; may be repeated")
	c.Flags().StringArrayVar(&v.against, "against", nil, "`file` that a sink wrote; may be repeated")
	return c
}

func (p *program) exportLedgerCommand(file *string) *cobra.Command {
	var format, since, out string
	var o ledger.ExportOptions
	c := &cobra.Command{
		Use: "export", Short: "Write the entries so that they open anywhere and can be verified", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Format, err = ledger.ParseFormat(format); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if o.Since, err = parseSince(since); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			return p.exportLedger(cmd.Context(), *file, out, o)
		},
	}
	c.Flags().StringVar(&format, "format", string(ledger.FormatJSONL), "jsonl or csv")
	c.Flags().StringVar(&since, "since", "", "leave out what is before this `time`, as 2026-03-01 or 2026-03-01T12:00:00Z")
	c.Flags().StringVar(&o.Incident, "incident", "", "`key` of one incident")
	c.Flags().StringVarP(&out, "output", "o", "", "`file` to write, which must not exist (default: standard output)")
	return c
}

func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("parse --since: %q is no time; use 2026-03-01 or 2026-03-01T12:00:00Z", s)
}

func (p *program) openLedger(ctx context.Context, file string) (*ledger.Ledger, error) {
	if file == "" {
		config, err := p.load()
		if err != nil {
			return nil, err
		}
		file = config.Ledger.Path
	}
	return ledger.OpenReadOnly(ctx, file)
}

func (p *program) verifyLedger(ctx context.Context, file string, v verification) error {
	l, err := p.openLedger(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	report, err := l.Verify(ctx)
	printNotes(p.stdout, report.Notes)
	if err := whole(report, err); err != nil {
		return fmt.Errorf("the ledger was tampered with: %w", err)
	}
	for _, text := range v.heads {
		head, err := ledger.ParseHead(text)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		problem, err := l.VerifyHead(ctx, head)
		if err != nil {
			return err
		}
		if problem != nil {
			return fmt.Errorf("the ledger was tampered with: %w", tampered(*problem))
		}
	}
	for _, name := range v.against {
		if err := p.verifyAgainst(ctx, l, name); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "ok: %d entries, head %d %s\n", report.Entries, report.Head.Seq, report.Head.Hash)
	return err
}

func (p *program) verifyAgainst(ctx context.Context, l *ledger.Ledger, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open copy: %w", err)
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	report, err := l.VerifyAgainst(ctx, f)
	printNotes(p.stdout, report.Notes)
	if err := whole(report, err); err != nil {
		return fmt.Errorf("the ledger and %q differ: %w", name, err)
	}
	_, err = fmt.Fprintf(p.stdout, "ok: %q has the same %d entries\n", name, report.Entries)
	return err
}

// verifyExport checks a file alone, and against heads of its last entry.
func (p *program) verifyExport(v verification) error {
	if len(v.against) > 0 {
		return fmt.Errorf("%w: --export is checked by itself; leave out --against", errUsage)
	}
	f, err := os.Open(v.export)
	if err != nil {
		return fmt.Errorf("open export: %w", err)
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	report, err := ledger.VerifyExport(f)
	if err := whole(report, err); err != nil {
		return fmt.Errorf("the export was tampered with: %w", err)
	}
	for _, text := range v.heads {
		head, err := ledger.ParseHead(text)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if head != report.Head {
			return fmt.Errorf("the export does not end with entry %d of that head: it ends with entry %d", head.Seq, report.Head.Seq)
		}
	}
	_, err = fmt.Fprintf(p.stdout, "ok: %d entries, last %d %s\n", report.Entries, report.Head.Seq, report.Head.Hash)
	return err
}

func (p *program) exportLedger(ctx context.Context, file, out string, o ledger.ExportOptions) (err error) {
	l, err := p.openLedger(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	to := p.stdout
	if out != "" {
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		to = f
		defer func() { err = errors.Join(err, f.Sync(), f.Close()) }()
	}
	end, err := l.Export(ctx, to, o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stderr, "%d entries; the ledger's head is %d:%s\n", end.Entries, end.Head.Seq, end.Head.Hash)
	return err
}

func (p *program) showLedger(ctx context.Context, file string, args []string) error {
	l, err := p.openLedger(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	key := ""
	if len(args) > 0 {
		key = args[0]
	}
	records, err := l.Entries(ctx, key)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := printJSON(p.stdout, r); err != nil {
			return err
		}
	}
	return nil
}

// printJSON prints a value on one line that no terminal acts on.
func printJSON(out io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, ledger.Printable(string(b)))
	return err
}
