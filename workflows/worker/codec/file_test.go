package codec_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/worker/codec"
)

func TestKeyFileIsCreatedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "payload.key")
	first, err := codec.LoadOrCreateKeyFile(path, false)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	for _, hasHistory := range []bool{false, true} {
		again, err := codec.LoadOrCreateKeyFile(path, hasHistory)
		require.NoError(t, err)
		require.Equal(t, first.IDs(), again.IDs())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no draft is left behind")
}

func TestKeyFileIsOneForAllWhoStartAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "payload.key")
	const starters = 16
	ids := make([]string, starters)
	errs := make([]error, starters)
	var wg sync.WaitGroup
	for i := range starters {
		wg.Go(func() {
			set, err := codec.LoadOrCreateKeyFile(path, false)
			if errs[i] = err; err == nil {
				ids[i] = set.IDs()[0]
			}
		})
	}
	wg.Wait()
	for i := range starters {
		require.NoError(t, errs[i])
		require.Equal(t, ids[0], ids[i])
	}
}

func TestMissingKeyFileWithHistoryIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "payload.key")
	_, err := codec.LoadOrCreateKeyFile(path, true)
	require.ErrorIs(t, err, codec.ErrKeyFileMissing)
	require.NoFileExists(t, path)
}

func TestKeyFileWithSeveralKeys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "payload.key")
	one, two := codec.GenerateKey(), codec.GenerateKey()
	text := "# rotated\n\n  " + base64.StdEncoding.EncodeToString(two) + "\r\n" + base64.StdEncoding.EncodeToString(one)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o440))
	got, err := codec.LoadKeyFile(path)
	require.NoError(t, err)
	want, err := codec.NewKeys(two, one)
	require.NoError(t, err)
	require.Equal(t, want.IDs(), got.IDs())
}

func TestBadKeyFileIsRefused(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString(codec.GenerateKey())
	tests := []struct {
		name string
		text string
		mode os.FileMode
		want string
	}{
		{name: "world-readable", text: good, mode: 0o604, want: "its mode 0604 lets others in, want 0600"},
		{name: "readable by all", text: good, mode: 0o644, want: "its mode 0644 lets others in"},
		{name: "group-writable", text: good, mode: 0o620, want: "its mode 0620 lets others in"},
		{name: "empty", text: "", mode: 0o600, want: "there is none"},
		{name: "only a comment", text: "# soon\n", mode: 0o600, want: "there is none"},
		{name: "short key", text: base64.StdEncoding.EncodeToString(make([]byte, 16)), mode: 0o600, want: "line 1 holds 16 bytes, want 32"},
		{name: "second key is not base64", text: good + "\nhunter2 hunter2", mode: 0o600, want: "line 2 is not base64"},
		{name: "same key twice", text: good + "\n" + good, mode: 0o600, want: "it is there twice"},
		{name: "too large", text: strings.Repeat("#\n", 64<<10), mode: 0o600, want: "more than 65536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "payload.key")
			require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
			require.NoError(t, os.Chmod(path, tt.mode))
			_, err := codec.LoadOrCreateKeyFile(path, false)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), good)
			require.NotContains(t, err.Error(), "hunter2")
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, tt.text, string(after), "a bad file is left as it is")
		})
	}
}

func TestKeyFileThatIsAFolderIsRefused(t *testing.T) {
	t.Parallel()
	_, err := codec.LoadOrCreateKeyFile(t.TempDir(), false)
	require.ErrorContains(t, err, "it is not a regular file")
}
