package fakeslack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Submit is one press of a modal's submit button.
type Submit struct {
	User string
	// View is the ID of the modal; empty means the one on top.
	View string
	// Values are what was entered, by action_id or by "block_id/action_id". Several
	// choices are separated by commas. What is missing keeps its initial value.
	Values map[string]string
}

// SubmitResult is what the modal shows after the app answered.
type SubmitResult struct {
	Outcome

	// Errors are the messages at the inputs, by block_id; the modal stays open.
	Errors map[string]string
	// Open says that a modal is still before the person.
	Open bool
}

// SubmitModal checks the inputs the way Slack's clients do, delivers view_submission
// and does what the app answers: close, clear, update, push or show errors.
func (s *Server) SubmitModal(ctx context.Context, in Submit) (SubmitResult, error) {
	s.mu.Lock()
	view := s.modal(in.User, in.View)
	if view == nil {
		s.mu.Unlock()
		return SubmitResult{}, fmt.Errorf("submit: no such modal before %q", in.User)
	}
	state, problems, err := inputState(view.blocks(), in.Values)
	if err != nil {
		s.mu.Unlock()
		return SubmitResult{}, fmt.Errorf("submit: %w", err)
	}
	if len(problems) > 0 {
		s.mu.Unlock()
		return SubmitResult{Errors: problems, Open: true}, nil
	}
	payload, err := s.interaction("view_submission", in.User)
	if err != nil {
		s.mu.Unlock()
		return SubmitResult{}, fmt.Errorf("submit: %w", err)
	}
	payload["view"] = s.wireView(view, state)
	payload["response_urls"] = []any{}
	raw, err := json.Marshal(payload)
	s.mu.Unlock()
	if err != nil {
		return SubmitResult{}, fmt.Errorf("encode submission: %w", err)
	}
	d := delivery{kind: kindInteractive, user: in.User, payload: raw}
	result := SubmitResult{Outcome: s.deliver(ctx, d)}
	if !result.Acked {
		result.Open = true
		return result, nil
	}
	s.mu.Lock()
	refused := s.applySubmission(view, &result)
	result.Open = len(s.views.stacks[in.User]) > 0
	s.notify()
	s.mu.Unlock()
	if refused != nil {
		result.Acked, result.Reason = false, refused.code
		s.fail(d, result.Outcome)
	}
	return result, nil
}

// modal returns a person's modal by ID, or the one on top.
func (s *Server) modal(user, id string) *View {
	stack := s.views.stacks[user]
	for _, v := range stack {
		if v.ID == id {
			return v
		}
	}
	if id == "" && len(stack) > 0 {
		return stack[len(stack)-1]
	}
	return nil
}

// applySubmission does what the app answered to a submission.
func (s *Server) applySubmission(view *View, result *SubmitResult) *refusal {
	body := strings.TrimSpace(string(result.Body))
	if body == "" || body == "null" || body == "{}" {
		s.views.close(view.User, view.ID)
		return nil
	}
	var response struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if err := json.Unmarshal([]byte(body), &response); err != nil {
		return refuse("invalid_response")
	}
	switch response.Action {
	case "clear":
		s.views.stacks[view.User] = nil
	case "errors":
		for blockID := range response.Errors {
			if !hasBlock(view.blocks(), blockID) {
				return refuse("invalid_response")
			}
		}
		if len(response.Errors) == 0 {
			return refuse("invalid_response")
		}
		result.Errors = response.Errors
	case "update":
		next, refused := s.readView(response.View, "modal", view)
		if refused != nil {
			return refused
		}
		view.replace(next)
	case "push":
		next, refused := s.readView(response.View, "modal", nil)
		if refused != nil {
			return refused
		}
		if len(s.views.stacks[view.User]) >= maxViewStack {
			return refuse("push_limit_reached")
		}
		s.push(view.User, next, false)
	default:
		return refuse("invalid_response")
	}
	return nil
}

// ViewClosed takes a modal away and delivers view_closed if the view asked for it.
func (s *Server) ViewClosed(ctx context.Context, user, id string) (Outcome, error) {
	s.mu.Lock()
	view := s.modal(user, id)
	if view == nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("close: no such modal before %q", user)
	}
	s.views.close(user, view.ID)
	s.notify()
	var options struct {
		NotifyOnClose bool `json:"notify_on_close"`
		ClearOnClose  bool `json:"clear_on_close"`
	}
	err := json.Unmarshal(view.Content, &options)
	if options.ClearOnClose {
		s.views.stacks[user] = nil
	}
	if err != nil || !options.NotifyOnClose {
		s.mu.Unlock()
		return Outcome{}, err
	}
	payload, err := s.interaction("view_closed", user)
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("close: %w", err)
	}
	payload["view"], payload["is_cleared"] = s.wireView(view, nil), options.ClearOnClose
	raw, err := json.Marshal(payload)
	s.mu.Unlock()
	if err != nil {
		return Outcome{}, fmt.Errorf("encode closing: %w", err)
	}
	return s.deliver(ctx, delivery{kind: kindInteractive, user: user, payload: raw}), nil
}

// blocks returns the blocks of a view.
func (v *View) blocks() json.RawMessage {
	var fields struct {
		Blocks json.RawMessage `json:"blocks"`
	}
	if err := json.Unmarshal(v.Content, &fields); err != nil {
		return nil
	}
	return fields.Blocks
}

func hasBlock(blocks json.RawMessage, id string) bool {
	var list []struct {
		BlockID string `json:"block_id"`
	}
	if err := json.Unmarshal(blocks, &list); err != nil {
		return false
	}
	for _, b := range list {
		if b.BlockID == id {
			return true
		}
	}
	return false
}

