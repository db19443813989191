package evidence_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/workflows/incident"
)

// s3Variable names the environment variable that holds the path of the built gateway.
const s3Variable = "BACKOUT_TEST_S3"

// gateway is a real S3-speaking server over a folder.
type gateway struct {
	address        string
	access, secret string
	buckets        string
	process        *exec.Cmd
}

// startGateway starts a server with one bucket, "evidence", that ends with the test.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	program := os.Getenv(s3Variable)
	if program == "" {
		const missing = "needs the S3 gateway; this gives one: (cd test/s3 && go build -o /tmp/backout-s3 .) && export " + s3Variable + "=/tmp/backout-s3"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	// The path of a socket has about 100 bytes, which the name of a test may fill.
	folder, err := os.MkdirTemp("", "backout-s3-") //nolint:usetesting // See above.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	g := &gateway{access: "AKIA" + rand.Text()[:16], secret: "canary-" + rand.Text(), buckets: filepath.Join(folder, "buckets")}
	require.NoError(t, os.MkdirAll(filepath.Join(g.buckets, "evidence"), 0o700))
	g.process = exec.CommandContext(context.WithoutCancel(t.Context()), program, folder)
	g.process.Env = []string{"HOME=" + folder, "TMPDIR=" + folder}
	g.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	g.process.Stderr = &said
	stdin, err := g.process.StdinPipe()
	require.NoError(t, err)
	stdout, err := g.process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, g.process.Start())
	t.Cleanup(g.kill)
	_, err = fmt.Fprintf(stdin, "%s %s\n", g.access, g.secret)
	require.NoError(t, err)
	answered := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n') // An empty line says that it did not start.
		answered <- strings.TrimSpace(line)
	}()
	select {
	case g.address = <-answered:
		require.NotEmpty(t, g.address, "the gateway did not start")
	case <-time.After(time.Minute):
		t.Fatal("the gateway did not start in time")
	}
	return g
}

// kill ends the server at once.
func (g *gateway) kill() {
	_ = g.process.Process.Kill() // It is gone either way.
	_ = g.process.Wait()
}

// url is the store as the configuration spells it.
func (g *gateway) url(bucket string) string {
	q := url.Values{"endpoint": {"http://" + g.address}, "region": {"us-east-1"}, "use_path_style": {"true"}, "disable_https": {"true"}}
	return "s3://" + bucket + "?" + q.Encode()
}

// file is where the server keeps a document.
func (g *gateway) file(digest string) string {
	return fileOf(filepath.Join(g.buckets, "evidence"), digest)
}

// as makes the SDK of the cloud take the account of a server. Its credentials come from
// the environment of the process, so that tests that use it are not parallel.
func (g *gateway) as(t *testing.T, access, secret string) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(g.buckets, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(g.buckets, "none"))
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
}

