package browser

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

const (
	// Command provides what Start asks for.
	Command = "apt-get install -y --no-install-recommends chromium"
	// patience bounds every wait, on a machine that does much else.
	patience = 90 * time.Second
	// pause is the time between two looks at a page.
	pause = 50 * time.Millisecond
)

// Browser is one Chromium with one page. It ends with its test. Its methods fail
// the test when the browser does not do what it is told.
type Browser struct {
	tb      testing.TB
	socket  *websocket.Conn
	session string

	mu      sync.Mutex
	last    int
	answers map[int]chan message
}

// message is what goes over the DevTools protocol in either direction.
type message struct {
	ID      int             `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a Chromium with a profile of its own. Without one the test is
// skipped with Command, or fails where CI is set.
func Start(tb testing.TB) *Browser {
	tb.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		const missing = "needs Chromium; this gives one: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	profile := tb.TempDir()
	command := exec.Command(binary,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-features=Translate,MediaRouter",
		"--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	command.Stderr = io.Discard
	require.NoError(tb, command.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // It is killed.
	}()
	tb.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		// Its helpers write to the profile until they notice.
		looks := time.NewTicker(pause)
		defer looks.Stop()
		for range 100 {
			if os.RemoveAll(profile) == nil {
				return
			}
			<-looks.C
		}
	})
	b := &Browser{tb: tb, answers: map[int]chan message{}}
	b.connect(filepath.Join(profile, "DevToolsActivePort"))
	return b
}

// connect reads where the browser listens and attaches to a page.
func (b *Browser) connect(file string) {
	b.tb.Helper()
	var port, path string
	b.until("the browser listens", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		var whole bool
		port, path, whole = strings.Cut(strings.TrimSpace(string(text)), "\n")
		return whole
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	socket, response, err := websocket.DefaultDialer.DialContext(ctx, "ws://127.0.0.1:"+port+path, nil)
	require.NoError(b.tb, err)
	_ = response.Body.Close() // It is a socket now.
	b.socket = socket
	b.tb.Cleanup(func() { _ = socket.Close() })
	go b.read()
	var target struct {
		ID string `json:"targetId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	b.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	b.mu.Lock()
	b.session = attached.Session
	b.mu.Unlock()
	b.call("Page.enable", nil, nil)
}

// read hands answers to those who wait for them, until the socket ends.
func (b *Browser) read() {
	for {
		var m message
		if err := b.socket.ReadJSON(&m); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for id, waiting := range b.answers {
				close(waiting)
				delete(b.answers, id)
			}
			return
		}
		b.mu.Lock()
		waiting, ok := b.answers[m.ID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		if ok {
			waiting <- m
		}
	}
}

// call calls a method and reads its result.
func (b *Browser) call(method string, params, into any) {
	b.tb.Helper()
	require.NoError(b.tb, b.try(method, params, into), method)
}

func (b *Browser) try(method string, params, into any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	if params == nil {
		body = []byte("{}")
	}
	waiting := make(chan message, 1)
	b.mu.Lock()
	b.last++
	b.answers[b.last] = waiting
	err = b.socket.WriteJSON(message{ID: b.last, Method: method, Params: body, Session: b.session})
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case m, ok := <-waiting:
		switch {
		case !ok:
			return errors.New("the browser went away")
		case m.Error != nil:
			return fmt.Errorf("the browser says %q", m.Error.Message)
		case into == nil:
			return nil
		}
		return json.Unmarshal(m.Result, into)
	case <-time.After(patience):
		return errors.New("the browser does not answer")
	}
}

// until waits for what becomes true without a signal.
func (b *Browser) until(what string, done func() bool) {
	b.tb.Helper()
	if !b.within(done) {
		b.tb.Fatalf("waited %s in vain until %s", patience, what)
	}
}

