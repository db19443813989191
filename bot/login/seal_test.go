package login_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
)

func TestKeysAreStrict(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	for _, tt := range []struct {
		name, content, want string
	}{
		{"one key", "# a note\n\n" + good + "\n", ""},
		{"no key", "# a note\n", "there is none"},
		{"a key twice", good + "\n" + good, "there twice"},
		{"no base64", "\nsecret of mine\n", "line 2 is not base64"},
		{"a short key", "c2hvcnQ=", "has 5 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := login.ParseKeys([]byte(tt.content))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "secret of mine")
		})
	}
}

// TestNewKeyFile shows that a new file is one that can be read, and another each time.
func TestNewKeyFile(t *testing.T) {
	t.Parallel()
	text := login.NewKeyFile()
	_, err := login.ParseKeys(text)
	require.NoError(t, err)
	require.NotEqual(t, text, login.NewKeyFile())
}
