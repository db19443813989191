package product

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
)

// reachTimeout bounds each look at something remote.
const reachTimeout = 3 * time.Second

func (p *program) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Print the effective configuration, the digests of the rules, and what is reachable", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.doctor(cmd.Context()) },
	}
}

// doctor reports everything it finds, and fails if anything is wrong.
func (p *program) doctor(ctx context.Context) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(p.stdout, "configuration:")
	printConfig(p.stdout, reflect.ValueOf(c), "  ")
	if w := unlinked(c); w != "" {
		_, _ = fmt.Fprintf(p.stdout, "  warn %s\n", w)
	}
	bad := 0
	check := func(what string, err error) {
		if err != nil {
			bad++
			_, _ = fmt.Fprintf(p.stdout, "  FAIL %s: %v\n", what, err)
			return
		}
		_, _ = fmt.Fprintf(p.stdout, "  ok   %s\n", what)
	}
	_, _ = fmt.Fprintln(p.stdout, "rules:")
	rules, err := LoadRules(c)
	check("catalogue, runbooks and policy", err)
	if err == nil {
		_, _ = fmt.Fprintf(p.stdout, "  policy     %s\n  catalogue  %s\n", rules.Policy.Digest(), rules.Catalogue.Digest())
		for _, rb := range rules.Runbooks {
			_, _ = fmt.Fprintf(p.stdout, "  runbook    %s %s\n", rb.Digest, rb.Metadata.Name)
		}
		for _, w := range unwatched(c, rules) {
			_, _ = fmt.Fprintf(p.stdout, "  warn %s\n", w)
		}
	}
	_, _ = fmt.Fprintln(p.stdout, "reachable:")
	reached := map[string]SystemConfig{}
	for _, s := range c.Systems {
		err := reach(ctx, s)
		check(fmt.Sprintf("system %s (%s)", s.Name, s.Type), err)
		if err == nil {
			reached[s.Name] = s
		}
	}
	_, err = openVendors(c, rules.Catalogue, p.logger(c.Log))
	check("secrets of Slack, PagerDuty and GitHub", err)
	if c.Temporal.Address != "" {
		check("Temporal at "+c.Temporal.Address, dialTCP(ctx, c.Temporal.Address))
	}
	if c.Login.configured() {
		check("login at "+c.Login.OIDC.Issuer, checkLogin(ctx, c))
	}
	doctorLedger(ctx, c.Ledger, check)
	if rules.Catalogue != nil {
		doctorRecorded(ctx, rules, reached, check)
		doctorData(ctx, rules, reached, check)
	}
	if bad > 0 {
		return fmt.Errorf("%d checks failed", bad)
	}
	return nil
}

// doctorRecorded looks whether the states are kept that only a recorder keeps, of
// the systems that were reached. What does not exist has none.
func doctorRecorded(ctx context.Context, rules Rules, reached map[string]SystemConfig, check func(what string, err error)) {
	targets, err := runbooks.Targets(rules.Runbooks, rules.Catalogue, driver.Recorded())
	if err != nil {
		check("recorded targets", err)
		return
	}
	for _, t := range targets {
		s, ok := reached[t.Target.System]
		if !ok {
			check(fmt.Sprintf("states of %s", t.Target), errors.New("the system is not configured, or was not reached"))
			continue
		}
		err := checkRecorded(ctx, s, t)
		if errors.Is(err, driver.ErrNotFound) {
			check(fmt.Sprintf("states of %s, which does not exist", t.Target), nil)
			continue
		}
		check(fmt.Sprintf("states of %s are recorded", t.Target), err)
	}
}

func checkRecorded(ctx context.Context, s SystemConfig, t runbooks.KindTarget) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	set, err := driver.Open(ctx, []driver.System{{Name: s.Name, Type: s.Type, Decode: s.Settings.Decode}})
	if err != nil {
		return err
	}
	defer func() { _ = set.Close() }() // Nothing was written.
	recorder, err := set.Recorder(t.Kind, s.Name)
	if err != nil {
		return err
	}
	return recorder.Check(ctx, t.Target)
}

// reach connects to a system and asks it for something harmless.
func reach(ctx context.Context, s SystemConfig) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	set, err := driver.Open(ctx, []driver.System{{Name: s.Name, Type: s.Type, Decode: s.Settings.Decode}})
	if err != nil {
		return err
	}
	return errors.Join(set.Reach(ctx, s.Name), set.Close())
}

func dialTCP(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: reachTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// printConfig prints every value. Secrets are in files, so there is none to
// mask: what is printed are names of files.
func printConfig(out io.Writer, v reflect.Value, indent string) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		f := v.Field(i)
		switch {
		case f.Type() == reflect.TypeFor[[]SystemConfig]():
			for _, s := range f.Interface().([]SystemConfig) {
				_, _ = fmt.Fprintf(out, "%ssystem: %s (%s)\n", indent, s.Name, s.Type)
			}
		case f.Kind() == reflect.Struct:
			_, _ = fmt.Fprintf(out, "%s%s:\n", indent, tag)
			printConfig(out, f, indent+"  ")
		case f.Type() == reflect.TypeFor[[]SinkConfig]():
			for _, s := range f.Interface().([]SinkConfig) {
				_, _ = fmt.Fprintf(out, "%ssink: %s\n", indent, s)
			}
		case f.Type() == reflect.TypeFor[[]PersonConfig]():
			_, _ = fmt.Fprintf(out, "%s%s: %d\n", indent, tag, f.Len())
		case !f.IsZero():
			_, _ = fmt.Fprintf(out, "%s%s: %v\n", indent, tag, f.Interface())
		}
	}
}
