package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"

	fakegithub "github.com/backout/backout/test/fakes/github"
	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// Button is a button of a message.
type Button struct {
	ActionID string `json:"action_id"`
	Style    string `json:"style"`
	Value    string `json:"value"`
	Type     string `json:"type"`
	Text     struct {
		Text string `json:"text"`
	} `json:"text"`
	BlockID string `json:"-"`
}

// Buttons are all buttons of a message.
func Buttons(m fakeslack.Message) []Button {
	var blocks []struct {
		Type      string   `json:"type"`
		BlockID   string   `json:"block_id"`
		Elements  []Button `json:"elements"`
		Accessory *Button  `json:"accessory"`
	}
	if json.Unmarshal(m.Blocks, &blocks) != nil {
		return nil
	}
	var out []Button
	for _, b := range blocks {
		if b.Type == "section" && b.Accessory != nil && b.Accessory.Type == "button" {
			b.Accessory.BlockID = b.BlockID
			out = append(out, *b.Accessory)
		}
		if b.Type != "actions" {
			continue
		}
		for _, e := range b.Elements {
			if e.Type == "button" {
				e.BlockID = b.BlockID
				out = append(out, e)
			}
		}
	}
	return out
}

// Approval is the button of a card that approves its first option.
func Approval(m fakeslack.Message) (Button, bool) {
	for _, b := range Buttons(m) {
		if strings.HasPrefix(b.ActionID, "approve:") {
			return b, true
		}
	}
	return Button{}, false
}

// Cards are the messages of the app about an incident that are no replies.
func (w *World) Cards(key string) []fakeslack.Message {
	var out []fakeslack.Message
	for _, m := range w.Slack.Messages(Channel) {
		if m.ThreadTS == "" && m.BotID != "" && cardKey(m) == key {
			out = append(out, m)
		}
	}
	return out
}

// cardKey is the incident that a message's metadata names.
func cardKey(m fakeslack.Message) string {
	var metadata struct {
		Payload struct {
			Key string `json:"key"`
		} `json:"event_payload"`
	}
	if json.Unmarshal(m.Metadata, &metadata) != nil {
		return ""
	}
	return metadata.Payload.Key
}

// CardOf waits for the incident's card to be as the condition wants it.
func (w *World) CardOf(key, what string, condition func(fakeslack.Message) bool) fakeslack.Message {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), patience)
	defer cancel()
	var card fakeslack.Message
	err := w.Slack.WaitFor(ctx, func() bool {
		for _, m := range w.Cards(key) {
			if card = m; condition(m) {
				return true
			}
		}
		return false
	})
	require.NoError(w.T, err, "wait for %s on the card of %s: %s", what, key, card.Blocks)
	return card
}

// Offer waits until the incident's card can be approved.
func (w *World) Offer(key string) (fakeslack.Message, Button) {
	w.T.Helper()
	card := w.CardOf(key, "a button that approves", func(m fakeslack.Message) bool { _, ok := Approval(m); return ok })
	b, _ := Approval(card)
	return card, b
}

// Press presses a button of a card as a person sees it, and returns what Slack
// shows.
func (w *World) Press(user string, card fakeslack.Message, b Button) (fakeslack.Outcome, error) {
	return w.Slack.Click(w.T.Context(), fakeslack.Click{
		User: user, Channel: card.Channel, TS: card.TS, ActionID: b.ActionID, BlockID: b.BlockID, Seen: card.Blocks,
	})
}

// Approve waits for the approval's button and presses it. When the product says
// that it is too busy to take it, the person presses again.
func (w *World) Approve(user, key string) {
	w.T.Helper()
	var got fakeslack.Outcome
	var b Button
	for tries := 0; tries < maxPresses && !got.Acked; tries++ {
		var card fakeslack.Message
		card, b = w.Offer(key)
		var err error
		got, err = w.Press(user, card, b)
		require.NoError(w.T, err)
		require.True(w.T, got.Acked || got.Status == http.StatusServiceUnavailable, "press %q: %d %s %s", b.Text.Text, got.Status, got.Reason, got.Body)
	}
	require.True(w.T, got.Acked, "press %q: %s %s", b.Text.Text, got.Reason, got.Body)
}

// maxPresses is how often a person presses a button that does not answer.
const maxPresses = 5

// Told waits until a person was told something privately that holds all the
// words, and returns it.
func (w *World) Told(user string, words ...string) string {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), patience)
	defer cancel()
	var found string
	err := w.Slack.WaitFor(ctx, func() bool {
		for _, m := range w.Slack.Ephemerals(user) {
			text := m.Text + " " + string(m.Blocks)
			all := true
			for _, word := range words {
				all = all && strings.Contains(text, word)
			}
			if all {
				found = text
				return true
			}
		}
		return false
	})
	require.NoError(w.T, err, "tell %s %q; told was %s", user, words, fmt.Sprint(w.Slack.Ephemerals(user)))
	return found
}

// Postmortems are the issues about an incident.
func (w *World) Postmortems(key string) []fakegithub.Issue {
	var out []fakegithub.Issue
	for _, i := range w.GitHub.Issues(PostmortemsRepo) {
		if strings.Contains(i.Body, key) {
			out = append(out, i)
		}
	}
	return out
}
