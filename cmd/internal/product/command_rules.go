package product

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
)

func (p *program) runbookCommand() *cobra.Command {
	c := &cobra.Command{Use: "runbook", Short: "Check runbooks", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var catalogue []string
	lint := &cobra.Command{
		Use: "lint [FILE|FOLDER...]", Short: "Check runbooks against the catalogue and the kinds of this binary",
		Long: "Check runbooks. Without arguments: those of the configuration, against its catalogue.\nExits 1 when a finding is an error.",
		RunE: func(_ *cobra.Command, args []string) error { return p.lint(args, catalogue) },
	}
	lint.Flags().StringSliceVar(&catalogue, "catalogue", nil, "catalog-info.yaml `files` or folders to check service names against")
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of runbooks", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { _, err := p.stdout.Write(runbooks.Schema); return err },
	}
	c.AddCommand(lint, schema)
	return c
}

func (p *program) lint(paths, catalogue []string) error {
	if len(paths) == 0 {
		config, err := p.load()
		if err != nil {
			return err
		}
		paths = config.Runbooks
		if len(catalogue) == 0 {
			catalogue = config.Catalogue
		}
		if len(paths) == 0 {
			return fmt.Errorf("%w: name files or folders, or a configuration with runbooks", errUsage)
		}
	}
	all, err := LoadRunbooks(paths)
	if err != nil {
		return err
	}
	var services *runbooks.Catalogue
	if len(catalogue) > 0 {
		files, err := readYAML(catalogue)
		if err != nil {
			return fmt.Errorf("read catalogue: %w", err)
		}
		if services, err = runbooks.ParseCatalogue(files...); err != nil {
			return fmt.Errorf("read catalogue: %w", err)
		}
	}
	findings := runbooks.Lint(all, lintInput(services, time.Now()))
	for _, f := range findings {
		_, _ = fmt.Fprintln(p.stdout, f)
	}
	_, _ = fmt.Fprintf(p.stdout, "%d runbooks, %d findings\n", len(all), len(findings))
	if runbooks.HasErrors(findings) {
		return fmt.Errorf("lint found errors")
	}
	return nil
}

func (p *program) ledgerCommand() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "ledger", Short: "Verify and read the ledger", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.PersistentFlags().StringVar(&file, "file", "", "ledger `file` (default: that of the configuration)")
	c.AddCommand(&cobra.Command{
		Use: "verify", Short: "Check the hash chain; exits 1 and names the first bad entry", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.verifyLedger(cmd.Context(), file) },
	}, &cobra.Command{
		Use: "show [INCIDENT]", Short: "Print the entries, one JSON object a line", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.showLedger(cmd.Context(), file, args) },
	})
	return c
}

func (p *program) openLedger(ctx context.Context, file string) (*ledger.Ledger, error) {
	if file == "" {
		config, err := p.load()
		if err != nil {
			return nil, err
		}
		file = filepath.Join(config.Data, LedgerFile)
	}
	return ledger.OpenReadOnly(ctx, file)
}

func (p *program) verifyLedger(ctx context.Context, file string) error {
	l, err := p.openLedger(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	report, err := l.Verify(ctx)
	if err != nil {
		return err
	}
	for _, n := range report.Notes {
		_, _ = fmt.Fprintln(p.stdout, "note:", n)
	}
	if !report.OK() {
		return fmt.Errorf("the ledger was tampered with: entry %d (%s): %s", report.First.Seq, report.First.ID, report.First.What)
	}
	_, err = fmt.Fprintf(p.stdout, "ok: %d entries, head %d %s\n", report.Entries, report.Head.Seq, report.Head.Hash)
	return err
}

func (p *program) showLedger(ctx context.Context, file string, args []string) error {
	l, err := p.openLedger(ctx, file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	key := ""
	if len(args) > 0 {
		key = args[0]
	}
	records, err := l.Entries(ctx, key)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(p.stdout)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