// within looks again and again, and reports whether it became true in time.
func (*Browser) within(done func() bool) bool {
	looks := time.NewTicker(pause)
	defer looks.Stop()
	for end := time.Now().Add(patience); !done(); <-looks.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// Open goes to an address and waits until the page is there.
func (b *Browser) Open(address string) {
	b.tb.Helper()
	b.call("Page.navigate", map[string]any{"url": address}, nil)
	b.until("the page is loaded", func() bool {
		return b.eval(`document.readyState === "complete" && location.href !== "about:blank"`) == "true"
	})
}

// eval is the value of an expression as JSON; empty while the page changes.
func (b *Browser) eval(expression string) string {
	var out struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	if err := b.try("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out); err != nil || out.Exception != nil {
		return ""
	}
	return string(out.Result.Value)
}

// Eval is the text that an expression gives.
func (b *Browser) Eval(expression string) string {
	b.tb.Helper()
	var text string
	require.NoError(b.tb, json.Unmarshal([]byte(b.eval("String("+expression+")")), &text), expression)
	return text
}

// URL is the address of the page.
func (b *Browser) URL() string {
	b.tb.Helper()
	return b.Eval("location.href")
}

// Text is what a person reads on the page.
func (b *Browser) Text() string {
	b.tb.Helper()
	return b.Eval("document.body.innerText")
}

// WaitText waits until a person reads something.
func (b *Browser) WaitText(want string) {
	b.tb.Helper()
	quoted, err := json.Marshal(want)
	require.NoError(b.tb, err)
	there := "document.body !== null && document.readyState === 'complete' && document.body.innerText.includes(" + string(quoted) + ")"
	if !b.within(func() bool { return b.eval(there) == "true" }) {
		b.tb.Fatalf("waited in vain for %q, and saw %s", want, b.eval("location.href + ' ' + document.body.innerText"))
	}
}

// Wait waits until an element is there.
func (b *Browser) Wait(selector string) {
	b.tb.Helper()
	b.until(selector+" is there", func() bool { return b.eval("document.querySelector("+quote(selector)+") !== null") == "true" })
}

func quote(s string) string {
	text, _ := json.Marshal(s) // Text always can be.
	return string(text)
}

// Fill writes into an input.
func (b *Browser) Fill(selector, value string) {
	b.tb.Helper()
	b.Wait(selector)
	require.Equal(b.tb, "true", b.Eval("(() => { const e = document.querySelector("+quote(selector)+"); e.value = "+quote(value)+"; return e.value === "+quote(value)+"; })()"))
}

// Click clicks an element with a trusted event, as a person does, in its middle.
func (b *Browser) Click(selector string) {
	b.tb.Helper()
	b.Wait(selector)
	var at struct{ X, Y float64 }
	require.NoError(b.tb, json.Unmarshal([]byte(b.eval(`(() => { const e = document.querySelector(`+quote(selector)+`); e.scrollIntoView({block: "center"});
		const r = e.getBoundingClientRect(); return {X: r.x + r.width / 2, Y: r.y + r.height / 2}; })()`)), &at))
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

// Resize gives the page the size of a screen, in CSS pixels, dark or light.
func (b *Browser) Resize(width, height int, dark bool) {
	b.tb.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Picture is the whole page as a PNG.
func (b *Browser) Picture() []byte {
	b.tb.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	require.NoError(b.tb, err)
	return png
}

// Authenticator gives the browser a passkey of its own, which verifies its person
// and says yes to everything. It replaces none that is there.
func (b *Browser) Authenticator() string {
	b.tb.Helper()
	b.call("WebAuthn.enable", map[string]any{"enableUI": false}, nil)
	var added struct {
		ID string `json:"authenticatorId"`
	}
	b.call("WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{
		"protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true,
		"automaticPresenceSimulation": true,
	}}, &added)
	return added.ID
}

// Verified says whether the authenticator recognizes its person from now on.
func (b *Browser) Verified(authenticator string, yes bool) {
	b.tb.Helper()
	b.call("WebAuthn.setUserVerified", map[string]any{"authenticatorId": authenticator, "isUserVerified": yes}, nil)
}