// TestS3 shows the store on a real server that speaks S3: what is put is got, once for
// each content, what was tampered with is found and mended, and what goes wrong is said
// without a secret.
func TestS3(t *testing.T) {
	g := startGateway(t)
	g.as(t, g.access, g.secret)
	s := open(t, g.url("evidence"))
	content := []byte("pod checkout is ill")
	digest, err := s.Put(t.Context(), content, "text/plain")
	require.NoError(t, err)
	require.Equal(t, incident.DigestOf(content), digest)
	got, err := s.Get(t.Context(), digest)
	require.NoError(t, err)
	require.Equal(t, content, got)
	onDisk, err := os.ReadFile(g.file(digest))
	require.NoError(t, err)
	require.Equal(t, content, onDisk, "the server has it under its digest")

	t.Run("several sizes", func(t *testing.T) {
		for _, size := range []int{0, 1, 6 << 20, evidence.MaxSize} {
			content := bytes.Repeat([]byte("x"), size)
			digest, err := s.Put(t.Context(), content, "application/octet-stream")
			require.NoError(t, err, size)
			got, err := s.Get(t.Context(), digest)
			require.NoError(t, err, size)
			require.True(t, bytes.Equal(content, got), size)
		}
	})
	t.Run("twice is once", func(t *testing.T) {
		before, err := os.Stat(g.file(digest))
		require.NoError(t, err)
		again, err := s.Put(t.Context(), content, "text/plain")
		require.NoError(t, err)
		require.Equal(t, digest, again)
		after, err := os.Stat(g.file(digest))
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after) && before.ModTime().Equal(after.ModTime()), "it was written again")
	})
	t.Run("another process finds it", func(t *testing.T) {
		got, err := open(t, g.url("evidence")).Get(t.Context(), digest)
		require.NoError(t, err)
		require.Equal(t, content, got)
	})
	t.Run("nothing of that digest", func(t *testing.T) {
		_, err := s.Get(t.Context(), incident.DigestOf([]byte("never stored")))
		require.ErrorIs(t, err, evidence.ErrNotFound)
	})
	t.Run("tampered with", func(t *testing.T) {
		require.NoError(t, os.WriteFile(g.file(digest), []byte("pod checkout is fit"), 0o600))
		got, err := s.Get(t.Context(), digest)
		require.ErrorIs(t, err, evidence.ErrCorrupt)
		require.Nil(t, got)
		_, err = s.Put(t.Context(), content, "text/plain")
		require.NoError(t, err)
		got, err = s.Get(t.Context(), digest)
		require.NoError(t, err)
		require.Equal(t, content, got)
	})
	t.Run("another gateway", func(t *testing.T) {
		_, err := open(t, startGateway(t).url("evidence")).Get(t.Context(), digest)
		requireS3Refusal(t, g, err)
	})
	t.Run("no such bucket", func(t *testing.T) {
		gone := open(t, g.url("nobody"))
		_, err := gone.Put(t.Context(), content, "text/plain")
		requireS3Refusal(t, g, err)
		_, err = gone.Get(t.Context(), digest)
		requireS3Refusal(t, g, err)
	})
	t.Run("a wrong key", func(t *testing.T) {
		g.as(t, g.access, "wrong-"+g.secret)
		wrong := open(t, g.url("evidence"))
		_, err := wrong.Put(t.Context(), content, "text/plain")
		requireS3Refusal(t, g, err)
		_, err = wrong.Get(t.Context(), digest)
		requireS3Refusal(t, g, err)
		require.NotErrorIs(t, err, evidence.ErrNotFound, "a refusal is not the absence of the document")
	})
	t.Run("nobody's key", func(t *testing.T) {
		g.as(t, "AKIANOBODYNOBODYNOBO", g.secret)
		_, err := open(t, g.url("evidence")).Put(t.Context(), content, "text/plain")
		requireS3Refusal(t, g, err)
	})
	t.Run("no key", func(t *testing.T) {
		g.as(t, "", "")
		_, err := open(t, g.url("evidence")).Put(t.Context(), content, "text/plain")
		requireS3Refusal(t, g, err)
	})
	t.Run("an end that never answers", func(t *testing.T) {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		silent := &gateway{address: l.Addr().String()}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err = open(t, silent.url("evidence")).Put(ctx, content, "text/plain")
		requireS3Refusal(t, g, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	// The last one: the server is gone afterwards.
	t.Run("the server is down", func(t *testing.T) {
		g.kill()
		_, err := s.Put(t.Context(), []byte("another document"), "text/plain")
		requireS3Refusal(t, g, err)
		_, err = s.Get(t.Context(), digest)
		requireS3Refusal(t, g, err)
		require.NotErrorIs(t, err, evidence.ErrNotFound, "silence is not the absence of the document")
	})
}

// requireS3Refusal requires an error that names the document and none of the keys.
func requireS3Refusal(t *testing.T, g *gateway, err error) {
	t.Helper()
	require.Error(t, err)
	require.ErrorContains(t, err, "evidence ")
	for ; err != nil; err = errors.Unwrap(err) {
		require.NotContains(t, err.Error(), g.secret)
	}
}
