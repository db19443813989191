package views_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/bot/views/blockkit"
	"github.com/backout/backout/workflows/incident"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with the recorded picture, or records it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to record it")
	require.Equal(t, string(want), string(got))
}

func pretty(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(v))
	return b.Bytes()
}

func valid(t *testing.T, c views.Card) {
	t.Helper()
	raw, err := json.Marshal(c.Blocks)
	require.NoError(t, err)
	require.NoError(t, blockkit.Validate(blockkit.Message, raw))
	require.NotEmpty(t, c.Text)
}

func validModal(t *testing.T, m slack.ModalViewRequest) {
	t.Helper()
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, blockkit.ValidateView(raw))
}

// buttons is all buttons of a card, in order.
func buttons(c views.Card) []*slack.ButtonBlockElement {
	var out []*slack.ButtonBlockElement
	for _, b := range c.Blocks {
		row, ok := b.(*slack.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range row.Elements.ElementSet {
			if button, ok := e.(*slack.ButtonBlockElement); ok {
				out = append(out, button)
			}
		}
	}
	return out
}

func primaries(c views.Card) int {
	n := 0
	for _, b := range buttons(c) {
		if b.Style == slack.StylePrimary {
			n++
		}
	}
	return n
}

func TestCards(t *testing.T) {
	t.Parallel()
	for name, v := range phases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := views.NewCard(v)
			valid(t, c)
			require.LessOrEqual(t, primaries(c), 1, "at most one primary button")
			golden(t, "card-"+name+".json", pretty(t, map[string]any{"blocks": c.Blocks, "text": c.Text}))
		})
	}
}

func TestPostmortems(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"closed", "pinned", "partial", "no-options", "blocked", "void", "break-glass", "validating", "zero"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := phases()[name]
			title, body := views.Postmortem(v)
			for _, section := range []string{
				"Status", "Summary", "Impact", "What happened", "Trigger", "Root causes and contributing factors", "Detection", "Decision",
				"Options chosen and refused", "Approvals", "Resolution", "Before and after", "Times", "Responders", "Timeline", "What was not reverted",
				"Action items", "Lessons learned", "Supporting information", "Internal message", "Public summary",
			} {
				require.Contains(t, body, "\n## "+section+"\n")
			}
			for _, e := range v.Timeline {
				require.Contains(t, body, "#"+views.EventAnchor(e.ID)+")", "every line leads to its recorded event")
			}
			var page bytes.Buffer
			require.NoError(t, views.Console(&page, v, views.Visitor{}))
			for _, e := range v.Timeline {
				require.Contains(t, page.String(), `id="`+views.EventAnchor(e.ID)+`"`, "which is there")
			}
			golden(t, "postmortem-"+name+".md", []byte(title+"\n\n"+body))
		})
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	for name, v := range phases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			require.NoError(t, views.Console(&b, v, views.Visitor{}))
			golden(t, "console-"+name+".html", b.Bytes())
		})
	}
	var b bytes.Buffer
	require.NoError(t, views.ConsoleList(&b, []incident.View{deciding()}, views.Visitor{}))
	golden(t, "console-list.html", b.Bytes())
	b.Reset()
	require.NoError(t, views.ConsoleSaid(&b, "<script>", "/incidents/pagerduty/Q1"))
	require.NotContains(t, b.String(), "<script>")
}

func TestMenusAndModals(t *testing.T) {
	t.Parallel()
	cards := map[string]views.Card{
		"menu":               views.Menu("/rollback"),
		"help":               views.Said(views.Help("/rollback")),
		"incidents":          views.OpenIncidents([]incident.View{deciding(), rollingBack()}),
		"none":               views.OpenIncidents(nil),
		"choose":             views.Choose("approve o1", []incident.View{deciding(), rollingBack()}),
		"preview":            views.Preview(deciding(), deciding().Options[0]),
		"preview-objections": views.Preview(objections(), objections().Options[0]),
		"preview-no":         views.Preview(blocked(), blocked().Options[0]),
	}
	for name, c := range cards {
		valid(t, c)
		require.LessOrEqual(t, primaries(c), 1)
		golden(t, name+".json", pretty(t, map[string]any{"blocks": c.Blocks, "text": c.Text}))
	}
	modals := map[string]slack.ModalViewRequest{
		"declare":         views.DeclareModal(views.Declaration{Services: []string{"cart", "checkout"}, Title: "It is slow", Channel: "C0INCIDENTS"}),
		"declare-unknown": views.DeclareModal(views.Declaration{}),
		"break-glass":     views.BreakGlassModal(views.Ref{Key: "pagerduty/Q1ABC", Option: "o1", Digest: digest("o1"), Revision: 3, Channel: "C1"}),
		"hand-over":       views.HandOverModal(views.Ref{Key: "pagerduty/Q1ABC", Revision: 3, Channel: "C1"}),
		"refuse":          views.RefuseModal(views.Ref{Key: "pagerduty/Q1ABC", Option: "o1", Digest: digest("o1"), Revision: 3, Channel: "C1"}),
	}
	for name, m := range modals {
		validModal(t, m)
		golden(t, "modal-"+name+".json", pretty(t, m))
	}
}

