// Hostile is a program that does everything that one for the kind "exec" must
// not do. The tests show that each of it is refused.
//
//	hostile <what to do> [file]
//
// Whatever it is told to do, it otherwise answers well: without any other
// argument than "honest" it is a program whose target moves from one state to
// another, in a file.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// The states of the target.
var (
	bad     = state{Revision: "2", Digest: "sha256:" + strings.Repeat("b", 64), Label: "v2"}
	good    = state{Revision: "1", Digest: "sha256:" + strings.Repeat("a", 64), Label: "v1"}
	unknown = state{Revision: "3", Digest: "sha256:" + strings.Repeat("c", 64), Label: "v3"}
)

type state struct {
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
	Label    string `json:"label"`
}

type document = map[string]any

func main() {
	os.Exit(run(os.Args[1:])) //nolint:forbidigo // It is a command.
}

func run(args []string) int {
	if len(args) != 2 {
		return 2
	}
	h := hostile{mode: args[0], file: args[1], secret: os.Getenv("HOSTILE_SECRET")} //nolint:forbidigo // It is a command.
	switch h.mode {
	case "child":
		_ = os.WriteFile(h.file, fmt.Append(nil, os.Getpid()), 0o600)
		<-time.After(time.Hour)
		return 0
	case "closed-input":
		_ = os.Stdin.Close()
	}
	if err := json.NewDecoder(os.Stdin).Decode(&h.question); err != nil && h.mode != "closed-input" {
		return 2
	}
	return h.misbehave()
}

type hostile struct {
	mode, file, secret string
	question           struct {
		Protocol string `json:"protocol"`
		ID       string `json:"id"`
		Verb     string `json:"verb"`
		Action   struct {
			Key string `json:"key"`
		} `json:"action"`
	}
}

// misbehave does what has to do with the process.
func (h hostile) misbehave() int {
	switch h.mode {
	case "hang":
		<-time.After(time.Hour)
	case "ignore-sigterm":
		signal.Ignore(syscall.SIGTERM)
		_ = os.WriteFile(h.file, fmt.Append(nil, os.Getpid()), 0o600)
		<-time.After(time.Hour)
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("flood ", 10_000)); err != nil {
				return 1
			}
		}
	case "flood-stderr":
		for range 1000 {
			_, _ = os.Stderr.WriteString(strings.Repeat("flood ", 10_000))
		}
	case "silent":
		return 0
	case "status":
		h.answer(nil)
		return 3
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-time.After(time.Hour)
	case "secret-on-stderr":
		_, _ = fmt.Fprintln(os.Stderr, h.secret)
		return 1
	case "fork-silently", "fork-holding":
		if err := h.fork(h.mode == "fork-holding"); err != nil {
			return 1
		}
	case "not-json":
		_, _ = fmt.Fprintln(os.Stdout, "all is well, "+h.secret)
		return 0
	case "not-utf8":
		_, _ = os.Stdout.Write([]byte{'"', 0xff, '"'})
		return 0
	case "cut-short":
		_, _ = fmt.Fprintf(os.Stdout, `{"protocol":%q,"id":%q,"receipt":{`, h.question.Protocol, h.question.ID)
		return 0
	}
	h.answer(h.spoil())
	if h.mode == "two-documents" {
		h.answer(nil)
	}
	return 0
}

// fork leaves a child behind and waits until it runs.
func (h hostile) fork(holding bool) error {
	child := osexec.CommandContext(context.Background(), os.Args[0], "child", h.file) //nolint:gosec // It starts itself.
	if holding {
		child.Stdout = os.Stdout
	}
	if err := child.Start(); err != nil {
		return err
	}
	for {
		if content, err := os.ReadFile(h.file); err == nil && len(content) > 0 {
			return nil
		}
		<-time.After(time.Millisecond)
	}
}

