package runbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

func describe(c incident.Change) string {
	s := kindNoun(c.Kind)
	if c.Service != "" {
		s += " of " + c.Service
	}
	return "the " + s
}

func kindNoun(k incident.ChangeKind) string {
	switch k {
	case incident.ChangeDeploy:
		return "deployment"
	case incident.ChangeConfig:
		return "configuration change"
	case incident.ChangeFlag:
		return "flag change"
	case incident.ChangeMigration:
		return "migration"
	case incident.ChangeInfra:
		return "infrastructure change"
	case incident.ChangeAccess:
		return "access change"
	case incident.ChangeTraffic:
		return "traffic change"
	default:
		return "change"
	}
}

// age is a duration for people: "40 s", "4 min", "2 h".
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
