package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// logsCollector is the name of the collector.
const logsCollector = "kubernetes.logs"

// The parameters of the collector.
const (
	paramLines      = "lines"
	paramContainers = "containers"
)

// The bounds of the evidence of one workload. They are Backout's own: a document is
// read by people while an incident runs, and passes through memory.
const (
	// defaultLines and maxLines are how many of the last lines of a log are asked for.
	defaultLines, maxLines = 500, 5000
	// maxLogs is how many logs are asked for. What is left out is counted.
	maxLogs = 60
	// maxLogKept is how much of the end of one log is kept, in bytes.
	maxLogKept = 64 << 10
	// maxLogRead is how much of one log a kubelet may send, in bytes. It counts from
	// the first of the last lines, so that a log that reaches it lacks its end.
	maxLogRead = 4 << 20
	// fewerLines divides the lines when maxLogRead was reached, logAttempts times at
	// most.
	fewerLines, logAttempts = 16, 4

	// logsAtOnce is how many logs are read beside each other.
	logsAtOnce = 8
	// logPatience is how long one kubelet may take over one log: one that is away must
	// not use up the time of the others.
	logPatience = 4 * time.Second
	// logsPatience is how long all of them may take; less where the caller has less,
	// who then needs logsReserve to store what was read.
	logsPatience, logsReserve = 15 * time.Second, 2 * time.Second
)

func init() {
	driver.RegisterCollector(logsCollector, systemType, func(c *cluster) driver.Collector { return logs{c} })
	driver.RegisterParams(logsCollector, func(target incident.Target, params map[string]string) error {
		if _, err := parseTarget(target); err != nil {
			return err
		}
		_, err := parseLogRequest(params)
		return err
	})
}

// logs captures what the containers of a workload wrote: the run that is and the one
// before it, of those first that are about to be lost. What could not be had is in the
// document, with the reason. Logs may hold secrets; whoever stores the document has to
// redact it.
type logs struct{ cluster *cluster }

// logRequest is what a runbook can say.
type logRequest struct {
	lines int64
	// containers are the names to read; all when empty.
	containers []string
}

func parseLogRequest(params map[string]string) (logRequest, error) {
	r := logRequest{lines: defaultLines}
	if err := driver.KnownParams(params, logsCollector, paramContainers, paramLines); err != nil {
		return r, err
	}
	for name, value := range params {
		switch name {
		case paramLines:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 || n > maxLines {
				return r, &driver.ParamError{Param: name, Reason: fmt.Sprintf("want a number from 1 to %d", maxLines)}
			}
			r.lines = n
		case paramContainers:
			for container := range strings.SplitSeq(value, ",") {
				if container = strings.TrimSpace(container); container == "" {
					return r, &driver.ParamError{Param: name, Reason: "want names with commas between them"}
				}
				r.containers = append(r.containers, container)
			}
		}
	}
	return r, nil
}

// Collect returns one text document. It is an error when not one log could be read
// although there are some.
func (l logs) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	wanted, err := parseLogRequest(req.Params)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	ctx, stop := context.WithTimeout(ctx, logsPatience)
	defer stop()
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-logsReserve))
		defer cancel()
	}
	asked := l.cluster.now().UTC()
	w, err := l.cluster.workload(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	selector, err := selectorOf(w.object)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	pods, err := l.cluster.pods(ctx, ref.namespace, selector)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	found := logsOf(w, pods, wanted.containers)
	l.readAll(ctx, ref.namespace, found.logs, wanted.lines)
	if err := nothingRead(found.logs); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	return []driver.Evidence{{
		Name:      logsCollector + " " + ref.String(),
		MediaType: "text/plain; charset=utf-8",
		Content:   found.document(ref, asked, wanted),
	}}, nil
}

// nothingRead is the reason when no log was read and one should have been. That no
// container has run yet is an answer too.
func nothingRead(all []*containerLog) error {
	var first error
	for _, c := range all {
		switch {
		case c.err == nil || c.bytes > 0:
			return nil
		case first == nil && !errors.Is(c.err, errNoLog):
			first = c.err
		}
	}
	return first
}

