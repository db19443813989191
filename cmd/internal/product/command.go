package product

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/backout/backout/integrations/ledger"
)

// Exit statuses of every command.
const (
	ExitOK = 0
	// ExitFailed means that the command could not do what it was asked, or
	// found what it looks for: a bad entry, an error of lint, a refusal.
	ExitFailed = 1
	// ExitUsage means that the command was not understood.
	ExitUsage = 2
)

// errUsage marks errors of usage.
var errUsage = errors.New("usage")

// program is one run of the CLI.
type program struct {
	name   string
	env    []string
	stdout io.Writer
	stderr io.Writer
	start  StartTemporal
	config string
}

// Main runs the CLI and returns its exit status. start brings a Temporal
// server along, and may be nil.
func Main(ctx context.Context, name string, args, env []string, stdout, stderr io.Writer, start StartTemporal) int {
	p := &program{name: name, env: env, stdout: stdout, stderr: stderr, start: start}
	root := p.root() //nolint:contextcheck // Commands take the context of ExecuteContext.
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", name, ledger.Printable(err.Error()))
	if errors.Is(err, errUsage) {
		return ExitUsage
	}
	return ExitFailed
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use: p.name, Short: "Rollbacks for on-call engineers, approved by blast radius, run durably.",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              noArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.PersistentFlags().StringVarP(&p.config, "config", "c", p.getenv("BACKOUT_CONFIG"), "configuration `file` (BACKOUT_CONFIG)")
	root.AddCommand(p.versionCommand(), p.serveCommand(), p.doctorCommand(), p.runbookCommand(), p.policyCommand(), p.ledgerCommand(), p.evidenceCommand(), p.verdictCommand(), p.loginCommand(), p.keysCommand())
	root.AddCommand(p.incidentCommands()...)
	return root
}

// noArgs refuses arguments, and names the unknown subcommand.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: unknown command %q for %q; see %s --help", errUsage, args[0], c.CommandPath(), c.CommandPath())
	}
	return nil
}

// exactArgs wants exactly the arguments of the usage line.
func exactArgs(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%w: %s", errUsage, c.UseLine())
		}
		return nil
	}
}

func (p *program) getenv(name string) string {
	for _, kv := range p.env {
		if len(kv) > len(name) && kv[:len(name)] == name && kv[len(name)] == '=' {
			return kv[len(name)+1:]
		}
	}
	return ""
}

func (p *program) load() (Config, error) { return LoadConfig(p.config, p.env) }

func (p *program) logger(c LogConfig) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	out := quietWriter{p.stderr}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, opts))
	}
	return slog.New(slog.NewJSONHandler(out, opts))
}

// quietWriter writes log records so that no terminal acts on them: what a handler
// leaves of control characters and of those that hide text or turn its direction is
// escaped.
type quietWriter struct{ to io.Writer }

// Write takes one record, as handlers of slog give it.
func (w quietWriter) Write(record []byte) (int, error) {
	if _, err := io.WriteString(w.to, ledger.Printable(string(record))); err != nil {
		return 0, err
	}
	return len(record), nil
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print what this program was built from", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.stdout, "%s %s\n", p.name, version())
			return err
		},
	}
}

// version is the version of the module, the commit where it is known, and Go's.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown origin"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " and uncommitted changes"
		}
	}
	return info.Main.Version + revision + modified + " " + info.GoVersion
}

func (p *program) serveCommand() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use: "serve", Short: "Run the bot, the worker, or both", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), Role(role)) },
	}
	c.Flags().StringVar(&role, "role", string(RoleAll), "bot, worker or all")
	return c
}

// serve runs until the context ends or something dies.
func (p *program) serve(ctx context.Context, role Role) error {
	config, err := p.load()
	if err != nil {
		return err
	}
	log := p.logger(config.Log)
	s, err := Start(ctx, Options{Config: config, Role: role, Log: log, Start: p.start})
	if err != nil {
		return err
	}
	log.Info("Backout runs.", "role", string(role), "address", s.Address, "temporal_ui", s.TemporalUI, "pid", os.Getpid())
	err = s.Wait(ctx)
	log.Info("Stopping.")
	return errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
}