// inputState turns what was entered into view.state.values, and says by block_id what
// a client would not let through.
func inputState(blocks json.RawMessage, values map[string]string) (state map[string]any, problems map[string]string, err error) {
	var list []map[string]any
	if err := json.Unmarshal(blocks, &list); err != nil {
		return nil, nil, fmt.Errorf("read blocks: %w", err)
	}
	state, problems = map[string]any{}, map[string]string{}
	used := map[string]bool{}
	for _, block := range list {
		blockID, _ := block["block_id"].(string)
		for _, e := range elementsOf(block) {
			kind, _ := e["type"].(string)
			actionID, _ := e["action_id"].(string)
			if block["type"] == "context" || slices.Contains([]string{"button", "overflow", "image"}, kind) {
				continue
			}
			value, name := initialValue(e), ""
			for _, key := range []string{blockID + "/" + actionID, actionID} {
				if entered, ok := values[key]; ok {
					value, name = entered, key
					break
				}
			}
			used[name] = true
			if problem := inputProblem(block, e, value); problem != "" {
				problems[blockID] = problem
				continue
			}
			entry, err := stateOf(e, value)
			if err != nil {
				return nil, nil, err
			}
			entry["type"] = kind
			inBlock, _ := state[blockID].(map[string]any)
			if inBlock == nil {
				inBlock = map[string]any{}
				state[blockID] = inBlock
			}
			inBlock[actionID] = entry
		}
	}
	for key := range values {
		if !used[key] {
			return nil, nil, fmt.Errorf("no input %q in the modal", key)
		}
	}
	return state, problems, nil
}

// inputProblem is what a client says below an input that it does not let through.
func inputProblem(block, e map[string]any, value string) string {
	optional, _ := block["optional"].(bool)
	n := utf8.RuneCountInString(value)
	switch {
	case value == "" && block["type"] == "input" && !optional:
		return "Please complete this required field."
	case value == "":
		return ""
	case float64(n) < number(e["min_length"], 0):
		return "This is too short."
	case float64(n) > number(e["max_length"], 3000):
		return "This is too long."
	}
	if e["type"] == "number_input" {
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return "This must be a number."
		}
	}
	return ""
}

func number(value any, absent float64) float64 {
	if n, ok := value.(float64); ok {
		return n
	}
	return absent
}

// initialValue is what an element shows before anybody touched it.
func initialValue(e map[string]any) string {
	for _, member := range []string{
		"initial_value", "initial_date", "initial_time", "initial_user", "initial_channel", "initial_conversation",
	} {
		if s, ok := e[member].(string); ok {
			return s
		}
	}
	if n, ok := e["initial_date_time"].(float64); ok {
		return strconv.FormatInt(int64(n), 10)
	}
	if option, ok := e["initial_option"].(map[string]any); ok {
		s, _ := option["value"].(string)
		return s
	}
	var chosen []string
	if options, ok := e["initial_options"].([]any); ok {
		for _, o := range options {
			option, _ := o.(map[string]any)
			s, _ := option["value"].(string)
			chosen = append(chosen, s)
		}
	}
	return strings.Join(chosen, ",")
}

// stateOf is the state of an element with a value, as payloads carry it.
func stateOf(e map[string]any, value string) (map[string]any, error) {
	kind, _ := e["type"].(string)
	var set any
	if value != "" {
		set = value
	}
	switch kind {
	case "plain_text_input", "email_text_input", "url_text_input", "number_input":
		return map[string]any{"value": set}, nil
	case "datepicker":
		return map[string]any{"selected_date": set}, nil
	case "timepicker":
		return map[string]any{"selected_time": set}, nil
	case "datetimepicker":
		n, err := strconv.ParseInt(value, 10, 64)
		if value != "" && err != nil {
			return nil, fmt.Errorf("read date and time %q: %w", value, err)
		}
		return map[string]any{"selected_date_time": n}, nil
	case "users_select":
		return map[string]any{"selected_user": set}, nil
	case "channels_select":
		return map[string]any{"selected_channel": set}, nil
	case "conversations_select":
		return map[string]any{"selected_conversation": set}, nil
	case "multi_users_select":
		return map[string]any{"selected_users": split(value)}, nil
	case "multi_channels_select":
		return map[string]any{"selected_channels": split(value)}, nil
	case "multi_conversations_select":
		return map[string]any{"selected_conversations": split(value)}, nil
	case "static_select", "radio_buttons", "overflow":
		if value == "" {
			return map[string]any{"selected_option": nil}, nil
		}
		option, err := optionOf(e, value)
		return map[string]any{"selected_option": option}, err
	case "multi_static_select", "checkboxes":
		chosen := []any{}
		for _, v := range split(value) {
			option, err := optionOf(e, v)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, option)
		}
		return map[string]any{"selected_options": chosen}, nil
	default:
		return nil, fmt.Errorf("enter into %q: the stand-in cannot", kind)
	}
}

func split(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
}

// optionOf finds an option by its value, as the app wrote it.
func optionOf(e map[string]any, value string) (any, error) {
	options, _ := e["options"].([]any)
	groups, _ := e["option_groups"].([]any)
	for _, g := range groups {
		group, _ := g.(map[string]any)
		inner, _ := group["options"].([]any)
		options = append(options, inner...)
	}
	for _, o := range options {
		if option, ok := o.(map[string]any); ok && option["value"] == value {
			return option, nil
		}
	}
	return nil, errors.New("no such option")
}
