package fakeslack

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/backout/backout/bot/views/blockkit"
)

// Limits of views.
const (
	// maxView is the size of a view, in bytes.
	// Source: https://docs.slack.dev/reference/methods/views.open
	maxView = 250 << 10
	// maxViewStack is how many modals may lie on top of each other.
	// Source: https://docs.slack.dev/surfaces/modals
	maxViewStack = 3
	// triggerLife is how long a trigger ID may be exchanged.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction
	triggerLife = 3 * time.Second
)

var triggerShape = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9a-f]+$`)

// trigger is the right to open one view for one person, for a moment.
type trigger struct {
	user string
	at   time.Time
	used bool
}

// View is a modal or a Home tab that somebody has before them.
type View struct {
	ID, User, Hash, RootID, PreviousID string
	Type, CallbackID, ExternalID       string
	// Content is the view as the app sent it, its blocks identified.
	Content json.RawMessage
}

// views are all views by person.
type views struct {
	stacks map[string][]*View // modals, the top one last
	homes  map[string]*View
}

func newViews() views { return views{stacks: map[string][]*View{}, homes: map[string]*View{}} }

func (v *views) find(match func(*View) bool) *View {
	for _, stack := range v.stacks {
		for _, view := range stack {
			if match(view) {
				return view
			}
		}
	}
	for _, home := range v.homes {
		if match(home) {
			return home
		}
	}
	return nil
}

// close takes a modal and everything on top of it away.
func (v *views) close(user, id string) {
	for i, view := range v.stacks[user] {
		if view.ID == id {
			v.stacks[user] = v.stacks[user][:i]
			return
		}
	}
}

// grant makes a trigger ID for a person. The caller holds the lock.
func (s *Server) grant(user string) string {
	s.world.serial++
	id := fmt.Sprintf("%d.%d.%032x", s.opts.Now().UnixMilli(), s.world.serial, s.world.serial*104729)
	s.triggers[id] = &trigger{user: user, at: s.opts.Now()}
	return id
}

// exchange spends a trigger ID and returns whose it is.
func (s *Server) exchange(c *call) (string, *refusal) {
	id := c.args.text("trigger_id")
	if id == "" {
		id = c.args.text("interactivity_pointer")
	}
	t := s.triggers[id]
	switch {
	case id == "":
		return "", refuse("invalid_arguments", "[ERROR] missing required field: trigger_id")
	case !triggerShape.MatchString(id), t == nil:
		return "", refuse("invalid_trigger_id")
	case t.used:
		return "", refuse("exchanged_trigger_id")
	case c.now.Sub(t.at) > triggerLife:
		return "", refuse("expired_trigger_id")
	}
	t.used = true
	return t.user, nil
}

// readView checks a view and returns it without an identity.
func (s *Server) readView(raw json.RawMessage, kind string, replaces *View) (*View, *refusal) {
	if len(raw) > maxView {
		return nil, refuse("view_too_large")
	}
	if err := blockkit.ValidateView(raw); err != nil {
		return nil, refuse("invalid_arguments", blockkit.Messages(err)...)
	}
	var fields struct {
		Type       string          `json:"type"`
		CallbackID string          `json:"callback_id"`
		ExternalID string          `json:"external_id"`
		Blocks     json.RawMessage `json:"blocks"`
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || json.Unmarshal(raw, &members) != nil {
		return nil, refuse("invalid_arguments", "[ERROR] must provide an object [json-pointer:/view]")
	}
	if fields.Type != kind {
		return nil, refuse("invalid_arguments", "[ERROR] must be "+kind+" [json-pointer:/view/type]")
	}
	if fields.ExternalID != "" {
		taken := s.views.find(func(v *View) bool { return v.ExternalID == fields.ExternalID && v != replaces })
		if taken != nil {
			return nil, refuse("duplicate_external_id")
		}
	}
	members["blocks"] = s.world.identify(fields.Blocks)
	content, err := json.Marshal(members)
	if err != nil {
		return nil, refuse("internal_error")
	}
	return &View{
		Type: fields.Type, CallbackID: fields.CallbackID, ExternalID: fields.ExternalID, Content: content,
		Hash: s.world.timestamp(s.opts.Now()) + "." + s.world.id("h"),
	}, nil
}

// wireView is a view as the Web API and the payloads show it, with its state.
func (s *Server) wireView(v *View, state map[string]any) map[string]any {
	var out map[string]any
	if err := json.Unmarshal(v.Content, &out); err != nil {
		out = map[string]any{}
	}
	for _, member := range []string{"private_metadata", "callback_id", "external_id"} {
		if _, ok := out[member]; !ok {
			out[member] = ""
		}
	}
	if state == nil {
		state = map[string]any{}
	}
	out["id"], out["team_id"], out["hash"] = v.ID, s.opts.TeamID, v.Hash
	out["root_view_id"], out["app_id"], out["bot_id"] = v.RootID, s.opts.AppID, s.opts.BotID
	out["app_installed_team_id"] = s.opts.TeamID
	out["state"] = map[string]any{"values": state}
	if v.PreviousID != "" {
		out["previous_view_id"] = v.PreviousID
	}
	return out
}

func (s *Server) viewsOpen(c *call) (answer, *refusal) {
	view, refused := s.readView(c.args.value("view"), "modal", nil)
	if refused != nil {
		return nil, refused
	}
	user, refused := s.exchange(c)
	if refused != nil {
		return nil, refused
	}
	s.push(user, view, true)
	return answer{"view": s.wireView(view, nil)}, nil
}

// push lays a modal before a person, instead of or on top of what is there.
func (s *Server) push(user string, view *View, instead bool) {
	view.ID, view.User = s.world.id("V"), user
	view.RootID = view.ID
	if instead {
		s.views.stacks[user] = nil
	}
	if stack := s.views.stacks[user]; len(stack) > 0 {
		top := stack[len(stack)-1]
		view.RootID, view.PreviousID = top.RootID, top.ID
	}
	s.views.stacks[user] = append(s.views.stacks[user], view)
}

func (s *Server) viewsPush(c *call) (answer, *refusal) {
	view, refused := s.readView(c.args.value("view"), "modal", nil)
	if refused != nil {
		return nil, refused
	}
	user, refused := s.exchange(c)
	if refused != nil {
		return nil, refused
	}
	if len(s.views.stacks[user]) == 0 {
		return nil, refuse("not_found")
	}
	if len(s.views.stacks[user]) >= maxViewStack {
		return nil, refuse("push_limit_reached")
	}
	s.push(user, view, false)
	return answer{"view": s.wireView(view, nil)}, nil
}

func (s *Server) viewsUpdate(c *call) (answer, *refusal) {
	id, external := c.args.text("view_id"), c.args.text("external_id")
	if (id == "") == (external == "") {
		return nil, refuse("invalid_arguments", "[ERROR] must have exactly one of: view_id, external_id")
	}
	old := s.views.find(func(v *View) bool { return (id != "" && v.ID == id) || (external != "" && v.ExternalID == external) })
	if old == nil {
		return nil, refuse("not_found")
	}
	if hash := c.args.text("hash"); hash != "" && hash != old.Hash {
		return nil, refuse("hash_conflict")
	}
	view, refused := s.readView(c.args.value("view"), old.Type, old)
	if refused != nil {
		return nil, refused
	}
	old.replace(view)
	return answer{"view": s.wireView(old, nil)}, nil
}

// replace takes the content of another view and keeps the identity.
func (v *View) replace(by *View) {
	v.Content, v.CallbackID, v.ExternalID, v.Hash = by.Content, by.CallbackID, by.ExternalID, by.Hash
}

func (s *Server) viewsPublish(c *call) (answer, *refusal) {
	user := c.args.text("user_id")
	if s.world.users[user] == nil {
		return nil, refuse("invalid_arguments", "[ERROR] user not found [json-pointer:/user_id]")
	}
	old := s.views.homes[user]
	if hash := c.args.text("hash"); hash != "" && (old == nil || hash != old.Hash) {
		return nil, refuse("hash_conflict")
	}
	view, refused := s.readView(c.args.value("view"), "home", old)
	if refused != nil {
		return nil, refused
	}
	if old != nil {
		old.replace(view)
		view = old
	} else {
		view.ID, view.User = s.world.id("V"), user
		view.RootID = view.ID
		s.views.homes[user] = view
	}
	return answer{"view": s.wireView(view, nil)}, nil
}

// Modal returns the modal a person has before them.
func (s *Server) Modal(user string) (View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stack := s.views.stacks[user]
	if len(stack) == 0 {
		return View{}, false
	}
	return *stack[len(stack)-1], true
}

// Home returns the Home tab that was published for a person.
func (s *Server) Home(user string) (View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	home := s.views.homes[user]
	if home == nil {
		return View{}, false
	}
	return *home, true
}
