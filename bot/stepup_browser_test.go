package bot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/test/browser"
	"github.com/backout/backout/test/identity"
	"github.com/backout/backout/workflows/incident"
)

// picturesVariable names the environment variable of a folder into which the
// pictures of the pages are written, for people who want to look at them.
const picturesVariable = "BACKOUT_TEST_PICTURES"

// picture keeps a picture of the page, as a phone at night and as a desk by day
// show it.
func picture(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	folder := os.Getenv(picturesVariable)
	if folder == "" {
		return
	}
	b.Resize(390, 844, true)
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+"-phone.png"), b.Picture(), 0o600))
	b.Resize(1280, 900, false)
	require.NoError(t, os.WriteFile(filepath.Join(folder, name+"-desk.png"), b.Picture(), 0o600))
}

// A real provider, a real browser and a passkey of its own: from the link on the
// card to the decision with its second proof.
func TestStepUpInABrowser(t *testing.T) {
	t.Parallel()
	var provider *identity.Provider
	g := newGatehouse(t, func(redirect string) login.Provider {
		provider = identity.Start(t, redirect)
		return login.Provider{Issuer: provider.Issuer, ClientID: provider.ClientID, ClientSecret: provider.ClientSecret, Domains: []string{"example.com"}}
	})
	person := provider.People[0]
	key := guarded(t)
	page := g.URL + approvePath(key) + "?plan=" + planDigest("o2")
	b := browser.Start(t)
	authenticator := b.Authenticator()

	// The link of the card leads to the login, and back.
	b.Open(page)
	b.WaitText("Log in to Backout")
	picture(t, b, "login")
	b.Click("#login")
	b.Wait("#username")
	require.True(t, strings.HasPrefix(b.URL(), provider.Issuer), b.URL())
	b.Fill("#username", person.Email)
	b.Fill("#password", person.Password)
	b.Click("button")
	b.WaitText("Restore the orders table")
	require.Equal(t, page, b.URL())
	require.Contains(t, b.Text(), "You have no passkey here")
	picture(t, b, "plan-without-passkey")
	require.Empty(t, b.Eval("document.cookie"), "scripts see no cookie")

	// An administrator's code, and the passkey is there.
	code, err := g.Store.NewCode(t.Context(), person.Email, g.Clock.Now())
	require.NoError(t, err)
	b.Click("#no-passkey a")
	b.WaitText("You have none")
	picture(t, b, "passkeys")
	b.Fill("input[name=code]", code)
	b.Fill("input[name=name]", "Phone")
	b.Click("main form button")
	b.WaitText("Create the passkey")
	b.Click("form[data-ceremony] button")
	b.WaitText("The passkey is enrolled")
	picture(t, b, "enrolled")

	// Somebody else's finger does nothing, and the page says so.
	b.Verified(authenticator, false)
	b.Open(page)
	b.WaitText("Approve o2 with your passkey")
	b.Click("form[data-ceremony] button")
	b.WaitText("Nothing was done. Try again.")
	picture(t, b, "plan-refused-by-the-device")
	require.Empty(t, viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions)

	b.Verified(authenticator, true)
	b.Open(page)
	b.WaitText("Approve o2 with your passkey")
	require.Contains(t, b.Text(), planDigest("o2"))
	picture(t, b, "plan")
	b.Fill("input[name=reason]", "the table is corrupt")
	b.Click("form[data-ceremony] button")
	b.WaitText("starts the rollback")
	picture(t, b, "approved")

	decisions := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions
	require.Len(t, decisions, 1)
	require.Equal(t, incident.OutcomeApproved, decisions[0].Outcome)
	require.Equal(t, person.Email, decisions[0].Actor.Login)
	require.Equal(t, planDigest("o2"), decisions[0].StepUp.PlanDigest)
	require.Equal(t, "the table is corrupt", decisions[0].Reason)

	b.Open(g.URL + "/incidents/" + key)
	b.WaitText("Decisions")
	picture(t, b, "incident")
	b.Click("nav form button")
	b.WaitText("Log in to Backout")
	b.Open(page)
	b.WaitText("Log in to Backout")
}
