package blockkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Surface is the place where blocks are shown. Its zero value is invalid.
type Surface int

// The surfaces that Backout uses.
const (
	// Message is a channel message, a thread reply or an ephemeral message.
	Message Surface = iota + 1
	// Modal is a view in front of the conversation.
	Modal
	// Home is the App Home tab of one person.
	Home
)

// String returns the name Slack uses for the surface.
func (s Surface) String() string {
	switch s {
	case Message:
		return "message"
	case Modal:
		return "modal"
	case Home:
		return "home"
	default:
		return "unknown"
	}
}

// Problem is one reason why Slack would refuse.
type Problem struct {
	// Path is the JSON pointer (RFC 6901) of the offending value, such as
	// /blocks/0/text/text.
	Path string
	// Message says in a few words what is wrong, without quoting the content.
	Message string
}

// String formats the problem the way Slack does in response_metadata.messages.
func (p Problem) String() string {
	return fmt.Sprintf("[ERROR] %s [json-pointer:%s]", p.Message, p.Path)
}

// Error is returned when Slack would refuse the blocks or the view. It carries
// every problem that was found, in document order.
type Error struct {
	Problems []Problem
}

// Error joins all problems into one line.
func (e *Error) Error() string {
	return "validate blocks: " + strings.Join(e.Messages(), "; ")
}

// Messages returns each problem as Slack would word it.
func (e *Error) Messages() []string {
	messages := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		messages = append(messages, p.String())
	}
	return messages
}

// Messages returns the messages of the Error within err, or nil if there is none.
func Messages(err error) []string {
	if invalid, ok := errors.AsType[*Error](err); ok {
		return invalid.Messages()
	}
	return nil
}

// Validate checks an array of blocks for a surface. It returns nil when Slack
// would accept them and an *Error otherwise. An empty array is refused for a
// message and allowed for a view.
func Validate(surface Surface, blocks json.RawMessage) error {
	switch surface {
	case Message, Modal, Home:
	default:
		return fmt.Errorf("validate blocks: unknown surface %d", surface)
	}
	value, err := decode(blocks)
	if err != nil {
		return &Error{Problems: []Problem{{Path: "/blocks", Message: "must be valid JSON"}}}
	}
	w := newWalker(surface)
	w.blocks("/blocks", value)
	return w.result()
}

// decode reads exactly one JSON value and keeps numbers as they were written.
func decode(raw json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return value, nil
}

// walker collects problems on its way through one document.
type walker struct {
	surface   Surface
	problems  []Problem
	blockIDs  map[string]bool
	actionIDs map[string]bool // within the current block
	markdown  int             // characters in markdown blocks so far
	focused   bool            // an element has asked for the focus
	inputs    bool            // an input block was seen
}

func newWalker(surface Surface) *walker {
	return &walker{surface: surface, blockIDs: map[string]bool{}, actionIDs: map[string]bool{}}
}

func (w *walker) fail(path, format string, args ...any) {
	w.problems = append(w.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (w *walker) result() error {
	if len(w.problems) == 0 {
		return nil
	}
	return &Error{Problems: w.problems}
}
