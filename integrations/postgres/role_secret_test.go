package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	r := RoleSecrets{Name: "app", Folder: files(t, map[string]string{"v2": "second\n", "v1": "first", ".hidden": "x"})}
	versions, err := r.versions()
	require.NoError(t, err)
	require.Equal(t, []secretVersion{{"v1", "first"}, {"v2", "second"}}, versions)

	again, err := versions[0].own("app")
	require.NoError(t, err)
	text, err := versions[0].own("app")
	require.NoError(t, err)
	require.Equal(t, again, text, "the same version is another verifier")
	require.NotContains(t, text, "first")
	other, err := versions[0].own("other")
	require.NoError(t, err)
	require.NotEqual(t, text, other, "two roles share a verifier")

	for _, tt := range []struct {
		name, file, says string
	}{
		{"two lines", "a\nb", "one line"},
		{"empty", "\n", "one line"},
		{"not ASCII", "pässwort", "ASCII"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := RoleSecrets{Name: "app", Folder: files(t, map[string]string{"v1": tt.file})}.versions()
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), tt.file)
		})
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	v := secretVersion{version: "v1", password: "first"}
	text, err := verifier("first", []byte("0123456789abcdef"), 4096)
	require.NoError(t, err)
	const salt = "4096:MDEyMzQ1Njc4OWFiY2RlZg=="
	for _, tt := range []struct {
		name, password, salt string
		want                 bool
	}{
		{"the same", "first", salt, true},
		{"another password", "second", salt, false},
		{"no verifier", "first", "", false},
		{"too much work", "first", "99999999:MDEyMzQ1Njc4OWFiY2RlZg==", false},
		{"salt that is no base64", "first", "4096:?", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := v
			v.password = tt.password
			same, err := v.matches(tt.salt, verifierDigest(text))
			require.NoError(t, err)
			require.Equal(t, tt.want, same)
		})
	}
}
