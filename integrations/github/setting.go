package github

import "github.com/backout/backout/workflows/incident"

// setting is an environment of a repository.
type setting struct{ owner, name, environment string }

// environmentForm is how a target that is an environment is spelled.
const environmentForm = "<owner>/<repo>/<environment>"

// settingOf reads a target that is an environment.
func settingOf(t incident.Target) (setting, error) {
	owner, name, environment, err := parseTarget(t)
	return setting{owner, name, environment}, err
}

// repo is the full name of the repository.
func (p setting) repo() string { return p.owner + "/" + p.name }
