package identity

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// BinaryVariable names the environment variable that holds the path of the
	// built provider.
	BinaryVariable = "BACKOUT_TEST_OIDC"
	// Command provides what Start asks for, from the root of the repository.
	Command = `(cd test/oidc && go build -o /tmp/backout-oidc .) && export ` + BinaryVariable + `=/tmp/backout-oidc`

	// patience bounds the start and the end.
	patience = time.Minute
)

// Provider is a running provider.
type Provider struct {
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	People       []Person `json:"people"`
}

// Person is one account. The e-mail address is what is typed at the login.
type Person struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// Start starts a provider that sends people back to the redirect URI, and ends with
// its test. Without the variable the test is skipped with Command, or fails where CI
// is set.
func Start(tb testing.TB, redirect string) *Provider {
	tb.Helper()
	binary := os.Getenv(BinaryVariable)
	if binary == "" {
		const missing = "needs an OpenID Connect provider; this gives one: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	command := exec.Command(binary, redirect)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	require.NoError(tb, err)
	stdout, err := command.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, command.Start())
	tb.Cleanup(func() {
		_ = stdin.Close() // That is how it is told to end.
		kill := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
		defer kill.Stop()
		_ = command.Wait() // Whether it ended well is not what is tested.
	})
	line := make(chan []byte, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadBytes('\n') // An end without a line is told below.
		line <- text
	}()
	p := &Provider{}
	select {
	case text := <-line:
		require.NoError(tb, json.Unmarshal(text, p), "the provider did not say where it is")
	case <-time.After(patience):
		tb.Fatal("the provider did not say where it is in time")
	}
	return p
}
