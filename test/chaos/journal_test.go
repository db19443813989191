//go:build unix && !race

package chaos_test

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite" // The driver of the server's own file.
)

// journal reads the workflow histories where the embedded server keeps them:
// what is in the file survives a kill, and nothing else does. It reads beside
// the server and changes nothing, not even the write-ahead log.
type journal struct {
	path string
	db   *sql.DB
	// runs are the newest runs by workflow ID.
	runs map[string]*run
}

// run is one workflow with its durable history so far.
type run struct {
	workflow, id string
	// next is the number of the event that comes next.
	next   int64
	events []*historypb.HistoryEvent
	// batches are the numbers of the first event of each transaction.
	batches []int64
	labels  []string
}

func newJournal(data string) *journal {
	return &journal{path: filepath.Join(data, "temporal", "temporal.db"), runs: map[string]*run{}}
}

// open connects to the file of a server that runs or was killed.
func (j *journal) open() error {
	if j.db != nil {
		return nil
	}
	address := "file:" + (&url.URL{Path: filepath.ToSlash(j.path)}).EscapedPath() + "?mode=ro&_pragma=busy_timeout=50"
	db, err := sql.Open("sqlite", address)
	if err != nil {
		return fmt.Errorf("open histories: %w", err)
	}
	db.SetMaxOpenConns(1)
	j.db = db
	return nil
}

// close lets go of the file, so that the next server finds it as the last one
// left it.
func (j *journal) close() error {
	if j.db == nil {
		return nil
	}
	db := j.db
	j.db = nil
	return db.Close()
}

