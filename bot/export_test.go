package bot

import "github.com/backout/backout/workflows/incident"

// Unsigned passes requests on as they are: the workflow that stands in for an incident
// here checks no signature.
type Unsigned struct{}

// Decision is the request.
func (Unsigned) Decision(_ string, q incident.DecideRequest) (incident.DecideRequest, error) {
	return q, nil
}

// Command is the request.
func (Unsigned) Command(_ string, q incident.CommandRequest) (incident.CommandRequest, error) {
	return q, nil
}