// A person decides what they see: each button carries the plan that is shown
// beside it, and nothing that can not be decided has a button.
func TestButtonsCarryWhatIsShown(t *testing.T) {
	t.Parallel()
	v := deciding()
	seen := map[string]views.Ref{}
	for _, b := range buttons(views.NewCard(v)) {
		ref, err := views.ParseRef(b.Value)
		require.NoError(t, err)
		require.Equal(t, v.Key, ref.Key)
		require.Equal(t, v.Revision, ref.Revision)
		seen[b.ActionID] = ref
	}
	require.Equal(t, v.Options[0].Digest, seen["approve:0"].Digest)
	require.Equal(t, v.Options[1].Digest, seen["approve:1"].Digest)
	require.Equal(t, "o2", seen["refuse:1"].Option)

	for _, b := range buttons(views.NewCard(v)) {
		if name, _ := views.SplitAction(b.ActionID); name == views.ActionApprove {
			ref, err := views.ParseRef(b.Value)
			require.NoError(t, err)
			require.NotNil(t, b.Confirm)
			require.Contains(t, b.Confirm.Text.Text, incident.ShortDigest(ref.Digest))
			require.Contains(t, b.Confirm.Text.Text, "tier-")
		}
	}

	undecidable := map[string]func(*incident.Option){
		"blocked":   func(o *incident.Option) { o.Blocked = true },
		"forbidden": func(o *incident.Option) { o.Tier = incident.TierForbidden },
		"no tier":   func(o *incident.Option) { o.Tier = incident.TierUnknown },
		"no digest": func(o *incident.Option) { o.Digest = "" },
	}
	for name, spoil := range undecidable {
		v := deciding()
		v.Options = v.Options[:1]
		spoil(&v.Options[0])
		for _, b := range buttons(views.NewCard(v)) {
			action, _ := views.SplitAction(b.ActionID)
			require.Equal(t, views.ActionCommand, action, name)
		}
	}
	for _, phase := range []incident.Phase{incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseClosed, "new"} {
		v := deciding()
		v.Phase = phase
		for _, b := range buttons(views.NewCard(v)) {
			action, _ := views.SplitAction(b.ActionID)
			require.Equal(t, views.ActionCommand, action, phase)
		}
	}
}

// Taking the command from somebody is asked twice, and who has it can hand it over.
func TestCommandChangesHandsWithCare(t *testing.T) {
	t.Parallel()
	for _, phase := range []incident.Phase{incident.PhaseCollecting, incident.PhaseDeciding, incident.PhaseValidating, incident.PhaseStuck} {
		for _, commander := range []*incident.Person{nil, &ada} {
			v := deciding()
			v.Phase, v.Commander = phase, commander
			c := views.NewCard(v)
			valid(t, c)
			found := map[string]*slack.ButtonBlockElement{}
			for _, b := range buttons(c) {
				found[b.ActionID] = b
			}
			require.NotNil(t, found["command:take_command"], phase)
			if commander == nil {
				require.Nil(t, found["command:take_command"].Confirm, phase)
				require.NotContains(t, found, "command:hand_over", phase)
				continue
			}
			require.NotNil(t, found["command:take_command"].Confirm, phase)
			require.Contains(t, found["command:take_command"].Confirm.Text.Text, "Ada Lovelace is in command")
			require.Contains(t, found["command:take_command"].Confirm.Text.Text, "become void")
			require.Contains(t, found, "command:hand_over", phase)
		}
	}
}

