package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// TestRun shows that the store is ready when it says so, and ends with its input.
func TestRun(t *testing.T) {
	t.Parallel()
	stdin, end := io.Pipe()
	announced, stdout := io.Pipe()
	code := make(chan int, 1)
	go func() { code <- run(nil, stdin, stdout, io.Discard) }()
	line, err := bufio.NewReader(announced).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var told announcement
	if err := json.Unmarshal(line, &told); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, told.Etcd+"/health", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the store answers with %s", answer.Status)
	}
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Fatalf("it ended with %d", got)
	}
}

func TestRunRefusesArguments(t *testing.T) {
	t.Parallel()
	if got := run([]string{"more"}, http.NoBody, io.Discard, io.Discard); got != 2 {
		t.Fatalf("it ended with %d, want 2", got)
	}
}