// readAll reads the logs in their order, some beside each other.
func (l logs) readAll(ctx context.Context, namespace string, all []*containerLog, lines int64) {
	var reading sync.WaitGroup
	next := make(chan *containerLog)
	for range min(logsAtOnce, len(all)) {
		reading.Go(func() {
			for c := range next {
				l.read(ctx, namespace, c, lines)
			}
		})
	}
	for _, c := range all {
		next <- c
	}
	close(next)
	reading.Wait()
}

var (
	// errNoLog means that there is nothing that could be read.
	errNoLog = errors.New("there is none")
	errLate  = errors.New("it did not come in time")
)

// read reads one log. Whatever goes wrong is in it.
func (l logs) read(ctx context.Context, namespace string, c *containerLog, lines int64) {
	if c.err != nil {
		return
	}
	if ctx.Err() != nil {
		c.err = errLate
		return
	}
	ctx, stop := context.WithTimeout(ctx, logPatience)
	defer stop()
	for range logAttempts {
		limit, tail := int64(maxLogRead), lines
		c.text, c.bytes, c.cut, c.err = "", 0, false, nil
		stream, err := l.cluster.core.Pods(namespace).GetLogs(c.pod, &corev1.PodLogOptions{
			Container: c.container, Previous: c.ended, Timestamps: true, TailLines: &tail, LimitBytes: &limit,
		}).Stream(ctx)
		if err != nil {
			c.err = unread(err)
			return
		}
		end := &ending{keep: maxLogKept}
		_, err = io.Copy(end, stream)
		_ = stream.Close() // Nothing was written.
		c.take(end)
		if err != nil {
			c.err = unread(err)
			return
		}
		if c.short = end.read >= maxLogRead; !c.short || lines == 1 {
			return
		}
		lines = max(1, lines/fewerLines)
	}
}

// unread says why a log was not read.
func unread(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		return errLate
	case apierrors.IsBadRequest(err), apierrors.IsNotFound(err):
		// What a kubelet answers of a container that has not run, or not before, and
		// the API server of a pod that is gone.
		return fmt.Errorf("%w: %w", errNoLog, answer(err))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection broke")
	default:
		return classify(err)
	}
}

// ending keeps the end of what is written to it.
type ending struct {
	keep int
	kept []byte
	read int64
}

// Write never fails.
func (e *ending) Write(p []byte) (int, error) {
	e.read += int64(len(p))
	e.kept = append(e.kept, p[max(0, len(p)-e.keep):]...)
	if len(e.kept) > 2*e.keep {
		e.kept = append(e.kept[:0], e.kept[len(e.kept)-e.keep:]...)
	}
	return len(p), nil
}

// timed matches the start of a line as a kubelet writes it.
var timed = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`)

// lostLog is what a kubelet writes in place of a log whose file is gone: by then it
// has promised an answer.
// Source: GetContainerLogs of pkg/kubelet/kuberuntime in Kubernetes.
const lostLog = "unable to retrieve container logs for "

// take takes over what was read: whole lines, as text.
func (c *containerLog) take(e *ending) {
	kept := e.kept
	if cut := len(kept) - e.keep; cut > 0 {
		kept = kept[cut:]
	}
	c.left = e.read - int64(len(kept))
	if c.left > 0 {
		// The first line is a part of one, unless there is no other.
		if i := bytes.IndexByte(kept, '\n'); i >= 0 && i < len(kept)-1 {
			c.left += int64(i) + 1
			kept = kept[i+1:]
		}
	}
	c.bytes = len(kept)
	// The API server ends its own answer well when that of the kubelet breaks off.
	c.cut = len(kept) > 0 && kept[len(kept)-1] != '\n'
	c.text = strings.ReplaceAll(strings.ToValidUTF8(string(kept), "\uFFFD"), "\x00", "\uFFFD")
	if strings.HasPrefix(c.text, lostLog) && !timed.MatchString(c.text) {
		c.text, c.bytes, c.cut, c.err = "", 0, false, errors.New("the node has lost it")
	}
}

// lines are those of a log, without their ends.
func (c *containerLog) lines() []string {
	if c.text == "" {
		return nil
	}
	return slices.Collect(strings.SplitSeq(strings.TrimSuffix(c.text, "\n"), "\n"))
}
