package replay_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/proto"

	"github.com/backout/backout/workflows/worker"
)

// The folder of the recorded histories, and how their files end: long ones are
// compressed.
const (
	folder     = "testdata"
	plainFile  = ".json"
	packedFile = ".json.gz"

	// packAbove is the size in bytes above which a history is compressed.
	packAbove = 256 << 10
)

// readable makes payloads stand in the files as what they say instead of in
// base64.
var readable = map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}

// history is one recorded run of one workflow.
type history struct {
	// name is "<scenario>/<workflow>", with a number where there are several.
	name string
	*historypb.History
}

// workflow is the type of the workflow.
func (h history) workflow() string {
	return h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
}

// recorded is every committed history, ordered by name. Nobody changes them.
func recorded(t *testing.T) []history {
	t.Helper()
	all, err := loadAll()
	require.NoError(t, err)
	require.NotEmpty(t, all, "no history is recorded")
	return all
}

var loadAll = sync.OnceValues(func() ([]history, error) {
	var all []history
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".md" {
			return err
		}
		h, err := load(path)
		all = append(all, h)
		return err
	})
	return all, err
})

func load(path string) (history, error) {
	b, err := os.ReadFile(filepath.Join(folder, path))
	if err != nil {
		return history{}, err
	}
	name, packed := strings.CutSuffix(path, packedFile)
	if packed {
		unpack, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return history{}, fmt.Errorf("unpack history %q: %w", path, err)
		}
		if b, err = io.ReadAll(unpack); err != nil {
			return history{}, fmt.Errorf("unpack history %q: %w", path, err)
		}
	} else {
		var plain bool
		if name, plain = strings.CutSuffix(path, plainFile); !plain {
			return history{}, fmt.Errorf("load history %q: it ends neither with %s nor with %s", path, plainFile, packedFile)
		}
	}
	h := history{name: name, History: &historypb.History{}}
	// Fields that a later version of Temporal drops do not matter.
	if err := (temporalproto.CustomJSONUnmarshalOptions{Metadata: readable, DiscardUnknown: true}).Unmarshal(b, h.History); err != nil {
		return history{}, fmt.Errorf("decode history %q: %w", path, err)
	}
	return h, nil
}

// text is the history as its file spells it, one event a line.
func (h history) text() ([]byte, error) {
	var text bytes.Buffer
	text.WriteString(`{"events":[`)
	for i, e := range h.Events {
		if i > 0 {
			text.WriteByte(',')
		}
		b, err := temporalproto.CustomJSONMarshalOptions{Metadata: readable}.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode history %q: %w", h.name, err)
		}
		text.WriteByte('\n')
		text.Write(b)
	}
	text.WriteString("\n]}\n")
	return text.Bytes(), nil
}

// save writes a history under dir.
func (h history) save(dir string) error {
	b, err := h.text()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, h.name+plainFile)
	if len(b) > packAbove {
		path = filepath.Join(dir, h.name+packedFile)
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err != nil {
			return fmt.Errorf("pack history %q: %w", h.name, err)
		}
		if _, err = w.Write(b); err == nil {
			err = w.Close()
		}
		if err != nil {
			return fmt.Errorf("pack history %q: %w", h.name, err)
		}
		b = packed.Bytes()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// replay runs a history through the workflows as the worker registers them,
// as the interceptors let it. The replayer gets a copy: histories are shared.
func replay(h *historypb.History, interceptors ...interceptor.WorkerInterceptor) error {
	replayer, err := sdkworker.NewWorkflowReplayerWithOptions(sdkworker.WorkflowReplayerOptions{Interceptors: interceptors})
	if err != nil {
		return err
	}
	worker.RegisterWorkflows(replayer)
	return replayer.ReplayWorkflowHistory(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)), proto.CloneOf(h))
}

// fetch reads the histories of workflows, of the runs that continued them, and
// of all children they had.
func fetch(ctx context.Context, c client.Client, scenario string, workflowIDs []string) ([]history, error) {
	f := fetcher{client: c, scenario: scenario, numbers: map[string]int{}}
	for _, id := range workflowIDs {
		d, err := c.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return nil, fmt.Errorf("describe workflow %q: %w", id, err)
		}
		if err := f.run(ctx, id, d.GetWorkflowExecutionInfo().GetFirstRunId()); err != nil {
			return nil, err
		}
	}
	return f.found, nil
}

type fetcher struct {
	client   client.Client
	scenario string
	numbers  map[string]int
	found    []history
}

func (f *fetcher) run(ctx context.Context, workflowID, runID string) error {
	h := history{History: &historypb.History{}}
	events := f.client.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return fmt.Errorf("read history of %q: %w", workflowID, err)
		}
		h.Events = append(h.Events, anonymous(e))
	}
	f.numbers[h.workflow()]++
	h.name = fmt.Sprintf("%s/%s-%d", f.scenario, h.workflow(), f.numbers[h.workflow()])
	f.found = append(f.found, h)
	for _, e := range h.Events {
		var err error
		if a := e.GetChildWorkflowExecutionStartedEventAttributes(); a != nil {
			err = f.run(ctx, a.GetWorkflowExecution().GetWorkflowId(), a.GetWorkflowExecution().GetRunId())
		}
		if a := e.GetWorkflowExecutionContinuedAsNewEventAttributes(); a != nil {
			err = f.run(ctx, workflowID, a.GetNewExecutionRunId())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// anonymous takes out of an event what names the machine that recorded it: a
// worker's own queue bears its host's name.
func anonymous(e *historypb.HistoryEvent) *historypb.HistoryEvent {
	if a := e.GetWorkflowTaskScheduledEventAttributes(); a.GetTaskQueue().GetKind() == enumspb.TASK_QUEUE_KIND_STICKY {
		a.TaskQueue.Name = identity
	}
	return e
}

// byWorkflow counts histories by workflow type.
func byWorkflow(all []history) map[string]int {
	n := map[string]int{}
	for _, h := range all {
		n[h.workflow()]++
	}
	return n
}

// scheduled are the types of the activities that the server scheduled, in order
// of first appearance.
func (h history) scheduled() []string {
	var types []string
	for _, e := range h.Events {
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil && !slices.Contains(types, a.GetActivityType().GetName()) {
			types = append(types, a.GetActivityType().GetName())
		}
	}
	return types
}

// local are the types of the activities that ran inside of a workflow task, in
// order of first appearance. A history has a marker of each.
func (h history) local() []string {
	var types []string
	for _, e := range h.Events {
		a := e.GetMarkerRecordedEventAttributes()
		if a.GetMarkerName() != "LocalActivity" {
			continue
		}
		var marker struct{ ActivityType string }
		if err := converter.GetDefaultDataConverter().FromPayloads(a.GetDetails()["data"], &marker); err == nil && !slices.Contains(types, marker.ActivityType) {
			types = append(types, marker.ActivityType)
		}
	}
	return types
}

// has reports whether there is an event of a type.
func (h history) has(want enumspb.EventType) bool {
	return slices.ContainsFunc(h.Events, func(e *historypb.HistoryEvent) bool { return e.GetEventType() == want })
}
