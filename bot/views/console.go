package views

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/backout/backout/workflows/incident"
)

//go:embed console.html.tmpl
var consoleSource string

//go:embed console_login.html.tmpl
var loginSource string

var consolePage = template.Must(template.New("console").Funcs(template.FuncMap{
	"plain":     func(s string) string { return Plain(s, 2*maxLine) },
	"clock":     clock,
	"short":     incident.ShortDigest,
	"severity":  severity,
	"headline":  headline,
	"change":    change,
	"decider":   decider,
	"decidable": decidable,
	"decision":  decision,
	"move":      move,
	"span":      span,
	"findings":  preflights,
	"link":      Link,
	"anchor":    EventAnchor,
	"action":    actionLine,
	"reached":   reached,
	"rollback":  rollbackHeadline,
	"verdict":   verdictWords,
	"sli":       sliLine,
	"data":      dataLine,
	"stepup":    needsStepUp,
	"held":      func(v incident.View) bool { return held(v) != nil },
	"awaited":   awaited,
	"waits":     objections,
	"approve":   ApprovePath,
	"state":     state,
	"target":    target,
	"moment":    moment,
	"decideds":  decideds,
	"glass": func(v incident.View) string {
		if d, broken := brokenGlass(v); broken {
			return glassWords(d)
		}
		return ""
	},
}).Parse(consoleSource + loginSource))

// Visitor is who looks at a page; zero where that is not shown.
type Visitor struct{ Login, Name string }

// Console writes the page of one incident: HTML without scripts, with a form
// for each answer, so that people can decide when Slack is down. An option that
// needs a second proof has a link to its own page instead.
func Console(w io.Writer, v incident.View, who Visitor) error {
	err := consolePage.ExecuteTemplate(w, "incident", struct {
		Visitor  Visitor
		View     incident.View
		Likely   *incident.Suspect
		Deciding bool
		Verbs    []incident.Verb
		Path     string
	}{who, v, likely(v), v.Phase == incident.PhaseDeciding || v.Phase == incident.PhaseStuck, verbs(v.Phase), "/incidents/" + v.Key})
	if err != nil {
		return fmt.Errorf("render incident %q: %w", v.Key, err)
	}
	return nil
}

// ConsoleList writes the page of all open incidents.
func ConsoleList(w io.Writer, list []incident.View, who Visitor) error {
	err := consolePage.ExecuteTemplate(w, "list", struct {
		Visitor Visitor
		List    []incident.View
	}{who, list})
	if err != nil {
		return fmt.Errorf("render incidents: %w", err)
	}
	return nil
}

// ConsoleSaid writes what one person is told after a form was sent.
func ConsoleSaid(w io.Writer, words, back string) error {
	err := consolePage.ExecuteTemplate(w, "said", struct{ Words, Back string }{plainLines(words, maxSection), back})
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	return nil
}

// verbs is the commands that make sense in a phase.
func verbs(p incident.Phase) []incident.Verb {
	switch p {
	case incident.PhaseCollecting, incident.PhaseValidating:
		return []incident.Verb{incident.VerbTakeCommand, incident.VerbEscalate}
	case incident.PhaseDeciding:
		return []incident.Verb{incident.VerbTakeCommand, incident.VerbRefresh, incident.VerbEscalate, incident.VerbClose}
	case incident.PhaseRollingBack:
		return []incident.Verb{incident.VerbCancel, incident.VerbEscalate}
	case incident.PhaseRecovered:
		return []incident.Verb{incident.VerbRedo, incident.VerbClose}
	case incident.PhaseStuck:
		return []incident.Verb{incident.VerbTakeCommand, incident.VerbRefresh, incident.VerbEscalate, incident.VerbRedo, incident.VerbClose}
	case incident.PhaseClosed:
		return nil
	default:
		return nil
	}
}
