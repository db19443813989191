package product

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
)

// ownedBy is a catalogue of one service with an annotation.
func ownedBy(t *testing.T, annotation string) *runbooks.Catalogue {
	t.Helper()
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(
		"apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: checkout\n  annotations:\n    pagerduty.com/service-id: PCHECK\n    backout.dev/tier: revenue\n    " +
			annotation + "\nspec: {type: service, lifecycle: production, owner: shop}\n",
	)})
	require.NoError(t, err)
	return c
}

// A group owns a service, and nobody could be asked who is in it: that is said at
// the start, and not in the middle of an incident.
func TestOwnersWhoseVendorIsNotConfigured(t *testing.T) {
	t.Parallel()
	token := write(t, "token", "a-token-of-nobody\n")
	var whole Config
	whole.Slack = SlackConfig{Team: "T1", Channel: "C1", Mode: "http", BotTokenFile: token, SigningSecretFile: token}
	whole.PagerDuty = PagerDutyConfig{TokenFile: token, From: "backout@example.com"}
	whole.GitHub = GitHubConfig{TokenFile: token, PostmortemRepo: "acme/postmortems"}
	for _, tt := range []struct {
		annotation string
		without    func(*Config)
		want       string
	}{
		{"backout.dev/owner-slack-group: S0SHOP", func(c *Config) { c.Slack = SlackConfig{} }, "slack.bot_token_file"},
		{"backout.dev/owner-github-team: acme/shop", func(c *Config) { c.GitHub = GitHubConfig{} }, "github.token_file"},
		{"backout.dev/owner-pagerduty-team: PTEAM", func(c *Config) { c.PagerDuty = PagerDutyConfig{} }, "pagerduty.token_file"},
		{"backout.dev/owner-pagerduty-team: service", func(c *Config) { c.PagerDuty = PagerDutyConfig{} }, "pagerduty.token_file"},
	} {
		t.Run(tt.annotation, func(t *testing.T) {
			t.Parallel()
			catalogue := ownedBy(t, tt.annotation)
			v, err := openVendors(whole, catalogue, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.Len(t, v.owners, 4, "each kind of group has somebody who answers")
			require.NotNil(t, v.colleague)
			c := whole
			tt.without(&c)
			_, err = openVendors(c, catalogue, slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, `read owners of "checkout"`)
			require.ErrorContains(t, err, "set "+tt.want)
			_, err = openVendors(c, nil, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
		})
	}
}

func TestLevelsThatAreNone(t *testing.T) {
	t.Parallel()
	token := write(t, "token", "a-token-of-nobody\n")
	for levels, good := range map[int]bool{-1: false, 0: true, 1: true, 20: true, 21: false} {
		_, err := openVendors(Config{PagerDuty: PagerDutyConfig{TokenFile: token, From: "backout@example.com", OnCallLevels: levels}}, nil, slog.New(slog.DiscardHandler))
		require.Equal(t, good, err == nil, "%d: %v", levels, err)
	}
}
