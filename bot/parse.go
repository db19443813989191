package bot

import (
	"regexp"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// order is what a person typed, behind the slash command or the mention.
type order struct {
	verb string
	// key is the incident they named; empty when they did not.
	key string
	// rest is the words behind verb and key.
	rest []string
	// named are the Slack accounts that rest mentions, each once.
	named []string
	// text is all of it, to be said again for another incident.
	text string
}

var (
	leadingMentions = regexp.MustCompile(`^(\s*<@[A-Z0-9]+(\|[^>]*)?>)+`)
	// personMention is a person as Slack writes them into a command or message.
	// Source: https://docs.slack.dev/messaging/formatting-message-text
	personMention = regexp.MustCompile(`<@([A-Z0-9]{2,32})(?:\|[^<>]*)?>`)
	unescape      = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

// synonyms are other words for the same verb.
var synonyms = map[string]string{
	"refresh": "options", "take": "command", "take-command": "command", "take_command": "command",
	"breakglass": "break-glass", "break_glass": "break-glass", "undo": "redo", "stop": "cancel", "incidents": "list", "show": "status",
	"reject": "refuse", "deny": "refuse", "assign": "handover", "hand-over": "handover", "hand_over": "handover",
}

// parse reads what was typed. It refuses nothing: an unknown verb is answered
// with help.
func parse(text string) order {
	// The name that Slack adds to a mention is the person's own choice, and may be
	// several words, escaped.
	text = personMention.ReplaceAllString(leadingMentions.ReplaceAllString(text, ""), " <@$1> ")
	text = unescape.Replace(text)
	words := strings.Fields(text)
	o := order{text: strings.Join(words, " ")}
	if len(words) == 0 {
		return o
	}
	o.verb = strings.ToLower(words[0])
	if verb, ok := synonyms[o.verb]; ok {
		o.verb = verb
	}
	o.rest = words[1:]
	if o.verb != "declare" && len(o.rest) > 0 && incident.ValidKey(o.rest[0]) {
		o.key, o.rest = o.rest[0], o.rest[1:]
	}
	for _, m := range personMention.FindAllStringSubmatch(strings.Join(o.rest, " "), -1) {
		if !slices.Contains(o.named, m[1]) {
			o.named = append(o.named, m[1])
		}
	}
	return o
}

// verbs are the commands that reach an incident as they are.
var verbs = map[string]incident.Verb{
	"options":  incident.VerbRefresh,
	"command":  incident.VerbTakeCommand,
	"handover": incident.VerbHandOver,
	"cancel":   incident.VerbCancel,
	"redo":     incident.VerbRedo,
	"escalate": incident.VerbEscalate,
	"close":    incident.VerbClose,
}

// declaration is what "declare" was given. Severity and service are recognised
// in front of the title.
type declaration struct {
	severity incident.Severity
	service  string
	title    string
}

// defaultSeverity is used where a person gave none. It is a low one, because a
// higher one loosens the policy.
const defaultSeverity = incident.Sev3

func parseDeclaration(words []string, known []string) declaration {
	d := declaration{severity: defaultSeverity}
	if len(words) > 0 {
		if s, err := incident.ParseSeverity(strings.ToLower(words[0])); err == nil {
			d.severity, words = s, words[1:]
		}
	}
	if len(words) > 0 {
		for _, name := range known {
			if strings.EqualFold(name, words[0]) {
				d.service, words = name, words[1:]
				break
			}
		}
	}
	d.title = strings.Join(words, " ")
	if r := []rune(d.title); len(r) > incident.MaxTitle {
		d.title = string(r[:incident.MaxTitle])
	}
	return d
}

// isShortDigest reports whether a word is a plan as the card names it.
func isShortDigest(s string) bool {
	return len(s) == 8 && strings.Trim(s, "0123456789abcdef") == ""
}
