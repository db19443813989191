package login_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
)

func TestKeyFilesAreStrict(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	for _, tt := range []struct {
		name, content, want string
		mode                os.FileMode
	}{
		{"one key", "# a note\n\n" + good + "\n", "", 0o600},
		{"readable by the group", good, "", 0o640},
		{"readable by all", good, "lets others in", 0o644},
		{"writable by the group", good, "lets others in", 0o660},
		{"no key", "# a note\n", "there is none", 0o600},
		{"a key twice", good + "\n" + good, "there twice", 0o600},
		{"no base64", "\nsecret of mine\n", ":2: the line is not base64", 0o600},
		{"a short key", "c2hvcnQ=", "has 5 bytes", 0o600},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			require.NoError(t, os.WriteFile(path, []byte(tt.content), 0o600))
			require.NoError(t, os.Chmod(path, tt.mode))
			_, err := login.LoadOrCreateKeys(path)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "secret of mine")
		})
	}
}

// Bots that start at once share one key.
func TestKeysAreCreatedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := login.LoadOrCreateKeys(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no draft is left")
}
