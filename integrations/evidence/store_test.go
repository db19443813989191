package evidence_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/backout/backout/integrations/evidence"
	"github.com/backout/backout/workflows/incident"
)

func open(t *testing.T, url string) *evidence.Store {
	t.Helper()
	s, err := evidence.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// folder opens a store in a new folder two levels down and returns where.
func folder(t *testing.T) (*evidence.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "evi dence")
	return open(t, "file://"+strings.ReplaceAll(dir, " ", "%20")), dir
}

func fileOf(dir, digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(dir, "sha256", hex[:2], hex[2:])
}

func TestPutAndGet(t *testing.T) {
	t.Parallel()
	inFolder, _ := folder(t)
	for name, s := range map[string]*evidence.Store{"mem": open(t, "mem://"), "file": inFolder} {
		for _, content := range [][]byte{[]byte("pod checkout is ill"), {}, {0, 0xff, '\n'}, bytes.Repeat([]byte("x"), evidence.MaxSize)} {
			digest, err := s.Put(t.Context(), content, "text/plain")
			require.NoError(t, err, name)
			require.Equal(t, incident.DigestOf(content), digest)
			again, err := s.Put(t.Context(), content, "text/plain")
			require.NoError(t, err, name)
			require.Equal(t, digest, again)
			got, err := s.Get(t.Context(), digest)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(content, got))
		}
	}
}

func TestKeysAndPermissions(t *testing.T) {
	t.Parallel()
	s, dir := folder(t)
	digest, err := s.Put(t.Context(), []byte("a"), "text/plain")
	require.NoError(t, err)
	require.Equal(t, "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", digest)
	b, err := os.ReadFile(filepath.Join(dir, "sha256", "ca", "978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"))
	require.NoError(t, err)
	require.Equal(t, "a", string(b))
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		require.Zero(t, info.Mode().Perm()&0o077, "%s is open to others: %s", path, info.Mode())
		require.NotContains(t, d.Name(), "tmp")
		require.Empty(t, filepath.Ext(path), "one file a document: %s", path)
		return nil
	}))
}

func TestPutTwiceWritesOnce(t *testing.T) {
	t.Parallel()
	s, dir := folder(t)
	digest, err := s.Put(t.Context(), []byte("a"), "text/plain")
	require.NoError(t, err)
	before, err := os.Stat(fileOf(dir, digest))
	require.NoError(t, err)
	_, err = s.Put(t.Context(), []byte("a"), "application/json")
	require.NoError(t, err)
	after, err := os.Stat(fileOf(dir, digest))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
}

func TestDamageIsFoundAndMended(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		damage []byte
	}{
		{name: "changed", damage: []byte("pod checkout is well")},
		{name: "cut off", damage: []byte("pod check")},
		{name: "empty", damage: nil},
		{name: "grown", damage: []byte("pod checkout is ill, they say")},
		{name: "grown beyond the bound", damage: bytes.Repeat([]byte("x"), evidence.MaxSize+2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, dir := folder(t)
			content := []byte("pod checkout is ill")
			digest, err := s.Put(t.Context(), content, "text/plain")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(fileOf(dir, digest), tt.damage, 0o600))
			got, err := s.Get(t.Context(), digest)
			require.ErrorIs(t, err, evidence.ErrCorrupt)
			require.Nil(t, got)
			_, err = s.Put(t.Context(), content, "text/plain")
			require.NoError(t, err)
			got, err = s.Get(t.Context(), digest)
			require.NoError(t, err)
			require.Equal(t, content, got)
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, "mem://")
	_, err := s.Put(t.Context(), make([]byte, evidence.MaxSize+1), "text/plain")
	require.ErrorIs(t, err, evidence.ErrTooLarge)
	_, err = s.Put(t.Context(), []byte("a"), "")
	require.ErrorIs(t, err, evidence.ErrInvalid)
	_, err = s.Get(t.Context(), incident.DigestOf([]byte("never stored")))
	require.ErrorIs(t, err, evidence.ErrNotFound)
	for _, digest := range []string{"", "sha256:", "sha256:zz", "md5:0cc175b9c0f1b6a831c399e269772661", "sha256:../../etc/passwd"} {
		_, err := s.Get(t.Context(), digest)
		require.ErrorIs(t, err, evidence.ErrInvalid, digest)
	}
}

func TestPutToADiskThatRefuses(t *testing.T) {
	t.Parallel()
	s, dir := folder(t)
	// A file where the folder of all documents belongs.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sha256"), nil, 0o600))
	_, err := s.Put(t.Context(), []byte("a"), "text/plain")
	require.Error(t, err)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url, want string }{
		{name: "empty", url: "", want: "open evidence store"},
		{name: "malformed", url: "s3://user:hunter2@[::1", want: "malformed"},
		{name: "credentials", url: "s3://user:hunter2@bucket", want: "must not hold credentials"},
		{name: "unknown scheme", url: "ftp://host/x", want: "ftp"},
		{name: "relative folder", url: "file://data/evidence", want: "file:///absolute/path"},
		{name: "key in the query of an unknown scheme", url: "ftp://host/x?key=hunter2", want: `no driver registered for "ftp"`},
		{name: "unknown parameter", url: "s3://bucket?passphrase=hunter2", want: `unknown query parameter "passphrase"`},
		{name: "wrong value", url: "s3://bucket?region=eu&ssetype=hunter2", want: `not a valid value for "ssetype"`},
		{name: "parameter of a folder", url: "file://" + t.TempDir() + "?secret_key_path=hunter2", want: "open evidence store"},
		{name: "key in the query of a folder", url: "file://data/evidence?key=hunter2", want: "file:///absolute/path"},
		{name: "no folder", url: "file://", want: "file:///absolute/path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := evidence.Open(t.Context(), tt.url)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// Every scheme that the package promises is linked in.
func TestSchemes(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"file", "mem", "s3", "gs"} {
		require.True(t, blob.DefaultURLMux().ValidBucketScheme(scheme), scheme)
	}
}

func TestConcurrentPuts(t *testing.T) {
	t.Parallel()
	s, _ := folder(t)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 64 {
		wg.Go(func() {
			content := fmt.Appendf(nil, "document %d", i%4)
			digest, err := s.Put(t.Context(), content, "text/plain")
			if err == nil {
				_, err = s.Get(t.Context(), digest)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}
