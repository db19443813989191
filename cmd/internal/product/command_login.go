package product

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/bot/login"
)

// loginCommand is for administrators: whoever can open the store of passkeys.
func (p *program) loginCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "login", Short: "Manage the passkeys of people", Args: noArgs,
		Long: "Manage the passkeys of people. These commands open the store of passkeys themselves, so that\nthey need the bot's files and no login: being able to read them is what makes an administrator.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "enrol LOGIN", Short: "Print a code with which LOGIN enrols one passkey within an hour", Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withPasskeys(cmd.Context(), func(ctx context.Context, s *login.Store) error { return p.enrol(ctx, s, args[0]) })
		},
	}, &cobra.Command{
		Use: "passkeys [LOGIN]", Short: "List passkeys", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withPasskeys(cmd.Context(), func(ctx context.Context, s *login.Store) error { return p.listPasskeys(ctx, s, args) })
		},
	}, &cobra.Command{
		Use: "revoke LOGIN [ID]", Short: "Remove a passkey of LOGIN, or all of them, and every code", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withPasskeys(cmd.Context(), func(ctx context.Context, s *login.Store) error { return p.revoke(ctx, s, args) })
		},
	})
	return c
}

func (p *program) withPasskeys(ctx context.Context, f func(ctx context.Context, s *login.Store) error) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	if !c.Login.configured() {
		return fmt.Errorf("open passkeys: no login is configured; set login.oidc")
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("create data folder: %w", err)
	}
	s, err := openPasskeys(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // What was written was committed.
	return f(ctx, s)
}

func (p *program) enrol(ctx context.Context, s *login.Store, name string) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	known := false
	for _, person := range c.People {
		for _, l := range person.Logins {
			known = known || l == name
		}
	}
	code, err := s.NewCode(ctx, name, time.Now())
	if err != nil {
		return err
	}
	if !known {
		_, _ = fmt.Fprintf(p.stderr, "note: %q is among the logins of nobody in people, and decides nothing until it is\n", name)
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n\nHand this code to %s in person or by phone: it is valid for %s and one passkey.\nThey log in and enter it at %s/login/passkeys\n", code, name, login.CodeLife, c.URL)
	return err
}

func (p *program) listPasskeys(ctx context.Context, s *login.Store, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	all, err := s.Passkeys(ctx, name)
	if err != nil {
		return err
	}
	for _, k := range all {
		used, state := "never", "usable"
		if !k.UsedAt.IsZero() {
			used = k.UsedAt.Format(time.RFC3339)
		}
		if k.Locked {
			state = "LOCKED"
		}
		_, _ = fmt.Fprintf(p.stdout, "%s\t%s\t%s\tenrolled %s\tused %s\t%q\n", k.Login, state, k.ID, k.CreatedAt.Format(time.RFC3339), used, k.Name)
	}
	_, err = fmt.Fprintf(p.stdout, "%d passkeys\n", len(all))
	return err
}

func (p *program) revoke(ctx context.Context, s *login.Store, args []string) error {
	id := ""
	if len(args) > 1 {
		id = args[1]
	}
	n, err := s.Revoke(ctx, args[0], id)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%q has no such passkey; its codes are void", args[0])
	}
	_, err = fmt.Fprintf(p.stdout, "removed %d passkeys of %s; its codes are void\n", n, args[0])
	return err
}
