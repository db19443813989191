package activities

import (
	"context"

	"github.com/backout/backout/workflows/incident"
)

// SayInput asks for a line in the thread of a card.
type SayInput struct {
	Card incident.CardRef `json:"card"`
	// ID is the recorded event that says the same: the same ID is the same line, and
	// is said once.
	ID   string `json:"id"`
	Text string `json:"text"`
}

// Say adds a line to the thread of an incident's card. Nothing in it is interpreted,
// so that it mentions nobody.
func (a *Activities) Say(ctx context.Context, in SayInput) error {
	return asActivityError(a.Channel.Say(ctx, in.Card, in.ID, in.Text))
}