// menus is what each menu of a card offers, by its action.
func menus(c views.Card) map[string][]string {
	out := map[string][]string{}
	for _, b := range c.Blocks {
		row, ok := b.(*slack.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range row.Elements.ElementSet {
			if menu, ok := e.(*slack.OverflowBlockElement); ok {
				for _, o := range menu.Options {
					out[menu.ActionID] = append(out[menu.ActionID], o.Value)
				}
			}
		}
	}
	return out
}

// The form of an approval past the policy is offered where the policy allows one, and
// in Slack only where an approval in Slack counts.
func TestBreakGlassIsOfferedWhereItIsAllowed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(*incident.View)
		offered bool
	}{
		{"allowed", func(*incident.View) {}, true},
		{"not by the policy", func(v *incident.View) { v.Options[0].BreakGlass = false }, false},
		{"the console alone counts", func(v *incident.View) { v.Options[0].StepUp = true }, false},
		{"a blocked option", func(v *incident.View) { v.Options[0].Blocked = true }, false},
		{"a forbidden option", func(v *incident.View) { v.Options[0].Tier = incident.TierForbidden }, false},
		{"it runs already", func(v *incident.View) { v.Phase = incident.PhaseRollingBack }, false},
		{"a key that fits into no menu", func(v *incident.View) { v.Key = "slack/" + strings.Repeat("D", 128) }, false},
		{"the longest key of PagerDuty's that is known", func(v *incident.View) { v.Key, v.Revision = "pagerduty/Q0123456789ABC", 1000 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := deciding()
			v.Options = v.Options[:1]
			tt.change(&v)
			c := views.NewCard(v)
			valid(t, c)
			got := menus(c)
			if !tt.offered {
				require.Empty(t, got)
				return
			}
			require.Len(t, got["break-glass:0"], 1)
			ref, err := views.ParseRef(got["break-glass:0"][0])
			require.NoError(t, err)
			require.Equal(t, views.Ref{Key: v.Key, Option: "o1", Digest: v.Options[0].Digest, Revision: v.Revision}, ref)
		})
	}
}

func TestCardSaysWhatMattersAtNight(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		view incident.View
		want []string
	}{
		{"deciding", deciding(), []string{"SEV1", "checkout", "Probably", "58 s before", "v42", "v41", "tier-1", "on-call of checkout", "about 40 s", "One-way door", "Will not revert", "deploy of cart is running", "did not answer"}},
		{"no culprit", noOptions(), []string{"No likely culprit", "equally close", "No way out was found"}},
		{"blocked", blocked(), []string{"Every option is blocked", "compacted away", "Not known: permission"}},
		{"second approver", waiting(), []string{"Waiting: the owner of checkout", "Ada Lovelace (incident commander)"}},
		{"objections", objections(), []string{"Approved by Ada Lovelace. Starts at 03:14:20 UTC unless somebody objects", "Object to o1", "Refuse o2"}},
		{"rolling back", rollingBack(), []string{"applying 2 of 2", "done, and observed there", "it is at v12"}},
		{"partial", partial(), []string{"PARTIAL", "failed; it is at v12", "skipped, not touched; it is at v3"}},
		{"unknown is not recovered", validating(), []string{"which is not recovered", "2 of 5 samples", "now no data"}},
		{"recovered", recovered(), []string{"Verdict: recovered", "before 200 ms, during 1.9 s, now 210 ms, wanted", "Undo the rollback"}},
		{"void", void(), []string{"approval is void, nothing was touched", "deployed v43"}},
		{"closed", closed(), []string{"Postmortem #17", "Closed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(pretty(t, views.NewCard(tt.view).Blocks))
			for _, want := range tt.want {
				require.Contains(t, got, want)
			}
		})
	}
	require.NotContains(t, string(pretty(t, views.NewCard(validating()).Blocks)), "Verdict: recovered")
}

func TestPostmortemActionItems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		view incident.View
		want []string
	}{
		{"absent evidence and leftovers", closed(), []string{"(absent evidence)", "(not reverted)", "(blind spot)", "Owner: payments"}},
		{"missing inverse", noOptions(), []string{"(missing inverse)", "(missing change source)"}},
		{"blocked", blocked(), []string{"(blocked option)"}},
		{"stale runbook", void(), []string{"(stale runbook)"}},
		{"failed inverse", partial(), []string{"(failed inverse)"}},
		{"break-glass", breakGlass(), []string{"(break-glass review)"}},
		{"blind", validating(), []string{"(blind SLI)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, body := views.Postmortem(tt.view)
			for _, want := range tt.want {
				require.Contains(t, body, want)
			}
		})
	}
}
