package product

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/runbooks"
)

func (p *program) runbookCommand() *cobra.Command {
	c := &cobra.Command{Use: "runbook", Short: "Check runbooks", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var catalogue []string
	lint := &cobra.Command{
		Use: "lint [FILE|FOLDER...]", Short: "Check runbooks against the catalogue and the kinds of this binary",
		Long: "Check runbooks. Without arguments: those of the configuration, against its catalogue\nand its systems.\nExits 1 when a finding is an error.",
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
	var systems map[string]string
	if len(paths) == 0 {
		config, err := p.load()
		if err != nil {
			return err
		}
		paths = config.Runbooks
		systems = make(map[string]string, len(config.Systems))
		for _, s := range config.Systems {
			systems[s.Name] = s.Type
		}
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
	in := lintInput(services, time.Now())
	in.Systems = systems
	findings := runbooks.Lint(all, in)
	for _, f := range findings {
		_, _ = fmt.Fprintln(p.stdout, f)
	}
	_, _ = fmt.Fprintf(p.stdout, "%d runbooks, %d findings\n", len(all), len(findings))
	if runbooks.HasErrors(findings) {
		return fmt.Errorf("lint found errors")
	}
	return nil
}