// spoil says what is wrong with an answer.
func (h hostile) spoil() func(a document) {
	switch h.mode {
	case "extra-key":
		return func(a document) { a["extra"] = h.secret }
	case "extra-key-inside":
		return inMember(func(m document) { m["extra"] = h.secret })
	case "other-case":
		return func(a document) { a["ID"] = a["id"]; delete(a, "id") }
	case "other-id":
		return func(a document) { a["id"] = strings.Repeat("0", 32) }
	case "other-protocol":
		return func(a document) { a["protocol"] = "backout.exec/v2" }
	case "other-verb":
		return func(a document) {
			for _, member := range []string{"plan", "observation", "receipt", "changes", "evidence"} {
				delete(a, member)
			}
			a["about"] = document{"name": "hostile", "version": "0", "verbs": []string{}}
		}
	case "short-digest":
		return inState(func(s document) { s["digest"] = "sha256:abc" })
	case "no-digest":
		return inState(func(s document) { delete(s, "digest") })
	case "no-revision":
		return inState(func(s document) { s["revision"] = "" })
	case "content-as-digest":
		return inState(func(s document) { s["digest"] = h.secret })
	case "secret-in-text":
		return inMember(func(m document) {
			if _, ok := m["checks"]; ok {
				m["wont_revert"] = []string{h.secret}
				return
			}
			m["detail"] = "the token is " + h.secret
		})
	case "secret-encoded":
		return inState(func(s document) { s["label"] = base64.StdEncoding.EncodeToString([]byte(h.secret)) })
	case "error-with-secret":
		return func(a document) {
			for _, member := range []string{"plan", "observation", "receipt", "changes", "evidence"} {
				delete(a, member)
			}
			a["error"] = document{"code": "denied", "reason": h.secret}
		}
	case "unknown-code":
		return func(a document) {
			for _, member := range []string{"plan", "observation", "receipt", "changes", "evidence"} {
				delete(a, member)
			}
			a["error"] = document{"code": "fine", "reason": ""}
		}
	case "control-characters":
		return inState(func(s document) { s["label"] = "v1\x1b[31m\n\u202ev2" })
	}
	return nil
}

// inMember spoils the member that a verb asks for.
func inMember(spoil func(m document)) func(a document) {
	return func(a document) {
		for _, member := range []string{"plan", "observation", "receipt"} {
			if m, ok := a[member].(document); ok {
				spoil(m)
			}
		}
	}
}

// inState spoils the state in that member.
func inState(spoil func(s document)) func(a document) {
	return inMember(func(m document) {
		for _, name := range []string{"from", "to", "state"} {
			if s, ok := m[name].(state); ok {
				changed := document{"revision": s.Revision, "digest": s.Digest, "label": s.Label}
				spoil(changed)
				m[name] = changed
			}
		}
	})
}

// present is the state of the target, which is "good" once the file exists.
func (h hostile) present() state {
	if _, err := os.Stat(h.file); err == nil {
		return good
	}
	return bad
}

// collect is what it captured.
func (h hostile) collect() []document {
	doc := document{"name": "state", "media_type": "text/plain", "text": "as the file says"}
	switch h.mode {
	case "collects-its-secret":
		doc["text"] = "the token is " + h.secret
	case "collects-its-secret-encoded":
		delete(doc, "text")
		doc["base64"] = base64.StdEncoding.EncodeToString([]byte("the token is " + h.secret))
	case "collects-no-base64":
		delete(doc, "text")
		doc["base64"] = "abc"
	case "collects-twice":
		doc["base64"] = "YQ=="
	case "collects-a-page":
		doc["media_type"] = "text/html; a=\"b\""
	case "collects-nothing":
		return []document{}
	case "collects-without-end":
		doc["text"] = strings.Repeat("x", 2<<20)
	}
	return []document{doc}
}

// answer writes an answer, or what is left of it.
func (h hostile) answer(spoil func(a document)) {
	a := document{"protocol": h.question.Protocol, "id": h.question.ID}
	present := h.present()
	switch h.question.Verb {
	case "about":
		a["about"] = document{"name": "hostile", "version": "0", "verbs": []string{"plan", "observe", "apply"}}
	case "plan":
		a["plan"] = document{"from": present, "to": good, "reversible": true, "wont_revert": []string{"nothing"}, "checks": []document{{"name": "all is well", "result": "ok", "reason": "All is well"}}}
		switch h.mode {
		case "plans-from-elsewhere":
			a["plan"].(document)["from"] = unknown
		case "plans-nowhere":
			a["plan"].(document)["to"] = present
		case "plans-nothing":
			delete(a["plan"].(document), "to")
		case "plans-unchecked":
			a["plan"].(document)["checks"] = []document{}
		}
	case "observe":
		a["observation"] = document{"state": present, "settled": true, "detail": "as the file says"}
	case "apply":
		a["receipt"] = h.apply()
	case "changes":
		a["changes"] = []document{{"id": "1", "at": "2020-01-01T00:00:00Z"}}
	case "collect":
		a["evidence"] = h.collect()
	}
	if spoil != nil {
		spoil(a)
	}
	_ = json.NewEncoder(os.Stdout).Encode(a)
}

// apply does it, or says so.
func (h hostile) apply() document {
	switch h.mode {
	case "says-applied":
		return document{"result": "applied", "state": good, "detail": "done"}
	case "says-already":
		return document{"result": "already", "state": good, "detail": "it was there"}
	case "says-applied-elsewhere":
		return document{"result": "applied", "state": unknown, "detail": "done"}
	case "says-drift-at-to":
		return document{"result": "drift", "state": good, "detail": ""}
	}
	_ = os.WriteFile(h.file, fmt.Append(nil, h.question.Action.Key), 0o600)
	return document{"result": "applied", "state": good, "detail": "done"}
}
