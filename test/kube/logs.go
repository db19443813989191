package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// timestampLayout is how a kubelet writes the time of a line.
const timestampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// logServer serves the logs of scripted containers as a kubelet does, at
// /containerLogs/{namespace}/{pod}/{container}, to whoever has the API server's
// certificate. It refuses to follow a log, and options that it does not know.
// Source: pkg/kubelet/server/server.go and pkg/kubelet/kubelet_pods.go of Kubernetes
// 1.36, for the words of each refusal.
type logServer struct {
	// pod is one that the kubelet runs; false when there is none of that name.
	pod func(namespace, name string) (*corev1.Pod, bool)
}

// serve serves until the listener is closed.
func (l *logServer) serve(listener net.Listener, ids *identities) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", l.containerLogs)
	server := &http.Server{Handler: mux, TLSConfig: ids.server(), ReadHeaderTimeout: 10 * time.Second}
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve logs: %w", err)
	}
	return nil
}

func (l *logServer) containerLogs(w http.ResponseWriter, r *http.Request) {
	options, err := parseLogOptions(r.URL.Query())
	if err != nil {
		http.Error(w, fmt.Sprintf(`{"message": "Invalid request.", "reason": %q}`, err), http.StatusUnprocessableEntity)
		return
	}
	name, container := r.PathValue("pod"), r.PathValue("container")
	pod, ok := l.pod(r.PathValue("namespace"), name)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", name), http.StatusNotFound)
		return
	}
	scripts, err := scriptsOf(pod)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	does, ok := scripts[container]
	if !ok {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", container, name), http.StatusNotFound)
		return
	}
	found, err := runOf(pod, container, options.previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	switch does.Fault {
	case faultAway:
		panic(http.ErrAbortHandler)
	case faultHang:
		<-r.Context().Done()
		return
	case faultLost:
		// A kubelet has sent the status by the time it looks for the file.
		w.WriteHeader(http.StatusOK)
		_, _ = fmt.Fprintf(w, "unable to retrieve container logs for %s", found.id) // Nobody to tell.
		return
	}
	lines := does.Log
	if found.before {
		lines = does.Previous
	}
	total := len(lines) * max(does.Repeat, 1)
	broken := -1
	if does.Fault == faultBreak {
		broken = total - options.lines(total)/2 - 1
	}
	remain := options.limit
	for i := total - options.lines(total); i < total && remain != 0; i++ {
		line := lines[i%len(lines)] + "\n"
		if options.timestamps {
			line = found.started.Add(time.Duration(i)*time.Millisecond).UTC().Format(timestampLayout) + " " + line
		}
		if remain > 0 {
			line = line[:min(int64(len(line)), remain)]
			remain -= int64(len(line))
		}
		if i == broken {
			line = line[:len(line)/2]
		}
		if _, err := w.Write([]byte(line)); err != nil {
			return
		}
		if i == broken {
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			panic(http.ErrAbortHandler)
		}
	}
}

// logOptions are those of a request.
type logOptions struct {
	previous, timestamps bool
	tail                 int   // -1: all.
	limit                int64 // In bytes; -1: none.
}

func (o logOptions) lines(total int) int {
	if o.tail < 0 {
		return total
	}
	return min(o.tail, total)
}

func parseLogOptions(query url.Values) (logOptions, error) {
	options := logOptions{tail: -1, limit: -1}
	for name, values := range query {
		value := values[0]
		var err error
		switch name {
		case "previous":
			options.previous, err = strconv.ParseBool(value)
		case "timestamps":
			options.timestamps, err = strconv.ParseBool(value)
		case "tailLines":
			if options.tail, err = strconv.Atoi(value); err == nil && options.tail < 0 {
				err = errors.New("tailLines must not be negative")
			}
		case "limitBytes":
			if options.limit, err = strconv.ParseInt(value, 10, 64); err == nil && options.limit < 1 {
				err = errors.New("limitBytes must be positive")
			}
		case "stream":
			if value != corev1.LogStreamAll {
				err = errors.New("streams are not told apart here")
			}
		default:
			err = fmt.Errorf("%s is not done here", name)
		}
		if err != nil {
			return logOptions{}, err
		}
	}
	return options, nil
}

// logRun is one run of a container.
type logRun struct {
	id      string
	started time.Time
	// before says that it is the run before the latest that has a log.
	before bool
}

// runOf is the run whose log is asked for, by the state that is reported.
func runOf(pod *corev1.Pod, container string, previous bool) (logRun, error) {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, status := range list {
			if status.Name == container {
				return runIn(pod.Name, status, previous)
			}
		}
	}
	return logRun{}, fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
}

func runIn(pod string, status corev1.ContainerStatus, previous bool) (logRun, error) {
	last, waiting := status.LastTerminationState.Terminated, status.State.Waiting
	switch {
	case previous && last == nil:
		return logRun{}, fmt.Errorf("previous terminated container %q in pod %q not found", status.Name, pod)
	case previous:
		// What waits to be started again has nothing later than this run.
		return logRun{id: last.ContainerID, started: last.StartedAt.Time, before: waiting == nil}, nil
	case status.State.Running != nil:
		return logRun{id: status.ContainerID, started: status.State.Running.StartedAt.Time}, nil
	case status.State.Terminated != nil:
		return logRun{id: status.State.Terminated.ContainerID, started: status.State.Terminated.StartedAt.Time}, nil
	case last != nil:
		return logRun{id: last.ContainerID, started: last.StartedAt.Time}, nil
	case waiting == nil:
		return logRun{}, fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", status.Name, pod)
	}
	switch waiting.Reason {
	case "ErrImagePull":
		return logRun{}, fmt.Errorf("container %q in pod %q is waiting to start: image can't be pulled", status.Name, pod)
	case "ImagePullBackOff":
		return logRun{}, fmt.Errorf("container %q in pod %q is waiting to start: trying and failing to pull image", status.Name, pod)
	default:
		return logRun{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", status.Name, pod, waiting.Reason)
	}
}

// listenForLogs opens the port of the kubelet.
func listenForLogs(ctx context.Context) (net.Listener, int32, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, fmt.Errorf("listen for the API server: %w", err)
	}
	return listener, int32(listener.Addr().(*net.TCPAddr).Port), nil
}
