package fakeslack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits of response URLs.
// Source: https://docs.slack.dev/interactivity/handling-user-interaction
const (
	maxResponses = 5
	responseLife = 30 * time.Minute
)

// responseURL is an address where the app may answer a command or an interaction.
type responseURL struct {
	to   target
	at   time.Time
	uses int
}

// target is where an answer goes.
type target struct {
	channel  string
	user     string
	thread   string
	original *Message // the message that was clicked, nil for a command
}

// newResponseURL makes an address for answers. The caller holds the lock.
func (s *Server) newResponseURL(to target) string {
	s.world.serial++
	id := fmt.Sprintf("%s-%d-%08x", s.opts.TeamID, s.world.serial, s.world.serial*15485863)
	s.replies[id] = &responseURL{to: to, at: s.opts.Now()}
	return s.URL() + "/response/" + id
}

// serveResponseURL takes one answer. No token is needed: the address is the secret.
func (s *Server) serveResponseURL(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		writeRefusal(w, http.StatusBadRequest, refuse("invalid_payload"))
		return
	}
	s.mu.Lock()
	fault := s.takeFault(ResponseURL)
	s.mu.Unlock()
	if fault != nil && (fault.Status != 0 || fault.SlackError != "") {
		writeFault(w, fault)
		return
	}
	s.mu.Lock()
	refused, status := s.answerURL(r.PathValue("id"), body)
	code := ""
	if refused != nil {
		code = refused.code
	}
	s.recordLocked(ResponseURL, arguments{"body": {form: string(body)}}, code)
	s.notify()
	s.mu.Unlock()
	if fault != nil && fault.DropResponse {
		panic(http.ErrAbortHandler)
	}
	if refused != nil {
		s.opts.Logger.Info("refuse answer", "error", refused.code, "messages", refused.messages)
		writeRefusal(w, status, refused)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": true})
}

// ResponseURL is the name of answers to response URLs in Calls and Fault.
const ResponseURL = "response_url"

func (s *Server) answerURL(id string, body []byte) (*refusal, int) {
	u := s.replies[id]
	switch {
	case u == nil:
		return refuse("invalid_url"), http.StatusNotFound
	case s.opts.Now().Sub(u.at) > responseLife:
		return refuse("expired_url"), http.StatusNotFound
	case u.uses >= maxResponses:
		return refuse("used_url"), http.StatusNotFound
	}
	if refused := s.respond(u.to, body); refused != nil {
		return refused, http.StatusBadRequest
	}
	u.uses++
	return nil, 0
}

// reply is the body of an answer to a command or an interaction.
type reply struct {
	Text            string          `json:"text"`
	Blocks          json.RawMessage `json:"blocks"`
	Attachments     json.RawMessage `json:"attachments"`
	Metadata        json.RawMessage `json:"metadata"`
	ResponseType    string          `json:"response_type"`
	ReplaceOriginal truth           `json:"replace_original"`
	DeleteOriginal  truth           `json:"delete_original"`
	ThreadTS        string          `json:"thread_ts"`
	TS              string          `json:"ts"`
	Mrkdwn          *bool           `json:"mrkdwn"`
	UnfurlLinks     *bool           `json:"unfurl_links"`
	UnfurlMedia     *bool           `json:"unfurl_media"`
}

// truth is a boolean that may come as text.
type truth bool

// UnmarshalJSON reads true, false, "true" and "false".
func (t *truth) UnmarshalJSON(raw []byte) error {
	switch strings.Trim(string(raw), `"`) {
	case "true":
		*t = true
	case "false", "null":
		*t = false
	default:
		return fmt.Errorf("read boolean %q: neither true nor false", raw)
	}
	return nil
}

// respond does what an answer says. The caller holds the lock.
func (s *Server) respond(to target, body []byte) *refusal {
	var r reply
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return refuse("invalid_payload")
	}
	if r.DeleteOriginal {
		return s.deleteOriginal(to)
	}
	said := content{text: r.Text, blocks: given(r.Blocks), attachments: given(r.Attachments), metadata: given(r.Metadata)}
	if bytes.Contains(said.metadata, []byte(`"event_type":""`)) {
		said.metadata = nil // An empty struct of a client library.
	}
	said.hasBlocks, said.hasAttachments = true, true
	said, refused := s.checkContent(said)
	if refused != nil {
		return refused
	}
	if said.text == "" && said.blocks == nil && said.attachments == nil {
		return refuse("no_text")
	}
	if r.ReplaceOriginal {
		if to.original == nil {
			return refuse("invalid_payload", "[ERROR] there is no original message")
		}
		s.edit(to.original, said)
		return nil
	}
	thread := to.thread
	if r.ThreadTS != "" {
		thread = r.ThreadTS
	}
	channel := s.world.channels[to.channel]
	if channel == nil {
		return refuse("channel_not_found")
	}
	m := s.botMessage(to.channel, thread, said)
	switch r.ResponseType {
	case "in_channel":
		channel.messages = append(channel.messages, m)
	case "", "ephemeral":
		m.VisibleTo = to.user
		s.world.private = append(s.world.private, m)
	default:
		return refuse("invalid_payload", "[ERROR] must be one of: in_channel, ephemeral [json-pointer:/response_type]")
	}
	return nil
}

// given turns an explicit null into nothing.
func given(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (s *Server) deleteOriginal(to target) *refusal {
	if to.original == nil {
		return refuse("invalid_payload", "[ERROR] there is no original message")
	}
	if to.original.VisibleTo != "" {
		s.world.private = slices.DeleteFunc(s.world.private, func(m *Message) bool { return m == to.original })
		return nil
	}
	if c := s.world.channels[to.channel]; c != nil {
		c.remove(to.original.TS)
	}
	return nil
}
