package embedded_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/backout/backout/workflows/worker/embedded"
)

func TestStopAndStartKeepsHistory(t *testing.T) {
	t.Parallel()
	// The name has every character that means something in a SQLite URI.
	dir := filepath.Join(t.TempDir(), "a b?c#d%20e")

	first := start(t, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
	c := dial(t, first.Address())
	w, err := work(c)
	require.NoError(t, err)
	require.NoError(t, begin(t.Context(), c, "kept"))
	require.NoError(t, c.SignalWorkflow(t.Context(), "kept", "", signalName, nil))
	require.NoError(t, c.GetWorkflow(t.Context(), "kept", "").Get(t.Context(), nil))
	w.Stop()
	require.NoError(t, first.Stop())
	require.NoError(t, first.Stop(), "stopping twice is allowed")

	for _, file := range []string{"temporal.db", "temporal-visibility.db"} {
		info, err := os.Stat(filepath.Join(dir, file))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}

	second := start(t, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
	c = dial(t, second.Address())
	var got string
	require.NoError(t, c.GetWorkflow(t.Context(), "kept", "").Get(t.Context(), &got))
	require.Equal(t, "kept-1,kept-2", got)
	require.Equal(t, 2, countEvents(t, c, "kept", enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED))
}

func TestKilledServerLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := startChild(t, dir)

	_, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, UIPort: embedded.UIOff})
	var inUse *embedded.InUseError
	require.ErrorAs(t, err, &inUse)
	require.Contains(t, err.Error(), fmt.Sprintf("process %d", child.Process.Pid))

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())

	srv := start(t, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
	c := dial(t, srv.Address())
	w, err := work(c)
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	for i := range killedRuns {
		require.NoError(t, c.SignalWorkflow(t.Context(), runID(i), "", signalName, nil))
	}
	for i := range killedRuns {
		var got string
		require.NoError(t, c.GetWorkflow(t.Context(), runID(i), "").Get(t.Context(), &got))
		require.Equal(t, runID(i)+"-1,"+runID(i)+"-2", got)
		require.Equal(t, 2, countEvents(t, c, runID(i), enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED),
			"each step is in the history exactly once")
	}
}

func TestNamespaceFollowsOptions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keyword, number := enumspb.INDEXED_VALUE_TYPE_KEYWORD, enumspb.INDEXED_VALUE_TYPE_INT

	steps := []struct {
		name      string
		opts      embedded.Options
		retention time.Duration
		want      map[string]enumspb.IndexedValueType
	}{
		{
			name:      "a new file gets the default retention",
			opts:      embedded.Options{SearchAttributes: map[string]enumspb.IndexedValueType{"BackoutService": keyword}},
			retention: embedded.DefaultRetention,
			want:      map[string]enumspb.IndexedValueType{"BackoutService": keyword},
		},
		{
			name: "an existing one gets the new retention and the missing attribute",
			opts: embedded.Options{
				Retention: 9 * 24 * time.Hour,
				SearchAttributes: map[string]enumspb.IndexedValueType{
					"BackoutService": keyword, "BackoutTier": number,
				},
			},
			retention: 9 * 24 * time.Hour,
			want:      map[string]enumspb.IndexedValueType{"BackoutService": keyword, "BackoutTier": number},
		},
	}
	//nolint:paralleltest // The steps share one file and follow each other.
	for _, step := range steps {
		ok := t.Run(step.name, func(t *testing.T) {
			step.opts.Dir, step.opts.UIPort = dir, embedded.UIOff
			srv := start(t, step.opts)
			c := dial(t, srv.Address())
			found, err := c.WorkflowService().DescribeNamespace(t.Context(),
				&workflowservice.DescribeNamespaceRequest{Namespace: embedded.DefaultNamespace})
			require.NoError(t, err)
			require.Equal(t, step.retention, found.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration())
			listed, err := c.OperatorService().ListSearchAttributes(t.Context(),
				&operatorservice.ListSearchAttributesRequest{Namespace: embedded.DefaultNamespace})
			require.NoError(t, err)
			for name, kind := range step.want {
				require.Equal(t, kind, listed.GetCustomAttributes()[name], name)
			}
		})
		require.True(t, ok)
	}

	_, err := embedded.Start(t.Context(), embedded.Options{
		Dir: dir, UIPort: embedded.UIOff,
		SearchAttributes: map[string]enumspb.IndexedValueType{"BackoutService": number},
	})
	require.ErrorContains(t, err, `attribute "BackoutService" exists as Keyword, want Int`)
}

func TestBadFileIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// file spoils the file, which is new, or absent if it is to be replaced.
		file    func(t *testing.T, path string)
		replace bool
		want    string
	}{
		{
			name: "not a database", replace: true,
			file: func(t *testing.T, path string) {
				require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("not sqlite ", 1000)), 0o600))
			},
			want: "is damaged; restore both files from a backup",
		},
		{
			name: "an empty file", replace: true,
			file: func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) },
			want: "was not created by this product",
		},
		{
			name: "a folder", replace: true,
			file: func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) },
			want: "is not a regular file",
		},
		{
			name: "somebody else's database", replace: true,
			file: func(t *testing.T, path string) { execute(t, path, "CREATE TABLE t (a)") },
			want: "was not created by this product",
		},
		{
			name: "another version's schema",
			file: func(t *testing.T, path string) {
				execute(t, path, "PRAGMA user_version=7")
			},
			want: "another version of the server",
		},
		{
			name: "overwritten pages",
			file: func(t *testing.T, path string) {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				require.NoError(t, err)
				// Page 1 holds the header; what follows is the schema's tree.
				_, err = f.WriteAt([]byte(strings.Repeat("\xff", 8192)), 4096)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			want: "is damaged",
		},
	}
	fresh := t.TempDir()
	require.NoError(t, start(t, embedded.Options{Dir: fresh, UIPort: embedded.UIOff}).Stop())
	for _, tt := range tests {
		for _, file := range []string{"temporal.db", "temporal-visibility.db"} {
			t.Run(tt.name+" as "+file, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "data")
				require.NoError(t, os.CopyFS(dir, os.DirFS(fresh)))
				path := filepath.Join(dir, file)
				if tt.replace {
					require.NoError(t, os.Remove(path))
				}
				tt.file(t, path)
				_, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, UIPort: embedded.UIOff})
				var bad *embedded.DatabaseError
				require.ErrorAs(t, err, &bad)
				require.Equal(t, path, bad.Path)
				require.ErrorContains(t, err, tt.want)
			})
		}
	}
}

