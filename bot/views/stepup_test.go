package views_test

import (
	"bytes"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// guarded is an incident whose second option counts with a second proof only.
func guarded() incident.View {
	v := waiting()
	v.ConsoleURL = "https://backout.example.com/incidents/" + v.Key
	o := &v.Options[1]
	o.StepUp = true
	o.Radius = incident.BlastRadius{
		Services:     []incident.Reach{{Name: "checkout", Reason: "the plan changes it"}},
		Dependents:   []incident.Reach{{Name: "cart", Reason: "it calls checkout"}},
		SharedData:   []incident.Reach{{Name: "orders", Reason: "cart reads it too"}},
		Global:       &incident.Reach{Name: "the flag new-totals", Reason: "it has no segments"},
		Irreversible: []incident.Reach{{Name: "shop/orders", Reason: "a restore has no inverse"}},
		TrafficShare: &incident.Measured{Value: new(0.23), Reason: "measured: checkout 23 %"},
		Replicas:     &incident.Measured{Reason: "checkout: there is no data"},
	}
	return v
}

// No button of Slack approves what needs a second proof; one leads to the console.
func TestSlackOnlyLinksToWhatNeedsASecondProof(t *testing.T) {
	t.Parallel()
	v := guarded()
	for name, c := range map[string]views.Card{"card-step-up": views.NewCard(v), "preview-step-up": views.Preview(v, v.Options[1])} {
		valid(t, c)
		linked := false
		for _, b := range buttons(c) {
			action, _ := views.SplitAction(b.ActionID)
			ref, err := views.ParseRef(b.Value)
			require.NoError(t, err)
			if ref.Option != "o2" {
				continue
			}
			require.NotEqual(t, views.ActionApprove, action)
			if action != views.ActionConsole {
				continue
			}
			linked = true
			u, err := url.Parse(b.URL)
			require.NoError(t, err)
			require.Equal(t, "backout.example.com", u.Host)
			require.Equal(t, "/incidents/pagerduty/Q1ABC/approve/o2", u.Path)
			require.Equal(t, v.Options[1].Digest, u.Query().Get("plan"))
		}
		require.True(t, linked, name)
		golden(t, name+".json", pretty(t, map[string]any{"blocks": c.Blocks, "text": c.Text}))
	}
	for _, address := range []string{"", "javascript:alert(1)", "://"} {
		v.ConsoleURL = address
		c := views.NewCard(v)
		valid(t, c)
		for _, b := range buttons(c) {
			ref, err := views.ParseRef(b.Value)
			require.NoError(t, err)
			if action, _ := views.SplitAction(b.ActionID); ref.Option == "o2" {
				require.Equal(t, views.ActionRefuse, action, "without an address there is nothing to press but no")
			}
		}
	}
}

func TestLoginPages(t *testing.T) {
	t.Parallel()
	v := guarded()
	who := views.Visitor{Login: "ada@example.com", Name: "Ada Lovelace"}
	ask := views.Ask{Options: `{"challenge":"AAAA","rpId":"backout.example.com"}`, State: "sealed", Expires: at(5 * time.Minute)}
	page := func(name string, write func(b *bytes.Buffer) error) string {
		var b bytes.Buffer
		require.NoError(t, write(&b))
		golden(t, name+".html", b.Bytes())
		return b.String()
	}
	page("login", func(b *bytes.Buffer) error {
		return views.ConsoleLogin(b, "id.example.com", "/incidents/a/b?plan=x&y", "")
	})
	page("login-refused", func(b *bytes.Buffer) error {
		return views.ConsoleLogin(b, "id.example.com", "/incidents", views.LoginRefused)
	})
	keys := []views.PasskeyLine{{Name: "Phone", CreatedAt: night, UsedAt: at(time.Hour)}, {Name: "Key <b>", Locked: true, CreatedAt: night}}
	page("passkeys", func(b *bytes.Buffer) error { return views.ConsolePasskeys(b, who, keys, false, views.Ask{}, "") })
	page("passkeys-none", func(b *bytes.Buffer) error {
		return views.ConsolePasskeys(b, who, nil, true, views.Ask{}, views.CodeBad)
	})
	page("passkeys-ask", func(b *bytes.Buffer) error { return views.ConsolePasskeys(b, who, nil, true, ask, "") })
	page("console-step-up", func(b *bytes.Buffer) error { return views.Console(b, v, who) })

	o := v.Options[1]
	stepUp := func(name string, v incident.View, o incident.Option, s views.StepUp) string {
		return page(name, func(b *bytes.Buffer) error { return views.ConsoleStepUp(b, v, o, s) })
	}
	body := stepUp("step-up", v, o, views.StepUp{Visitor: who, Configured: true, Ask: ask, Changed: true})
	require.Contains(t, body, o.Digest)
	require.Contains(t, body, `data-ceremony="get"`)
	for name, s := range map[string]struct {
		spoil func(v *incident.View, o *incident.Option, s *views.StepUp)
		says  string
	}{
		"no-passkey": {func(_ *incident.View, _ *incident.Option, s *views.StepUp) { s.Ask = views.Ask{} }, "You have no passkey here"},
		"no-login":   {func(_ *incident.View, _ *incident.Option, s *views.StepUp) { s.Configured = false }, "no login is configured"},
		"blocked":    {func(_ *incident.View, o *incident.Option, _ *views.StepUp) { o.Blocked = true }, "Nobody can approve this option now"},
		"decided":    {func(v *incident.View, _ *incident.Option, _ *views.StepUp) { v.Phase = incident.PhaseRollingBack }, "Nothing is to be decided here now"},
	} {
		v, o, page := v, o, views.StepUp{Visitor: who, Configured: true, Ask: ask}
		s.spoil(&v, &o, &page)
		body := stepUp("step-up-"+name, v, o, page)
		require.Contains(t, body, s.says)
		require.NotContains(t, body, "data-ceremony", "there is nothing to send")
	}
}