// touched is when the server wrote into its log last, which costs less to ask
// than what it wrote.
func (j *journal) touched() time.Time {
	info, err := os.Stat(j.path + "-wal")
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// look reads what is new, and returns the runs with news.
func (j *journal) look(ctx context.Context) ([]*run, error) {
	if err := j.open(); err != nil {
		return nil, err
	}
	lengths, err := j.lengths(ctx)
	if err != nil {
		return nil, err
	}
	var changed []*run
	for _, at := range lengths {
		r := j.runs[at.workflow]
		if r == nil || r.id != at.id {
			r = &run{workflow: at.workflow, id: at.id, next: 1}
			j.runs[at.workflow] = r
		}
		if at.next <= r.next {
			continue
		}
		if err := j.extend(ctx, r, at.next); err != nil {
			return changed, err
		}
		changed = append(changed, r)
	}
	return changed, nil
}

// run is a workflow's history so far, or nil.
func (j *journal) run(workflow string) *run { return j.runs[workflow] }

func (j *journal) lengths(ctx context.Context) ([]run, error) {
	rows, err := j.db.QueryContext(ctx, `SELECT workflow_id, hex(run_id), next_event_id FROM executions
		WHERE workflow_id LIKE 'incident/%' OR workflow_id LIKE 'rollback/%'`)
	if err != nil {
		return nil, fmt.Errorf("read lengths of histories: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []run
	for rows.Next() {
		var r run
		if err := rows.Scan(&r.workflow, &r.id, &r.next); err != nil {
			return nil, fmt.Errorf("read lengths of histories: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// extend reads the events from where the run ends up to next. A process that
// dies between writing a batch and making it count leaves the batch behind: of
// those that begin with the same event the newest transaction holds, and the
// server keeps their numbers negated.
func (j *journal) extend(ctx context.Context, r *run, next int64) error {
	tree, err := hex.DecodeString(r.id)
	if err != nil {
		return fmt.Errorf("read history of %s: %w", r.workflow, err)
	}
	rows, err := j.db.QueryContext(ctx, `SELECT node_id, data, data_encoding FROM history_node
		WHERE tree_id = ? AND node_id >= ? AND node_id < ? ORDER BY node_id, txn_id DESC`, tree, r.next, next)
	if err != nil {
		return fmt.Errorf("read history of %s: %w", r.workflow, err)
	}
	defer func() { _ = rows.Close() }()
	nodes := map[int64][]*historypb.HistoryEvent{}
	var starts []int64
	for rows.Next() {
		var (
			node     int64
			content  []byte
			encoding string
			history  historypb.History
		)
		if err := rows.Scan(&node, &content, &encoding); err != nil {
			return fmt.Errorf("read history of %s: %w", r.workflow, err)
		}
		if encoding != enumspb.ENCODING_TYPE_PROTO3.String() {
			return fmt.Errorf("read history of %s: encoding %q is unknown", r.workflow, encoding)
		}
		if err := proto.Unmarshal(content, &history); err != nil {
			return fmt.Errorf("read history of %s: %w", r.workflow, err)
		}
		if nodes[node] == nil {
			starts = append(starts, node)
		}
		nodes[node] = history.GetEvents()
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read history of %s: %w", r.workflow, err)
	}
	for _, at := range starts {
		if at != r.next {
			return fmt.Errorf("read history of %s: event %d follows event %d", r.workflow, at, r.next-1)
		}
		r.batches = append(r.batches, at)
		r.events = append(r.events, nodes[at]...)
		r.next += int64(len(nodes[at]))
	}
	if r.next != next {
		return fmt.Errorf("read history of %s: %d events of %d", r.workflow, r.next-1, next-1)
	}
	r.name()
	return nil
}

// last are the labels of the events that were written last, in one
// transaction.
func (r *run) last() []string {
	if len(r.batches) == 0 {
		return nil
	}
	return r.labels[r.batches[len(r.batches)-1]-1:]
}

// closed reports whether the workflow has ended.
func (r *run) closed() bool {
	if len(r.events) == 0 {
		return false
	}
	switch r.events[len(r.events)-1].GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		return true
	default:
		return false
	}
}

// What happens as often as time allows is told apart up to these ordinals: the
// second timer and all later ones are one, and so are the third batch of an
// incident for the ledger and all later ones, and the reports of a rollback after
// the eighth, which are about judging it. Workflow tasks are told apart by what
// they follow.
const (
	maxOrdinal = 2
	maxBatch   = 3
	maxReport  = 8
)

// name labels the events that have no label yet, so that the same event of two
// histories has the same label though its number differs.
func (r *run) name() {
	kind, _, _ := strings.Cut(r.workflow, "/")
	seen := map[string]int{}
	for _, l := range r.labels {
		base, _, _ := strings.Cut(l, "#")
		seen[base]++
	}
	for i := len(r.labels); i < len(r.events); i++ {
		e := r.events[i]
		name := kind + ": " + strings.TrimSpace(e.GetEventType().String()+" "+r.about(e))
		seen[name]++
		r.labels = append(r.labels, fmt.Sprintf("%s#%d", name, min(seen[name], r.ordinals(e))))
	}
}

// ordinals is how many events of an event's name are told apart.
func (r *run) ordinals(e *historypb.HistoryEvent) int {
	about := r.about(e)
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		return 1
	case enumspb.EVENT_TYPE_TIMER_STARTED, enumspb.EVENT_TYPE_TIMER_FIRED, enumspb.EVENT_TYPE_TIMER_CANCELED:
		return maxOrdinal
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED,
		enumspb.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
		return maxReport
	}
	switch {
	case about == "PublishCard" || about == "Show":
		return maxOrdinal
	case about == "Record" && !strings.HasPrefix(r.workflow, "rollback/"):
		return maxBatch
	}
	return len(r.events)
}

// about is what an event is about: the activity, the update, or for workflow
// tasks what had happened before.
func (r *run) about(e *historypb.HistoryEvent) string {
	scheduled := func(n int64) string {
		return r.events[n-1].GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
	}
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		return e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		return scheduled(e.GetActivityTaskStartedEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		return scheduled(e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
		return e.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetName()
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		return r.before(e)
	default:
		return ""
	}
}

// before is the newest event before a workflow task that brought the workflow
// further.
func (r *run) before(task *historypb.HistoryEvent) string {
	for _, e := range slices.Backward(r.events[:task.GetEventId()-1]) {
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			return "after " + shortType(e) + " " + r.about(e)
		case enumspb.EVENT_TYPE_TIMER_FIRED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
			enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
			return "after " + shortType(e)
		}
	}
	return ""
}

func shortType(e *historypb.HistoryEvent) string { return e.GetEventType().String() }