// TestTheFilesBelongTogether has somebody move one of them away.
func TestTheFilesBelongTogether(t *testing.T) {
	t.Parallel()
	opts := embedded.Options{Dir: t.TempDir(), UIPort: embedded.UIOff}
	lists := filepath.Join(opts.Dir, "temporal-visibility.db")
	require.NoError(t, start(t, opts).Stop())

	require.NoError(t, os.Rename(lists, lists+".away"))
	_, err := embedded.Start(t.Context(), opts)
	var bad *embedded.DatabaseError
	require.ErrorAs(t, err, &bad)
	require.Equal(t, lists, bad.Path)
	require.ErrorContains(t, err, "is missing and belongs to temporal.db")

	require.NoError(t, os.Rename(lists+".away", lists))
	require.NoError(t, os.Remove(filepath.Join(opts.Dir, "temporal.db")))
	start(t, opts) // Lists of a history that was moved away are of no use.
}

func TestUnfinishedFileIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "temporal.db.new"), []byte("half"), 0o600))
	start(t, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = busy.Close() })
	taken := busy.Addr().(*net.TCPAddr).Port

	tests := []struct {
		name string
		opts embedded.Options
		want string
	}{
		{name: "no folder", opts: embedded.Options{}, want: "no data folder given"},
		{name: "short retention", opts: embedded.Options{Retention: time.Minute}, want: "retention 1m0s is shorter"},
		{name: "unknown synchronous", opts: embedded.Options{Synchronous: 9}, want: "unknown synchronous setting 9"},
		{name: "bad frontend port", opts: embedded.Options{FrontendPort: 70000}, want: "frontend port 70000 is not a port"},
		{name: "bad ui port", opts: embedded.Options{UIPort: -2}, want: "web ui port -2 is not a port"},
		{name: "frontend port taken", opts: embedded.Options{FrontendPort: taken}, want: "address already in use"},
		{name: "ui port taken", opts: embedded.Options{UIPort: taken}, want: "start web ui: listen on loopback port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name != "no folder" {
				tt.opts.Dir = t.TempDir()
			}
			_, err := embedded.Start(t.Context(), tt.opts)
			require.ErrorContains(t, err, tt.want)
			if tt.opts.Dir != "" {
				// A start that failed gives the folder back.
				start(t, embedded.Options{Dir: tt.opts.Dir, UIPort: embedded.UIOff})
			}
		})
	}
}

func TestCancelledStartGivesTheFolderBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := embedded.Start(ctx, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
	require.ErrorIs(t, err, context.Canceled)
	start(t, embedded.Options{Dir: dir, UIPort: embedded.UIOff})
}

func TestWebUIReadsAndNeverWrites(t *testing.T) {
	t.Parallel()
	var origin string
	srv := start(t, embedded.Options{
		Dir: t.TempDir(),
		UICodec: func(o string) (http.Handler, error) {
			origin = o
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }), nil
		},
	})
	require.Equal(t, "http://"+srv.UIAddress(), origin)
	host, _, err := net.SplitHostPort(srv.UIAddress())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)

	page := fetch(t, http.MethodGet, origin+"/", "")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.body, "<html")

	settings := fetch(t, http.MethodGet, origin+"/api/v1/settings", "")
	require.Contains(t, settings.body, `"DisableWriteActions":true`)
	require.Contains(t, settings.body, `"DisableNewsFetch":true`)
	_, after, ok := strings.Cut(settings.body, `"Endpoint":"`)
	require.True(t, ok)
	endpoint, _, ok := strings.Cut(after, `"`)
	require.True(t, ok)
	require.Equal(t, "/codec/decode", fetch(t, http.MethodPost, endpoint+"/decode", "").body)

	list := fetch(t, http.MethodGet, origin+"/api/v1/namespaces/"+embedded.DefaultNamespace+"/workflows", "")
	require.Equal(t, http.StatusOK, list.status, list.body)
	write := fetch(t, http.MethodPost, origin+"/api/v1/namespaces/"+embedded.DefaultNamespace+"/workflows/x", "{}")
	require.NotEqual(t, http.StatusOK, write.status)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	srv := start(t, embedded.Options{Dir: t.TempDir(), UIPort: embedded.UIOff})
	require.Empty(t, srv.UIAddress())
	_, port, err := net.SplitHostPort(srv.Address())
	require.NoError(t, err)
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		_, err := net.DialTimeout("tcp4", net.JoinHostPort(ip.String(), port), time.Second)
		require.Error(t, err, ip)
	}
}

type response struct {
	status int
	body   string
}

func fetch(t *testing.T, method, url, body string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return response{status: res.StatusCode, body: string(text)}
}

// execute runs one statement on the SQLite file at path, creating it.
func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}
